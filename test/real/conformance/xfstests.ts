/**
 * xfstests: `check -overlay`, in which mount(8) mounts the command's stacks where it is asked for an overlay. What kernel overlayfs says in messages of
 * mount(8) or keeps in places of its own (indexes) is not here, so some of its tests fail or are not run; they are listed, and compared by name.
 */
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import { isInstalled } from "../suite.js";
import { onSubject, type ConformanceSuite, type Ground, type Outcome, type Subject } from "./ground.js";

const script = `
export SUITE_BIN="$HERE/bin"
# The users that tests become, in this mount namespace only.
for file in passwd group shadow; do cp /etc/$file $file; chmod 644 $file; done
touch options
id=1200; for name in fsgqa fsgqa2 123456-fsgqa; do id=$((id + 1)); grep -q "^$name:" passwd || { echo "$name:x:$id:$id::/:/bin/sh" >> passwd; echo "$name:x:$id:" >> group; echo "$name:*:19000:0:99999:7:::" >> shadow; }; done
for file in passwd group shadow; do mount --bind $file /etc/$file; done
mkdir base test scratch results
for name in test scratch; do truncate -s 9G $name.image; mkfs.$BASE $QUIET $name.image > /dev/null; losetup -f --show $name.image > $name.device; done
trap 'for name in test scratch; do umount -l $HERE/$name/ovl-mnt $HERE/$name 2> /dev/null || true; losetup -d $(cat $HERE/$name.device); done' EXIT
cat > local.config <<END
export TEST_DEV=$(cat test.device)
export TEST_DIR=$HERE/test
export SCRATCH_DEV=$(cat scratch.device)
export SCRATCH_MNT=$HERE/scratch
export FSTYP=$BASE
export RESULT_BASE=$HERE/results
END
[ $TYPE = overlay ] || export PATH="$HERE/bin:$PATH"
[ $TYPE = overlay ] || cp "$HERE/bin/mount-overlay" "$HERE/bin/mount"
cd "$SUITE"
HOST_OPTIONS="$HERE/local.config" timeout -k 30 $LIMIT ./check -overlay $TESTS 2>&1 < /dev/null || true
cd /
`;

/** `tests` as check is told. */
export const xfstests = (tests: string): ConformanceSuite => ({
  title: `xfstests ${tests}`,
  as: ["root"],
  missing({ suites }) {
    if (suites.xfstests === undefined) return "needs --xfstests DIR";
    try {
      for (const name of ["check", "ltp/fsstress", "src/lstat64"]) accessSync(join(suites.xfstests, name), constants.X_OK);
    } catch {
      return `${suites.xfstests} is not built`;
    }
    return ["losetup", "xfs_io", "mkfs.xfs", "gawk"].filter((program) => !isInstalled(program)).map((program) => `${program} not installed`)[0];
  },
  run: (ground, subject) => run(ground, subject, tests),
});

function run(ground: Ground, subject: Subject, tests: string): Outcome {
  // Device files count as on other filesystems of root's.
  const options = subject.type === "stratafs" ? [...subject.options, "dev"] : subject.options;
  return parse(onSubject(ground, { ...subject, options }, script, { SUITE: ground.suites.xfstests!, TESTS: tests, BASE: "xfs", QUIET: "-f", LIMIT: String(ground.minutes * 60) }));
}

/** One line of check for each test: its name, what it took, or why it was not run, or that it failed. */
function parse(output: string): Outcome {
  const failed = new Map<string, string>();
  const skipped = new Map<string, string>();
  let passed = 0;
  let name = "";
  for (const line of output.split("\n")) {
    const [, test, rest = ""] = /^(\w+\/\d+)\s+(.*)$/.exec(line) ?? [];
    if (test !== undefined) {
      name = test;
      const notRun = /\[(?:not run|expunged)\]\s*(.*)/.exec(rest);
      if (notRun !== null) skipped.set(test, notRun[1] ?? "");
      else if (/\[failed|- output mismatch|_check_\w+|\[dmesg/.test(rest)) failed.set(test, rest);
      else passed++;
    } else if (failed.has(name) && /^\s+[-+@]/.test(line)) {
      failed.set(name, `${failed.get(name)}\n${line.trim()}`);
    } else if (/^_check_/.test(line) && name !== "" && !failed.has(name)) {
      passed--;
      failed.set(name, line);
    }
  }
  if (passed + failed.size + skipped.size === 0) throw new Error(output.split("\n").slice(-10).join("\n"));
  return { passed, failed, skipped };
}
