/** A download, a dump, a log, a database: bytes into a file of the upper layer. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { inPassthrough, NINE_TENTHS } from "./goals.js";
import { expect, perOperation, throughput, type Cell, type Scenario } from "./scenario.js";

const file = (cell: Cell) => join(cell.scratch, "file");
const bytes = (cell: Cell) => cell.sizes.largeMiB * 2 ** 20;
const base = { group: "Writing", fixture: "large", layered: false } as const;
const goals = inPassthrough(NINE_TENTHS);

export const writeSequential: Scenario = {
  ...base,
  name: "write-sequential",
  about: "a large new file written in order, 128 KiB at a time, until close",
  unit: "MB/s",
  goals,
  run: (cell) => throughput(cell.work("write", file(cell), String(1 << 17), String(bytes(cell)))),
  check(cell) {
    expect("size", statSync(file(cell)).size, bytes(cell));
  },
};

export const writeRandom: Scenario = {
  ...base,
  name: "write-random",
  about: "4 KiB writes at random places of a file of the upper layer",
  unit: "µs",
  goals,
  setup(cell) {
    cell.work("write", file(cell), String(1 << 20), String(bytes(cell) / 4));
  },
  run: (cell) => perOperation(cell.work("write-at", file(cell), "4096", String(cell.sizes.writes))),
  check(cell, { work }) {
    expect("writes", work?.ops, cell.sizes.writes);
    expect("size", statSync(file(cell)).size, bytes(cell) / 4);
  },
};

export const append: Scenario = {
  ...base,
  name: "append",
  about: "lines of 100 bytes appended to a log that stays open",
  unit: "µs",
  goals,
  run: (cell) => perOperation(cell.work("append", file(cell), "100", String(cell.sizes.writes * 5))),
  check(cell) {
    expect("size", statSync(file(cell)).size, cell.sizes.writes * 500);
  },
};

export const writeSync: Scenario = {
  ...base,
  name: "write-fsync",
  about: "4 KiB appended and fsynced, as a journal does",
  unit: "µs",
  run: (cell) => perOperation(cell.work("write-sync", file(cell), "4096", String(cell.sizes.syncs))),
  check(cell) {
    expect("size", statSync(file(cell)).size, cell.sizes.syncs * 4096);
  },
};
