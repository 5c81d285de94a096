/** From nothing to something: a mount, a first look through it, a process in it. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { chainDirectories, chainFile } from "../fixtures/chain.js";
import { expect, type Scenario } from "./scenario.js";

export const mountLatency: Scenario = {
  name: "mount",
  group: "Starting",
  about: "the mount command, from its start to its return",
  unit: "ms",
  fixture: "tree",
  layered: true,
  mounts: true,
  only: "mounts",
  run: (cell) => ({ value: cell.mount(), operations: 1 }),
  check(cell) {
    expect("names at the root", readdirSync(cell.root).filter((name) => name === "small" || name === "usr").length, 2);
  },
};

export const mountAndWalk: Scenario = {
  name: "mount-and-walk-cold",
  group: "Starting",
  about: "mount and a first walk of the whole tree, nothing cached: no work can hide before the clock starts",
  unit: "ms",
  fixture: "tree",
  layered: true,
  mounts: true,
  cold: true,
  run(cell) {
    const mounted = cell.mount();
    const work = cell.work("walk", cell.root);
    return { value: mounted + work.ns / 1e6, operations: work.ops, work };
  },
  check(cell, { work }) {
    expect("sum of sizes", work?.bytes, cell.facts.bytes);
  },
};

export const containerStart: Scenario = {
  name: "container-start",
  group: "Starting",
  about: "mount, then a static program run with the tree as its root in new mount, pid, uts and ipc namespaces, until its first output",
  unit: "ms",
  fixture: "program",
  layered: true,
  mounts: true,
  needs: ["unshare", "chroot"],
  async run(cell) {
    const { ms, output } = await cell.start([join("/", "bin/hello")]);
    return { value: ms, operations: 1, output };
  },
  check(_, { output }) {
    expect("output", output, "hello\n");
  },
};

export const mountChain: Scenario = {
  name: "mount-chain-cold",
  group: "Starting",
  about: "mount of ten lowers with 1,000,000 files, nothing cached, and stat of a file in each of a hundred directories",
  unit: "ms",
  fixture: "chain",
  layered: false,
  mounts: true,
  cold: true,
  only: "mounts",
  run(cell) {
    const directories = chainDirectories(cell.sizes);
    const step = Math.max(1, directories / 100);
    const started = performance.now();
    cell.mount();
    let found = 0;
    for (let d = 0; d < directories; d += step) if (statSync(join(cell.root, chainFile(d, d % 100))).isFile()) found++;
    return { value: performance.now() - started, operations: found };
  },
  check(cell, { operations }) {
    expect("files", operations, Math.min(100, chainDirectories(cell.sizes)));
    const [first, last] = [0, chainDirectories(cell.sizes) - 1].map((d) => readdirSync(join(cell.root, chainFile(d, 0), "..")).length);
    expect("names in the first and last directory", `${first} ${last}`, "100 100");
  },
};
