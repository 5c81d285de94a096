/**
 * What a check with other people's programs is made of: shell scripts, so that each can be read, and repeated by hand, by who knows the tools.
 * Every script runs with `set -eu`, in its suite's own directory, as root or as an ordinary user with subordinate ids.
 *
 *   $PROGRAM   the mount program        $ROOTFS   a small root of this machine's programs, never changed
 *   $HERE      the suite's directory    $TAR      the same as a tar archive
 *   $STRANGER  the ordinary user
 *   $HELPERS   the functions below, for shells started by a script
 *   $BULK      those that change files by thousands, for shells in containers
 *   $TMPDIR    a directory in $HERE: that of whoever started all this may not be everybody's
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";

export interface Suite {
  readonly title: string;
  /** Programs without which nothing of it can run. */
  readonly needs: readonly string[];
  readonly as: "root" | "user";
  /** Goes before each of its scripts. */
  readonly prelude?: string;
  readonly setup?: string;
  readonly checks: readonly Check[];
  /** Runs whatever happened. */
  readonly teardown?: string;
}

export interface Check {
  readonly title: string;
  readonly script: string;
  readonly needs?: readonly string[];
  /** A script whose failure means that this machine cannot run the check; what it prints is the reason. */
  readonly only?: string;
}

export interface Place {
  readonly program: string;
  readonly rootfs: string;
  readonly tar: string;
  readonly here: string;
  /** The ordinary user's name. */
  readonly user: string;
}

/** Undefined when the script succeeded, else what it said. */
export function runScript(place: Place, as: "root" | "user", script: string): string | undefined {
  const { program, rootfs, tar, here, user } = place;
  const env = { ...process.env, PROGRAM: program, ROOTFS: rootfs, TAR: tar, HERE: here, STRANGER: user, HELPERS: helpers, BULK: bulk, HOME: here, LC_ALL: "C" };
  const shell = ["sh", "-c", `${helpers}\n${script}`];
  const [file = "", ...args] = as === "root" ? shell : ["runuser", "-u", user, "--", ...shell];
  const { status, signal, stdout, stderr } = spawnSync(file, args, { cwd: here, env, encoding: "utf8", timeout: 180_000, killSignal: "SIGKILL", stdio: ["ignore", "pipe", "pipe"] });
  if (status === 0) return undefined;
  return `${stderr}${stdout}`.trim() || `ended with ${signal ?? status}`;
}

export function isInstalled(program: string): boolean {
  return (process.env["PATH"] ?? "").split(":").some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** For shells inside of containers, too. */
const bulk = `
# many DIR: 5000 files in 50 directories of DIR/many
many() { for d in $(seq 10 59); do mkdir -p "$1/many/$d"; for f in $(seq 100); do echo $f > "$1/many/$d/$f"; done; done; }
# wear DIR: what many made is removed, replaced, changed and moved by thousands, and thousands come
wear() {
  cd "$1"; rm -r many/1? many/2?; mkdir many/20 came; for i in $(seq 100); do echo $i > many/20/new$i; done
  for f in many/3?/*; do echo changed >> $f; done; for i in $(seq 3000); do echo $i > came/$i; done
  rm -r many/40; echo file > many/40; rm many/41/1; mkdir many/41/1; echo x > many/41/1/x; mv many/42 many/moved; chmod -R go-rwx many/43; cd - >/dev/null
}
# sums: everything of what both make, in the present directory
sums() { find many came -type d -printf '%p %m\\n' -o -printf '%p %y %m %n\\n' | sort; find many came -type f -exec cksum {} + | sort; }
`;

const helpers = `
set -eu
export HOME=$HERE TMPDIR=$HERE/temporary
mkdir -p "$TMPDIR"
# same FOUND EXPECTED
same() { [ "$1" = "$2" ] || { printf 'expected:\\n%s\\nfound:\\n%s\\n' "$2" "$1" >&2; exit 1; }; }
fails() { if "$@" >/dev/null 2>&1; then echo "should have failed: $*" >&2; exit 1; fi; }
# listing DIR: all that a user of a tree can see, but for times and the sizes of directories. Kernel overlayfs shows the AUFS mark of an
# opaque directory, which means nothing to it.
listing() {
  (cd "$1" && find . -mindepth 1 ! -name .wh..wh..opq \\( -type d -printf '%P %y %m %U:%G\\n' -o -printf '%P %y %m %U:%G %s %n %l\\n' \\) | sort
   find . -type f ! -name .wh..wh..opq -print0 | sort -z > $HERE/files
   xargs -0 sha256sum < $HERE/files; xargs -0 getfattr -P -d -m '^user\\.[^co]' < $HERE/files 2>/dev/null | sed '/^$/d')
}
# changes DIR: one of everything that leaves a trace in an upper directory
changes() {
  (cd "$1"; echo more >> data/one; rm data/two; rm -r data/dir; mkdir data/dir; echo x > data/dir/x; chmod 600 data/one; mv etc etc2
   ln data/one data/three; mkfifo data/fifo; ln -s nowhere data/sym2; setfattr -n user.k -v v data/one; mkdir -p new/deep; echo y > new/deep/y
   mv data/sym new/sym; rmdir sys; touch sys; chmod 1755 tmp; rm -r root; mkdir root)
}
${bulk}mount_here() { mkdir -p upper work m; "$PROGRAM" -o "lowerdir=$ROOTFS,upperdir=$HERE/upper,workdir=$HERE/work$1" "$HERE/m"; }
# soon COMMAND: it succeeds within 15 seconds, however busy the machine is
soon() { for i in $(seq 50); do if "$@" >/dev/null 2>&1; then return 0; fi; sleep 0.3; done; echo "not soon: $*" >&2; return 1; }
unserved() { ! pgrep -f -- "$1"; }
# gone DIR: the mount is away and nobody serves it any more
gone() { fails grep " $1 " /proc/mounts; soon unserved "$1" || { pgrep -a -f -- "$1" >&2; return 1; }; }
# registry: one of our own on the loopback device, for as long as the script runs; its address in $REGISTRY
registry() {
  port=$((20000 + $$ % 20000)); REGISTRY=127.0.0.1:$port
  printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: "%s"}\n' $HERE $REGISTRY > registry.yml
  docker-registry serve registry.yml > registry.log 2>&1 & registry=$!
  trap 'kill $registry' EXIT
  soon grep -q "listening on" registry.log || { cat registry.log >&2; return 1; }
}
fresh() { for d in m; do grep -q " $HERE/$d " /proc/mounts && umount -l "$HERE/$d"; done; rm -rf upper work m; }
`;
