/** The thread that unpacks layers (unpacking-thread.ts): fills pieces of the shared memory and waits while all are with the reader. */
import { parentPort, workerData } from "node:worker_threads";
import { bytesOf, type Blob } from "./blobs.js";
import { ImageError } from "./errors.js";
import { SLOT_BYTES, SLOTS, type FromUnpacking, type ToUnpacking, type UnpackingJob } from "./unpacking-thread.js";
import { unpack } from "./unpacking.js";

const { layers, memory } = workerData as UnpackingJob;
const port = parentPort!;
const tell = (message: FromUnpacking): void => port.postMessage(message);
const free = Array.from({ length: SLOTS }, (_, slot) => slot);
let wake: (() => void) | undefined;
port.on("message", (slot: ToUnpacking) => {
  free.push(slot);
  wake?.();
});

async function freeSlot(): Promise<number> {
  for (;;) {
    const slot = free.shift();
    if (slot !== undefined) return slot;
    await new Promise<void>((resolve) => (wake = resolve));
  }
}

async function unpackLayer(layer: Blob): Promise<void> {
  let read = 0;
  const { tar, result } = unpack(bytesOf(layer), (count) => (read += count));
  let slot = -1;
  let length = 0;
  const pass = (): void => {
    tell({ tell: "piece", slot, length, read });
    slot = -1;
    length = read = 0;
  };
  for await (const chunk of tar) {
    for (let at = 0; at < chunk.length; ) {
      if (slot < 0) slot = await freeSlot();
      const part = chunk.subarray(at, at + SLOT_BYTES - length);
      new Uint8Array(memory, slot * SLOT_BYTES + length, part.length).set(part);
      length += part.length;
      at += part.length;
      if (length === SLOT_BYTES) pass();
    }
  }
  if (length > 0) pass();
  tell({ tell: "end", result: await result(), read });
}

try {
  for (const layer of layers) await unpackLayer(layer);
} catch (error) {
  const { code, message } = error as { code?: string; message: string };
  tell({ tell: "failed", code, message, isImageError: error instanceof ImageError });
}
port.close();
