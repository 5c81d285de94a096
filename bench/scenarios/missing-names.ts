/** Module resolution, PATH search, include paths: most of what they ask for is not there. */
import { join } from "node:path";
import { inBoth } from "./goals.js";
import { expect, perOperation, type Cell, type Scenario } from "./scenario.js";

const names = (cell: Cell) => (cell.sizes.name === "full" ? 8000 : 160);
const ask = (cell: Cell, rounds: number) => cell.work("missing", join(cell.root, "small"), String(names(cell)), String(rounds));

const base = { group: "Looking around", unit: "µs", fixture: "tree", layered: true } as const;

export const missingFirst: Scenario = {
  ...base,
  name: "missing-names-first",
  about: "stat of names that do not exist, each for the first time",
  run: (cell) => perOperation(ask(cell, 1)),
  check(cell, { work }) {
    expect("names asked for", work?.ops, names(cell));
  },
};

export const missingAgain: Scenario = {
  ...base,
  name: "missing-names-again",
  about: "stat of names that do not exist, asked before",
  goals: inBoth(1),
  setup(cell) {
    ask(cell, 1);
  },
  run: (cell) => perOperation(ask(cell, 10)),
  check(cell, { work }) {
    expect("names asked for", work?.ops, names(cell) * 10);
  },
};
