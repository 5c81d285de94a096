/**
 * LayerBuilder: makes a layer of objects that are in the store already: its tar is never written, only hashed, and kept as a recipe.
 * The same calls give the same diffID, whatever holes a filesystem happens to have: a file is sparse where whole blocks are zeros.
 * Parents must be added before what is in them, and the target of a link before the link.
 */
import { createHash } from "node:crypto";
import { closeSync, readSync } from "node:fs";
import type { FastHash } from "../base/fast-hash.js";
import { majorOf, minorOf, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from "../base/mode.js";
import type { Digest } from "../store/digest.js";
import { LayerTree, type TreeObject } from "../store/layer-tree.js";
import type { StoreWriter } from "../store/store-writer.js";
import type { TarKind } from "../tar/entry.js";
import type { Extent } from "../tar/sparse.js";
import { paddingOf } from "../tar/reader.js";
import { encodeHeader, endOfArchive, type NewTarEntry } from "../tar/writer.js";
import { RECIPE_FILE, RecipeWriter } from "./recipe.js";

export interface LayerBuildOptions {
  /** Later modification times become this one, in Unix seconds (SOURCE_DATE_EPOCH). */
  readonly epochSec?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told of bytes of files as they are hashed. */
  readonly onBytes?: ((count: number) => void) | undefined;
}

export interface BuiltLayer {
  readonly diffId: Digest;
  /** Entries of the tar. */
  readonly entries: number;
  readonly tarBytes: number;
}

const kinds: Readonly<Record<number, TarKind>> = {
  [S_IFREG]: "file", [S_IFLNK]: "symlink", [S_IFCHR]: "character", [S_IFBLK]: "block", [S_IFDIR]: "directory", [S_IFIFO]: "fifo",
};
/** Zeros are left out in blocks of this size. */
const SPARSE_BLOCK = 65_536;
const READ_BYTES = 1 << 20;
const zeros = Buffer.alloc(SPARSE_BLOCK);
/** What belongs to the machine or to the upper's format, and means something else, or harm, elsewhere. */
const LEFT_OUT = /^(trusted\.overlay\.|user\.overlay\.|user\.fuseoverlayfs\.|user\.containers\.override_|security\.(selinux|ima|evm|apparmor)$|system\.nfs4_acl$)/;

export class LayerBuilder {
  readonly #writer: StoreWriter;
  readonly #hash: FastHash;
  readonly #options: LayerBuildOptions;
  readonly #tree = new LayerTree();
  readonly #recipe = new RecipeWriter();
  readonly #tar = createHash("sha256");
  #entries = 0;
  #tarBytes = 0;

  constructor(writer: StoreWriter, hash: FastHash, options: LayerBuildOptions) {
    this.#writer = writer;
    this.#hash = hash;
    this.#options = options;
  }

  get entries(): number {
    return this.#entries;
  }

  /** Adds an object; the empty path is the root directory. A file's content must be in the store, or put by the writer. Throws StoreError. */
  async put(path: readonly string[], given: TreeObject): Promise<void> {
    this.#options.signal?.throwIfAborted();
    const object = { ...given, ...this.#clamped(given), xattrs: new Map([...given.xattrs].filter(([key]) => !LEFT_OUT.test(key))) };
    this.#tree.put(path, object);
    const { content } = object;
    const size = content === undefined ? 0 : content.kind === "inline" ? content.bytes.length : content.size;
    const header = {
      kind: kinds[object.mode & S_IFMT] as TarKind, name: path.length === 0 ? "./" : path.join("/"), mode: object.mode & 0o7777, uid: object.uid, gid: object.gid,
      mtime: { sec: object.mtimeSec, nsec: object.mtimeNsec }, linkName: object.target, devMajor: majorOf(object.rdev), devMinor: minorOf(object.rdev),
      xattrs: object.xattrs, size,
    };
    if (content?.kind === "object") await this.#file(header, content.digest, content.size);
    else {
      this.#raw(encodeHeader(header));
      if (content !== undefined) this.#padded(content.bytes);
      await this.#recipe.settle();
    }
    this.#entries++;
  }

  /** One more name for a file of this layer. */
  link(path: readonly string[], target: readonly string[], like: TreeObject): Promise<void> {
    this.#tree.link(path, target);
    return this.#bare({ ...markFields, kind: "hardlink", name: path.join("/"), linkName: target.join("/"), mode: like.mode & 0o7777, uid: like.uid, gid: like.gid, mtime: timeOf(this.#clamped(like)) });
  }

  /** Hides what lower layers have at `path`. */
  whiteout(path: readonly string[]): Promise<void> {
    this.#tree.whiteout(path);
    return this.#bare({ ...markFields, name: [...path.slice(0, -1), `.wh.${path.at(-1) as string}`].join("/") });
  }

  /** Hides all that lower layers have in a directory of this layer. */
  opaque(path: readonly string[]): Promise<void> {
    this.#tree.opaque(path);
    return this.#bare({ ...markFields, name: [...path, ".wh..wh..opq"].join("/") });
  }

  /** Stages the layer with the writer. */
  async finish(): Promise<BuiltLayer> {
    this.#raw(endOfArchive());
    const diffId = this.#tar.digest("hex") as Digest;
    const recipe = await this.#recipe.finish(diffId);
    await this.#writer.addLayer(diffId, this.#tree.write(this.#hash, diffId), new Map([[RECIPE_FILE, recipe]]));
    return { diffId, entries: this.#entries, tarBytes: this.#tarBytes };
  }

  /** To be called instead of finish() when the layer is not wanted any more. */
  abandon(): void {
    this.#recipe.abandon();
  }

  async #file(header: NewTarEntry, digest: Digest, size: number): Promise<void> {
    const fd = await this.#writer.open(digest);
    try {
      const extents = size < 2 * SPARSE_BLOCK ? undefined : extentsOf(fd, size);
      const stored = extents?.reduce((sum, { length }) => sum + length, 0) ?? size;
      this.#raw(encodeHeader({ ...header, extents }));
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, size));
      for (const { offset, length } of extents ?? [{ offset: 0, length: size }]) {
        for (let done = 0; done < length; ) {
          const count = readSync(fd, buffer, 0, Math.min(buffer.length, length - done), offset + done);
          if (count === 0) throw new TypeError(`object ${digest} is shorter than its ${size} bytes`);
          this.#tar.update(buffer.subarray(0, count));
          this.#tarBytes += count;
          done += count;
          this.#options.onBytes?.(count);
          this.#options.signal?.throwIfAborted();
        }
      }
      await this.#recipe.object(digest, stored, extents);
      this.#raw(Buffer.alloc(paddingOf(stored)));
    } finally {
      closeSync(fd);
    }
  }

  async #bare(header: NewTarEntry): Promise<void> {
    this.#raw(encodeHeader(header));
    this.#entries++;
    await this.#recipe.settle();
  }

  #padded(bytes: Uint8Array): void {
    this.#raw(bytes);
    this.#raw(Buffer.alloc(paddingOf(bytes.length)));
    this.#options.onBytes?.(bytes.length);
  }

  #raw(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#tar.update(bytes);
    this.#recipe.raw(bytes);
    this.#tarBytes += bytes.length;
  }

  #clamped({ mtimeSec, mtimeNsec }: TreeObject): { mtimeSec: number; mtimeNsec: number } {
    const { epochSec } = this.#options;
    return epochSec !== undefined && mtimeSec >= epochSec ? { mtimeSec: epochSec, mtimeNsec: 0 } : { mtimeSec, mtimeNsec };
  }
}

