/**
 * Recipes: how to put a layer's tar together again, byte for byte, from what the store keeps. A recipe holds everything of the tar
 * that is no object of the store: headers, padding, small bodies, what follows the end.
 *
 *    0   8  "stratarc"
 *    8   4  version, 1
 *   12   4  flags, 0
 *   16  32  diffID
 *   48   8  bytes of the tar
 *   56      records, deflated (raw deflate), little-endian:
 *             1, u32 count, bytes                                  these bytes
 *             2, 32 bytes of digest                                all of an object
 *             3, 32 bytes of digest, u32 count, count times        parts of an object: the stored parts of a sparse file
 *                {u64 offset, u64 length}
 *             0                                                    the end
 */
import { closeSync, createReadStream, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createDeflateRaw, createInflateRaw } from "node:zlib";
import { DIGEST_BYTES, type Digest } from "../store/digest.js";
import { StoreError } from "../store/errors.js";
import type { Store } from "../store/store.js";
import type { Extent } from "../tar/sparse.js";

export const RECIPE_FILE = "recipe";
const MAGIC = "stratarc";
const VERSION = 1;
const HEADER = 56;
const RAW = 1;
const OBJECT = 2;
const PARTS = 3;
const END = 0;
/** Raw bytes are gathered up to this size, and read in pieces of it. */
const BATCH = 65_536;

/** Writes a recipe while a layer is read. Memory grows with the deflated recipe: about a hundred bytes for an entry. */
export class RecipeWriter {
  readonly #deflate = createDeflateRaw({ level: 1 });
  readonly #out: Buffer[] = [];
  readonly #collected: Promise<void>;
  /** Records not yet handed to the deflater; what came last, if it is raw bytes, is not closed: more may be added to it. */
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #raw: Buffer[] = [];
  #rawBytes = 0;
  #tarBytes = 0;

