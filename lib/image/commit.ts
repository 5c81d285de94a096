/**
 * New images from what is in the store, without an archive in between: a container's changes as one more layer (commit), all layers of
 * an image as one (squash), a directory of this machine as an image of one layer.
 * Invariant: as for an import, an image gets its name only when all of it is durable.
 */
import { DirectoryLayer } from "../layer/directory-layer.js";
import type { IdMapOptions } from "../layer/ids.js";
import { holdContainer, type HeldContainer } from "../store/containers.js";
import { digestOf, type Digest } from "../store/digest.js";
import { StoreError } from "../store/errors.js";
import { checkImageName, type ImageRef } from "../store/refs.js";
import type { Store } from "../store/store.js";
import type { StoreWriter } from "../store/store-writer.js";
import { configWith, readConfig } from "./config.js";
import { ImageError } from "./errors.js";
import type { Fields } from "./json.js";
import { LayerBuilder, type BuiltLayer } from "./layer-build.js";
import { addChain, addUpper, type TreeWalkResult } from "./tree-walk.js";

export interface CommitOptions {
  /** Names for the new image; at least one. */
  readonly names: readonly string[];
  /** Kept in the image's history. */
  readonly message?: string | undefined;
  readonly author?: string | undefined;
  /** Unix seconds: the time of creation, and the latest modification time in the layer. With it, equal trees give equal images. */
  readonly epochSec?: number | undefined;
  /** How ids of the upper are presented. */
  readonly ids?: IdMapOptions | undefined;
  /** What the new image's configuration says instead of the old one's: fields of its "config". */
  readonly config?: Fields | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: ((event: CommitEvent) => void) | undefined;
}

export type CommitEvent =
  /** Bytes of files hashed so far. */
  | { readonly type: "progress"; readonly bytes: number }
  /** A socket, which no layer can hold; latin1. */
  | { readonly type: "skipped"; readonly path: string }
  | { readonly type: "image"; readonly image: CommittedImage };

export interface CommittedImage {
  readonly names: readonly string[];
  /** diffIDs, bottom-up. */
  readonly layers: readonly Digest[];
  readonly config: Digest;
  /** The new layer; undefined when nothing had changed. */
  readonly layer: BuiltLayer | undefined;
  /** Bytes of objects that the store did not have before. */
  readonly addedBytes: number;
}

const optionNames = new Set(["names", "message", "author", "epochSec", "ids", "config", "signal", "onEvent"]);

/**
 * The changes of a container as one more layer of its image. Throws ERR_STORE_MISSING, ERR_STORE_BUSY while the container is in use,
 * ERR_STORE_FULL; EIO for a metadata-only file whose data the image does not have; the signal's reason.
 */
export async function commitContainer(store: Store, container: string, options: CommitOptions): Promise<CommittedImage> {
  check(options, "commitContainer");
  const held = await holdContainer(store, container);
  try {
    return await commitHeld(store, held, options);
  } finally {
    held.release();
  }
}

async function commitHeld(store: Store, { container, upper: path }: HeldContainer, options: CommitOptions): Promise<CommittedImage> {
  const chain = await store.openChain(container.layers, `commit of ${container.name}`);
  const upper = DirectoryLayer.open(path, options.ids === undefined ? {} : { ids: options.ids });
  try {
    return await withNewLayer(store, `commit of ${container.name}`, options, (builder, writer) => addUpper(builder, writer, upper, chain.index), (layer) => {
      const layers = layer === undefined ? container.layers : [...container.layers, layer.diffId];
      const document = withFields(readConfig(store, container.config), options.config);
      return { layers, config: configWith(document, layers, stepOf("stratafs commit", options), createdOf(options), { empty: layer === undefined }) };
    });
  } finally {
    upper.close();
    chain.close();
  }
}

