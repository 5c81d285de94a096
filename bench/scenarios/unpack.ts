/** tar xf of a source tree. */
import { join } from "node:path";
import { inBoth } from "./goals.js";
import { expect, type Scenario } from "./scenario.js";

export const unpack: Scenario = {
  name: "untar",
  group: "Real work",
  about: "tar xf of a real source tree, that of Python's library",
  unit: "ms",
  fixture: "tree",
  layered: true,
  needs: ["tar", "python3"],
  inputs: ["archive"],
  goals: inBoth(1.3),
  run(cell) {
    const { ms } = cell.command(["tar", "-xf", join(cell.input("archive"), "archive.tar"), "-C", cell.scratch]);
    return { value: ms, operations: cell.work("walk", join(cell.input("archive"), "tree")).ops };
  },
  check(cell) {
    const [made, wanted] = [cell.work("fingerprint", join(cell.scratch, "project")), cell.work("fingerprint", join(cell.input("archive"), "tree/project"))];
    expect("entries", made.ops, wanted.ops);
    expect("names, modes, owners, sizes and times", made.sum, wanted.sum);
    expect("contents", cell.work("read-all", cell.scratch).sum, cell.work("read-all", join(cell.input("archive"), "tree")).sum);
  },
};
