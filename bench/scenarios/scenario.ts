/**
 * A scenario: something a user does with a tree of layers, timed. The steps run in one process of their own, in this order:
 * mount, setup, caches dropped when cold, run, check, unmount. Only what `run` returns counts; `check` throws unless the work
 * was really done.
 */
import type { Facts, FixtureName, InputName } from "../fixtures/fixtures.js";
import type { Sizes } from "../fixtures/sizes.js";
import type { Images } from "../subjects/subject.js";
import type { Work } from "../workload/workload.js";

/** Times are better low, rates better high. */
export type Unit = "ms" | "µs" | "MB/s" | "MiB" | "×";
export const higherIsBetter = (unit: Unit): boolean => unit === "MB/s";

export const GROUPS = ["Looking around", "Reading", "Writing", "Changing the tree", "Several processes", "Real work", "Starting", "Images", "Memory"] as const;
export type Group = (typeof GROUPS)[number];

/** A speed to reach: a ratio of times, at most this. */
export interface Goal {
  readonly subject: string;
  readonly ratio: number;
  /** Against another subject over ten lowers (the newest fuse-overlayfs there is); or over a hundred lowers against the same subject over ten. */
  readonly against: "kernel-overlayfs" | "fuse-overlayfs" | "ten-lowers";
  /** Meant for ordinary users. */
  readonly unprivileged?: true;
}

/** What the steps of a scenario work with. */
export interface Cell {
  /** Root of the tree. */
  readonly root: string;
  /** An empty directory in the tree, new in the upper. Absent before mount(). */
  readonly scratch: string;
  /** An empty directory beside the tree. */
  readonly outside: string;
  readonly sizes: Sizes;
  readonly facts: Facts;
  input(name: InputName): string;
  /** Runs the compiled workload program. */
  work(...args: string[]): Work;
  /** Runs a program to its end and returns its wall time in ms and its output. Throws when it fails. */
  command(argv: readonly string[], options?: { readonly cwd?: string; readonly environment?: Readonly<Record<string, string>> }): { readonly ms: number; readonly output: string };
  /** For scenarios that mount by themselves: the time the mount took, ms. */
  mount(): number;
  /** One more mount over the same lowers, with its own upper; its root. */
  mountAnother(): string;
  /**
   * Runs `command` with the tree as its root, to its end, and returns its output and the time from nothing to the first byte of it, ms.
   * Mounts by itself. Rejects like command().
   */
  start(command: readonly string[]): Promise<{ readonly ms: number; readonly output: string }>;
  /** Of a subject that keeps images, those of the input `image`; its storage is outside/images. */
  readonly images: Images;
  /** Proportional memory of all daemons of this run, KiB. */
  daemonKiB(): number;
  /** Bytes of the machine's page cache. */
  pageCacheBytes(): number;
  /** Drops the kernel's caches, where that is allowed. */
  dropCaches(): Promise<void>;
}

export interface Scenario {
  readonly name: string;
  readonly group: Group;
  /** What a user would be doing. */
  readonly about: string;
  readonly unit: Unit;
  readonly fixture: FixtureName;
  /** Whether the number of lowers means something here; if not, one count of lowers is enough. */
  readonly layered: boolean;
  /** Runs with the kernel's caches dropped. */
  readonly cold?: true;
  /** Changes files that came from lower layers, so that `plain` must work on a copy. */
  readonly changesLowers?: true;
  /** Mounts by itself, within `run`. */
  readonly mounts?: true;
  /** Only for subjects with a daemon, or with something to mount, or for those that keep images, which take part in nothing else. */
  readonly only?: "daemons" | "mounts" | "images";
  /** Programs that must be installed. */
  readonly needs?: readonly string[];
  readonly inputs?: readonly InputName[];
  readonly goals?: readonly Goal[];
  setup?(cell: Cell): void;
  /** What was measured, in `unit`, and how many operations it was, for counts per operation. */
  run(cell: Cell): Measured | Promise<Measured>;
  check(cell: Cell, measured: Measured): void;
}

export interface Measured {
  readonly value: number;
  readonly operations: number;
  readonly work?: Work;
  readonly output?: string;
}

/* ---- ways to turn work into a number ---- */

export const total = (work: Work): Measured => ({ value: work.ns / 1e6, operations: work.ops, work });
export const perOperation = (work: Work): Measured => ({ value: work.ns / 1e3 / work.ops, operations: work.ops, work });
export const throughput = (work: Work): Measured => ({ value: (work.bytes / work.ns) * 1e3, operations: work.ops, work });

export function expect(what: string, found: unknown, wanted: unknown): void {
  if (found !== wanted) throw new Error(`check failed: ${what}: expected ${String(wanted)}, found ${String(found)}`);
}
