/**
 * How long the serving thread looks for the next request before it sleeps. A client that has its answer often asks again at once, and a
 * processor that has gone to sleep is slow to wake (README.md has the measurement).
 * Always true: who comes too seldom, or cannot come while the thread looks since both have one processor, is soon slept for as before.
 */

/** A client that is woken on another processor, and asks again, takes 20 to 100 us. */
const LOOK_US = 100;
/** Looks in a row that find nothing before some are left out. */
const FAILURES = 3;
/** Sleeps without a look; twice as many each time, until a look finds something. */
const LEFT_OUT = 16;
const LEFT_OUT_AT_MOST = 1024;

export class Patience {
  readonly #processors: number;
  #failures = 0;
  #leaveOut = 0;
  #nextLeaveOut = LEFT_OUT;

  constructor(processors: number) {
    this.#processors = processors;
  }

  /** Before a sleep: microseconds to look for a request, 0 for not at all. */
  get us(): number {
    if (this.#processors < 2) return 0;
    if (this.#leaveOut === 0) return LOOK_US;
    this.#leaveOut--;
    return 0;
  }

  /** What a look has found. */
  looked(found: boolean): void {
    if (found) {
      this.#failures = 0;
      this.#nextLeaveOut = LEFT_OUT;
    } else if (++this.#failures === FAILURES) {
      this.#failures = 0;
      this.#leaveOut = this.#nextLeaveOut;
      this.#nextLeaveOut = Math.min(this.#nextLeaveOut * 2, LEFT_OUT_AT_MOST);
    }
  }
}
