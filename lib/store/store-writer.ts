/**
 * StoreWriter: puts objects and layers into a store.
 * Invariant: nothing is visible under its final name before all its bytes are durable.
 * Order: everything is written into a staging folder of the writer's own; publish() makes it durable at one stroke (syncfs, begun
 * early while much is written), then renames objects, then layers, then makes the names durable. A reference is set only after that.
 *
 * The writer's lease keeps the sweep away from everything put or found since it began. When the writer dies, the staging
 * folder is garbage that the next sweep removes. Calls may overlap; each waits for itself.
 */
import { createHash } from "node:crypto";
import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, renameSync, rmSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { native } from "../sys/binding.js";
import { copyJob, syncfsJob } from "../sys/jobs.js";
import { digestOf, type Digest } from "./digest.js";
import { StoreError } from "./errors.js";
import { LateFiles } from "./late-files.js";
import { asStoreError, namesIn, syncDirectory, writeAll, writeNew, writing } from "./files.js";
import type { Lease } from "./leases.js";
import { hashOfFile, type Objects } from "./objects.js";
import type { StoreLock } from "./store-lock.js";

export interface PutResult {
  readonly digest: Digest;
  readonly size: number;
  /** False when the store, or this writer, had the object already. */
  readonly added: boolean;
}

/** What a writer needs of its store. */
export interface WriterParts {
  readonly objects: Objects;
  readonly lock: StoreLock;
  readonly lease: Lease;
  /** The writer's own, empty; removed at the end. */
  readonly staging: string;
  readonly layers: string;
}

/** Bodies up to this size are hashed before a file is made for them. */
const IN_MEMORY = 1 << 20;
/** A run of zeros of this length becomes a hole. */
const HOLE = 4096;
/** After so many bytes the disk begins to write while there is more to come: publish() then waits for the rest only. */
const SYNC_BYTES = 64 << 20;
/** Names remembered of one of the 256 folders; where there are more, each object is asked for. */
const MAX_SEEN = 4096;
const zeros = Buffer.alloc(65_536);
const OBJECT_MODE = 0o400;

export class StoreWriter {
  readonly #parts: WriterParts;
  /** Staged and not yet published: digest and size. */
  readonly #staged = new Map<Digest, number>();
  /** Names in the folders of visible objects, as they were when each folder was first asked about: two digits to the rest. */
  readonly #seen = new Map<string, Set<string> | "many">();
  /** Staged layers by diffID. */
  readonly #layers = new Set<Digest>();
  #temporary = 0;
  #ended = false;
  /** Of the staging folder, from the beginning: so no error of writing back is missed, whoever else syncs. */
  readonly #fd: number;
  /** Objects that another thread writes into the staging folder. */
  readonly #late: LateFiles;
  /** Bytes staged since the last sync began. */
  #unsynced = 0;
  /** The last sync; the next one waits for it. */
  #syncing: Promise<void> = Promise.resolve();

  constructor(parts: WriterParts) {
    this.#parts = parts;
    this.#fd = openSync(parts.staging, "r");
    this.#late = new LateFiles(this.#fd, OBJECT_MODE);
  }

  /** Puts bytes that are in memory. Throws ERR_STORE_FULL. */
  async putBytes(bytes: Uint8Array): Promise<PutResult> {
    return await this.#putBytes(bytes, false);
  }

  /**
   * The same for one of many that nobody reads before they are published: small ones are written by another thread meanwhile. Throws
   * ERR_STORE_FULL for earlier ones, too: once one could not be written, publish() fails.
   */
  async putBytesLater(bytes: Uint8Array): Promise<PutResult> {
    return await this.#putBytes(bytes, LateFiles.fits(bytes));
  }

