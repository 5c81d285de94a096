/**
 * Requests whose caller has had a signal while they waited. The kernel says so once (FUSE_INTERRUPT), whatever the signal, and goes on waiting. Only
 * a fatal signal may end the request: a program with a timer must never see EINTR from an open(2) that only takes long, and would ask again for ever.
 * Which one it was the kernel does not say, nor that a fatal one has followed: so /proc is looked at for as long as the request waits.
 * Always true: nothing of a client is read by the serving thread itself (placement.ts says why); a caller that cannot be seen, in a pid
 * namespace above or beside the mount's, is taken for alive.
 */
import type { NativeBinding } from "../../types/native.js";

/** Each suspect is looked at about this often. */
const LOOK_MS = 64;

export interface Suspect {
  /** Of the calling thread, as the server's pid namespace counts it; 0: it cannot know it. */
  readonly tid: number;
}

export class Interrupts<S extends Suspect> {
  readonly #native: Pick<NativeBinding, "isKilled">;
  readonly #killed: (suspect: S) => void;
  /** The next to be looked at first. */
  readonly #suspects: S[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pauseMs = 1;

  /** `killed` is called, perhaps more than once, when the caller of a suspect is being killed. */
  constructor(native: Pick<NativeBinding, "isKilled">, killed: (suspect: S) => void) {
    this.#native = native;
    this.#killed = killed;
  }

  add(suspect: S): void {
    if (suspect.tid === 0 || this.#suspects.includes(suspect)) return;
    this.#suspects.unshift(suspect);
    this.#pauseMs = 1;
    clearTimeout(this.#timer);
    this.#look();
  }

  /** It waits no more. */
  drop(suspect: S): void {
    const at = this.#suspects.indexOf(suspect);
    if (at >= 0) this.#suspects.splice(at, 1);
  }

  /** Asks about one, and hears of the one before. */
  #look(): void {
    const next = this.#suspects.shift();
    if (next === undefined) return;
    this.#suspects.push(next);
    const answer = this.#native.isKilled(next.tid);
    if (answer >= 0 && answer % 2 === 1) {
      for (const suspect of this.#suspects.filter(({ tid }) => tid === (answer - 1) / 2)) this.#killed(suspect);
    }
    this.#timer = setTimeout(() => this.#look(), this.#pauseMs).unref();
    this.#pauseMs = Math.max(1, Math.min(2 * this.#pauseMs, LOOK_MS / this.#suspects.length));
  }
}
