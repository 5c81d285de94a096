/**
 * Where conformance suites run: kernel overlayfs and stratafs, each on layers of its own on one filesystem. What a suite does is a shell script, so that
 * it can be repeated by hand; it runs with `set -eu` in an empty directory of that filesystem, as root or as root of a user namespace that an
 * ordinary user has made.
 *
 *   $HERE     that directory            $LOWER, $UPPER, $WORK, $MNT  the layers in it and where they are mounted
 *   $PROGRAM  the stratafs command      $TYPE, $OPTIONS              what mount_it mounts, and the options beside the layers
 *   $SECONDS_EACH  how long a stressor is to run
 *
 *   mount_it, unmount_it   the stack, mounted and unmounted
 *   check NAME COMMAND...  runs it for CHECK_SECONDS at most and says in one line how it ended; its output goes to ./said
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Subject {
  readonly title: string;
  readonly type: "overlay" | "stratafs";
  /** Mount options beside the layers. */
  readonly options: readonly string[];
  readonly as: "root" | "user";
}

export interface Ground {
  readonly program: string;
  /** On the filesystem of the layers; everybody may look into it. */
  readonly dir: string;
  readonly user: string;
  /** Why nothing can run as an ordinary user. */
  readonly noUser: string | undefined;
  /** How long each stressor runs. */
  readonly seconds: number;
  /** How long a run of xfstests may take; what it has not reached then is not counted. */
  readonly minutes: number;
  readonly seed: number;
  /** Directories of suites that were given, by option. */
  readonly suites: Readonly<Partial<Record<"pjdfstest" | "unionmount" | "xfstests", string>>>;
}

/** What one suite found on one subject. Names are the same on every subject. */
export interface Outcome {
  readonly passed: number;
  /** Name of what failed, and what is known of it. */
  readonly failed: ReadonlyMap<string, string>;
  readonly skipped: ReadonlyMap<string, string>;
}

export interface ConformanceSuite {
  readonly title: string;
  readonly as: readonly Subject["as"][];
  /** Why it cannot run here. */
  missing(ground: Ground): string | undefined;
  run(ground: Ground, subject: Subject): Outcome;
}

/** The longest that a whole script may take. */
const SCRIPT_MS = 7_200_000;

/** Runs a script on a subject, prints nothing. Returns what it wrote to stdout; throws with what it said when it fails. */
export function onSubject(ground: Ground, subject: Subject, script: string, variables: Readonly<Record<string, string>> = {}): string {
  const here = join(ground.dir, "here");
  mkdirSync(here);
  for (const name of ["lower", "upper", "work", "mnt", "bin"]) mkdirSync(join(here, name));
  for (const [name, text] of Object.entries(wrappers)) writeFileSync(join(here, "bin", name), text, { mode: 0o755 });
  writeFileSync(join(here, "script"), `${prelude}\n${script}\n`);
  if (subject.as === "user") spawnSync("chown", ["-R", `${ground.user}:`, here]);
  chmodSync(here, 0o755);
  const env = {
    ...process.env, ...variables, HERE: here, LOWER: join(here, "lower"), UPPER: join(here, "upper"), WORK: join(here, "work"), MNT: join(here, "mnt"), HOME: here, TMPDIR: here, LC_ALL: "C",
    PROGRAM: ground.program, TYPE: subject.type, OPTIONS: subject.options.join(","), SECONDS_EACH: String(ground.seconds), SEED: String(ground.seed), CONFORMANCE: here,
  };
  const command = ["sh", join(here, "script")];
  // A mount namespace of its own, also for root: what a suite leaves mounted goes with it.
  const [file, ...args] = subject.as === "root" ? ["unshare", "-m", ...command] : ["runuser", "-u", ground.user, "--", "unshare", "--map-auto", "--map-root-user", "-m", ...command];
  try {
    const { status, signal, stdout, stderr } = spawnSync(file!, args, { cwd: here, env, encoding: "latin1", timeout: SCRIPT_MS, killSignal: "SIGKILL", maxBuffer: 1 << 30, stdio: ["ignore", "pipe", "pipe"] });
    if (status === 0) return stdout;
    throw new Error(`${subject.title}: ${signal ?? `status ${status}`}\n${`${stdout}\n${stderr}`.trim().split("\n").slice(-20).join("\n")}`);
  } finally {
    // A server that still ends uses its directories a moment longer.
    for (let tries = 0; tries < 50; tries++) {
      rmSync(here, { recursive: true, force: true, maxRetries: 3 });
      if (spawnSync("test", ["-e", here]).status !== 0) break;
      spawnSync("sleep", ["0.2"]);
    }
  }
}

