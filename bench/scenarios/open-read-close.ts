/** A server or an interpreter that opens the same files again and again. */
import { join } from "node:path";
import { fiveTimesUnprivileged, inCached } from "./goals.js";
import { expect, perOperation, type Cell, type Scenario } from "./scenario.js";

const files = (cell: Cell) => Math.min(1000, cell.sizes.smallFiles);
const rounds = (cell: Cell) => (cell.sizes.name === "full" ? 20 : 2);

export const openReadClose: Scenario = {
  name: "open-read-close",
  group: "Reading",
  about: "1,000 small files opened, read and closed by path, over and over",
  unit: "µs",
  fixture: "tree",
  layered: true,
  goals: [...inCached(1.2), ...fiveTimesUnprivileged],
  setup(cell) {
    cell.work("open-read-close", join(cell.root, "small"), String(files(cell)), "1");
  },
  run: (cell) => perOperation(cell.work("open-read-close", join(cell.root, "small"), String(files(cell)), String(rounds(cell)))),
  check(cell, { work }) {
    expect("opens", work?.ops, files(cell) * rounds(cell));
  },
};
