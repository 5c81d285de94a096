/**
 * A Debian root as the lower layer, lived in: apt installs python3, gcc and git, a program is compiled, a repository cloned, dpkg verifies
 * what is installed, tar goes there and back, npm installs; in both data modes, and on kernel overlayfs for comparison of the resulting trees.
 * `npm run test:real [-- FOLDER]`: root, network and debootstrap are needed. FOLDER keeps the debootstrapped root for the next time.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const stratafs = fileURLToPath(new URL("../../stratafs.js", import.meta.url));
const top = mkdtempSync(join(tmpdir(), "stratafs-debian-"));
const base = process.argv[2] ?? join(top, "base");

/** What is done in the root. Each line is a step that must succeed. */
const steps = `set -eu
export DEBIAN_FRONTEND=noninteractive HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin
apt-get -qq update
apt-get -qq -y install --no-install-recommends python3 gcc libc6-dev git attr libcap2-bin >/dev/null 2>&1
printf '#include <stdio.h>\\nint main(void){puts("compiled here");return 0;}\\n' > /root/hello.c
gcc -O2 -o /root/hello /root/hello.c && /root/hello
python3 -c 'import json, ssl, sqlite3; c = sqlite3.connect("/root/t.db"); c.execute("create table t(x)"); c.executemany("insert into t values(?)", [(i,) for i in range(1000)]); c.commit(); print(c.execute("select sum(x) from t").fetchone()[0], c.execute("pragma integrity_check").fetchone()[0])'
git -c init.defaultBranch=main init -q /root/repo
cd /root/repo
cp -r /usr/include/linux . && git add -A
GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z git -c user.name=a -c user.email=a@example.org commit -qm one
git clone -q /root/repo /root/clone && cd /root/clone && test -z "$(git status --porcelain)" && git fsck --strict
dpkg -V
mkdir -p /root/x/d && echo data > /root/x/d/f && setfattr -n user.k -v v /root/x/d/f && cp /bin/true /root/x/cap && setcap cap_net_raw+ep /root/x/cap && chmod 4755 /root/x/cap && setcap cap_net_raw+ep /root/x/cap
tar --xattrs --xattrs-include='*' -C /root/x -cf /root/x.tar . && mkdir /root/y && tar --xattrs --xattrs-include='*' -C /root/y -xpf /root/x.tar
test "$(getfattr -n user.k --only-values /root/y/d/f)" = v && getcap /root/y/cap | grep -q cap_net_raw && test "$(stat -c %a /root/y/cap)" = 4755
rm /root/x.tar
mkdir /root/project && cd /root/project
printf '{"name":"p","version":"1.0.0","dependencies":{"lru-cache":"11.0.0"}}' > package.json
if [ -x /opt/node/node ]; then
  npm() { /opt/node/node /opt/npm/bin/npm-cli.js --no-audit --no-fund --no-update-notifier --loglevel=error "$@"; }
  npm install --package-lock-only
  npm ci
  /opt/node/node -e 'require("lru-cache")'
  rm -rf /root/.npm
fi
apt-get -qq -y purge git >/dev/null 2>&1
mv /usr/share/doc /usr/share/doc-renamed && rm -rf /usr/share/man && mkdir /usr/share/man
echo done`;

/** Differ from run to run on the same filesystem: logs, caches, times and random names written down, what git and sqlite record of inodes. */
const differing = [
  "./var/log", "./var/cache", "./var/lib/apt/lists", "./var/lib/apt/extended_states", "./var/lib/dpkg/status*", "./var/lib/dpkg/available*", "./var/lib/dpkg/triggers",
  "./var/lib/dpkg/lock*", "./root/repo/.git/index", "./root/clone/.git/index", "./root/clone/.git/logs", "./root/repo/.git/logs", "./root/clone/.git/packed-refs", "./tmp",
  "./usr/lib/python3*/__pycache__", "*.pyc", "./proc", "./sys", "./dev", "./opt", "./etc/resolv.conf", "./etc/passwd-", "./etc/group-", "./etc/shadow-", "./root/project/node_modules/.package-lock.json",
];

function sh(command: string, args: readonly string[] = []): string {
  const done = spawnSync("sh", ["-c", command, "sh", ...args], { encoding: "utf8", maxBuffer: 1 << 28 });
  if (done.status !== 0) throw new Error(`${command.slice(0, 300)}: exit ${done.status ?? done.signal}\n${done.stdout.slice(-1000)}${done.stderr.slice(-2000)}`);
  return done.stdout;
}

/** Type, mode, owner, size, content and link target of everything below `root`. */
function listing(root: string): Map<string, string> {
  const pruned = differing.map((path) => `-path '${path}'`).join(" -o ");
  const lines = sh(`cd "$1" && find . \\( ${pruned} \\) -prune -o -printf '%p\\t%y %m %U %G %l\\n'; find . \\( ${pruned} \\) -prune -o -type f -print0 | xargs -0 sha256sum | sed 's/^\\([0-9a-f]*\\) .\\(.*\\)/\\2\\t\\1/'`, [root]);
  const entries = new Map<string, string>();
  for (const line of lines.split("\n").filter((text) => text !== "")) {
    const [path = "", what = ""] = line.split("\t");
    entries.set(path, `${entries.get(path) ?? ""}${what} `);
  }
  return entries;
}