  /**
   * Puts a stream. With `expected`, a stream of another digest is ERR_STORE_DIGEST and leaves nothing. Long runs of zeros become holes.
   * Throws ERR_STORE_FULL, and what the stream throws.
   */
  async put(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, expected?: Digest): Promise<PutResult> {
    this.#checkOpen();
    const held: Uint8Array[] = [];
    let size = 0;
    let file: StagedFile | undefined;
    try {
      for await (const chunk of source) {
        size += chunk.length;
        if (file === undefined && size <= IN_MEMORY) {
          // A copy: the chunk is the source's, and good only until the next.
          held.push(Buffer.from(chunk));
          continue;
        }
        if (file === undefined) {
          file = new StagedFile(this.#nextPath());
          for (const part of held) file.write(part);
        }
        file.write(chunk);
      }
      if (file === undefined) {
        const bytes = held.length === 1 ? (held[0] as Uint8Array) : Buffer.concat(held);
        checkDigest(digestOf(bytes), expected);
        return await this.putBytes(bytes);
      }
      const digest = file.finish();
      checkDigest(digest, expected);
      return await this.#keep(file.path, digest, size);
    } catch (error) {
      file?.discard();
      throw asStoreError("an object", error);
    }
  }

  /** Puts the first `size` bytes of an open file: cloned where the filesystem can, copied in the kernel otherwise. Throws ERR_STORE_FULL. */
  async putFile(from: number, size: number): Promise<PutResult> {
    this.#checkOpen();
    const path = this.#nextPath();
    const to = writing("an object", () => openSync(path, "wx+", OBJECT_MODE));
    try {
      if (native.clone(to, from) < 0) await copyJob(from, to, size);
      else ftruncateSync(to, size);
      // The copy is hashed, not the original, which somebody may be changing.
      return await this.#keep(path, hashOfFile(to), size);
    } catch (error) {
      rmSync(path, { force: true });
      throw asStoreError("an object", error);
    } finally {
      closeSync(to);
    }
  }

  /** A descriptor of an object that was put by this writer or is in the store, the caller's to close. Throws ERR_STORE_MISSING. */
  async open(digest: Digest): Promise<number> {
    this.#checkOpen();
    const { staging, objects } = this.#parts;
    if (this.#staged.has(digest)) await this.#late.written();
    return this.#staged.has(digest) ? openSync(join(staging, digest), "r") : objects.open(digest);
  }

  /** Whether the store has a layer; if so, it stays for as long as this writer lives. */
  hasLayer(diffId: Digest): Promise<boolean> {
    this.#checkOpen();
    if (this.#layers.has(diffId)) return Promise.resolve(true);
    return this.#parts.lock.shared(() => touch(join(this.#parts.layers, diffId)));
  }

  /**
   * Stages a layer: its index, and other files of its folder by name. The objects that the index names must have been put by
   * this writer. A layer that the store has already stays as it is. Throws ERR_STORE_FULL.
   */
  async addLayer(diffId: Digest, index: readonly Uint8Array[], others: ReadonlyMap<string, readonly Uint8Array[]> = new Map()): Promise<void> {
    if (await this.hasLayer(diffId)) return;
    const folder = join(this.#parts.staging, `layer-${diffId}`);
    try {
      mkdirSync(folder, { mode: 0o700 });
      for (const [name, parts] of new Map([["index", index], ...others])) writeNew(join(folder, name), parts, OBJECT_MODE);
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw asStoreError(`layer ${diffId}`, error);
    }
    this.#layers.add(diffId);
  }

  /** Makes everything staged so far durable, then visible. May be called again for what comes later. Throws ERR_STORE_FULL. */
  async publish(): Promise<void> {
    this.#checkOpen();
    if (this.#staged.size === 0 && this.#layers.size === 0) return;
    try {
      await this.#late.written();
      await this.#sync();
      await this.#parts.lock.shared(() => this.#rename());
      await this.#sync();
    } catch (error) {
      throw asStoreError("objects", error);
    }
  }

  /** A path that nobody uses, for a file of the caller's that goes away with the writer. */
  scratchPath(): string {
    this.#checkOpen();
    return this.#nextPath();
  }

  /** Ends the writer; what was not published is forgotten. Idempotent. */
  async end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#late.ended();
    const close = (): void => closeSync(this.#fd);
    void this.#syncing.then(close, close);
    try {
      rmSync(this.#parts.staging, { recursive: true, force: true });
    } finally {
      this.#parts.lease.release();
    }
  }

  #rename(): void {
    const { objects, staging, layers } = this.#parts;
    const made = new Set<string>();
    for (const digest of this.#staged.keys()) {
      const folder = objects.folderOf(digest);
      if (!made.has(folder)) mkdirSync(folder, { recursive: true, mode: 0o700 });
      made.add(folder);
      // Where another writer was faster, its object is replaced by an equal one.
      renameSync(`${staging}/${digest}`, objects.path(digest));
      const seen = this.#seen.get(digest.slice(0, 2));
      if (seen instanceof Set) seen.add(digest.slice(2));
    }
    this.#staged.clear();
    for (const diffId of this.#layers) {
      const target = join(layers, diffId);
      if (existsSync(target)) rmSync(join(staging, `layer-${diffId}`), { recursive: true, force: true });
      else renameSync(join(staging, `layer-${diffId}`), target);
    }
    if (this.#layers.size > 0) syncDirectory(layers);
    this.#layers.clear();
  }

  #sync(): Promise<void> {
    this.#unsynced = 0;
    this.#syncing = this.#syncing.then(() => syncfsJob(this.#fd));
    return this.#syncing;
  }

  /** Notes what has been staged. A sync that fails here fails publish(), too. */
  #added(digest: Digest, size: number): void {
    this.#staged.set(digest, size);
    this.#unsynced += size;
    if (this.#unsynced >= SYNC_BYTES) this.#sync().catch(() => undefined);
  }

  /** True when the object is visible or staged; a visible one then stays for as long as this writer lives. */
  async #has(digest: Digest, size: number): Promise<boolean> {
    if (this.#staged.has(digest)) return true;
    const { objects, lock } = this.#parts;
    // What another writer publishes meanwhile is staged once more, and replaced by what is equal to it.
    if (!this.#wasVisible(digest)) return false;
    if (objects.stat(digest)?.size !== size) return false;
    // Looked at again under the lock, where no sweep can come between.
    return await lock.shared(() => objects.stat(digest)?.size === size && touch(objects.path(digest)));
  }

  /** A listing for each folder instead of a call for each object: most objects of a new layer are new. */
  #wasVisible(digest: Digest): boolean {
    const folder = digest.slice(0, 2);
    let names = this.#seen.get(folder);
    if (names === undefined) {
      const listed = namesIn(this.#parts.objects.folderOf(digest));
      names = listed.length > MAX_SEEN ? "many" : new Set(listed);
      this.#seen.set(folder, names);
    }
    return names === "many" || names.has(digest.slice(2));
  }

  async #keep(path: string, digest: Digest, size: number): Promise<PutResult> {
    if (await this.#has(digest, size)) {
      rmSync(path, { force: true });
      return { digest, size, added: false };
    }
    renameSync(path, join(this.#parts.staging, digest));
    this.#added(digest, size);
    return { digest, size, added: true };
  }

  async #putBytes(bytes: Uint8Array, later: boolean): Promise<PutResult> {
    this.#checkOpen();
    const digest = digestOf(bytes);
    if (await this.#has(digest, bytes.length)) return { digest, size: bytes.length, added: false };
    if (!this.#staged.has(digest)) {
      if (later) await this.#stageLater(digest, bytes);
      else this.#stage(digest, bytes);
    }
    return { digest, size: bytes.length, added: true };
  }

  async #stageLater(digest: Digest, bytes: Uint8Array): Promise<void> {
    // Noted first: another call for the same bytes would be let in while this one waits.
    this.#added(digest, bytes.length);
    try {
      await this.#late.add(digest, bytes);
    } catch (error) {
      throw asStoreError("an object", error);
    }
  }

  #stage(digest: Digest, bytes: Uint8Array): void {
    const path = join(this.#parts.staging, digest);
    writing("an object", () => {
      const fd = openSync(path, "wx", OBJECT_MODE);
      try {
        writeAll(fd, bytes);
      } catch (error) {
        rmSync(path, { force: true });
        throw error;
      } finally {
        closeSync(fd);
      }
    });
    this.#added(digest, bytes.length);
  }

  #nextPath(): string {
    return join(this.#parts.staging, `body-${this.#temporary++}`);
  }

  #checkOpen(): void {
    if (this.#ended) throw new TypeError("this StoreWriter has ended");
  }
}

/** A file being filled and hashed at once. */
class StagedFile {
  readonly path: string;
  readonly #fd: number;
  readonly #hash = createHash("sha256");
  #position = 0;
  #open = true;

  constructor(path: string) {
    this.path = path;
    this.#fd = openSync(path, "wx", OBJECT_MODE);
  }

  write(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    for (let at = 0; at < chunk.length; at += zeros.length) {
      const part = chunk.subarray(at, at + zeros.length);
      if (part.length < HOLE || Buffer.compare(part, zeros.subarray(0, part.length)) !== 0) writeAll(this.#fd, part, this.#position);
      this.#position += part.length;
    }
  }

  finish(): Digest {
    // A hole at the end has not been written, so nothing has made the file that long.
    ftruncateSync(this.#fd, this.#position);
    this.#close();
    return this.#hash.digest("hex") as Digest;
  }

  discard(): void {
    this.#close();
    rmSync(this.path, { force: true });
  }

  #close(): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }
}

function checkDigest(found: Digest, expected: Digest | undefined): void {
  if (expected !== undefined && found !== expected) throw new StoreError("ERR_STORE_DIGEST", `expected content with digest ${expected}, found ${found}`);
}

/** Sets the modification time to now; false when there is nothing. */
function touch(path: string): boolean {
  const now = Date.now() / 1000;
  try {
    utimesSync(path, now, now);
    return true;
  } catch (error) {
    if ((error as { code?: unknown }).code === "ENOENT") return false;
    throw error;
  }
}
