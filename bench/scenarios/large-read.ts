/** A model, a database, a disk image in a lower layer: read in order, or mapped. */
import { join } from "node:path";
import { inPassthrough, NINE_TENTHS } from "./goals.js";
import { expect, throughput, type Cell, type Measured, type Scenario } from "./scenario.js";

const file = (cell: Cell) => join(cell.root, "large");
const read = (cell: Cell) => cell.work("read", file(cell), String(1 << 17));

const base = {
  group: "Reading",
  unit: "MB/s",
  fixture: "large",
  layered: false,
  check(cell: Cell, { work }: Measured) {
    expect("bytes", work?.bytes, cell.sizes.largeMiB * 2 ** 20);
  },
} as const;

export const readCold: Scenario = { ...base, name: "read-cold", about: "a large lower file read in order from the disk", cold: true, run: (cell) => throughput(read(cell)) };

export const readWarm: Scenario = {
  ...base,
  name: "read-warm",
  about: "a large lower file read in order again, 128 KiB at a time",
  goals: inPassthrough(NINE_TENTHS),
  setup(cell) {
    read(cell);
  },
  run: (cell) => throughput(read(cell)),
};

export const mapCold: Scenario = { ...base, name: "map-cold", about: "a large lower file mapped and touched, from the disk", cold: true, run: (cell) => throughput(cell.work("map", file(cell))) };

export const mapWarm: Scenario = {
  ...base,
  name: "map-warm",
  about: "a large lower file mapped and touched again",
  goals: inPassthrough(NINE_TENTHS),
  setup(cell) {
    cell.work("map", file(cell));
  },
  run: (cell) => throughput(cell.work("map", file(cell))),
};
