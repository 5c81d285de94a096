/**
 * Exports an image from a store: as an OCI image layout (a tar stream, or a directory) or a docker archive (a tar stream).
 * The tars of layers are those that were imported, byte for byte. The same image and options give the same bytes, as long as Node's
 * zlib is the same one.
 *
 * Every layer is hashed again on its way out; damage in the store ends the export with ERR_STORE_DAMAGED, after bytes that must not
 * be used.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { chainIdOf, digestOf, type Digest } from "../store/digest.js";
import { StoreError } from "../store/errors.js";
import { asStoreError } from "../store/files.js";
import type { ImageRef } from "../store/refs.js";
import type { Store } from "../store/store.js";
import type { StoreWriter } from "../store/store-writer.js";
import { writeTar, type TarItem } from "../tar/writer.js";
import { gzippedAs, readBlobRecipe } from "./blob-recipe.js";
import { ImageError } from "./errors.js";
import { HashedStream } from "./hashed.js";
import { fieldsOf, listOf, parseJson } from "./json.js";
import { blobPath } from "./manifest.js";
import { layerTar, layerTarBytes } from "./recipe.js";

export type ExportFormat = "oci" | "docker";

export interface ExportOptions {
  /** Default "oci". */
  readonly format?: ExportFormat;
  /**
   * Of the layers in an OCI layout; docker archives have plain ones. "original", the default: the compressed blob that was imported, where
   * a recipe makes it again or the store has kept it; else, and for all with "gzip", compressed in one way of ours.
   */
  readonly compression?: "original" | "gzip" | "none";
  /** What the image is called in the export, instead of its name here. */
  readonly reference?: string | undefined;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: ExportEvent) => void;
}

export type ExportEvent =
  /** `total`: bytes of the layers' tars. */
  | { readonly type: "start"; readonly layers: number; readonly total: number }
  /** `bytes`: of tars put together so far. */
  | { readonly type: "progress"; readonly bytes: number }
  /** `exact`: the blob is the one that was imported; undefined where nobody asked for it, or nothing says that there was one. */
  | { readonly type: "layer"; readonly diffId: Digest; readonly exact: boolean | undefined };

/** A file of the exported image. Its bytes are to be read before the next file is asked for. */
interface ExportedFile {
  readonly path: string;
  readonly size: number;
  readonly bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

const optionNames = new Set(["format", "compression", "reference", "signal", "onEvent"]);
const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";
const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar";
const GZIP_LEVEL = 6;
const MAX_CONFIG = 8 << 20;

/** The image as one tar stream. Throws ERR_STORE_MISSING when there is no such image or it has no recipes; the signal's reason. */
export async function* imageTar(store: Store, name: string, options: ExportOptions = {}): AsyncGenerator<Uint8Array, undefined> {
  async function* items(): AsyncGenerator<TarItem, undefined> {
    const folders = new Set<string>();
    const entry = { uid: 0, gid: 0, mtime: { sec: 0, nsec: 0 } } as const;
    for await (const { path, size, bytes } of imageFiles(store, name, options)) {
      const parts = path.split("/");
      for (let depth = 1; depth < parts.length; depth++) {
        const folder = parts.slice(0, depth).join("/");
        if (!folders.has(folder)) yield { entry: { ...entry, kind: "directory", name: folder, mode: 0o755 } };
        folders.add(folder);
      }
      yield { entry: { ...entry, kind: "file", name: path, mode: 0o644, size }, body: bytes };
    }
    return undefined;
  }
  yield* writeTar(items());
  return undefined;
}

/**
 * Writes an OCI image layout into a folder, which is made, or is empty. What was written is removed when anything fails.
 * Throws ERR_IMAGE_FORMAT when the folder holds something, ERR_STORE_FULL, and what imageTar() throws.
 */
export async function exportLayout(store: Store, name: string, folder: string, options: Omit<ExportOptions, "format"> = {}): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const [other] = readdirSync(folder);
  if (other !== undefined) throw new ImageError("ERR_IMAGE_FORMAT", `expected an empty folder for an image layout, found ${JSON.stringify(other)} in ${folder}`);
  try {
    for await (const { path, bytes } of imageFiles(store, name, { ...options, format: "oci" })) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      await pipeline(Readable.from(bytes, { objectMode: false }), createWriteStream(join(folder, path), { flags: "wx" }));
    }
  } catch (error) {
    for (const written of readdirSync(folder)) rmSync(join(folder, written), { recursive: true, force: true });
    throw asStoreError("an image layout", error);
  }
}

