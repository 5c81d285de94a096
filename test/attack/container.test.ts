/** What a hostile process in a container, or another user of the host, can reach through a mount (SECURITY.md). */
import { existsSync, readFileSync, statSync } from "node:fs";
import { expect } from "chai";
import { command, Ground, isRoot, shell, stratafs } from "../cli/command.js";

const NOBODY = 65534;
const mayNest = existsSync("/proc/self/ns/user") && readFileSync("/proc/sys/user/max_user_namespaces", "latin1").trim() !== "0" && (statSync("/dev/fuse").mode & 0o006) === 0o006;

/** Reads all memory of process 1 that can be read, and counts what it finds of a word that is in no program's text. */
const scan = `
  const fs = require("fs"), word = Buffer.from(["caller", "only", "secret"].join("-"));
  const memory = fs.openSync("/proc/1/mem", "r");
  let found = 0, read = 0;
  for (const line of fs.readFileSync("/proc/1/maps", "latin1").split("\\n")) {
    const [, from, to, kind] = /^([0-9a-f]+)-([0-9a-f]+) (....)/.exec(line) ?? [];
    if (from === undefined || kind[0] !== "r" || /\\[v/.test(line)) continue;
    const part = Buffer.alloc(Number(BigInt("0x" + to) - BigInt("0x" + from)));
    try { read += fs.readSync(memory, part, 0, part.length, BigInt("0x" + from)); } catch { continue; }
    for (let at = part.indexOf(word); at >= 0; at = part.indexOf(word, at + 1)) found++;
  }
  console.log(found, read > 1e6);`;

describe("a hostile process in a container", function () {
  this.timeout(60_000);
  let ground: Ground;
  before(function () {
    if (!isRoot || !existsSync("/dev/fuse")) this.skip(); // mounts, devices, other users
  });
  beforeEach(() => void (ground = new Ground()));
  afterEach(() => ground?.remove());

  const run = (script: string, ...options: string[]) => command(["run", ...options, "--", "sh", "-c", script], { cwd: ground.path });
  const inside = (args: readonly string[], env: NodeJS.ProcessEnv = {}) => command(["run", ...args], { cwd: ground.path, env });

  it("finds in /proc no descriptor of the server, no directory of the host, and no process but its own", () => {
    const { stdout } = run("for p in /proc/[0-9]*; do readlink $p/root $p/cwd; done | sort -u; echo; ls -l /proc/[0-9]*/fd | grep -cE '/dev/fuse|upper|work|layer|/tmp/stratafs'; tr '\\0' ' ' < /proc/1/cmdline");
    expect(stdout.replace(/\0/g, " ").trim().split(/\s*\n\s*/)).to.deep.equal(["/", "0", "stratafs: init"]);
  });

  it("finds nothing of the caller in the memory and environment of process 1, which is a copy of the server", () => {
    // The command is started without the variable, as an image's is.
    const env = { CALLER: ["caller", "only", "secret"].join("-") };
    const { stdout, stderr } = inside(["--", "env", "-u", "CALLER", process.execPath, "-e", scan], env);
    expect(stdout, stderr).to.equal("0 true\n");
    expect(inside(["--", "sh", "-c", "tr -d '\\0' < /proc/1/environ"], env).stdout).to.equal("");
  });

  it("does not come out of its root by /proc, by parents, or by links that lead upwards", () => {
    const low = new Ground({ "bin/": "", "proc/": "", "dev/": "", "sys/": "" });
    try {
      shell("cp -L /bin/sh bin/; for p in sh ls cat readlink; do p=$(readlink -f $(command -v $p)); cp $p bin/$(basename $p); ldd $p | grep -o '/[^ ]*' | while read l; do mkdir -p .$(dirname $l); cp -n $l .$l; done; done; ln -s /proc/1/root/etc way; ln -s ../../../../../../../etc up", { cwd: low.path });
      const { stdout } = inside(["--lower", low.path, "--", "/bin/sh", "-c", "cd /proc/self/root/../..; ls etc/passwd /proc/1/root/etc/passwd /way/passwd /up/passwd /proc/1/root/proc/1/root/etc/passwd /proc/self/cwd/etc/passwd 2>/dev/null; cd /dev/fd && cd ../../.. && ls etc; exit 0"], { PATH: "/bin" });
      // Its own etc holds what was put there for it.
      expect(stdout.trim()).to.be.oneOf(["", "resolv.conf"]);
    } finally {
      low.remove();
    }
  });

  it("writes nothing below a read-only volume, nor below /sys, where other filesystems are mounted in it", () => {
    shell("mkdir -p in/sub && mount -t tmpfs none in/sub && touch in/sub/f", { cwd: ground.path });
    const { stdout } = run("ls /data/sub; touch /data/sub/g 2>/dev/null || echo refused; touch /sys/fs/cgroup/x 2>/dev/null || mkdir /sys/fs/cgroup/x 2>/dev/null || echo refused", "--volume", `${ground.at("in")}:/data:ro`);
    expect(stdout).to.equal("f\nrefused\nrefused\n");
  });

  it("changes no setting of the kernel, loads no module and sets no clock, even as root of the machine", () => {
    const { stdout } = run("for f in kernel/core_pattern kernel/modprobe vm/drop_caches; do sh -c \"echo x > /proc/sys/$f\" 2>/dev/null && echo written; done; sh -c 'echo h > /proc/sysrq-trigger' 2>/dev/null && echo written; grep CapBnd /proc/self/status");
    const lines = stdout.trim().split("\n");
    expect(lines).to.have.length(1);
    const bounding = BigInt(`0x${lines[0]?.split(/\s+/)[1]}`);
    for (const capability of [16n, 17n, 25n]) expect(bounding >> capability & 1n).to.equal(0n);
  });

  it("as an ordinary user's, finds all of /sys read-only: that user's control groups would stop his other processes", function () {
    if (!mayNest) this.skip();
    const copy = new Ground();
    try {
      shell(`mkdir ${copy.at("dist")} && cp ${stratafs} ${copy.at("dist")} && cp -r ${new URL("../../../native", import.meta.url).pathname} ${new URL("../../../package.json", import.meta.url).pathname} ${copy.path} && chmod -R a+rX ${copy.path}; chown ${NOBODY} ${ground.path}`);
      const { stdout, stderr } = shell(`exec ${copy.at("dist/stratafs.js")} run -- awk '$5 ~ "^/sys"' /proc/self/mountinfo`, { id: NOBODY, cwd: ground.path, env: { HOME: "/", CALLER: "" } });
      const mounts = stdout.trim().split("\n");
      expect(mounts.length, stderr).to.be.at.least(1);
      for (const line of mounts) expect(line.split(" ")[5], line).to.match(/^ro(,|$)/);
    } finally {
      copy.remove();
    }
  });
});

