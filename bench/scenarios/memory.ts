/** What a mount costs in memory: its daemon, and second copies of what files hold. */
import { closeSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import { expect, type Scenario } from "./scenario.js";

/** With one mount, then with more: what each further one costs shows whether they share anything. */
export const memoryPerMount: readonly Scenario[] = [0, 1, 2].map((which): Scenario => ({
  name: `memory-per-mount-${["one", "ten", "forty"][which]}`,
  group: "Memory",
  about: `memory of the daemons per mount, ${["one mount", "ten mounts of the same lowers", "forty mounts of the same lowers"][which]}, the root of each listed`,
  unit: "MiB",
  fixture: "tree",
  layered: which === 1,
  only: "daemons",
  run(cell) {
    const count = cell.sizes.mounts[which] as number;
    const roots = [cell.root];
    while (roots.length < count) roots.push(cell.mountAnother());
    const listed = roots.filter((root) => readdirSync(root).includes("small")).length;
    return { value: cell.daemonKiB() / 1024 / count, operations: listed };
  },
  check(cell, { value, operations }) {
    expect("mounts that show the tree", operations, cell.sizes.mounts[which]);
    expect("a daemon takes memory", value > 0, true);
  },
}));

export const memoryUsed: Scenario = {
  name: "memory-after-walk",
  group: "Memory",
  about: "memory of the daemon after a walk of 30,000 entries and 10,000 files read",
  unit: "MiB",
  fixture: "tree",
  layered: true,
  only: "daemons",
  run(cell) {
    cell.work("walk", cell.root);
    const work = cell.work("read-all", join(cell.root, "small"));
    return { value: cell.daemonKiB() / 1024, operations: 1, work };
  },
  check(cell, { work }) {
    expect("files", work?.ops, cell.sizes.smallFiles);
  },
};

export const pageCache: Scenario = {
  name: "page-cache-two-mounts",
  group: "Memory",
  about: "page cache taken by one large lower file read through two mounts, in sizes of the file; wants a quiet machine",
  unit: "×",
  fixture: "large",
  layered: false,
  cold: true,
  run(cell) {
    const second = cell.mountAnother();
    const before = cell.pageCacheBytes();
    for (const root of [cell.root, second]) cell.work("read", join(root, "large"), String(1 << 17));
    return { value: (cell.pageCacheBytes() - before) / (cell.sizes.largeMiB * 2 ** 20), operations: 1, output: second };
  },
  check(cell, { output }) {
    const byte = Buffer.alloc(4);
    const fd = openSync(join(output ?? "", "large"), "r");
    readSync(fd, byte, 0, 4, 2 ** 20);
    closeSync(fd);
    expect("stamp through the second mount", byte.readUInt32LE(0), cell.sizes.largeMiB > 1 ? 1 : 0);
  },
};

export const pageCacheMany: Scenario = {
  name: "page-cache-twenty-mounts",
  group: "Memory",
  about: "page cache taken by the small files read through twenty mounts of the same lowers; wants a quiet machine",
  unit: "MiB",
  fixture: "tree",
  layered: false,
  cold: true,
  run(cell) {
    const roots = [cell.root];
    while (roots.length < 2 * cell.sizes.mounts[1]) roots.push(cell.mountAnother());
    const before = cell.pageCacheBytes();
    let ops = 0;
    for (const root of roots) ops += cell.work("read-all", join(root, "small")).ops;
    return { value: (cell.pageCacheBytes() - before) / 2 ** 20, operations: ops };
  },
  check(cell, { operations }) {
    expect("files", operations, 2 * cell.sizes.mounts[1] * cell.sizes.smallFiles);
  },
};
