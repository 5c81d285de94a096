/** Removing and renaming, of files that came from below (whiteouts, copy-ups) and of files just made. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { inBoth } from "./goals.js";
import { expect, perOperation, type Cell, type Scenario } from "./scenario.js";

const lower = (cell: Cell) => join(cell.root, "small");
const files = (cell: Cell) => Math.min(5000, cell.sizes.smallFiles);
const make = (cell: Cell) => cell.work("create", cell.scratch, String(files(cell)));

const base = { group: "Changing the tree", unit: "µs", fixture: "tree", layered: true } as const;

export const unlinkLower: Scenario = {
  ...base,
  name: "unlink-lower",
  about: "files of lower layers deleted",
  changesLowers: true,
  goals: inBoth(2),
  setup(cell) {
    cell.work("walk", lower(cell));
  },
  run: (cell) => perOperation(cell.work("unlink", lower(cell), String(files(cell)))),
  check(cell) {
    expect("files left", cell.work("read-all", lower(cell)).ops, cell.sizes.smallFiles - files(cell));
    expect("f0000 is there", existsSync(join(lower(cell), "d00/f0000")), false);
  },
};

export const unlinkNew: Scenario = {
  ...base,
  name: "unlink-new",
  about: "files just made deleted",
  goals: inBoth(2),
  setup: make,
  run: (cell) => perOperation(cell.work("unlink", cell.scratch, String(files(cell)))),
  check(cell) {
    expect("files left", cell.work("read-all", cell.scratch).ops, 0);
  },
};

export const removeTree: Scenario = {
  ...base,
  name: "remove-tree",
  about: "rm -r of a directory of lower files",
  changesLowers: true,
  run: (cell) => perOperation(cell.work("remove-tree", lower(cell))),
  check(cell, { work }) {
    expect("entries removed", work?.ops, cell.sizes.smallFiles + Math.ceil(cell.sizes.smallFiles / 100));
    expect("entries left", readdirSync(lower(cell)).length, 0);
  },
};

const renamed = (cell: Cell, directory: string): void => {
  expect("first file", readdirSync(join(directory, "d00")).filter((name) => name.startsWith("renamed-")).length, 100);
  expect("files", cell.work("read-all", directory).ops, directory === cell.scratch ? files(cell) : cell.sizes.smallFiles);
};

export const renameLower: Scenario = {
  ...base,
  name: "rename-lower",
  about: "files of lower layers renamed",
  changesLowers: true,
  setup(cell) {
    cell.work("walk", lower(cell));
  },
  run: (cell) => perOperation(cell.work("rename", lower(cell), String(files(cell)))),
  check: (cell) => renamed(cell, lower(cell)),
};

export const renameNew: Scenario = {
  ...base,
  name: "rename-new",
  about: "files just made renamed, as programs that save safely do",
  setup: make,
  run: (cell) => perOperation(cell.work("rename", cell.scratch, String(files(cell)))),
  check: (cell) => renamed(cell, cell.scratch),
};
