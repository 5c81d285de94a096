/** The first change of a large file that came with the image. */
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, total, type Cell, type Scenario } from "./scenario.js";

const file = (cell: Cell) => join(cell.root, "large");

export const copyUp: Scenario = {
  name: "copy-up-large",
  group: "Writing",
  about: "one byte written to a large lower file",
  unit: "ms",
  fixture: "large",
  layered: false,
  changesLowers: true,
  run: (cell) => total(cell.work("first-write", file(cell))),
  check(cell) {
    const bytes = Buffer.alloc(8);
    const fd = openSync(file(cell), "r");
    // The generator stamps each MiB with its number; the first byte is what was written.
    readSync(fd, bytes, 0, 4, 0);
    expect("first byte", bytes.toString("latin1", 0, 1), "X");
    const last = cell.sizes.largeMiB - 1;
    readSync(fd, bytes, 0, 4, last * 2 ** 20);
    closeSync(fd);
    expect("stamp of the last MiB", bytes.readUInt32LE(0), last);
    expect("size", statSync(file(cell)).size, cell.sizes.largeMiB * 2 ** 20);
  },
};
