/**
 * What a long command says while it works: a bar on a terminal, events with --json, nothing otherwise.
 * The bar is one line of stderr that is written over; it is gone when the work has ended. Results go to stdout as always.
 */
import { writeSync } from "node:fs";
import { isatty } from "node:tty";
import { print } from "./output.js";

const BAR = 24;
const EVERY_MS = 100;

export class ProgressBar {
  readonly #what: string;
  readonly #shown: boolean;
  readonly #startMs = Date.now();
  #total: number | undefined;
  #lastMs = 0;
  #drawn = false;

  /** `shown` false makes it silent. */
  constructor(what: string, shown = isatty(2)) {
    this.#what = what;
    this.#shown = shown;
  }

  /** Undefined when nobody knows. */
  set total(bytes: number | undefined) {
    this.#total = bytes;
  }

  update(bytes: number): void {
    const nowMs = Date.now();
    if (!this.#shown || nowMs - this.#lastMs < EVERY_MS) return;
    this.#lastMs = nowMs;
    this.#drawn = true;
    toStderr(`\r${progressText(this.#what, bytes, this.#total, nowMs - this.#startMs)}\x1b[K`);
  }

  /** Takes the line away. Idempotent. */
  end(): void {
    if (this.#drawn) toStderr("\r\x1b[K");
    this.#drawn = false;
  }
}

/** "import [#####     ] 12.0 MiB of 30.0 MiB, 40.0 MiB/s, 1 s left". Pure. */
export function progressText(what: string, bytes: number, total: number | undefined, elapsedMs: number): string {
  const rate = elapsedMs > 0 ? (bytes * 1000) / elapsedMs : 0;
  const speed = `${sizeText(rate)}/s`;
  if (total === undefined || total === 0) return `${what} ${sizeText(bytes)}, ${speed}`;
  const part = Math.min(1, bytes / total);
  const bar = "#".repeat(Math.round(part * BAR)).padEnd(BAR);
  const left = rate > 0 ? `, ${durationText((Math.max(0, total - bytes) / rate) * 1000)} left` : "";
  return `${what} [${bar}] ${sizeText(bytes)} of ${sizeText(total)}, ${speed}${left}`;
}

/** "1.5 MiB", "12 B". */
export function sizeText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit] as string}`;
}

/** "5 s", "3 min 20 s", "2 h 5 min". */
export function durationText(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** One event as a line of JSON; digests as images spell them are the event's own business. */
export function printEvent(event: object): void {
  print(JSON.stringify(event));
}

/** A signal that fires at the first SIGINT or SIGTERM, so that what was begun is cleaned up; a second one ends the process. */
export function untilInterrupted(): { readonly signal: AbortSignal; stop(): void } {
  const abort = new AbortController();
  const names = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const handler = (name: NodeJS.Signals): void => {
    stop();
    abort.abort(new Error(`ended by ${name}`));
  };
  const stop = (): void => {
    for (const name of names) process.removeListener(name, handler);
  };
  for (const name of names) process.on(name, handler);
  return { signal: abort.signal, stop };
}

function toStderr(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // Nobody is there to see it.
  }
}
