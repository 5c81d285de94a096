/** find, du, ls -lR, a scanner: every entry of the tree, with its attributes. */
import { expect, total, type Cell, type Measured, type Scenario } from "./scenario.js";
import { inBoth, sameOverManyLowers } from "./goals.js";

const base = {
  group: "Looking around",
  unit: "ms",
  fixture: "tree",
  layered: true,
  run: (cell: Cell) => total(cell.work("walk", cell.root)),
  check(cell: Cell, { work }: Measured) {
    // The harness's own empty scratch directory is in the tree as well, but for `plain`.
    const entries = cell.facts.entries + (cell.scratch.startsWith(`${cell.root}/`) ? 1 : 0);
    expect("entries", work?.ops, entries);
    expect("sum of sizes", work?.bytes, cell.facts.bytes);
  },
} as const;

export const walkCold: Scenario = { ...base, name: "walk-cold", about: "first walk with stat of the whole tree, nothing cached", cold: true, goals: [...inBoth(0.3), ...sameOverManyLowers] };

export const walkWarm: Scenario = {
  ...base,
  name: "walk-warm",
  about: "the same walk again",
  goals: inBoth(1),
  setup(cell) {
    cell.work("walk", cell.root);
  },
};
