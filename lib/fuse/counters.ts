/** How many requests of each kind were served: exact, so that tests can say "none". */
import { operations } from "./operations/table.js";
import { OPCODE_COUNT } from "./wire/abi.js";

export class Counters {
  /** By opcode; one slot more for opcodes not known here. */
  readonly #served = new Float64Array(OPCODE_COUNT + 1);

  count(opcode: number): void {
    const slot = Math.min(opcode, OPCODE_COUNT);
    this.#served[slot] = (this.#served[slot] ?? 0) + 1;
  }

  /** Names (LOOKUP, OPEN, …; UNKNOWN) of what was served at least once, with its count. */
  read(): Record<string, number> {
    const counts: Record<string, number> = {};
    this.#served.forEach((count, opcode) => {
      if (count === 0) return;
      const name = operations[opcode]?.name ?? "UNKNOWN";
      counts[name] = (counts[name] ?? 0) + count;
    });
    return counts;
  }
}
