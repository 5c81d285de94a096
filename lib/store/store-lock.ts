/**
 * The store's lock: flock on one file, released by the kernel when its holder dies.
 * Shared: whoever makes something visible or relies on something that is (publishing, touching, leasing). Exclusive: whoever
 * removes. Work under the lock is synchronous and short, so that nobody waits long; waiting itself does not block the thread.
 */
import { closeSync, openSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { check, errnoOf } from "../base/errors.js";
import { native } from "../sys/binding.js";
import { LOCK_EX, LOCK_NB, LOCK_SH } from "../sys/flags.js";
import { StoreError } from "./errors.js";

const EAGAIN = -errnoOf("EAGAIN");
const LONGEST_PAUSE_MS = 50;

export class StoreLock {
  readonly #path: string;
  readonly #patienceMs: number;

  /** `patienceMs`: how long to wait for another process before ERR_STORE_BUSY. */
  constructor(path: string, patienceMs: number) {
    this.#path = path;
    this.#patienceMs = patienceMs;
  }

  /** Runs `work` while nobody removes anything. */
  shared<T>(work: () => T): Promise<T> {
    return this.#with(LOCK_SH, work);
  }

  /** As shared(), for callers that cannot yield: waiting blocks the thread. */
  sharedNow<T>(work: () => T): T {
    const fd = openSync(this.#path, "r");
    try {
      const until = Date.now() + this.#patienceMs;
      for (let pauseMs = 1; !tryLock(fd, LOCK_SH); pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
        if (Date.now() >= until) throw this.#busy();
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMs);
      }
      return work();
    } finally {
      closeSync(fd);
    }
  }

  /** Runs `work` while nobody else publishes, leases or removes. */
  exclusive<T>(work: () => T): Promise<T> {
    return this.#with(LOCK_EX, work);
  }

  async #with<T>(kind: number, work: () => T): Promise<T> {
    // A descriptor for each use: locks of one process exclude each other as well.
    const fd = openSync(this.#path, "r");
    try {
      const until = Date.now() + this.#patienceMs;
      for (let pauseMs = 1; !tryLock(fd, kind); pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
        if (Date.now() >= until) throw this.#busy();
        await sleep(pauseMs);
      }
      return work();
    } finally {
      closeSync(fd);
    }
  }

  #busy(): StoreError {
    return new StoreError("ERR_STORE_BUSY", `another process has held ${this.#path} for ${this.#patienceMs / 1000} s`);
  }
}

/** False when somebody else holds it. `kind` is LOCK_SH or LOCK_EX. */
export function tryLock(fd: number, kind: number): boolean {
  const result = native.flock(fd, kind | LOCK_NB);
  if (result === EAGAIN) return false;
  check(result, "flock");
  return true;
}
