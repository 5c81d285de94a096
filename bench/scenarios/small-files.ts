/** grep -r, a bundler, a backup: every one of many small files from begin to end. */
import { join } from "node:path";
import { expect, total, type Cell, type Measured, type Scenario } from "./scenario.js";
import { fiveTimesUnprivileged, inCached } from "./goals.js";

const read = (cell: Cell) => cell.work("read-all", join(cell.root, "small"));

const base = {
  group: "Reading",
  unit: "ms",
  fixture: "tree",
  layered: true,
  run: (cell: Cell) => total(read(cell)),
  check(cell: Cell, { work }: Measured) {
    expect("files", work?.ops, cell.sizes.smallFiles);
    expect("contents", read(cell).sum, work?.sum);
  },
} as const;

export const smallFilesCold: Scenario = { ...base, name: "small-files-cold", about: "10,000 small files listed and read, nothing cached", cold: true };

export const smallFilesWarm: Scenario = {
  ...base,
  name: "small-files-warm",
  about: "10,000 small files listed and read again",
  goals: [...inCached(1), ...fiveTimesUnprivileged],
  setup(cell) {
    read(cell);
  },
};