/** All layers of an image as one. Throws ERR_STORE_MISSING, ERR_STORE_FULL, the signal's reason. */
export async function squashImage(store: Store, image: string, options: CommitOptions): Promise<CommittedImage> {
  check(options, "squashImage");
  const ref = imageOf(store, image);
  const chain = await store.openChain(ref.layers, `squash of ${image}`);
  try {
    const nothing: TreeWalkResult = { addedBytes: 0, skipped: [] };
    return await withNewLayer(store, `squash of ${image}`, options, (builder) => addChain(builder, chain.index).then(() => nothing), (layer) => {
      const layers = [(layer as BuiltLayer).diffId];
      return { layers, config: configWith(withFields(readConfig(store, ref.config), options.config), layers, stepOf("stratafs squash", options), createdOf(options), { alone: true }) };
    });
  } finally {
    chain.close();
  }
}

/** A directory with all in it as an image of one layer. Marks in it mean nothing; what is mounted in it is left out. Throws as squashImage(). */
export async function importDirectory(store: Store, path: string, options: CommitOptions): Promise<CommittedImage> {
  check(options, "importDirectory");
  const layer = DirectoryLayer.open(path, { honour: { redirect: false, metacopy: false }, ...(options.ids === undefined ? {} : { ids: options.ids }) });
  try {
    return await withNewLayer(store, `import of ${path}`, options, (builder, writer) => addUpper(builder, writer, layer, undefined), (built) => {
      const layers = [(built as BuiltLayer).diffId];
      return { layers, config: configWith(withFields(readConfig(store, undefined), options.config), layers, stepOf("stratafs import", options), createdOf(options)) };
    });
  } finally {
    layer.close();
  }
}

/** Throws ERR_STORE_MISSING. */
export function imageOf(store: Store, name: string): ImageRef {
  const ref = store.image(name);
  if (ref === undefined) throw new StoreError("ERR_STORE_MISSING", `no image ${name} in ${store.path}`);
  return ref;
}

type Fill = (builder: LayerBuilder, writer: StoreWriter) => Promise<TreeWalkResult>;
type Describe = (layer: BuiltLayer | undefined) => { readonly layers: readonly Digest[]; readonly config: Buffer };

async function withNewLayer(store: Store, purpose: string, options: CommitOptions, fill: Fill, describe: Describe): Promise<CommittedImage> {
  const { names, signal, onEvent } = options;
  const writer = await store.write(purpose);
  let bytes = 0;
  const builder = new LayerBuilder(writer, store.hash, {
    epochSec: options.epochSec, signal,
    onBytes: (count) => {
      bytes += count;
      onEvent?.({ type: "progress", bytes });
    },
  });
  try {
    const { addedBytes, skipped } = await fill(builder, writer);
    for (const path of skipped) onEvent?.({ type: "skipped", path });
    const layer = builder.entries > 0 ? await builder.finish() : undefined;
    const { layers, config } = describe(layer);
    await writer.putBytes(config);
    signal?.throwIfAborted();
    await writer.publish();
    const image: CommittedImage = { names, layers, config: digestOf(config), layer, addedBytes };
    for (const name of names) await store.setImage({ name, layers, config: image.config, manifest: undefined });
    onEvent?.({ type: "image", image });
    return image;
  } finally {
    builder.abandon();
    await writer.end();
  }
}

function check(options: CommitOptions, call: string): void {
  for (const key of Object.keys(options)) if (!optionNames.has(key)) throw new TypeError(`unknown option ${key} of ${call}`);
  if (options.names.length === 0) throw new ImageError("ERR_IMAGE_MISSING", "expected a name for the new image");
  for (const name of options.names) checkImageName(name);
  options.signal?.throwIfAborted();
}

function withFields(document: Fields, fields: Fields | undefined): Fields {
  return fields === undefined ? document : { ...document, config: { ...(document["config"] as Fields | undefined), ...fields } };
}

function stepOf(created_by: string, { message, author }: CommitOptions): { created_by: string; comment?: string; author?: string } {
  return { created_by, ...(message === undefined ? {} : { comment: message }), ...(author === undefined ? {} : { author }) };
}

const createdOf = ({ epochSec }: CommitOptions): number => (epochSec === undefined ? Date.now() : epochSec * 1000);
