/**
 * Small new files, written by another thread while the caller's reads on: many at a time, since a job costs as much as a file.
 * Memory: one batch being filled and two with the thread.
 */
import { filesJob } from "../sys/jobs.js";

const BATCH_BYTES = 1 << 20;
const BATCHES = 2;
/** Before each body: its length and that of its name with the NUL, 32 bits each, little-endian. */
const HEADER = 8;

export class LateFiles {
  readonly #folder: number;
  readonly #mode: number;
  readonly #batch = Buffer.allocUnsafeSlow(BATCH_BYTES);
  #length = 0;
  /** Oldest first. Of each, somebody has seen that it may fail. */
  readonly #running: Promise<void>[] = [];

  /** `folder`: a descriptor of the directory for them, the caller's, open until written() has settled. */
  constructor(folder: number, mode: number) {
    this.#folder = folder;
    this.#mode = mode;
  }

  /** Whether a body is small enough. */
  static fits(bytes: Uint8Array): boolean {
    return bytes.length <= BATCH_BYTES >> 2;
  }

  /** Takes a copy. `name` is ASCII and not there yet. Rejects what earlier files ended with: this one, too, is then not to be counted on. */
  async add(name: string, bytes: Uint8Array): Promise<void> {
    const length = HEADER + name.length + 1 + bytes.length;
    while (this.#length + length > BATCH_BYTES) await this.#pass();
    const at = this.#length;
    this.#batch.writeUInt32LE(bytes.length, at);
    this.#batch.writeUInt32LE(name.length + 1, at + 4);
    this.#batch.write(`${name}\0`, at + HEADER, "latin1");
    this.#batch.set(bytes, at + HEADER + name.length + 1);
    this.#length += length;
  }

  /** Settles when all files are written (not synced). Rejects what the first that could not be written ended with, always again. */
  async written(): Promise<void> {
    await this.#pass();
    await Promise.all(this.#running);
  }

  /** As written(), without a word of failures. What has not been begun is forgotten. */
  async ended(): Promise<void> {
    this.#length = 0;
    await Promise.allSettled(this.#running);
  }

  async #pass(): Promise<void> {
    while (this.#running.length >= BATCHES) {
      const oldest = this.#running[0];
      // One that has failed stays at the front.
      await oldest;
      if (this.#running[0] === oldest) this.#running.shift();
    }
    if (this.#length === 0) return;
    const job = filesJob(this.#folder, this.#mode, this.#batch.subarray(0, this.#length));
    job.catch(() => undefined);
    this.#running.push(job);
    this.#length = 0;
  }
}
