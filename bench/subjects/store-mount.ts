/**
 * A program: keeps lower directories as the layers of an image in a store, and mounts the image.
 *
 *   store-mount.js import STORE LOWER…            topmost first; STORE must not exist yet
 *   store-mount.js mount STORE DATA UPPER WORK ROOT   returns when the mount is live; another process serves it
 */
import { spawn } from "node:child_process";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { importDirectory } from "../../lib/image/commit.js";
import { directoryUpper, storeLayer } from "../../lib/layer/description.js";
import { mount, overlay, type DataChoice } from "../../lib/mount.js";
import { openStore } from "../../lib/store/store.js";

const IMAGE = "lowers";

async function importAll(path: string, lowers: readonly string[]): Promise<void> {
  const staged = `${path}.${process.pid}`;
  try {
    const store = await openStore(staged, { create: true });
    const layers = [];
    for (const lower of [...lowers].reverse()) layers.push(...(await importDirectory(store, lower, { names: [IMAGE] })).layers);
    const { config } = store.image(IMAGE)!;
    await store.setImage({ name: IMAGE, layers, config, manifest: undefined });
    (await store.openChain(layers, "bench")).close();
    renameSync(staged, path);
  } finally {
    rmSync(staged, { recursive: true, force: true });
  }
}

async function serve(store: string, data: DataChoice, upper: string, workdir: string, root: string): Promise<void> {
  const tree = overlay({ lowers: [await storeLayer(store, IMAGE)], upper: directoryUpper(upper, { workdir }) });
  const { closed } = await mount(tree, root, { data });
  writeFileSync(3, "live");
  await closed;
}

const [command, store = "", ...rest] = process.argv.slice(2);
if (command === "import") {
  await importAll(store, rest);
} else if (command === "mount") {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), "serve", store, ...rest], { detached: true, stdio: ["ignore", "ignore", "inherit", "pipe"] });
  const said = child.stdio[3]!;
  process.exitCode = 1;
  said.once("data", () => {
    process.exitCode = 0;
    child.unref();
    said.destroy();
  });
} else if (command === "serve") {
  const [data = "", upper = "", workdir = "", root = ""] = rest;
  await serve(store, data as DataChoice, upper, workdir, root);
}
