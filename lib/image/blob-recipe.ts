/**
 * The compressed blob of a layer, byte for byte, out of the layer's tar: kept in the layer's folder as the file "blob", a JSON document.
 *
 *   version      1
 *   digest, size of the blob ("sha256:HEX")
 *   compression  "gzip" or "zstd"
 *   how          "deflate": `header` (base64) as it is, the tar deflated by zlib with `level`, then CRC-32 and size of the tar;
 *                "kept": the blob is an object of the store, which the layer's index names
 *
 * That zlib makes the same bytes is tried on the beginning of the tar only. So a recipe is a good guess, and whoever uses it compares
 * the digest. Blobs that Go's compress/gzip made, and so those of most container tools, cannot be made with zlib.
 */
import { join } from "node:path";
import { crc32, createDeflateRaw, type DeflateRaw } from "node:zlib";
import { parseDigest, type Digest } from "../store/digest.js";
import { StoreError } from "../store/errors.js";
import { readText } from "../store/files.js";
import type { Store } from "../store/store.js";
import { fieldsOf, parseJson, sizeOf, textOfField } from "./json.js";

export const BLOB_FILE = "blob";

export interface BlobRecipe {
  readonly digest: Digest;
  readonly size: number;
  readonly compression: "gzip" | "zstd";
  readonly how: { readonly kind: "kept" } | { readonly kind: "deflate"; readonly header: Buffer; readonly level: number };
}

const VERSION = 1;
/** Bytes of the tar that are deflated as a trial; at most so many of a blob come of them. */
const TRIAL_TAR = 1 << 19;
const TRIAL_BLOB = (1 << 19) + 65_536;
/** The trial goes by pieces: most wrong guesses show in the first block that zlib closes. */
const TRIAL_PIECE = 32_768;
const TRAILER = 8;
/** The levels that headers speak of. */
const LEVELS = [6, 9, 1];
const XFL_SLOWEST = 2;
const XFL_FASTEST = 4;

/** Keeps the beginnings of a gzip blob and of its tar, and tries whether zlib makes the one of the other. */
export class GzipTrial {
  readonly #blob = new Start(TRIAL_BLOB);
  readonly #tar = new Start(TRIAL_TAR);

  blob(chunk: Uint8Array): void {
    this.#blob.add(chunk);
  }
  tar(chunk: Uint8Array): void {
    this.#tar.add(chunk);
  }

  /** After both have been read. Undefined when it does not. */
  async find(): Promise<BlobRecipe["how"] | undefined> {
    const blob = this.#blob.bytes();
    const header = gzipHeader(blob);
    if (header === undefined) return undefined;
    const theirs = blob.subarray(header.length, this.#blob.whole ? blob.length - TRAILER : blob.length);
    const level = levelOf(header);
    return (await startsAs(this.#tar.bytes(), this.#tar.whole, level, theirs)) ? { kind: "deflate", header: Buffer.from(header), level } : undefined;
  }
}

export function encodeBlobRecipe({ digest, size, compression, how }: BlobRecipe): Buffer {
  const more = how.kind === "kept" ? {} : { header: how.header.toString("base64"), level: how.level };
  return Buffer.from(`${JSON.stringify({ version: VERSION, digest: `sha256:${digest}`, size, compression, how: how.kind, ...more })}\n`);
}

/** Undefined when the layer has none. Throws ERR_STORE_FORMAT, ERR_STORE_DAMAGED. */
export function readBlobRecipe(store: Store, diffId: Digest): BlobRecipe | undefined {
  const path = join(store.layerPath(diffId), BLOB_FILE);
  const text = readText(path);
  if (text === undefined) return undefined;
  let version: unknown;
  try {
    const fields = fieldsOf(parseJson(Buffer.from(text), path), path);
    version = fields["version"];
    if (version === VERSION) {
      const compression = textOfField(fields["compression"], "compression");
      const kind = textOfField(fields["how"], "how");
      const { level } = fields;
      if (compression !== "gzip" && compression !== "zstd") throw new RangeError(`found compression ${JSON.stringify(compression)}`);
      if (kind !== "kept" && (kind !== "deflate" || typeof level !== "number" || !LEVELS.includes(level))) throw new RangeError(`found ${JSON.stringify(kind)} with level ${String(level)}`);
      return {
        digest: parseDigest(textOfField(fields["digest"], "digest")), size: sizeOf(fields["size"], "size"), compression,
        how: kind === "kept" ? { kind } : { kind: "deflate", header: Buffer.from(textOfField(fields["header"], "header"), "base64"), level: level as number },
      };
    }
  } catch (error) {
    throw new StoreError("ERR_STORE_DAMAGED", `${path}: ${(error as Error).message}`, { cause: error });
  }
  throw new StoreError("ERR_STORE_FORMAT", `${path}: expected version ${VERSION}, found ${JSON.stringify(version)}`);
}

/** The gzip stream of a recipe. `tar` is read once. */
export async function* gzippedAs(header: Uint8Array, level: number, tar: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, undefined> {
  let check = 0;
  let size = 0;
  yield header;
  const deflate = createDeflateRaw({ level, chunkSize: 1 << 18 });
  let failure: unknown;
  const feed = async (): Promise<void> => {
    for await (const chunk of tar) {
      check = crc32(chunk as Buffer, check);
      size += chunk.length;
      if (!deflate.write(chunk)) await drained(deflate);
      if (deflate.destroyed) return;
    }
    deflate.end();
  };
  const fed = feed().catch((error: unknown) => {
    failure = error;
    deflate.destroy(error as Error);
  });
  try {
    for await (const chunk of deflate) yield chunk as Buffer;
  } catch (error) {
    throw failure ?? error;
  } finally {
    deflate.destroy();
    await fed;
  }
  const trailer = Buffer.alloc(TRAILER);
  trailer.writeUInt32LE(check, 0);
  trailer.writeUInt32LE(size % 2 ** 32, 4);
  yield trailer;
  return undefined;
}

/** Resolves when a stream takes more, or is closed. */
function drained(stream: DeflateRaw): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off("drain", done).off("close", done);
      resolve();
    };
    stream.on("drain", done).on("close", done);
  });
}

