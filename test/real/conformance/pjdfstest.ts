/** pjdfstest: what system calls answer. Its tests run one after the other in a directory that a lower layer has. */
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import { isInstalled } from "../suite.js";
import { onSubject, type ConformanceSuite, type Outcome } from "./ground.js";

const script = `
mkdir "$LOWER/dir"; chmod 755 "$LOWER/dir"
mount_it
cd "$MNT/dir"
(cd "$SUITE" && find tests -name '*.t') | sort | while read -r file; do
  echo "file $file"
  timeout -k 10 300 sh "$SUITE/$file" < /dev/null 2>&1 || echo "not ok 0 - status $?"
done
cd /
unmount_it
`;

export const pjdfstest: ConformanceSuite = {
  title: "pjdfstest",
  as: ["root", "user"],
  missing({ suites }) {
    if (suites.pjdfstest === undefined) return "needs --pjdfstest DIR";
    const tool = join(suites.pjdfstest, "pjdfstest");
    try {
      accessSync(tool, constants.X_OK);
    } catch {
      return `${tool} is not built`;
    }
    return isInstalled("openssl") ? undefined : "openssl not installed";
  },
  run: (ground, subject) => parse(onSubject(ground, subject, script, { SUITE: ground.suites.pjdfstest! })),
};

/** TAP of many files. A file that runs fewer tests than it planned fails by its name alone. */
function parse(output: string): Outcome {
  const failed = new Map<string, string>();
  let [passed, planned, ran, file] = [0, 0, 0, ""];
  const endOfFile = (): void => {
    if (ran !== planned && file !== "") failed.set(file, `${ran} of ${planned} tests ran`);
    [planned, ran] = [0, 0];
  };
  for (const line of output.split("\n")) {
    const [, name] = /^file (.*)$/.exec(line) ?? [];
    if (name !== undefined) {
      endOfFile();
      file = name;
      continue;
    }
    const [, plan] = /^1\.\.(\d+)$/.exec(line) ?? [];
    if (plan !== undefined) planned = Number(plan);
    const [, not, number, rest = ""] = /^(not )?ok (\d+)(.*)$/.exec(line) ?? [];
    if (number === undefined) continue;
    if (number !== "0") ran++;
    if (not === undefined || rest.includes("# TODO")) passed++;
    else failed.set(`${file}:${number}`, rest.replace(/^ - /, ""));
  }
  endOfFile();
  return { passed, failed, skipped: new Map() };
}
