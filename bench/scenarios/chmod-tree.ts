/** chmod -R or chown -R over what came with the image: the classic way to double a container's size. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { inBoth } from "./goals.js";
import { expect, perOperation, type Scenario } from "./scenario.js";

export const chmodTree: Scenario = {
  name: "chmod-tree",
  group: "Changing the tree",
  about: "chmod -R of 10,000 lower files",
  unit: "µs",
  fixture: "tree",
  layered: true,
  changesLowers: true,
  goals: inBoth(1),
  setup(cell) {
    cell.work("walk", join(cell.root, "small"));
  },
  run: (cell) => perOperation(cell.work("chmod-tree", join(cell.root, "small"))),
  check(cell, { work }) {
    expect("entries", work?.ops, cell.sizes.smallFiles + Math.ceil(cell.sizes.smallFiles / 100));
    // The fixture's files are 0644.
    expect("mode", statSync(join(cell.root, "small/d00/f0000")).mode & 0o777, 0o604);
  },
};
