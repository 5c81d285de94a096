/**
 * Layers come as gzip, zstd or plain tar; what one is shows in its first bytes, whatever its media type says.
 * Streams: nothing is held but a few chunks. zstd is Node's own where zlib has it, else read in JavaScript.
 */
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import * as zlib from "node:zlib";
import { Decompress } from "fzstd";
import { ImageError } from "./errors.js";

export type Compression = "gzip" | "zstd" | "none";

const CHUNK = 1 << 18;
/** One byte of zstd can stand for 32 KiB. Pushed in slices of this size, the reader in JavaScript never holds more than 64 MiB. */
const ZSTD_SLICE = 2048;
/** The largest window that zstd's own programs accept unasked. */
const ZSTD_WINDOW = 2 ** 27;

/** Recognizes a stream by its first bytes (4 at least, unless it is shorter). */
export function compressionOf(start: Uint8Array): Compression {
  if (start[0] === 0x1f && start[1] === 0x8b) return "gzip";
  if (start[0] === 0x28 && start[1] === 0xb5 && start[2] === 0x2f && start[3] === 0xfd) return "zstd";
  // A skippable frame, with which some zstd streams begin.
  if ((start[0] as number) >>> 4 === 5 && start[1] === 0x2a && start[2] === 0x4d && start[3] === 0x18) return "zstd";
  return "none";
}

/** The bytes that `source` holds. Throws ERR_IMAGE_COMPRESSION, and what the source throws. Chunks of the source must stay as they are. */
export async function* decompressed(source: AsyncIterable<Uint8Array>, found?: (compression: Compression) => void): AsyncGenerator<Uint8Array, undefined> {
  const chunks = source[Symbol.asyncIterator]();
  let start: Buffer = Buffer.alloc(0);
  let ended = false;
  while (start.length < 16 && !ended) {
    const { done, value } = await chunks.next();
    if (done === true) ended = true;
    else start = start.length === 0 ? Buffer.from(value.buffer, value.byteOffset, value.length) : Buffer.concat([start, value]);
  }
  async function* whole(): AsyncGenerator<Uint8Array, undefined> {
    try {
      if (start.length > 0) yield start;
      for (; !ended; ) {
        const { done, value } = await chunks.next();
        if (done === true) ended = true;
        else yield value;
      }
    } finally {
      if (!ended) await chunks.return?.();
    }
    return undefined;
  }
  const compression = compressionOf(start);
  found?.(compression);
  if (compression === "none") yield* whole();
  else if (compression === "gzip") yield* through(zlib.createGunzip({ chunkSize: CHUNK }), whole(), "gzip");
  else yield* zstd(start, whole());
  return undefined;
}

type MaybeZstd = { readonly createZstdDecompress?: (options: { readonly chunkSize: number }) => zlib.Gunzip };

function zstd(start: Uint8Array, source: AsyncGenerator<Uint8Array, undefined>): AsyncGenerator<Uint8Array, undefined> {
  const native = (zlib as MaybeZstd).createZstdDecompress;
  return native !== undefined ? through(native({ chunkSize: CHUNK }), source, "zstd") : zstdInJavaScript(start, source);
}

async function* through(transform: zlib.Gunzip, source: AsyncGenerator<Uint8Array, undefined>, name: string): AsyncGenerator<Uint8Array, undefined> {
  // The source's own error ends the iteration below as well, and is told from a wrong stream by who threw it.
  let sourceError: unknown;
  const watched = async function* (): AsyncGenerator<Uint8Array> {
    try {
      yield* source;
    } catch (error) {
      sourceError = error;
      throw error;
    }
  };
  const running = pipeline(Readable.from(watched(), { objectMode: false }), transform).catch(() => undefined);
  try {
    for await (const chunk of transform) yield chunk as Buffer;
  } catch (error) {
    throw sourceError ?? new ImageError("ERR_IMAGE_COMPRESSION", `expected a whole ${name} stream: ${(error as Error).message}`, { cause: error });
  } finally {
    transform.destroy();
    await running;
  }
  return undefined;
}

/** zstd without Node's help, as on Node below 22.15. Exported for tests. */
export async function* zstdInJavaScript(start: Uint8Array, source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, undefined> {
  checkWindow(start);
  let ready: Uint8Array[] = [];
  const reader = new Decompress((data) => {
    if (data.length > 0) ready.push(data);
  });
  const push = (bytes: Uint8Array, last: boolean): void => {
    try {
      reader.push(bytes, last);
    } catch (error) {
      throw new ImageError("ERR_IMAGE_COMPRESSION", `expected a whole zstd stream: ${(error as Error).message}`, { cause: error });
    }
  };
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; at += ZSTD_SLICE) {
      // A copy, which the reader may keep.
      push(Uint8Array.from(chunk.subarray(at, at + ZSTD_SLICE)), false);
      const done = ready;
      ready = [];
      yield* done;
    }
  }
  push(new Uint8Array(0), true);
  yield* ready;
  return undefined;
}

/** The first frame's window, which is memory. Source: RFC 8878, 3.1.1.1. */
function checkWindow(start: Uint8Array): void {
  const descriptor = start[4] as number;
  const isSingle = (descriptor & 0x20) !== 0;
  if (start[0] !== 0x28 || isSingle) return;
  const exponent = (start[5] as number) >>> 3;
  if (2 ** (10 + exponent) > ZSTD_WINDOW) throw new ImageError("ERR_IMAGE_COMPRESSION", `expected a zstd window of at most ${ZSTD_WINDOW} bytes, found ${2 ** (10 + exponent)}`);
}
