/**
 * Imports an image into a store: an OCI image layout (directory or tar), a docker archive, or a bare tar of a root filesystem.
 * Invariant: an image gets its name only when all its layers and documents are in the store, durable and as announced; when
 * anything is wrong, the store shows nothing of it.
 */
import { createWriteStream, statSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { digestOf, type Digest } from "../store/digest.js";
import { asStoreError } from "../store/files.js";
import { checkImageName } from "../store/refs.js";
import type { Store } from "../store/store.js";
import type { StoreWriter } from "../store/store-writer.js";
import { TarError } from "../tar/errors.js";
import type { TarLimits } from "../tar/reader.js";
import { bytesOf, DirectoryBlobs, startOf, TarBlobs, type Blob, type Blobs } from "./blobs.js";
import { compressionOf } from "./decompress.js";
import type { AbsoluteNames } from "./entry-path.js";
import { ImageError } from "./errors.js";
import { importLayer, type ImportedLayer, type LayerImportOptions } from "./layer-import.js";
import { hostPlatform, planDockerArchive, planOciLayout, type Choice, type ImagePlan } from "./manifest.js";
import { startUnpacking } from "./unpacking-thread.js";

/** A path (a layout's directory or a tar file), or the bytes of a tar. */
export type ImageInput = string | AsyncIterable<Uint8Array>;

export interface ImportOptions extends Choice {
  /** Names for the image instead of its own; needed where it has none. */
  readonly names?: readonly string[];
  /** Bounds of each layer's tar. Defaults: 128 GiB, holding files of 256 GiB in all, and those of TarLimits. */
  readonly limits?: TarLimits;
  /** What to do with names in layers that begin with a slash. Default "refuse". */
  readonly absoluteNames?: AbsoluteNames;
  /** Keep compressed blobs that cannot be made again as they are, so that an export has them; they take their space. Default false. */
  readonly keepBlobs?: boolean;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: ImportEvent) => void;
}

export type ImportEvent =
  /** `total`: bytes of the layers' blobs, undefined when not known. */
  | { readonly type: "start"; readonly layers: number; readonly total: number | undefined }
  /** `bytes`: of blobs read so far, those of layers that the store had included. */
  | { readonly type: "progress"; readonly bytes: number }
  | { readonly type: "layer"; readonly diffId: Digest; readonly present: boolean; readonly layer: ImportedLayer | undefined }
  | { readonly type: "image"; readonly image: ImportedImage };

export interface ImportedImage {
  readonly names: readonly string[];
  /** diffIDs, bottom-up. */
  readonly layers: readonly Digest[];
  readonly config: Digest;
  readonly manifest: Digest | undefined;
  /** Bytes of objects that the store did not have before. */
  readonly addedBytes: number;
}

const optionNames = new Set(["names", "limits", "absoluteNames", "keepBlobs", "signal", "onEvent", "reference", "platform"]);

/** Throws ImageError, TarError, StoreError; what reading the input throws; the signal's reason. */
export async function importImage(store: Store, input: ImageInput, options: ImportOptions = {}): Promise<readonly ImportedImage[]> {
  for (const key of Object.keys(options)) if (!optionNames.has(key)) throw new TypeError(`unknown option ${key} of importImage`);
  for (const name of options.names ?? []) checkImageName(name);
  options.signal?.throwIfAborted();
  const writer = await store.write("import");
  try {
    const path = typeof input === "string" ? input : await spool(writer, input, options.signal);
    const where = typeof input === "string" ? `at ${input}` : "in the stream";
    const source = await openSource(path, where, options.signal);
    if (source.kind === "rootfs") return [await importRootfs(store, writer, path, where, options)];
    const plans = source.kind === "oci" ? [await planOciLayout(source.blobs, options)] : await planDockerArchive(source.blobs, options);
    if (plans.length > 1 && options.names !== undefined) throw new ImageError("ERR_IMAGE_MISSING", `expected one image for the names given, found ${plans.length}; say which`);
    const imported: ImportedImage[] = [];
    for (const plan of plans) imported.push(await importPlan(store, writer, source.blobs, plan, options));
    return imported;
  } finally {
    await writer.end();
  }
}

type Source = { readonly kind: "oci" | "docker"; readonly blobs: Blobs } | { readonly kind: "rootfs" };

/** `where` is for words. */
async function openSource(path: string, where: string, signal: AbortSignal | undefined): Promise<Source> {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new ImageError("ERR_IMAGE_MISSING", `expected an image at ${path}, found nothing`);
  if (stat.isDirectory()) {
    const blobs = new DirectoryBlobs(path);
    if (!blobs.has("oci-layout")) throw new ImageError("ERR_IMAGE_FORMAT", `expected an OCI image layout in ${path}, found no file "oci-layout"`);
    return { kind: "oci", blobs };
  }
  if (stat.isFile() && stat.size === 0) throw noImage(where, "an empty file");
  // A compressed tar has no offsets to read at: it can only be one layer.
  if (compressionOf(startOf(path)) !== "none") return { kind: "rootfs" };
  const blobs = await TarBlobs.open(path, signal).catch((error: unknown) => {
    throw asNoImage(where, error);
  });
  if (blobs.has("oci-layout") && blobs.has("index.json")) return { kind: "oci", blobs };
  return blobs.has("manifest.json") ? { kind: "docker", blobs } : { kind: "rootfs" };
}