/** Whiteouts and opaque marks have no attributes that mean anything. */
const markFields = { kind: "file", mode: 0, uid: 0, gid: 0, mtime: { sec: 0, nsec: 0 }, size: 0 } as const;
const timeOf = ({ mtimeSec, mtimeNsec }: { mtimeSec: number; mtimeNsec: number }): { sec: number; nsec: number } => ({ sec: mtimeSec, nsec: mtimeNsec });

/** The parts of a file between blocks of zeros; undefined when there are no such blocks. */
function extentsOf(fd: number, size: number): Extent[] | undefined {
  const extents: { offset: number; length: number }[] = [];
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  let stored = 0;
  for (let position = 0; position < size; ) {
    const count = readSync(fd, buffer, 0, buffer.length, position);
    if (count === 0) return undefined;
    for (let at = 0; at < count; at += SPARSE_BLOCK) {
      const length = Math.min(SPARSE_BLOCK, count - at);
      if (length === SPARSE_BLOCK && buffer.compare(zeros, 0, SPARSE_BLOCK, at, at + SPARSE_BLOCK) === 0) continue;
      const last = extents.at(-1);
      if (last !== undefined && last.offset + last.length === position + at) last.length += length;
      else extents.push({ offset: position + at, length });
      stored += length;
    }
    position += count;
  }
  return stored === size ? undefined : extents;
}
