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

/** What there is to say of an earlier run. */
export interface EarlierRun {
  readonly command: string;
  readonly startedAt: string;
  readonly complete: boolean;
  readonly seed: number;
  readonly environment: Environment;
  /** Names of the scenarios of which rows are left. */
  readonly scenarios: readonly string[];
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
  /** Earlier runs of which rows are in the results that this run has not measured. Absent when there are none. */
  readonly earlier?: readonly EarlierRun[];
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

/** `now`, and of `before` what `now` has not measured. Scenarios stay in the order of `before`; new ones follow. */
export function added(before: Results, now: Results): Results {
  const measured = new Set(now.results.map(({ scenario, lowers }) => `${scenario} ${lowers}`));
  const kept = before.results.filter(({ scenario, lowers }) => !measured.has(`${scenario} ${lowers}`));
  const left = new Set(kept.map(({ scenario }) => scenario));
  const ofRun = (run: EarlierRun | Results, names: readonly string[]): EarlierRun => {
    const { command, startedAt, complete, seed, environment } = run;
    return { command, startedAt, complete, seed, environment, scenarios: names.filter((name) => left.has(name)) };
  };
  const older = before.earlier ?? [];
  const ofOlder = new Set(older.flatMap(({ scenarios }) => scenarios));
  const own = [...new Set(before.results.map(({ scenario }) => scenario))].filter((name) => !ofOlder.has(name));
  return {
    ...now,
    earlier: [...older.map((run) => ofRun(run, run.scenarios)), ofRun(before, own)].filter(({ scenarios }) => scenarios.length > 0),
    subjects: united(before.subjects, now.subjects),
    scenarios: united(before.scenarios, now.scenarios),
    results: [...kept, ...now.results],
  };
}

function united<T extends { readonly name: string }>(before: readonly T[], now: readonly T[]): T[] {
  const known = new Set(before.map(({ name }) => name));
  return [...before.map((each) => now.find(({ name }) => name === each.name) ?? each), ...now.filter(({ name }) => !known.has(name))];
}
