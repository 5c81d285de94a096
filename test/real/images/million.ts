/** A chain of 100 layers and a million entries: merged, opened, looked up in; beside the same entries in one layer. */
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { openStore, type Store } from "../../../lib/store/store.js";
import { chainIdOf, type Digest } from "../../../lib/store/digest.js";
import { ROOT_ROW } from "../../../lib/store/index-reader.js";
import { LayerTree } from "../../../lib/store/layer-tree.js";
import { directory, file, id } from "../../store/trees.js";
import { step } from "./shell.js";

const FILES = 980_000;
const DIRECTORIES = 20_000;
const nameOf = (i: number): string[] => [`part-${i % 20}`, `directory-${i % DIRECTORIES}`, `some-file-name-${i}.js`];

export async function millionEntries(ground: string): Promise<void> {
  mkdirSync(join(ground, "million"));
  const store = await openStore(join(ground, "million/store"), { create: true });
  const one = await fill(store, 1);
  const hundred = await fill(store, 100);
  for (const layers of [one, hundred]) await measure(store, layers);
}

/** A function of its own: while the memory of one chain is measured, no variable holds another. */
async function measure(store: Store, layers: readonly Digest[]): Promise<void> {
  const started = performance.now();
  (await store.openChain(layers, "merge")).close();
  const mergeMs = performance.now() - started;
  const opens: number[] = [];
  for (let i = 0; i < 9; i++) {
    const at = performance.now();
    store.openChainIndex(chainIdOf(layers)).close();
    opens.push(performance.now() - at);
  }
  const before = await memoryInUse();
  const index = store.openChainIndex(chainIdOf(layers));
  const memory = (await memoryInUse()) - before;
  const at = performance.now();
  let found = 0;
  for (let i = 0; i < FILES; i += 7) {
    let row = ROOT_ROW;
    for (const name of nameOf(i)) row = index.find(row, name);
    if (row > 0) found++;
  }
  const lookups = (performance.now() - at) / found;
  if (found !== Math.ceil(FILES / 7)) throw new Error(`found ${found} of ${Math.ceil(FILES / 7)} files`);
  step(`${index.rows} objects in ${layers.length} layer${layers.length === 1 ? "" : "s"}: merged in ${(mergeMs / 1000).toFixed(2)} s, opens in ${opens.sort((a, b) => a - b)[4]!.toFixed(1)} ms, `
    + `${(memory / index.rows).toFixed(1)} bytes of memory and ${(statSync(store.chainPath(chainIdOf(layers))).size / index.rows).toFixed(1)} in the file per entry, a path of 3 names in ${(lookups * 1000).toFixed(2)} us`);
  index.close();
}

/** Buffers that nobody has any more are given back by another thread, some time after a collection: what stays the same has settled. */
async function memoryInUse(): Promise<number> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let last = Infinity, same = 0; ; ) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const { heapUsed, external } = process.memoryUsage();
    same = Math.abs(heapUsed + external - last) < 1 << 16 ? same + 1 : 0;
    last = heapUsed + external;
    if (same === 3) return last;
  }
}

/** Puts the entries into so many layers, drawn by number, and publishes these. */
async function fill(store: Store, count: number): Promise<Digest[]> {
  const writer = await store.write("a million entries");
  const layers: Digest[] = [];
  try {
    for (let layer = 0; layer < count; layer++) {
      const tree = new LayerTree();
      for (let i = layer; i < FILES; i += count) {
        const path = nameOf(i);
        if (tree.get(path.slice(0, 2)) === undefined) tree.put(path.slice(0, 2), directory({ mtimeSec: i }));
        tree.put(path, file(`${i}`.padStart(100, "x"), { mtimeSec: i }));
      }
      const diffId = id(`layer ${layer} of ${count}`);
      await writer.addLayer(diffId, tree.write(store.hash, diffId));
      layers.push(diffId);
    }
    await writer.publish();
  } finally {
    await writer.end();
  }
  return layers;
}