describe("another user of the host", function () {
  this.timeout(60_000);
  let ground: Ground;
  before(function () {
    if (!isRoot || !existsSync("/dev/fuse")) this.skip(); // mounts, devices, other users
  });
  beforeEach(() => void (ground = new Ground({ "low/": "", "up/": "", "work/": "", "m/": "" })));
  afterEach(() => ground?.remove());

  const mounted = (options: string): void => {
    const { status, stderr } = command(["mount", "-o", `lowerdir=${ground.at("low")},upperdir=${ground.at("up")},workdir=${ground.at("work")},${options}`, "m"], { cwd: ground.path });
    expect(status, stderr).to.equal(0);
  };
  const unmounted = (): void => void shell("umount m", { cwd: ground.path });
  const asNobody = (script: string) => shell(script, { cwd: ground.path, id: NOBODY });

  it("gets no privilege from a setuid program or a device in a layer of a nosuid, nodev mount, in either data mode", () => {
    shell("chmod 755 .; cp $(readlink -f $(command -v id)) low/id; chmod 4755 low/id; mknod -m 666 low/zero c 1 5", { cwd: ground.path });
    for (const data of ["passthrough", "cached"]) {
      mounted(`nosuid,nodev,data=${data}`);
      expect(asNobody("m/id -u").stdout, data).to.equal(`${NOBODY}\n`);
      expect(asNobody("head -c 1 m/zero").status, data).to.not.equal(0);
      unmounted();
      mounted(`suid,dev,data=${data}`);
      expect(asNobody("m/id -u").stdout, data).to.equal("0\n");
      expect(asNobody("head -c 1 m/zero").status, data).to.equal(0);
      unmounted();
    }
    // Devices only where they are asked for.
    mounted("data=cached");
    expect(asNobody("head -c 1 m/zero").status).to.not.equal(0);
  });

  it("is held to the permission bits of the merged view, and to the mount's own where allow_other is off", () => {
    shell("chmod 755 .; echo secret > low/key; chmod 600 low/key; echo open > low/open; mkdir low/closed; chmod 700 low/closed; echo x > low/closed/f", { cwd: ground.path });
    mounted("data=auto");
    expect(asNobody("cat m/open m/key m/closed/f; echo x > m/new; rm -f m/open; chmod 777 m/key; ln m/key m/key2; mv m/key m/key3").stdout).to.equal("open\n");
    expect(shell("ls -A up", { cwd: ground.path }).stdout).to.equal("");
    unmounted();
  });

  it("who may write to the upper beside the mount still sees nothing of a lower file that is not his", () => {
    shell(`chmod 755 . up; echo secret > low/key; chmod 600 low/key; mkdir up/his; chown ${NOBODY}:${NOBODY} up/his`, { cwd: ground.path });
    asNobody("echo ....... > up/his/f; setfattr -n user.overlay.metacopy -v '' up/his/f; setfattr -n user.overlay.redirect -v /key up/his/f; setfattr -n user.overlay.impure -v y up/his");
    mounted("data=cached");
    expect(asNobody("cat m/his/f").stdout).to.equal(".......\n");
    unmounted();
    mounted("data=cached,userxattr");
    // Whoever asks for these marks trusts all who may write them.
    expect(asNobody("cat m/his/f").stdout).to.match(/^secret\n/);
  });

  it("cannot talk to the server: it listens on nothing, and its descriptors are its own", () => {
    mounted("data=cached");
    // The brackets keep the pattern from meaning the shell that looks for it.
    const { stdout } = shell(`for p in $(pgrep -f "[l]owerdir=${ground.at("low")}"); do echo server; ls -l /proc/$p/fd | grep -o socket: ; stat -c %a /proc/$p/fd; done`);
    expect(stdout, "server and heir").to.equal("server\n500\n".repeat(2));
  });
});
