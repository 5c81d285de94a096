/** unionmount-testsuite: what overlays add to a filesystem, with layers that change places between steps. It mounts by itself, each test anew. */
import { accessSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { isInstalled } from "../suite.js";
import { onSubject, outcomeOf, type ConformanceSuite, type Ground, type Outcome, type Subject } from "./ground.js";

const script = `
export PATH="$HERE/bin:$PATH" PYTHONDONTWRITEBYTECODE=1 UNIONMOUNT_BASEDIR="$HERE/base" UNIONMOUNT_MNTOPTIONS="rw$\{OPTIONS:+,$OPTIONS}"
mkdir base
# Caches can be dropped by root of the machine only; what is tested then is the rest.
if ! echo 1 2> /dev/null > /proc/sys/vm/drop_caches; then : > sink; mount --bind sink /proc/sys/vm/drop_caches; fi
cd "$SUITE"
for test in $TESTS; do
  check "$test" python3 run $HOW "$test"
  python3 run --clean-up > /dev/null 2>&1 || true
  # The suite leaves its mounts when a test fails, and tries only once where a server is still ending.
  for try in $(seq 100); do
    left=$(awk -v base="$UNIONMOUNT_BASEDIR/" 'index($2, base) == 1 { print $2 }' /proc/mounts)
    [ -n "$left" ] || break
    [ $try = 1 ] || sleep 0.1
    for at in $left; do umount "$at" 2> /dev/null || true; done
  done
  rm -rf "$UNIONMOUNT_BASEDIR"/*
done
cd /
`;

/** `how` as the suite's own `run` is told; without --xdev directories of lower layers are renamed by redirects. */
export const unionmount = (how: string): ConformanceSuite => ({
  title: `unionmount ${how}`,
  as: how.includes("--maxfs") ? ["root"] : ["root", "user"],
  missing({ suites }) {
    if (suites.unionmount === undefined) return "needs --unionmount DIR";
    try {
      accessSync(join(suites.unionmount, "run"));
    } catch {
      return `no run in ${suites.unionmount}`;
    }
    return isInstalled("python3") ? undefined : "python3 not installed";
  },
  run: (ground, subject) => run(ground, subject, how),
});

function run(ground: Ground, subject: Subject, how: string): Outcome {
  const suite = ground.suites.unionmount!;
  const [kind = "", ...flags] = how.split(" ");
  const xdev = flags.includes("--xdev");
  // The kernel has no redirects in user namespaces.
  if (subject.as === "user" && subject.type === "overlay" && !xdev) return { passed: 0, failed: new Map(), skipped: new Map([["all", "no redirects with userxattr"]]) };
  const onlyWith = /^rename-exdev$/;
  const onlyWithout = /^rename-(dir|empty-dir|pop-dir|move-dir)$/;
  const tests = readdirSync(join(suite, "tests")).filter((name) => name.endsWith(".py") && name !== "__init__.py").map((name) => name.slice(0, -3)).filter((name) => !(xdev ? onlyWithout : onlyWith).test(name)).sort();
  const options = [...subject.options, ...(subject.type === "stratafs" && !xdev ? ["redirect_dir=on"] : [])];
  return outcomeOf(onSubject(ground, { ...subject, options }, script, {
    SUITE: suite,
    TESTS: tests.join(" "),
    HOW: [kind, ...(subject.type === "stratafs" ? ["--fuse=stratafs"] : []), ...flags].join(" "),
  }));
}
