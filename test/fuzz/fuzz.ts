/**
 * Fuzzing: inputs that are nearly right, made from a small corpus by mutation, given to the code that reads what strangers write.
 * Always true: a run is the same for the same corpus, seed and number, so that `--seed S --at N TARGET` replays one input.
 *
 * No coverage guides it. The mutations know the words of a format, and a target mends checksums after them, which is what usually keeps
 * blind mutation from reaching more than the first check.
 */
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Random } from "../model/random.js";

export interface Target {
  readonly name: string;
  /** Latin1. What inputs of this kind are made of; mutations put them in and over what is there. */
  readonly words: readonly string[];
  /** Inputs grow no longer than this; default 64 KiB. */
  readonly maxBytes?: number;
  /** Sets right what would have the input refused at its first check. Most mutated inputs go through it. */
  mend?(input: Buffer): Buffer;
  /** Throws, or rejects, for a finding: whatever the code under test throws that it does not promise to throw, and what it gets wrong. */
  run(input: Buffer): void | Promise<void>;
  /** What the corpus is made of: file name to input. `npm run fuzz -- --write-corpus` writes it down. */
  samples(): Promise<Readonly<Record<string, Uint8Array>>>;
}

const fixtures = fileURLToPath(new URL("../../../test/fixtures/fuzz/", import.meta.url));

export const corpusFolder = (target: Target): string => join(fixtures, target.name);

/** Name and bytes of every file of the target's corpus, by name. */
export function corpusOf(target: Target): readonly (readonly [name: string, input: Buffer])[] {
  const folder = corpusFolder(target);
  return readdirSync(folder).sort().map((name) => [name, readFileSync(join(folder, name))] as const);
}

/** Input number `at` of the run with this seed. */
export function inputAt(target: Target, corpus: readonly Buffer[], seed: number, at: number): Buffer {
  const random = new Random((Math.imul(seed, 0x9e3779b1) ^ Math.imul(at + 1, 0x85ebca6b)) >>> 0);
  const max = target.maxBytes ?? 65_536;
  let input: Buffer = Buffer.from(random.pick(corpus));
  for (let left = 1 + random.below(8); left > 0; left--) input = mutated(input, random, target.words, corpus).subarray(0, max);
  return target.mend !== undefined && random.below(8) > 0 ? target.mend(input) : input;
}

/** Where a run keeps its files: a thread that is ended cannot remove its own. */
export const SCRATCH = "FUZZ_SCRATCH";

/** A new directory for a target's files, which goes with the run or the process. */
export function scratchFolder(): string {
  const shared = process.env[SCRATCH];
  if (shared !== undefined) return mkdtempSync(join(shared, "target-"));
  const folder = mkdtempSync(join(tmpdir(), "stratafs-fuzz-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Numbers at which codes go wrong. */
const edges = [0, 1, -1, 7, 8, 39, 40, 127, 128, 255, 256, 4095, 4096, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe];

function mutated(input: Buffer, random: Random, words: readonly string[], corpus: readonly Buffer[]): Buffer {
  const at = random.below(input.length + 1);
  const length = random.below(8) === 0 ? random.below(input.length - at + 1) : Math.min(random.below(16), input.length - at);
  const before = input.subarray(0, at);
  const behind = input.subarray(at + length);
  switch (random.below(10)) {
    case 0:
      return changed(input, at, (bytes, i) => (bytes[i] = (bytes[i] as number) ^ (1 << random.below(8))));
    case 1:
      return changed(input, at, (bytes, i) => (bytes[i] = random.below(256)));
    case 2:
      return changed(input, at, (bytes, i) => putNumber(bytes, i, random));
    case 3:
      return Buffer.concat([before, behind]);
    case 4:
      return Buffer.concat([before, input.subarray(at, at + length), input.subarray(at)]);
    case 5: {
      const other = random.pick(corpus);
      const from = random.below(other.length + 1);
      return Buffer.concat([before, other.subarray(from, from + random.below(other.length - from + 1)), random.below(2) === 0 ? behind : Buffer.alloc(0)]);
    }
    case 6:
      return changed(input, at, (bytes, i) => {
        // A digit becomes another: numbers in text.
        for (let j = i; j < Math.min(bytes.length, i + 64); j++) if ((bytes[j] as number) >= 0x30 && (bytes[j] as number) <= 0x39) return void (bytes[j] = 0x30 + random.below(10));
      });
    case 7: {
      const word = words.length === 0 ? Buffer.alloc(length, random.below(256)) : Buffer.from(random.pick(words), "latin1");
      return Buffer.concat([before, word, random.below(2) === 0 ? input.subarray(at) : input.subarray(at + word.length)]);
    }
    case 8: {
      const to = random.below(input.length + 1);
      return changed(input, at, (bytes, i) => void bytes.copy(bytes, to, i, i + length));
    }
    default:
      return random.below(4) === 0 ? Buffer.from(before) : Buffer.concat([before, Buffer.alloc(random.below(600), random.below(256)), input.subarray(at)]);
  }
}

function changed(input: Buffer, at: number, change: (bytes: Buffer, at: number) => void): Buffer {
  const bytes = Buffer.from(input);
  if (bytes.length > 0) change(bytes, Math.min(at, bytes.length - 1));
  return bytes;
}

function putNumber(bytes: Buffer, at: number, random: Random): void {
  const value = random.pick(edges);
  const width = random.pick([1, 2, 4, 8]);
  // Fields are aligned to their size more often than not.
  const place = random.below(4) > 0 ? at - (at % width) : at;
  for (let i = 0; i < width && place + i < bytes.length; i++) bytes[place + i] = i < 4 ? (value >>> (8 * i)) & 255 : value < 0 ? 255 : 0;
}

/** Passes when `error` is of one of these classes; throws it when not. */
export function refusedBy(error: unknown, ...classes: readonly (abstract new (...args: never[]) => Error)[]): void {
  if (!classes.some((one) => error instanceof one)) throw error;
}

/** A finding in words. */
export function expectThat(holds: boolean, otherwise: () => string): void {
  if (!holds) throw new Error(otherwise());
}
