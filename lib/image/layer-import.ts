/**
 * Imports one layer: a tar stream into objects, an index and recipes, staged by a StoreWriter.
 * Invariant: nothing of a layer is staged as a layer until all of its tar has been read and its digests have been compared.
 * One pass; memory is bounded by the number of entries, not by their size.
 */
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, makedev } from "../base/mode.js";
import { textOf } from "../base/name.js";
import type { FastHash } from "../base/fast-hash.js";
import type { Digest } from "../store/digest.js";
import { INLINE_MAX } from "../store/index-format.js";
import type { FileContent } from "../store/index-writer.js";
import { LayerTree, type TreeObject } from "../store/layer-tree.js";
import type { PutResult, StoreWriter } from "../store/store-writer.js";
import type { TarEntry, TarKind } from "../tar/entry.js";
import { readTar, type TarLimits } from "../tar/reader.js";
import { BLOB_FILE, encodeBlobRecipe, type BlobRecipe } from "./blob-recipe.js";
import { linkPath, meaningOf, type AbsoluteNames, type EntryMeaning } from "./entry-path.js";
import { ImageError } from "./errors.js";
import { LayerAcls } from "./layer-acls.js";
import { RECIPE_FILE, RecipeWriter } from "./recipe.js";
import type { Unpacked } from "./unpacking.js";

export interface LayerSource {
  readonly unpacked: Unpacked;
  /** SHA-256 and size of the blob, and of the tar in it, where they are known: others are refused. */
  readonly digest: Digest | undefined;
  readonly size: number | undefined;
  readonly diffId: Digest | undefined;
}

