/** `stratafs inspect`: all that the store knows of an image or container, as one JSON document. */
import { layerTarBytes, readConfig, storeStats, type Digest, type Store } from "../index.js";
import { readArguments, takeArguments } from "./arguments.js";
import { print } from "./output.js";
import { storeFor, storeOption, targetOf } from "./store-options.js";

/** Throws UsageError, StoreError. */
export async function inspectCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("inspect", args, { ...storeOption, json: { type: "boolean" } } as const);
  const [name] = takeArguments("inspect", positionals, "IMAGE|CONTAINER");
  const store = await storeFor(values.store);
  const target = targetOf(store, name);
  const { layers, config } = target.kind === "image" ? target.image : target.container;
  const described = {
    kind: target.kind,
    ...(target.kind === "image" ? { name: target.image.name, manifest: spelt(target.image.manifest), size: sizeOf(store, name) } : {
      name: target.container.name, image: target.container.image, created: new Date(target.container.createdMs).toISOString(), folder: `${store.folder("containers")}/${name}`,
    }),
    id: spelt(config),
    layers: layers.map((layer) => ({ diffId: spelt(layer), ...sizesOf(store, layer) })),
    config: readConfig(store, config),
  };
  print(JSON.stringify(described, undefined, 2));
  return 0;
}

function sizeOf(store: Store, name: string): object | undefined {
  const found = storeStats(store).images.find((image) => image.name === name);
  return found === undefined ? undefined : { logicalBytes: found.logicalBytes, uniqueBytes: found.uniqueBytes, sharedBytes: found.sharedBytes };
}

function sizesOf(store: Store, layer: Digest): { objects: number; rows: number; tarBytes: number } {
  const index = store.openLayer(layer);
  try {
    return { rows: index.rows, objects: index.digestCount, tarBytes: layerTarBytes(store, layer) };
  } finally {
    index.close();
  }
}

const spelt = (digest: Digest | undefined): string | undefined => (digest === undefined ? undefined : `sha256:${digest}`);
