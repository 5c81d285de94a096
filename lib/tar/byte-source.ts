/**
 * ByteSource: an async iterable of chunks, read as a stream of counted bytes. Holds one chunk, never copies it except where
 * a block straddles two. What it hands out are views of the source's own chunks.
 */

export class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Buffer = Buffer.alloc(0);
  #at = 0;
  #ended = false;
  /** Bytes handed out so far. */
  offset = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]();
  }

  /** Exactly `length` bytes; fewer only at the end of the stream, then none. Waits only when the chunk at hand is too short. */
  take(length: number): Buffer | Promise<Buffer> {
    if (this.#chunk.length - this.#at >= length) return this.#view(length);
    return this.#gather(length);
  }

  /** Between 1 and `max` bytes, as many as lie at hand; empty only at the end of the stream. `max` is above 0. */
  async some(max: number): Promise<Buffer> {
    if (this.#at === this.#chunk.length) await this.#next();
    return this.#view(Math.min(max, this.#chunk.length - this.#at));
  }

  /** Tells the source that no more will be read. */
  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#chunks.return?.();
  }

  #view(length: number): Buffer {
    const view = this.#chunk.subarray(this.#at, this.#at + length);
    this.#at += length;
    this.offset += length;
    return view;
  }

  /** Copies: a chunk may be used again by its source once the next one is asked for. */
  async #gather(length: number): Promise<Buffer> {
    const gathered = Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      const part = await this.some(length - done);
      if (part.length === 0) break;
      gathered.set(part, done);
      done += part.length;
    }
    return gathered.subarray(0, done);
  }

  /** Fetches chunks until one has bytes or the stream ends. */
  async #next(): Promise<void> {
    while (!this.#ended) {
      const { done, value } = await this.#chunks.next();
      if (done === true) {
        this.#ended = true;
      } else if (value.length > 0) {
        this.#chunk = Buffer.from(value.buffer, value.byteOffset, value.length);
        this.#at = 0;
        return;
      }
    }
    this.#chunk = Buffer.alloc(0);
    this.#at = 0;
  }
}