export interface LayerImportOptions {
  readonly limits?: TarLimits | undefined;
  /** Default "refuse". */
  readonly absoluteNames?: AbsoluteNames | undefined;
  /** The blob once more: given where a compressed blob is to be kept as an object when no recipe makes it again. */
  readonly keepBlob?: (() => AsyncIterable<Uint8Array>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ImportedLayer {
  readonly diffId: Digest;
  readonly entries: number;
  /** Bytes of the tar. */
  readonly tarBytes: number;
  /** Bytes of objects that the store did not have before. */
  readonly addedBytes: number;
  /** Whether an export can give the blob back as it came: plain tars are their own blobs. */
  readonly exactBlob: boolean;
  /** ACLs in text form that say nothing: malformed, or of names that the layer does not explain. */
  readonly aclsLeftOut: number;
}

const types: Readonly<Record<TarKind, number>> = {
  // Links are put into the tree by their target, never by a type.
  hardlink: S_IFREG, file: S_IFREG, symlink: S_IFLNK, character: S_IFCHR, block: S_IFBLK, directory: S_IFDIR, fifo: S_IFIFO,
};
const MAX_ID = 0xfffffffe;
const XATTR_NAME_MAX = 255;
const XATTR_SIZE_MAX = 65_536;
const DEFAULT_ARCHIVE_BYTES = 2 ** 37;
/** Files up to this size are put in one piece; etc/passwd and etc/group never are larger, as far as they count. */
const IN_MEMORY = 1 << 20;
const zeros = Buffer.alloc(65_536);

/** Throws ImageError, TarError, StoreError; what the source throws; the signal's reason. */
export async function importLayer(writer: StoreWriter, hash: FastHash, source: LayerSource, options: LayerImportOptions = {}): Promise<ImportedLayer> {
  const absolute = options.absoluteNames ?? "refuse";
  const tree = new LayerTree();
  const acls = new LayerAcls();
  const recipe = new RecipeWriter();
  const needed = new Set<Digest>();
  let entries = 0;
  let addedBytes = 0;
  try {
    const reader = readTar(source.unpacked.tar, { maxArchiveSize: DEFAULT_ARCHIVE_BYTES, maxContentSize: 2 * DEFAULT_ARCHIVE_BYTES, ...options.limits, onRaw: (bytes) => recipe.raw(bytes) });
    for await (const entry of reader) {
      options.signal?.throwIfAborted();
      entries++;
      const meaning = meaningOf(entry.name, absolute);
      const onBody = meaning.kind === "object" && acls.wants(meaning.path, entry.size) ? (bytes: Uint8Array) => acls.account(meaning.path, bytes) : undefined;
      const content = entry.kind === "file" ? await putBody(writer, entry, recipe, onBody) : undefined;
      if (content?.put?.added === true) addedBytes += content.put.size;
      if (content?.put !== undefined) needed.add(content.put.digest);
      await recipe.settle();
      addEntry(tree, acls, entry, meaning, content?.content, absolute);
    }
    options.signal?.throwIfAborted();
    acls.finish();
    // The reader has read its source to the end, and so have those below it: sizes and digests are of everything.
    const { compression, blobDigest, blobBytes, diffId, tarBytes, how: made } = await source.unpacked.result();
    if (source.size !== undefined && blobBytes !== source.size) throw new ImageError("ERR_IMAGE_DIGEST", `expected a layer blob of ${source.size} bytes, found ${blobBytes}`);
    checkDigest("layer blob", source.digest, blobDigest);
    checkDigest("diffID", source.diffId, diffId);
    const how = made ?? (compression === "none" ? undefined : await kept(writer, blobDigest, options.keepBlob));
    if (how?.kind === "kept") needed.add(blobDigest);
    const others = new Map<string, readonly Uint8Array[]>([[RECIPE_FILE, await recipe.finish(diffId)]]);
    if (how !== undefined && compression !== "none") others.set(BLOB_FILE, [encodeBlobRecipe({ digest: blobDigest, size: blobBytes, compression, how })]);
    await writer.addLayer(diffId, tree.write(hash, diffId, "layer", needed), others);
    return { diffId, entries, tarBytes, addedBytes, exactBlob: compression === "none" || how !== undefined, aclsLeftOut: acls.leftOut };
  } catch (error) {
    recipe.abandon();
    throw error;
  }
}

/** Keeps a compressed blob as an object, where that is asked for. */
async function kept(writer: StoreWriter, digest: Digest, blob: LayerImportOptions["keepBlob"]): Promise<BlobRecipe["how"] | undefined> {
  if (blob === undefined) return undefined;
  await writer.put(blob(), digest);
  return { kind: "kept" };
}

interface Body {
  readonly content: FileContent;
  readonly put: PutResult | undefined;
}

/** Stores a file's bytes, holes filled, and notes in the recipe where they are. `onBody` is given all of a file that memory can hold. */
async function putBody(writer: StoreWriter, entry: TarEntry, recipe: RecipeWriter, onBody: ((bytes: Uint8Array) => void) | undefined): Promise<Body> {
  let put: PutResult;
  if (entry.size > IN_MEMORY) {
    put = await writer.put(filled(entry.body, undefined, entry));
  } else if (entry.size > INLINE_MAX) {
    const bytes = entry.extents === undefined ? await entry.body.whole() : await gathered(filled(entry.body, undefined, entry));
    onBody?.(bytes);
    put = await writer.putBytesLater(bytes);
  } else {
    const bytes = await gathered(filled(entry.body, (part) => recipe.raw(part), entry));
    onBody?.(bytes);
    return { content: { kind: "inline", bytes }, put: undefined };
  }
  await recipe.object(put.digest, entry.storedSize, entry.extents);
  return { content: { kind: "object", digest: put.digest, size: put.size }, put };
}

async function gathered(parts: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const copies: Uint8Array[] = [];
  for await (const part of parts) copies.push(Buffer.from(part));
  return Buffer.concat(copies);
}

/** All bytes of the file, holes as zeros. `onStored` is given what the archive stores. */
async function* filled(stored: AsyncIterable<Uint8Array>, onStored: ((bytes: Uint8Array) => void) | undefined, { extents, size }: TarEntry): AsyncGenerator<Uint8Array, undefined> {
  if (extents === undefined) {
    for await (const part of stored) {
      onStored?.(part);
      yield part;
    }
    return undefined;
  }
  let position = 0;
  let next = 0;
  /** Bytes of the extent at `next` that have been given out. */
  let inside = 0;
  for await (const part of stored) {
    onStored?.(part);
    for (let at = 0; at < part.length; ) {
      while ((extents[next]?.length ?? 0) === inside) {
        next++;
        inside = 0;
      }
      const extent = extents[next] as { offset: number; length: number };
      if (inside === 0) yield* hole(extent.offset - position);
      const taken = part.subarray(at, at + extent.length - inside);
      yield taken;
      at += taken.length;
      inside += taken.length;
      position = extent.offset + inside;
    }
  }
  yield* hole(size - position);
  return undefined;
}

function* hole(length: number): Generator<Uint8Array, undefined> {
  for (let left = length; left > 0; left -= zeros.length) yield left >= zeros.length ? zeros : zeros.subarray(0, left);
  return undefined;
}

/** Throws ERR_IMAGE_ENTRY for what must not be unpacked. */
function addEntry(tree: LayerTree, acls: LayerAcls, entry: TarEntry, meaning: EntryMeaning, content: FileContent | undefined, absolute: AbsoluteNames): void {
  if (meaning.kind === "ignored") return;
  try {
    if (meaning.kind === "whiteout") tree.whiteout(meaning.path);
    else if (meaning.kind === "opaque") tree.opaque(meaning.path);
    else if (entry.kind === "hardlink") tree.link(meaning.path, linkPath(entry.linkName, absolute));
    else tree.put(meaning.path, objectOf(entry, acls, content));
  } catch (error) {
    // A store's tree says what is wrong with it, not with which entry.
    if ((error as { code?: unknown }).code !== "ERR_STORE_TREE") throw error;
    throw refused(entry, (error as Error).message, error);
  }
}

function objectOf(entry: TarEntry, acls: LayerAcls, content: FileContent | undefined): TreeObject {
  if (entry.uid > MAX_ID || entry.gid > MAX_ID) throw refused(entry, `expected ids up to ${MAX_ID}, found ${entry.uid}:${entry.gid}`);
  const isDevice = entry.kind === "character" || entry.kind === "block";
  if (isDevice && (entry.devMajor > 0xfff || entry.devMinor > 0xfffff)) throw refused(entry, `expected a device up to 4095:1048575, found ${entry.devMajor}:${entry.devMinor}`);
  // Below an overlay it would be taken for a whiteout.
  if (entry.kind === "character" && entry.devMajor === 0 && entry.devMinor === 0) throw refused(entry, "found a character device 0:0");
  for (const [key, value] of entry.xattrs) {
    if (key.length > XATTR_NAME_MAX || value.length > XATTR_SIZE_MAX) {
      throw refused(entry, `expected extended attributes of at most ${XATTR_SIZE_MAX} bytes under names of at most ${XATTR_NAME_MAX}, found ${value.length} under one of ${key.length}`);
    }
  }
  const object = {
    mode: types[entry.kind] | entry.mode, uid: entry.uid, gid: entry.gid, mtimeSec: entry.mtime.sec, mtimeNsec: entry.mtime.nsec,
    // Copies: what the reader gives are views of a whole pax header.
    xattrs: new Map([...entry.xattrs].map(([key, value]): [string, Uint8Array] => [key, new Uint8Array(value)])),
    content, target: entry.kind === "symlink" ? entry.linkName : "", rdev: isDevice ? makedev(entry.devMajor, entry.devMinor) : 0,
  };
  acls.add(entry, object);
  return object;
}

function refused(entry: TarEntry, detail: string, cause?: unknown): ImageError {
  return new ImageError("ERR_IMAGE_ENTRY", `entry ${JSON.stringify(textOf(entry.name.slice(0, 300)))}: ${detail}`, { cause });
}

function checkDigest(what: string, expected: Digest | undefined, found: Digest): void {
  if (expected !== undefined && found !== expected) throw new ImageError("ERR_IMAGE_DIGEST", `expected ${what} ${expected}, found ${found}`);
}
