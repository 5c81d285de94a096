/** Tells on stderr what is going on: one line that is written over on a terminal, plain lines elsewhere. */
export class Progress {
  readonly #total: number;
  readonly #terminal = process.stderr.isTTY;
  readonly #started = performance.now();
  #done = 0;

  constructor(total: number) {
    this.#total = total;
  }

  /** Before each run; shown on a terminal only. */
  running(text: string): void {
    if (this.#terminal) process.stderr.write(`\r\x1b[2K[${this.#done}/${this.#total}] ${this.#left()} ${text}`.slice(0, process.stderr.columns + 5));
  }

  ran(count = 1): void {
    this.#done += count;
  }

  say(text: string): void {
    process.stderr.write(`${this.#terminal ? "\r\x1b[2K" : ""}${text}\n`);
  }

  /** After a group of runs. */
  finished(text: string): void {
    this.say(`[${this.#done}/${this.#total}] ${text}`);
  }

  #left(): string {
    if (this.#done === 0) return "";
    const seconds = (((performance.now() - this.#started) / this.#done) * (this.#total - this.#done)) / 1000;
    return seconds > 90 ? `about ${Math.round(seconds / 60)} min left:` : `about ${Math.round(seconds)} s left:`;
  }
}
