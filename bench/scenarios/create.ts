/** Unpacking: files made one after the other as tar makes them, and directories as mkdir -p makes them. */
import { join } from "node:path";
import { readFileSync, statSync } from "node:fs";
import { inBoth } from "./goals.js";
import { expect, perOperation, type Cell, type Scenario } from "./scenario.js";

const files = (cell: Cell) => (cell.sizes.name === "full" ? 5000 : 200);
const paths = (cell: Cell) => (cell.sizes.name === "full" ? 4000 : 100);

export const create: Scenario = {
  name: "create",
  group: "Changing the tree",
  about: "create, write, chmod, utimens and close of small files, as tar does",
  unit: "µs",
  fixture: "tree",
  layered: true,
  goals: inBoth(2),
  run: (cell) => perOperation(cell.work("create", cell.scratch, String(files(cell)))),
  check(cell) {
    const found = cell.work("walk", cell.scratch);
    expect("entries", found.ops, files(cell) + Math.ceil(files(cell) / 100));
    const stat = statSync(join(cell.scratch, "d00/f0001"), { bigint: true });
    expect("mode", Number(stat.mode & 0o777n), 0o644);
    expect("mtime", stat.mtimeNs, 1_500_000_000_123_456_789n);
    expect("content", readFileSync(join(cell.scratch, "d00/f0001")).length, 512 + 977);
  },
};

export const mkdirs: Scenario = {
  name: "mkdir-p",
  group: "Changing the tree",
  about: "directories four deep, made as mkdir -p does",
  unit: "µs",
  fixture: "tree",
  layered: true,
  run: (cell) => perOperation(cell.work("mkdirs", cell.scratch, String(paths(cell)))),
  check(cell, { work }) {
    expect("directories", cell.work("walk", cell.scratch).ops, work?.ops);
  },
};
