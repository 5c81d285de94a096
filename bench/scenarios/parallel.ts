/** Several processes at once, each on its own part: what one serving thread costs when it is shared. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, total, type Cell, type Scenario } from "./scenario.js";

const rounds = (cell: Cell) => (cell.sizes.name === "full" ? 20 : 2);
const creates = (cell: Cell) => (cell.sizes.name === "full" ? 2000 : 100);

function opens(processes: number): Scenario {
  const files = (cell: Cell) => Math.min(1000, cell.sizes.smallFiles);
  const run = (cell: Cell, times: number) =>
    cell.work("-p", String(processes), "open-read-close", join(cell.root, "small"), String(files(cell)), String(times));
  return {
    name: `parallel-open-${processes}`,
    group: "Several processes",
    about: `${processes} processes open, read and close the same 1,000 small files; time until all have done 20 rounds`,
    unit: "ms",
    fixture: "tree",
    layered: false,
    setup(cell) {
      run(cell, 1);
    },
    run: (cell) => total(run(cell, rounds(cell))),
    check(cell, { work }) {
      expect("opens", work?.ops, processes * files(cell) * rounds(cell));
    },
  };
}

function walks(processes: number): Scenario {
  return {
    name: `parallel-walk-${processes}`,
    group: "Several processes",
    about: `${processes} processes walk the whole tree at once, nothing cached`,
    unit: "ms",
    fixture: "tree",
    layered: false,
    cold: true,
    run: (cell) => total(cell.work("-p", String(processes), "walk", cell.root)),
    check(cell, { work }) {
      expect("sum of sizes", work?.bytes, processes * cell.facts.bytes);
    },
  };
}

function creations(processes: number): Scenario {
  return {
    name: `parallel-create-${processes}`,
    group: "Several processes",
    about: `${processes} processes unpack 2,000 files each into directories of their own`,
    unit: "ms",
    fixture: "tree",
    layered: false,
    setup(cell) {
      for (let i = 0; i < processes; i++) mkdirSync(join(cell.scratch, String(i)));
    },
    run: (cell) => total(cell.work("-p", String(processes), "create", join(cell.scratch, "%"), String(creates(cell)))),
    check(cell) {
      expect("files", cell.work("read-all", cell.scratch).ops, processes * creates(cell));
    },
  };
}

export const parallel: readonly Scenario[] = [2, 4].flatMap((processes) => [opens(processes), walks(processes), creations(processes)]);
