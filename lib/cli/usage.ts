/**
 * What a wrong command line leads to: one line on stderr and exit status 2. Nothing here prints or exits;
 * ending.ts does, so that every parser stays a pure function.
 */
import { withoutControls } from "./shown-path.js";

/** A mistake of whoever typed the command. The message is one line, without the program's name. */
export class UsageError extends Error {
  /** Control characters in `message`, which may quote what was typed, are spelt \xHH: it stays one line, and says nothing to a terminal. */
  constructor(message: string) {
    super(withoutControls(message));
    this.name = "UsageError";
  }
}

/** The candidate that `word` was probably meant to be: at most two typing errors away, fewer for short words. */
export function didYouMean(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.min(2, Math.floor(word.length / 2)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word, candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** `, did you mean X?`, or nothing. */
export function suggestion(word: string, candidates: readonly string[]): string {
  const meant = didYouMean(word, candidates);
  return meant === undefined ? "" : `, did you mean ${meant}?`;
}

/** Damerau-Levenshtein (neighbouring letters may be swapped), by rows. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, (before[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    before = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
