/** What the harness and a cell's process say to each other. The job travels as one argument, the rest over Node's IPC channel. */
import type { Counts } from "./counting/requests.js";
import type { Facts, FixtureName, InputName } from "./fixtures/fixtures.js";
import type { Sizes } from "./fixtures/sizes.js";
import type { Peer } from "./subjects/subjects.js";

export interface Job {
  /** The cell's own directory, empty, removed by the harness afterwards. */
  readonly directory: string;
  readonly subject: string;
  /** Absent: only try whether the subject works here. */
  readonly scenario?: string;
  readonly peers: readonly Peer[];
  readonly fixture: { readonly name: FixtureName; readonly lowers: readonly string[]; readonly flat: string; readonly facts: Facts };
  readonly inputs: Readonly<Partial<Record<InputName, string>>>;
  readonly sizes: Sizes;
  readonly workload: string;
  /** Count requests and system calls, as far as that can be done here; the time is then not to be used. */
  readonly count: boolean;
}

/** What only the harness may do, since a cell may run without privileges. Answered in order. */
export type Request =
  | { readonly ask: "drop-caches" }
  | { readonly ask: "count"; readonly connection: number | undefined; readonly threads: readonly number[] }
  | { readonly ask: "stop-counting" };

export type Answer = { readonly answer: "done"; readonly counts?: Counts };

export interface Outcome {
  readonly value: number;
  readonly operations: number;
  /** Wall time of the measured step, ms. */
  readonly wallMs: number;
  /** Time the daemons used of the processor during the measured step, ms, in steps of 10. */
  readonly daemonCpuMs: number;
  readonly daemonPssKiB: number;
  readonly daemonPeakRssKiB: number;
  /** Of the upper directory after the run: what was written and copied up, as sizes of regular files, and as the disk has them. */
  readonly upperBytes: number;
  readonly upperDiskBytes: number;
  readonly counts?: Counts;
}

export type Report =
  | { readonly report: "version"; readonly version: string }
  | { readonly report: "outcome"; readonly outcome: Outcome }
  | { readonly report: "failed"; readonly message: string };
