/**
 * Where the serving thread runs. A request costs four times as much when the server wakes on another processor than its client's
 * (README.md has the measurement), and the scheduler does not know that the two belong together: so the server goes where its
 * clients are.
 * Always true: only the serving thread is moved, only to a processor it was allowed, and only after several looks agreed; with
 * clients on several processors it stays where it is. Nothing of a client is read by the serving thread itself: the kernel lets nobody look
 * at a process that is in execve(2), and that may be waiting for an answer from here.
 */
import type { NativeBinding } from "../../types/native.js";

/** Requests between two looks at a client; more while looks confirm what is. */
const LOOK_EVERY = 16;
const LOOK_EVERY_AT_MOST = 256;
/** Looks in a row that must see the same processor before the server goes there. */
const AGREE = 3;

export class Placement {
  readonly #native: Pick<NativeBinding, "lookAt" | "runOn">;
  #countdown = LOOK_EVERY;
  #every = LOOK_EVERY;
  #at = -1;
  #seen = -1;
  #agreed = 0;

  constructor(native: Pick<NativeBinding, "lookAt" | "runOn">) {
    this.#native = native;
  }

  /** One request more, from thread `tid` (0: from the kernel itself, or from where its number cannot be known). */
  request(tid: number): void {
    if (--this.#countdown > 0) return;
    this.#countdown = this.#every;
    if (tid === 0) return;
    const processor = this.#native.lookAt(tid);
    if (processor < 0) return;
    if (processor !== this.#seen) {
      this.#seen = processor;
      this.#agreed = 1;
      this.#every = LOOK_EVERY;
      return;
    }
    this.#agreed++;
    if (processor === this.#at) {
      this.#every = Math.min(this.#every * 2, LOOK_EVERY_AT_MOST);
    } else if (this.#agreed >= AGREE) {
      this.#at = this.#native.runOn(processor) < 0 ? -1 : processor;
    }
  }

  /** Lets the thread go where it was allowed before. */
  end(): void {
    if (this.#at >= 0) this.#native.runOn(-1);
    this.#at = -1;
  }
}

/** Requests in a row from one queue after which the server goes there. Following each one would have it run after two clients in turn. */
const RUN = 16;

/** As Placement, where every request says its client's processor. */
export class QueuePlacement {
  readonly #native: Pick<NativeBinding, "runOn">;
  #at = -1;
  #seen = -1;
  #run = 0;

  constructor(native: Pick<NativeBinding, "runOn">) {
    this.#native = native;
  }

  request(processor: number): void {
    if (processor !== this.#seen) {
      this.#seen = processor;
      this.#run = 0;
    }
    if (++this.#run === RUN && processor !== this.#at) this.#at = this.#native.runOn(processor) < 0 ? -1 : processor;
  }

  /** Lets the thread go where it was allowed before. */
  end(): void {
    if (this.#at >= 0) this.#native.runOn(-1);
    this.#at = -1;
  }
}