/** The files of an exported image, in an order that lets readers stream: what is named comes before what names it. */
async function* imageFiles(store: Store, name: string, options: ExportOptions): AsyncGenerator<ExportedFile, undefined> {
  for (const key of Object.keys(options)) if (!optionNames.has(key)) throw new TypeError(`unknown option ${key} of an export`);
  const ref = store.image(name);
  if (ref === undefined) throw new StoreError("ERR_STORE_MISSING", `no image ${name} in ${store.path}`);
  const { config } = ref;
  if (config === undefined) throw new StoreError("ERR_STORE_MISSING", `image ${name} has no configuration`);
  const lease = await store.lease({ kind: "mount", layers: ref.layers, chain: chainIdOf(ref.layers), purpose: `export of ${name}` });
  try {
    const exported = new Export(store, ref, store.objects.read(config, MAX_CONFIG), options);
    yield* options.format === "docker" ? exported.docker() : exported.oci();
  } finally {
    lease.release();
  }
  return undefined;
}

/** A compressed layer, ready to be read. */
interface MadeBlob {
  readonly digest: Digest;
  readonly size: number;
  readonly compression: "gzip" | "zstd";
  readonly bytes: AsyncIterable<Uint8Array>;
  /** Takes away what was made for it. */
  done(): void;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

class Export {
  readonly #store: Store;
  readonly #ref: ImageRef;
  readonly #config: Buffer;
  readonly #options: ExportOptions;
  #bytes = 0;

  constructor(store: Store, ref: ImageRef, config: Buffer, options: ExportOptions) {
    this.#store = store;
    this.#ref = ref;
    this.#config = config;
    this.#options = options;
  }

