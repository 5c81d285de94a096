/** Images: taken out of a layout, made of what a container changed, and what keeping them takes. */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, type Cell, type Scenario } from "./scenario.js";

const base = { group: "Images", fixture: "program", layered: false, only: "images", inputs: ["image"] } as const;

const newFiles = (cell: Cell) => (cell.sizes.name === "full" ? 2000 : 20);

/** The packages' files; elsewhere programs leave things of their own. */
const files = (cell: Cell, root: string) => cell.work("fingerprint", join(root, "usr"));

function expectWhole(cell: Cell, name: string): void {
  const wanted = files(cell, join(cell.input("image"), "root"));
  cell.images.container(name, (root) => {
    const found = files(cell, root);
    expect(`entries of usr in ${name}`, found.ops, wanted.ops);
    expect(`names, modes, owners, sizes and times of ${name}`, found.sum, wanted.sum);
  });
}

const timed = (run: () => void): number => {
  const started = performance.now();
  run();
  return performance.now() - started;
};

export const imageImport: Scenario = {
  ...base,
  name: "image-import",
  about: "an image of three layers, a Debian base with apt, python3 and git, imported until a root can be had of it",
  unit: "ms",
  run: (cell) => ({ value: timed(() => cell.images.import("layered")), operations: 1 }),
  check: (cell) => expectWhole(cell, "layered"),
};

export const imageAgain: Scenario = {
  ...base,
  name: "image-import-rebuilt",
  about: "the same files once more, in an image whose layers have other digests",
  unit: "ms",
  setup: (cell) => cell.images.import("layered"),
  run: (cell) => ({ value: timed(() => cell.images.import("rebuilt")), operations: 1 }),
  check: (cell) => expectWhole(cell, "rebuilt"),
};

export const imageCommit: Scenario = {
  ...base,
  name: "image-commit",
  about: "2,000 new files in a container of that image made a layer of a new image",
  unit: "ms",
  setup(cell) {
    cell.images.import("layered");
    cell.images.container("layered", (root) => {
      mkdirSync(join(root, "usr/new"));
      cell.work("create", join(root, "usr/new"), String(newFiles(cell)));
    });
  },
  run: (cell) => ({ value: timed(() => cell.images.commit("layered", "committed")), operations: newFiles(cell) }),
  check(cell) {
    const before = files(cell, join(cell.input("image"), "root")).ops;
    cell.images.container("committed", (root) => {
      expect("new files", cell.work("read-all", join(root, "usr/new")).ops, newFiles(cell));
      expect("entries", files(cell, root).ops, before + newFiles(cell) + Math.ceil(newFiles(cell) / 100) + 1);
    });
  },
};

export const storeSize: Scenario = {
  ...base,
  name: "store-size",
  about: "what the program keeps on the disk for both images, whose files are equal",
  unit: "MiB",
  run(cell) {
    cell.images.import("layered");
    cell.images.import("rebuilt");
    const { stdout } = spawnSync("du", ["-s", "--block-size=1", join(cell.outside, "images")], { encoding: "utf8" });
    return { value: Number.parseInt(stdout, 10) / 2 ** 20, operations: 2 };
  },
  check(cell) {
    expectWhole(cell, "layered");
    expectWhole(cell, "rebuilt");
  },
};