  constructor() {
    this.#deflate.on("data", (chunk: Buffer) => this.#out.push(chunk));
    this.#collected = new Promise((resolve, reject) => {
      this.#deflate.once("end", resolve);
      this.#deflate.once("error", reject);
    });
  }

  /** Bytes that are in no object; copied. */
  raw(bytes: Uint8Array): void {
    this.#raw.push(Buffer.from(bytes));
    this.#rawBytes += bytes.length;
    this.#tarBytes += bytes.length;
  }

  /** A body that is an object: all of it, or its `extents`. Waits while the recipe is being deflated. */
  async object(digest: Digest, storedSize: number, extents: readonly Extent[] | undefined): Promise<void> {
    this.#tarBytes += storedSize;
    this.#endRaw();
    const head = Buffer.alloc(1 + DIGEST_BYTES);
    head[0] = extents === undefined ? OBJECT : PARTS;
    head.write(digest, 1, "hex");
    this.#record(head);
    if (extents !== undefined) {
      const parts = Buffer.alloc(4 + 16 * extents.length);
      parts.writeUInt32LE(extents.length, 0);
      extents.forEach(({ offset, length }, i) => {
        parts.writeBigUInt64LE(BigInt(offset), 4 + 16 * i);
        parts.writeBigUInt64LE(BigInt(length), 12 + 16 * i);
      });
      this.#record(parts);
    }
    await this.settle();
  }

  /** Hands gathered records on when there are many, and waits while the deflater is behind. */
  async settle(): Promise<void> {
    if (this.#rawBytes + this.#pendingBytes < BATCH) return;
    this.#flush();
    if (this.#deflate.writableNeedDrain) await new Promise((resolve) => this.#deflate.once("drain", resolve));
  }

  /** The parts of the file. */
  async finish(diffId: Digest): Promise<Uint8Array[]> {
    this.#flush();
    this.#deflate.end(Buffer.from([END]));
    await this.#collected;
    const header = Buffer.alloc(HEADER);
    header.write(MAGIC, 0, "latin1");
    header.writeUInt32LE(VERSION, 8);
    header.write(diffId, 16, "hex");
    header.writeBigUInt64LE(BigInt(this.#tarBytes), 48);
    return [header, ...this.#out];
  }

  /** Ends a recipe that is not wanted any more. */
  abandon(): void {
    this.#collected.catch(() => undefined);
    this.#deflate.destroy();
  }

  #endRaw(): void {
    if (this.#rawBytes === 0) return;
    const head = Buffer.alloc(5);
    head[0] = RAW;
    head.writeUInt32LE(this.#rawBytes, 1);
    this.#record(head);
    for (const part of this.#raw) this.#record(part);
    this.#raw = [];
    this.#rawBytes = 0;
  }

  #record(bytes: Buffer): void {
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
  }

  #flush(): void {
    this.#endRaw();
    this.#deflate.write(Buffer.concat(this.#pending));
    this.#pending = [];
    this.#pendingBytes = 0;
  }
}

/**
 * The tar of a layer, as it was imported. The layer must be leased or named by an image meanwhile.
 * Throws ERR_STORE_MISSING when the layer has no recipe or an object is gone, ERR_STORE_FORMAT, ERR_STORE_DAMAGED.
 */
export async function* layerTar(store: Store, diffId: Digest): AsyncGenerator<Uint8Array, undefined> {
  const path = join(store.layerPath(diffId), RECIPE_FILE);
  const expected = readHeader(path, diffId);
  const inflate = createInflateRaw({ chunkSize: BATCH });
  const running = pipeline(createReadStream(path, { start: HEADER }), inflate).catch(() => undefined);
  try {
    let size = 0;
    for await (const part of records(store, new Pull(inflate, path))) {
      size += part.length;
      if (size > expected) throw damaged(path, `expected a tar of ${expected} bytes, found more`);
      yield part;
    }
    if (size !== expected) throw damaged(path, `expected a tar of ${expected} bytes, found ${size}`);
  } finally {
    inflate.destroy();
    await running;
  }
  return undefined;
}

/** Bytes of the tar that layerTar() gives. Throws as it does. */
export function layerTarBytes(store: Store, diffId: Digest): number {
  return readHeader(join(store.layerPath(diffId), RECIPE_FILE), diffId);
}

async function* records(store: Store, input: Pull): AsyncGenerator<Uint8Array, undefined> {
  for (;;) {
    const type = (await input.exactly(1))[0] as number;
    if (type === END) return undefined;
    if (type === RAW) {
      for (let left = (await input.exactly(4)).readUInt32LE(0); left > 0; ) {
        const part = await input.exactly(Math.min(left, BATCH));
        yield part;
        left -= part.length;
      }
    } else if (type === OBJECT || type === PARTS) {
      const digest = (await input.exactly(DIGEST_BYTES)).toString("hex") as Digest;
      const fd = store.objects.open(digest);
      try {
        if (type === OBJECT) yield* bytesOf(fd, 0, Infinity);
        else {
          for (let left = (await input.exactly(4)).readUInt32LE(0); left > 0; left--) {
            const extent = await input.exactly(16);
            const [offset, length] = [Number(extent.readBigUInt64LE(0)), Number(extent.readBigUInt64LE(8))];
            if (!Number.isSafeInteger(offset + length)) throw damaged(input.path, `found a part of ${length} bytes at ${offset}`);
            yield* bytesOf(fd, offset, length);
          }
        }
      } finally {
        closeSync(fd);
      }
    } else {
      throw damaged(input.path, `found a record of type ${type}`);
    }
  }
}

function* bytesOf(fd: number, offset: number, length: number): Generator<Uint8Array, undefined> {
  for (let done = 0; done < length; ) {
    const part = Buffer.allocUnsafe(Math.min(length - done, 1 << 18));
    const count = readSync(fd, part, 0, part.length, offset + done);
    if (count === 0) return undefined;
    yield part.subarray(0, count);
    done += count;
  }
  return undefined;
}

/** Checks a recipe's header; the bytes of its tar. */
function readHeader(path: string, diffId: Digest): number {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    throw new StoreError("ERR_STORE_MISSING", `no recipe for the tar of layer ${diffId}`, { cause: error });
  }
  try {
    const header = Buffer.alloc(HEADER);
    const count = readSync(fd, header, 0, HEADER, 0);
    if (count < HEADER || header.toString("latin1", 0, 8) !== MAGIC) throw new StoreError("ERR_STORE_FORMAT", `${path}: expected a recipe, found no ${MAGIC} at its start`);
    if (header.readUInt32LE(8) !== VERSION || header.readUInt32LE(12) !== 0) throw new StoreError("ERR_STORE_FORMAT", `${path}: expected recipe version ${VERSION} without flags, found ${header.readUInt32LE(8)}`);
    if (header.toString("hex", 16, 48) !== diffId) throw damaged(path, `expected the recipe of ${diffId}`);
    return Number(header.readBigUInt64LE(48));
  } finally {
    closeSync(fd);
  }
}

/** A stream read by counts. */
class Pull {
  readonly path: string;
  readonly #chunks: AsyncIterator<Buffer>;
  #held: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>, path: string) {
    this.#chunks = source[Symbol.asyncIterator]();
    this.path = path;
  }

  async exactly(count: number): Promise<Buffer> {
    while (this.#held.length < count) {
      let next: IteratorResult<Buffer>;
      try {
        next = await this.#chunks.next();
      } catch (error) {
        throw damaged(this.path, (error as Error).message);
      }
      if (next.done === true) throw damaged(this.path, "the recipe ends in the middle of a record");
      this.#held = this.#held.length === 0 ? next.value : Buffer.concat([this.#held, next.value]);
    }
    const part = this.#held.subarray(0, count);
    this.#held = this.#held.subarray(count);
    return part;
  }
}

function damaged(path: string, detail: string): StoreError {
  return new StoreError("ERR_STORE_DAMAGED", `${path}: ${detail}`);
}