  async *oci(): AsyncGenerator<ExportedFile, undefined> {
    yield fileOf("oci-layout", Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
    const layers = new Map<Digest, Descriptor>();
    const compression = this.#options.compression ?? "original";
    const writer = compression === "none" ? undefined : await this.#store.write(`export of ${this.#ref.name}`);
    this.#start();
    try {
      for (const diffId of new Set(this.#ref.layers)) {
        if (writer === undefined) {
          const size = layerTarBytes(this.#store, diffId);
          layers.set(diffId, { mediaType: LAYER_TYPE, digest: `sha256:${diffId}`, size });
          yield { path: blobPath(diffId), size, bytes: this.#layer(diffId) };
          this.#options.onEvent?.({ type: "layer", diffId, exact: undefined });
        } else {
          const original = compression === "original" ? await this.#original(writer, diffId) : undefined;
          const blob = original ?? (await this.#compressed(writer, diffId, undefined));
          layers.set(diffId, { mediaType: `${LAYER_TYPE}+${blob.compression}`, digest: `sha256:${blob.digest}`, size: blob.size });
          yield { path: blobPath(blob.digest), size: blob.size, bytes: blob.bytes };
          blob.done();
          this.#options.onEvent?.({ type: "layer", diffId, exact: original !== undefined ? true : compression === "original" && this.#wasPacked(diffId) ? false : undefined });
        }
      }
    } finally {
      await writer?.end();
    }
    yield fileOf(blobPath(digestOf(this.#config)), this.#config);
    const manifest = this.#manifest(this.#ref.layers.map((diffId) => layers.get(diffId) as Descriptor));
    yield fileOf(blobPath(digestOf(manifest)), manifest);
    const { os, architecture, variant } = fieldsOf(parseJson(this.#config, "config"), "config");
    yield fileOf("index.json", Buffer.from(JSON.stringify({
      schemaVersion: 2, mediaType: INDEX_TYPE,
      manifests: [{
        mediaType: mediaTypeOf(manifest), digest: `sha256:${digestOf(manifest)}`, size: manifest.length,
        ...(typeof os === "string" && typeof architecture === "string" ? { platform: { architecture, os, ...(typeof variant === "string" ? { variant } : {}) } } : {}),
        annotations: { "org.opencontainers.image.ref.name": this.#options.reference ?? this.#ref.name },
      }],
    })));
    return undefined;
  }

  async *docker(): AsyncGenerator<ExportedFile, undefined> {
    this.#start();
    for (const diffId of new Set(this.#ref.layers)) {
      yield { path: `${diffId}.tar`, size: layerTarBytes(this.#store, diffId), bytes: this.#layer(diffId) };
      this.#options.onEvent?.({ type: "layer", diffId, exact: undefined });
    }
    const config = `${digestOf(this.#config)}.json`;
    yield fileOf(config, this.#config);
    const manifest = [{ Config: config, RepoTags: [this.#options.reference ?? this.#ref.name], Layers: this.#ref.layers.map((diffId) => `${diffId}.tar`) }];
    yield fileOf("manifest.json", Buffer.from(JSON.stringify(manifest)));
    return undefined;
  }

  #start(): void {
    const layers = [...new Set(this.#ref.layers)];
    this.#options.onEvent?.({ type: "start", layers: layers.length, total: layers.reduce((sum, diffId) => sum + layerTarBytes(this.#store, diffId), 0) });
  }

  /** A layer's tar, which must turn out to be the one it is named for. */
  async *#layer(diffId: Digest): AsyncGenerator<Uint8Array, undefined> {
    const hash = createHash("sha256");
    for await (const part of layerTar(this.#store, diffId)) {
      this.#options.signal?.throwIfAborted();
      hash.update(part);
      yield part;
      this.#bytes += part.length;
      this.#options.onEvent?.({ type: "progress", bytes: this.#bytes });
    }
    const found = hash.digest("hex");
    if (found !== diffId) throw new StoreError("ERR_STORE_DAMAGED", `expected the tar of layer ${diffId}, found one with digest ${found}; fsck tells more`);
    return undefined;
  }

  #wasPacked(diffId: Digest): boolean {
    return this.#ref.manifest !== undefined || readBlobRecipe(this.#store, diffId) !== undefined;
  }

  /** The blob that was imported, if it can be had; its digest has been compared, or will be while it is read. */
  async #original(writer: StoreWriter, diffId: Digest): Promise<MadeBlob | undefined> {
    const recipe = readBlobRecipe(this.#store, diffId);
    if (recipe === undefined) return undefined;
    const { digest, size, compression, how } = recipe;
    if (how.kind === "kept") return { digest, size, compression, bytes: this.#kept(digest), done: () => undefined };
    const made = await this.#compressed(writer, diffId, how);
    if (made.digest === digest) return made;
    // The recipe was a guess, or this zlib works differently.
    this.#bytes -= layerTarBytes(this.#store, diffId);
    made.done();
    return undefined;
  }

  async *#kept(digest: Digest): AsyncGenerator<Uint8Array, undefined> {
    const object = new HashedStream(fileBytes(this.#store.objects.path(digest)));
    for await (const part of object) {
      this.#options.signal?.throwIfAborted();
      yield part;
    }
    const found = object.digest();
    if (found !== digest) throw new StoreError("ERR_STORE_DAMAGED", `expected the blob ${digest}, found one with digest ${found}; fsck tells more`);
    return undefined;
  }

  /** Compresses a layer into a file of the writer's: its name and size must be known before its first byte. */
  async #compressed(writer: StoreWriter, diffId: Digest, how: { readonly header: Buffer; readonly level: number } | undefined): Promise<MadeBlob> {
    const path = writer.scratchPath();
    const tar = this.#layer(diffId);
    const gzip = how === undefined ? createGzip({ level: GZIP_LEVEL, chunkSize: 1 << 18 }) : undefined;
    const blob = new HashedStream(gzip ?? gzippedAs(how!.header, how!.level, tar));
    const into = createWriteStream(path, { flags: "wx", mode: 0o600 });
    try {
      if (gzip === undefined) await pipeline(Readable.from(blob, { objectMode: false }), into);
      else await pipeline(Readable.from(tar, { objectMode: false }), gzip, () => blob, into);
    } catch (error) {
      throw asStoreError("a compressed layer", error);
    }
    return { digest: blob.digest(), size: blob.size, compression: "gzip", bytes: fileBytes(path), done: () => rmSync(path) };
  }

  /** The manifest that the image came with where it fits these layers, so that the image keeps its digest; else a new one. */
  #manifest(layers: readonly Descriptor[]): Buffer {
    if (this.#ref.manifest !== undefined) {
      const original = this.#store.objects.read(this.#ref.manifest, MAX_CONFIG);
      const stated = listOf(fieldsOf(parseJson(original, "manifest"), "manifest")["layers"], "layers of the manifest", layers.length);
      const fits = stated.length === layers.length && stated.every((layer, i) => fieldsOf(layer, "a layer")["digest"] === layers[i]?.digest);
      if (fits) return original;
    }
    const config: Descriptor = { mediaType: CONFIG_TYPE, digest: `sha256:${digestOf(this.#config)}`, size: this.#config.length };
    return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers }));
  }
}

/** Docker's manifests are as good in a layout, but must be called what they are. */
function mediaTypeOf(manifest: Buffer): string {
  const stated = fieldsOf(parseJson(manifest, "manifest"), "manifest")["mediaType"];
  return typeof stated === "string" ? stated : MANIFEST_TYPE;
}

/** Opens the file only when somebody reads. */
async function* fileBytes(path: string): AsyncGenerator<Uint8Array, undefined> {
  yield* createReadStream(path, { highWaterMark: 1 << 18 });
  return undefined;
}

function fileOf(path: string, bytes: Buffer): ExportedFile {
  return { path, size: bytes.length, bytes: [bytes] };
}
