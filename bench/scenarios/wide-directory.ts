/** A mail spool, a cache, a photo folder: one directory with 100,000 entries. */
import { join } from "node:path";
import { expect, total, type Cell, type Measured, type Scenario } from "./scenario.js";

const wide = (cell: Cell) => join(cell.root, "wide");

const base = {
  group: "Looking around",
  unit: "ms",
  fixture: "wide",
  layered: true,
  check(cell: Cell, { work }: Measured) {
    expect("entries", work?.ops, cell.sizes.wideEntries);
  },
} as const;

export const wideListCold: Scenario = { ...base, name: "wide-list-cold", about: "ls of 100,000 names, nothing cached", cold: true, run: (cell) => total(cell.work("list", wide(cell))) };

export const wideListWarm: Scenario = {
  ...base,
  name: "wide-list-warm",
  about: "ls of 100,000 names again",
  setup(cell) {
    cell.work("list", wide(cell));
  },
  run: (cell) => total(cell.work("list", wide(cell))),
};

export const wideStatCold: Scenario = { ...base, name: "wide-stat-cold", about: "ls -l of 100,000 names, nothing cached", cold: true, run: (cell) => total(cell.work("walk", wide(cell))) };