/** Header of the first member; undefined when it is none, or goes on behind what is known. Source: RFC 1952. */
function gzipHeader(blob: Buffer): Buffer | undefined {
  if (blob.length < 10 || blob[0] !== 0x1f || blob[1] !== 0x8b || blob[2] !== 8) return undefined;
  const flags = blob[3] as number;
  let at = 10;
  if ((flags & 4) !== 0) at += 2 + (blob[at] ?? 0) + 256 * (blob[at + 1] ?? 0);
  for (const flag of [8, 16]) {
    if ((flags & flag) === 0) continue;
    const end = blob.indexOf(0, at);
    if (end < 0) return undefined;
    at = end + 1;
  }
  if ((flags & 2) !== 0) at += 2;
  return at < blob.length ? blob.subarray(0, at) : undefined;
}

/** The level that a header speaks of: programs on top of zlib, and gzip itself, say whether it was the fastest or the slowest. */
function levelOf(header: Buffer): number {
  const xfl = header[8] as number;
  return xfl === XFL_SLOWEST ? 9 : xfl === XFL_FASTEST ? 1 : 6;
}

/** Whether zlib makes of a tar's beginning, or of all of it when `whole`, what `theirs` begins with, or is. */
async function startsAs(tar: Buffer, whole: boolean, level: number, theirs: Buffer): Promise<boolean> {
  const deflate = createDeflateRaw({ level });
  let length = 0;
  let equal = true;
  deflate.on("data", (part: Buffer) => {
    const at = length;
    length += part.length;
    const seen = Math.min(length, theirs.length);
    equal &&= at >= seen || part.subarray(0, seen - at).equals(theirs.subarray(at, seen));
  });
  const ended = new Promise<void>((resolve, reject) => deflate.once("end", resolve).once("error", reject));
  try {
    for (let at = 0; equal && at < tar.length; at += TRIAL_PIECE) await new Promise<void>((resolve) => deflate.write(tar.subarray(at, at + TRIAL_PIECE), () => resolve()));
    if (!whole) return equal && length > 0;
    if (!equal) return false;
    deflate.end();
    await ended;
    return equal && length === theirs.length;
  } finally {
    ended.catch(() => undefined);
    deflate.destroy();
  }
}

/** The first bytes of a stream. */
class Start {
  readonly #max: number;
  #parts: Buffer[] = [];
  #size = 0;
  /** False once something was left out. */
  whole = true;

  constructor(max: number) {
    this.#max = max;
  }

  add(chunk: Uint8Array): void {
    const part = chunk.subarray(0, this.#max - this.#size);
    if (part.length < chunk.length) this.whole = false;
    if (part.length === 0) return;
    this.#parts.push(Buffer.from(part));
    this.#size += part.length;
  }

  bytes(): Buffer {
    const all = Buffer.concat(this.#parts);
    this.#parts = [all];
    return all;
  }
}