function prepareBase(): void {
  if (existsSync(join(base, "usr/bin/apt-get"))) return;
  const mirror = sh("apt-get indextargets --format '$(SITE) $(RELEASE)' | sort -u | grep -v -e security -e updates -e backports | head -n 1").trim().split(" ")[0]!;
  const release = sh(". /etc/os-release; echo $VERSION_CODENAME").trim();
  console.log(`debootstrap ${release}`);
  sh(`debootstrap --variant=minbase ${release} "$1" ${mirror} >&2`, [base]);
  // apt in the root gets its packages as this machine does.
  for (const path of ["etc/apt/sources.list", "etc/apt/sources.list.d", "etc/apt/apt.conf.d"]) if (existsSync(`/${path}`)) cpSync(`/${path}`, join(base, path), { recursive: true });
}

/** This machine's Node and npm, to be had in the root: what to show there, as FROM:TO:ro, and in which environment they run. */
function nodeInRoot(): { readonly volumes: readonly string[]; readonly environment: readonly string[] } {
  const npm = sh("dirname $(dirname $(readlink -f $(command -v npm)))").trim();
  const node = join(top, "node");
  mkdirSync(node, { recursive: true });
  cpSync(realpathSync(process.execPath), join(node, "node"));
  // npm in the root trusts whom npm here trusts.
  const authorities = process.env["NODE_EXTRA_CA_CERTS"];
  if (authorities !== undefined) cpSync(authorities, join(node, "authorities.pem"));
  const environment = [`npm_config_registry=${sh("npm config get registry 2>/dev/null").trim()}`, ...(authorities === undefined ? [] : ["NODE_EXTRA_CA_CERTS=/opt/node/authorities.pem"])];
  return { volumes: [`${node}:/opt/node:ro`, `${npm}:/opt/npm:ro`], environment };
}

function onStratafs(data: string): Map<string, string> {
  const dir = join(top, data);
  for (const name of ["upper", "work", "mnt"]) mkdirSync(join(dir, name), { recursive: true });
  const { volumes, environment } = nodeInRoot();
  const options = [...volumes.flatMap((volume) => ["--volume", volume]), ...environment.flatMap((variable) => ["--env", variable])];
  const started = Date.now();
  execFileSync(stratafs, ["run", "--lower", base, "--upper", join(dir, "upper"), "--work", join(dir, "work"), "--data", data, ...options, "--", "sh", "-c", steps], { stdio: ["ignore", "inherit", "inherit"] });
  console.log(`stratafs, data=${data}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
  sh(`mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work,redirect_dir=on,metacopy=on" "$2/mnt"`, [base, dir]);
  try {
    return listing(join(dir, "mnt"));
  } finally {
    sh(`umount "$1/mnt"`, [dir]);
  }
}

function onKernel(): Map<string, string> {
  const dir = join(top, "kernel");
  for (const name of ["upper", "work", "mnt"]) mkdirSync(join(dir, name), { recursive: true });
  writeFileSync(join(dir, "steps"), steps);
  const started = Date.now();
  const { volumes, environment } = nodeInRoot();
  const binds = volumes.map((volume) => volume.split(":")).map(([from, to]) => `mkdir -p "$2/mnt${to}"; mount --bind "${from}" "$2/mnt${to}"`);
  sh(`mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work,redirect_dir=on,metacopy=on" "$2/mnt"`, [base, dir]);
  try {
    sh(`unshare -m --propagation private sh -c 'set -e; mount --bind /dev "$2/mnt/dev"; mount -t proc proc "$2/mnt/proc"; mount -t sysfs sys "$2/mnt/sys"; touch "$2/mnt/etc/resolv.conf"; mount --bind /etc/resolv.conf "$2/mnt/etc/resolv.conf"; ${binds.join("; ")}; env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin ${environment.map((variable) => `'"'"'${variable}'"'"'`).join(" ")} chroot "$2/mnt" sh -c "$(cat "$2/steps")" >&2' sh "$1" "$2"`, [base, dir]);
    console.log(`kernel overlayfs: ${((Date.now() - started) / 1000).toFixed(1)} s`);
    return listing(join(dir, "mnt"));
  } finally {
    sh(`umount "$1/mnt"`, [dir]);
  }
}

function differences(ours: Map<string, string>, theirs: Map<string, string>): string[] {
  const found: string[] = [];
  for (const path of new Set([...ours.keys(), ...theirs.keys()])) {
    if (ours.get(path) !== theirs.get(path)) found.push(`${path}: ours ${ours.get(path) ?? "missing"}, kernel overlayfs ${theirs.get(path) ?? "missing"}`);
  }
  return found.sort();
}

const missing = process.getuid?.() !== 0 ? "root" : spawnSync("sh", ["-c", "command -v debootstrap"]).status !== 0 ? "debootstrap (apt-get install debootstrap)" : undefined;
if (missing !== undefined) {
  console.log(`skipped: needs ${missing}`);
  process.exit(0);
}
try {
  prepareBase();
  const before = listing(base);
  const theirs = onKernel();
  for (const data of ["passthrough", "cached"]) {
    const found = differences(onStratafs(data), theirs);
    console.log(`data=${data}: ${theirs.size} objects compared with kernel overlayfs, ${found.length} differ`);
    for (const line of found.slice(0, 40)) console.log(`  ${line}`);
    if (found.length > 0) process.exitCode = 1;
  }
  const changed = differences(listing(base), before);
  console.log(`the lower layer: ${changed.length} changes`);
  if (changed.length > 0) process.exitCode = 1;
} finally {
  rmSync(top, { recursive: true, force: true });
}
