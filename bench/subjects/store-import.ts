/**
 * A program: makes a store that keeps lower directories as the layers of an image.
 *
 *   store-import.js STORE IMAGE LOWER…   topmost first; STORE must not exist yet
 */
import { renameSync, rmSync } from "node:fs";
import { importDirectory } from "../../lib/image/commit.js";
import { openStore } from "../../lib/store/store.js";

async function importAll(path: string, name: string, lowers: readonly string[]): Promise<void> {
  const staged = `${path}.${process.pid}`;
  try {
    const store = await openStore(staged, { create: true });
    const layers = [];
    for (const lower of [...lowers].reverse()) layers.push(...(await importDirectory(store, lower, { names: [name] })).layers);
    const { config } = store.image(name)!;
    await store.setImage({ name, layers, config, manifest: undefined });
    (await store.openChain(layers, "bench")).close();
    renameSync(staged, path);
  } finally {
    rmSync(staged, { recursive: true, force: true });
  }
}

const [store = "", image = "", ...lowers] = process.argv.slice(2);
await importAll(store, image, lowers);
