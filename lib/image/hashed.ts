/** Streams that are counted and hashed while somebody reads them. */
import { createHash } from "node:crypto";
import type { Digest } from "../store/digest.js";

export class HashedStream implements AsyncIterable<Uint8Array> {
  readonly #source: AsyncIterable<Uint8Array>;
  readonly #onBytes: ((count: number, chunk: Uint8Array) => void) | undefined;
  readonly #hash = createHash("sha256");
  /** Bytes read so far. */
  size = 0;
  /** May be set to false before the first chunk by somebody who knows the digest from elsewhere; digest() then means nothing. */
  hashing = true;

  /** `onBytes` is told of every chunk and its size. */
  constructor(source: AsyncIterable<Uint8Array>, onBytes?: (count: number, chunk: Uint8Array) => void) {
    this.#source = source;
    this.#onBytes = onBytes;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, undefined> {
    for await (const chunk of this.#source) {
      if (this.hashing) this.#hash.update(chunk);
      this.size += chunk.length;
      this.#onBytes?.(chunk.length, chunk);
      yield chunk;
    }
    return undefined;
  }

  /** To be called once, after the last chunk. */
  digest(): Digest {
    return this.#hash.digest("hex") as Digest;
  }
}
