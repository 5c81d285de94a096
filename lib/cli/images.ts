/** `stratafs images`: the images of the store. */
import { readConfig, storeStats } from "../index.js";
import { readArguments, takeArguments } from "./arguments.js";
import { print } from "./output.js";
import { sizeText } from "./progress.js";
import { storeFor, storeOption } from "./store-options.js";
import { printTable, shortDigest } from "./table.js";

/** Throws UsageError, StoreError. */
export async function imagesCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("images", args, { ...storeOption, json: { type: "boolean" } } as const);
  takeArguments("images", positionals);
  const store = await storeFor(values.store);
  const sizes = new Map(storeStats(store).images.map((image) => [image.name, image]));
  const images = store.images().map(({ name, layers, config }) => {
    const { created } = readConfig(store, config);
    return { name, layers: layers.length, config, created: typeof created === "string" ? created : undefined, bytes: sizes.get(name)?.logicalBytes ?? 0, uniqueBytes: sizes.get(name)?.uniqueBytes ?? 0 };
  });
  if (values.json === true) {
    for (const image of images) print(JSON.stringify({ ...image, config: image.config === undefined ? undefined : `sha256:${image.config}` }));
  } else {
    printTable(["IMAGE", "ID", "LAYERS", "SIZE", "UNIQUE", "CREATED"], images.map(({ name, config, layers, bytes, uniqueBytes, created }) => [
      name, config === undefined ? "-" : shortDigest(config), String(layers), sizeText(bytes), sizeText(uniqueBytes), created?.slice(0, 19).replace("T", " ") ?? "-",
    ]));
  }
  return 0;
}
