/**
 * Unpacks the layers of an image, one after the other, ahead of whoever reads them, so that reading, hashing and decompressing have a
 * processor of their own. The worker's side is unpacking-worker.ts.
 * Order: layers are asked for in the order in which they were given, each read to its end and its result taken before the next.
 * Memory: SLOTS pieces that both threads see. A piece belongs to the worker, then to the reader, who gives it back by asking for the next.
 */
import { Worker } from "node:worker_threads";
import type { BlobRecipe } from "./blob-recipe.js";
import { bytesOf, type Blob } from "./blobs.js";
import { ImageError, type ImageCode } from "./errors.js";
import { unpack, type Unpacked, type UnpackedResult } from "./unpacking.js";

export const SLOT_BYTES = 1 << 20;
export const SLOTS = 8;

export interface UnpackingJob {
  readonly layers: readonly Blob[];
  /** SLOTS times SLOT_BYTES. */
  readonly memory: SharedArrayBuffer;
}

/** `read`: bytes of the blob that have been read since the last message. Buffers arrive as plain arrays of bytes. */
export type FromUnpacking =
  | { readonly tell: "piece"; readonly slot: number; readonly length: number; readonly read: number }
  | { readonly tell: "end"; readonly result: UnpackedResult; readonly read: number }
  | { readonly tell: "failed"; readonly code: string | undefined; readonly message: string; readonly isImageError: boolean };
/** The number of a slot that is free again. */
export type ToUnpacking = number;

/** A thread costs 50 ms; below this there is no work to share. */
const WORTH_A_THREAD = 4 << 20;

export interface Unpacking {
  /** The next layer. Its tar throws ImageError, and what reading the file throws. `onBytes` is told of bytes of the blob as they are read. */
  next(onBytes?: (count: number) => void): Unpacked;
  /** Stops, wherever it is. Idempotent. */
  close(): Promise<void>;
}

/** Unpacks `layers` in their order: in a thread of its own where that is worth one. */
export function startUnpacking(layers: readonly Blob[]): Unpacking {
  if (layers.reduce((sum, { size }) => sum + size, 0) >= WORTH_A_THREAD) return new UnpackingThread(layers);
  const rest = [...layers];
  return {
    next: (onBytes) => unpack(bytesOf(rest.shift() as Blob), onBytes),
    close: () => Promise.resolve(),
  };
}

class UnpackingThread implements Unpacking {
  readonly #memory = new SharedArrayBuffer(SLOTS * SLOT_BYTES);
  readonly #worker: Worker;
  readonly #told: FromUnpacking[] = [];
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(layers: readonly Blob[]) {
    this.#worker = new Worker(new URL("./unpacking-worker.js", import.meta.url), { workerData: { layers, memory: this.#memory } satisfies UnpackingJob });
    this.#worker.on("message", (message: FromUnpacking) => {
      this.#told.push(message);
      this.#wake?.();
    });
    this.#worker.on("error", (error) => this.#end(error instanceof Error ? error : new Error(String(error))));
    this.#worker.on("exit", () => this.#end(new Error("the thread that unpacks layers has ended")));
  }

  next(onBytes?: (count: number) => void): Unpacked {
    let result: UnpackedResult | undefined;
    return {
      tar: this.#tar(onBytes, (found) => (result = found)),
      result: async () => {
        if (result === undefined) throw new TypeError("expected a layer's tar to be read to its end before its result is asked for");
        return result;
      },
    };
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  async *#tar(onBytes: ((count: number) => void) | undefined, onEnd: (result: UnpackedResult) => void): AsyncGenerator<Uint8Array, undefined> {
    for (;;) {
      const message = await this.#next();
      if (message.tell === "failed") throw errorOf(message);
      onBytes?.(message.read);
      if (message.tell === "end") {
        onEnd({ ...message.result, how: revived(message.result.how) });
        return undefined;
      }
      yield Buffer.from(this.#memory, message.slot * SLOT_BYTES, message.length);
      this.#worker.postMessage(message.slot satisfies ToUnpacking);
    }
  }

  async #next(): Promise<FromUnpacking> {
    for (;;) {
      const message = this.#told.shift();
      if (message !== undefined) return message;
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #end(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }
}

function errorOf({ code, message, isImageError }: FromUnpacking & { readonly tell: "failed" }): Error {
  // An ImageError puts its code in front of its message itself.
  return isImageError ? new ImageError(code as ImageCode, message.slice(`${code}: `.length)) : Object.assign(new Error(message), code === undefined ? {} : { code });
}

function revived(how: BlobRecipe["how"] | undefined): BlobRecipe["how"] | undefined {
  return how?.kind === "deflate" ? { ...how, header: Buffer.from(how.header) } : how;
}
