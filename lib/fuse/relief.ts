/**
 * What a session does before the heap of its process is full, which would be the end of the process and of the mount: it lets go of listings, and has the
 * kernel forget names and inodes that nobody uses (FUSE_NOTIFY_PRUNE, Linux 6.18), whose nodes then go here, too. The kernel does that by itself
 * only when memory is short for everybody.
 * Always true: nothing that is in use is lost; a position in a directory may become an index into a fresh listing (listings.ts).
 */
import { getHeapStatistics } from "node:v8";
import type { NodeEntry } from "./nodes.js";
import { FUSE_ROOT_ID } from "./wire/abi.js";

/** Requests between two looks, and nodes: one listing brings a thousand of them, and each takes a kilobyte. */
const EVERY = 256;
const EVERY_NODES = 4096;
/** Of the limit of the heap's old part. Garbage counts: with more than this V8 has begun to collect in earnest. */
const FULL = 0.6;
/** Three halves of the young part at their largest, which are in the limit, too, and where nothing stays. */
const YOUNG_BYTES = 48 << 20;
/** Nodeids in one message, and after one look: a pause of milliseconds. */
export const PRUNED_AT_ONCE = 1024;
const PRUNED = 16 * PRUNED_AT_ONCE;

export interface Relieved {
  entries(): IterableIterator<NodeEntry>;
  dropListings(): void;
  /** Has the kernel forget what is unused of ids[0, count). False when it cannot. */
  prune(ids: Float64Array, count: number): boolean;
}

export class Relief {
  readonly #session: Relieved;
  readonly #isFull: () => boolean;
  readonly #ids = new Float64Array(PRUNED_AT_ONCE);
  #left = EVERY;
  #nextLook = EVERY_NODES;
  #canPrune = true;
  /** Goes on where it was: what is still in use after one look is not asked for again in the next. */
  #at: IterableIterator<NodeEntry> | undefined;

  constructor(session: Relieved, isFull: () => boolean = heapIsFull) {
    this.#session = session;
    this.#isFull = isFull;
  }

  /** After each request; `next`: the nodeid that the next new node gets. */
  served(next: number): void {
    if (--this.#left > 0 && next < this.#nextLook) return;
    this.#left = EVERY;
    this.#nextLook = next + EVERY_NODES;
    if (!this.#isFull()) return;
    this.#session.dropListings();
    for (let pruned = 0; pruned < PRUNED && this.#canPrune; pruned += PRUNED_AT_ONCE) {
      const count = this.#next();
      if (count === 0) return;
      this.#canPrune = this.#session.prune(this.#ids, count);
    }
  }

  #next(): number {
    this.#at ??= this.#session.entries();
    let count = 0;
    while (count < PRUNED_AT_ONCE) {
      const { value, done } = this.#at.next();
      if (done === true) {
        this.#at = undefined;
        break;
      }
      if (value.nodeid !== FUSE_ROOT_ID) this.#ids[count++] = value.nodeid;
    }
    return count;
  }
}

function heapIsFull(): boolean {
  const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics();
  return used > FULL * (limit - YOUNG_BYTES);
}