/** What lines of `check` say. */
export function outcomeOf(output: string): Outcome {
  const failed = new Map<string, string>();
  const skipped = new Map<string, string>();
  let passed = 0;
  let name = "";
  for (const line of output.split("\n")) {
    const [, result, what = ""] = /^(ok|FAILED|skipped) (.*)$/.exec(line) ?? [];
    if (result === "ok") passed++;
    else if (result === "FAILED") failed.set((name = what), "");
    else if (result === "skipped") skipped.set(what, "");
    else if (line.startsWith("  ") && name !== "") failed.set(name, `${failed.get(name) ?? ""}${line}\n`);
  }
  return { passed, failed, skipped };
}

const prelude = `
set -eu
mount_it() {
  case $TYPE in
  overlay) mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK$\{OPTIONS:+,$OPTIONS}" "$MNT" ;;
  *) "$PROGRAM" mount -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK,log=$HERE/log$\{OPTIONS:+,$OPTIONS}" "$MNT" ;;
  esac
}
unmount_it() { case $TYPE in overlay) umount "$MNT" ;; *) "$PROGRAM" umount "$MNT" ;; esac; }
check() {
  name=$1; shift
  status=0; timeout -k 10 $\{CHECK_SECONDS:-300} "$@" > "$HERE/said" 2>&1 < /dev/null || status=$?
  case $status in
  0) echo "ok $name" ;;
  77) echo "skipped $name" ;;
  *) echo "FAILED $name"; echo "  status $status"; tail -n $\{CHECK_LINES:-12} "$HERE/said" | sed 's/^/  /' ;;
  esac
}
`;

/** mount(8) and umount(8) for suites that call them: filesystems of the type fuse.stratafs are the command's. */
const wrappers = {
  mount: `#!/bin/sh
if [ "$1 $2" = "-t fuse.stratafs" ]; then shift 2; exec "$PROGRAM" mount -o "log=$CONFORMANCE/log" "$@"; fi
exec /bin/mount "$@"
`,
  umount: `#!/bin/sh
if grep -q " $1 fuse.stratafs " /proc/mounts; then exec "$PROGRAM" umount "$1"; fi
exec /bin/umount "$@"
`,
  // For a suite that believes in an overlay: it mounts the command's stack, and hears its type as overlay.
  "mount-overlay": `#!/bin/sh
case " $* " in
*" -t overlay "*) ;;
*remount,*) ;;
*) case $# in 0) /bin/mount | sed 's/ type fuse.stratafs / type overlay /' ;; *) exec /bin/mount "$@" ;; esac; exit ;;
esac
options=; paths=
while [ $# -gt 0 ]; do
  case $1 in
  -t|--options-mode) shift ;;
  -o) shift; options="$options,$1" ;;
  -o*) options="$options,\${1#-o}" ;;
  -*) ;;
  *) paths="$paths $1" ;;
  esac
  shift
done
# After the suite's own options ours, which have no other meaning to it.
set -- $paths
case ,$options, in *,remount,*)
  # mount(8) would have it done by the program that the type names, which has to be installed.
  if grep -q " $1 fuse.stratafs " /proc/mounts; then exec "$PROGRAM" mount -o "\${options#,}" "$1"; fi
  exec /bin/mount -o "\${options#,}" "$@" ;;
esac
"$PROGRAM" mount -o "log=$CONFORMANCE/log,\${OPTIONS}$options" "$@" || exit
shift $(($# - 1))
# Options that are features here, for who looks in /proc/mounts whether they were taken.
echo "$1 $options" | sed -E 's/ .*(,(redirect_dir|metacopy)=on).*(,(redirect_dir|metacopy)=on).*/ \\1\\3/; t; s/ .*(,(redirect_dir|metacopy)=on).*/ \\1/; t; s/ .*/ /' >> "$CONFORMANCE/options"
`,
  awk: `#!/bin/sh
case $(readlink /proc/self/fd/0) in
/proc/*/mounts) /usr/bin/awk 'NR == FNR { options[$1] = $2; next } $3 == "fuse.stratafs" { $3 = "overlay"; $4 = $4 options[$2] } { print }' "$CONFORMANCE/options" - | /usr/bin/awk "$@" ;;
*) exec /usr/bin/awk "$@" ;;
esac
`,
  df: `#!/bin/sh
/bin/df "$@" > "$CONFORMANCE/df.$$"; status=$?; sed 's/fuse\.stratafs/overlay/' "$CONFORMANCE/df.$$"; rm -f "$CONFORMANCE/df.$$"; exit $status
`,
  findmnt: `#!/bin/sh
for word; do shift; [ "$word" != overlay ] || word=fuse.stratafs; set -- "$@" "$word"; done
/bin/findmnt "$@" > "$CONFORMANCE/findmnt.$$"; status=$?; sed 's/fuse\.stratafs/overlay/' "$CONFORMANCE/findmnt.$$"; rm -f "$CONFORMANCE/findmnt.$$"; exit $status
`,
};