async function importPlan(store: Store, writer: StoreWriter, blobs: Blobs, plan: ImagePlan, options: ImportOptions): Promise<ImportedImage> {
  const names = options.names ?? plan.names;
  if (names.length === 0) throw new ImageError("ERR_IMAGE_MISSING", "expected a name for the image, which has none of its own");
  for (const name of names) checkImageName(name);
  const sizes = plan.layers.map(({ path, size }) => size ?? blobs.open(path)?.size ?? 0);
  options.onEvent?.({ type: "start", layers: plan.layers.length, total: sizes.reduce((sum, size) => sum + size, 0) });
  let bytes = 0;
  const onBytes = (count: number): void => {
    bytes += count;
    options.onEvent?.({ type: "progress", bytes });
  };
  /** Layers that the store lacks, each once. */
  const missing = new Map<Digest, Blob>();
  for (const { path, diffId } of plan.layers) {
    options.signal?.throwIfAborted();
    if (missing.has(diffId) || (await writer.hasLayer(diffId))) continue;
    const blob = blobs.open(path);
    if (blob === undefined) throw new ImageError("ERR_IMAGE_MISSING", `expected ${path} in the image, found no such file`);
    missing.set(diffId, blob);
  }
  let addedBytes = 0;
  const unpacking = startUnpacking([...missing.values()]);
  try {
    for (const [i, { digest, size, diffId }] of plan.layers.entries()) {
      options.signal?.throwIfAborted();
      const blob = missing.get(diffId);
      missing.delete(diffId);
      if (blob === undefined) onBytes(sizes[i] as number);
      const layer = blob === undefined ? undefined : await importLayer(writer, store.hash, { unpacked: unpacking.next(onBytes), digest, size, diffId }, layerOptions(options, blob));
      addedBytes += layer?.addedBytes ?? 0;
      options.onEvent?.({ type: "layer", diffId, present: layer === undefined, layer });
    }
  } finally {
    await unpacking.close();
  }
  return await finish(store, writer, { names, layers: plan.layers.map(({ diffId }) => diffId), config: plan.config, manifest: plan.manifest, addedBytes }, options);
}

/** One tar as the only layer of a new image, whose configuration says no more than that. */
async function importRootfs(store: Store, writer: StoreWriter, path: string, where: string, options: ImportOptions): Promise<ImportedImage> {
  const { names } = options;
  if (names === undefined || names.length === 0) throw new ImageError("ERR_IMAGE_MISSING", "expected a name for the image: a tar of a root filesystem has none");
  options.onEvent?.({ type: "start", layers: 1, total: statSync(path).size });
  let bytes = 0;
  const onBytes = (count: number): void => {
    bytes += count;
    options.onEvent?.({ type: "progress", bytes });
  };
  const blob: Blob = { file: path, offset: 0, size: statSync(path).size };
  const unpacking = startUnpacking([blob]);
  let layer: ImportedLayer;
  try {
    layer = await importLayer(writer, store.hash, { unpacked: unpacking.next(onBytes), digest: undefined, size: undefined, diffId: undefined }, layerOptions(options, blob));
  } catch (error) {
    throw asNoImage(where, error);
  } finally {
    await unpacking.close();
  }
  options.onEvent?.({ type: "layer", diffId: layer.diffId, present: false, layer });
  const { os, architecture } = options.platform ?? hostPlatform();
  const config = Buffer.from(JSON.stringify({ architecture, os, config: {}, rootfs: { type: "layers", diff_ids: [`sha256:${layer.diffId}`] }, history: [{ created_by: "stratafs import" }] }));
  return await finish(store, writer, { names, layers: [layer.diffId], config, manifest: undefined, addedBytes: layer.addedBytes }, options);
}

function layerOptions({ limits, absoluteNames, signal, keepBlobs }: ImportOptions, blob: Blob): LayerImportOptions {
  return { limits, absoluteNames, signal, keepBlob: keepBlobs === true ? () => bytesOf(blob) : undefined };
}

function noImage(where: string, found: string, cause?: unknown): ImageError {
  return new ImageError("ERR_IMAGE_FORMAT", `expected an OCI image layout, a docker archive or a tar of a root filesystem ${where}, found ${found}`, { cause });
}

/** What is wrong with the very first header of a file says that it was never a tar. */
function asNoImage(where: string, error: unknown): unknown {
  const isNone = error instanceof TarError && error.offset === 0 && (error.code === "ERR_TAR_TRUNCATED" || error.code === "ERR_TAR_CHECKSUM");
  return isNone ? noImage(where, "no tar", error) : error;
}

interface Finished {
  readonly names: readonly string[];
  readonly layers: readonly Digest[];
  readonly config: Buffer;
  readonly manifest: Buffer | undefined;
  readonly addedBytes: number;
}

/** Makes everything visible, the names last. */
async function finish(store: Store, writer: StoreWriter, { names, layers, config, manifest, addedBytes }: Finished, options: ImportOptions): Promise<ImportedImage> {
  await writer.putBytes(config);
  if (manifest !== undefined) await writer.putBytes(manifest);
  options.signal?.throwIfAborted();
  await writer.publish();
  const image: ImportedImage = { names, layers, config: digestOf(config), manifest: manifest === undefined ? undefined : digestOf(manifest), addedBytes };
  for (const name of names) await store.setImage({ name, layers, config: image.config, manifest: image.manifest });
  options.onEvent?.({ type: "image", image });
  return image;
}

/** Keeps a stream in a file of the writer's, since an image's documents may come after its layers. */
async function spool(writer: StoreWriter, input: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): Promise<string> {
  const path = writer.scratchPath();
  try {
    await pipeline(Readable.from(input, { objectMode: false }), createWriteStream(path, { flags: "wx", mode: 0o600 }), signal === undefined ? {} : { signal });
  } catch (error) {
    throw asStoreError("the image while it is read", error);
  }
  return path;
}
