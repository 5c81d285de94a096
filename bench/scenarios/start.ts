/** From nothing to something: a mount, a first look through it, a process in it. */
import { join } from "node:path";
import { readdirSync } from "node:fs";
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
  about: "mount, then a static program run with the tree as its root in new mount, pid, uts and ipc namespaces, until it has ended",
  unit: "ms",
  fixture: "program",
  layered: true,
  mounts: true,
  needs: ["unshare", "chroot"],
  run(cell) {
    const { ms, output } = cell.start([join("/", "bin/hello")]);
    return { value: ms, operations: 1, output };
  },
  check(_, { output }) {
    expect("output", output, "hello\n");
  },
};
