/** What a run of the harness leaves: one JSON document with everything that the reports are made of. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Counts } from "../counting/requests.js";
import type { Environment } from "../measure/environment.js";
import type { Summary } from "../measure/statistics.js";
import type { Goal, Unit } from "../scenarios/scenario.js";

export interface SubjectRecord {
  readonly name: string;
  readonly about: string;
  /** Absent when skipped. */
  readonly version?: string;
  /** Why there are no numbers of it. */
  readonly skipped?: string;
}

export interface ScenarioRecord {
  readonly name: string;
  readonly group: string;
  readonly about: string;
  readonly unit: Unit;
  readonly cold: boolean;
  readonly goals: readonly Goal[];
  readonly skipped?: string;
}

/** One scenario on one subject over one number of lowers. */
export interface Result {
  readonly scenario: string;
  readonly subject: string;
  readonly lowers: number;
  /** In the scenario's unit, in the order taken; without the discarded run. */
  readonly samples: readonly number[];
  /** Absent without samples. */
  readonly summary?: Summary;
  /** Of the counted run, which is the discarded one. */
  readonly counts?: Counts & { readonly operations: number; readonly upperBytes: number; readonly upperDiskBytes: number };
  /** Medians over the samples. */
  readonly daemonCpuMs: number;
  readonly daemonPssKiB: number;
  readonly daemonPeakRssKiB: number;
  readonly failures: readonly string[];
}

export interface Results {
  readonly format: 1;
  readonly command: string;
  /** Name of the preset that was the plan. */
  readonly preset?: string;
  readonly startedAt: string;
  readonly finishedAt: string;
  /** False when the run was interrupted: then not all rows are there. */
  readonly complete: boolean;
  readonly seed: number;
  readonly runs: number;
  readonly sizes: "full" | "quick";
  /** Why caches were not dropped before cold runs, if so. */
  readonly notCold?: string;
  readonly environment: Environment;
  readonly subjects: readonly SubjectRecord[];
  readonly scenarios: readonly ScenarioRecord[];
  readonly results: readonly Result[];
}

/** Whole or not at all. */
export function writeResults(file: string, results: Results): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.staged`, `${JSON.stringify(results, null, 1)}\n`);
  renameSync(`${file}.staged`, file);
}

export function readResults(file: string): Results {
  const results = JSON.parse(readFileSync(file, "utf8")) as Results;
  if (results.format !== 1) throw new Error(`${file} has format ${String(results.format)}; this reads format 1`);
  return results;
}
