/**
 * One session of measuring: every chosen scenario on every chosen subject. Within a scenario and a number of lowers the subjects take
 * turns, each round in a new random order, so that whatever drifts on the machine meets all of them alike. Round 0 is
 * discarded as a time, and counts requests instead. Results are handed out after each scenario, so an interrupted session leaves what it has.
 */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import type { RequestCounter } from "./counting/requests.js";
import { Fixtures, type Fixture, type InputName } from "./fixtures/fixtures.js";
import type { Sizes } from "./fixtures/sizes.js";
import type { Job, Outcome } from "./job.js";
import { cannotDrop } from "./measure/caches.js";
import { seeded, shuffled } from "./measure/random.js";
import { summarize } from "./measure/statistics.js";
import type { Options } from "./options.js";
import { Progress } from "./progress.js";
import { number } from "./report/compare.js";
import type { Result, ScenarioRecord, SubjectRecord } from "./report/results.js";
import type { Runner } from "./runner.js";
import type { Scenario } from "./scenarios/scenario.js";
import type { Subject } from "./subjects/subject.js";

export interface SessionParts {
  readonly options: Options;
  readonly sizes: Sizes;
  readonly fixtures: Fixtures;
  readonly workload: string;
  readonly runner: Runner;
  readonly counter: RequestCounter | undefined;
  readonly subjects: readonly Subject[];
  readonly scenarios: readonly Scenario[];
}

interface Row {
  readonly subject: Subject;
  readonly outcomes: Outcome[];
  counted: Outcome | undefined;
  readonly failures: string[];
  /** The discarded run failed: the others would too. */
  given: boolean;
}

const installed = (program: string) =>
  (process.env["PATH"] ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

export class Session {
  readonly subjects: SubjectRecord[] = [];
  readonly scenarios: ScenarioRecord[] = [];
  readonly results: Result[] = [];
  readonly #parts: SessionParts;

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  /** `saved` is called whenever there is more to save. */
  async run(saved: () => void): Promise<void> {
    const { options, scenarios } = this.#parts;
    const subjects = await this.#present();
    const random = seeded(options.seed);
    const taken = scenarios.filter((scenario) => this.#record(scenario) && subjects.some((subject) => this.#takes(scenario, subject)));
    const plan = taken.flatMap((scenario) => this.#lowersOf(scenario).map((lowers) => ({ scenario, lowers })));
    const rounds = this.#discarded() + options.runs;
    const progress = new Progress(plan.reduce((sum, { scenario }) => sum + subjects.filter((subject) => this.#takes(scenario, subject)).length * rounds, 0));
    for (const { scenario, lowers } of plan) {
      progress.running(`${scenario.name} over ${lowers}: fixture`);
      const fixture = this.#prepared(scenario, lowers);
      if (typeof fixture === "string") {
        this.#skip(scenario, fixture, progress);
        continue;
      }
      const rows = subjects.filter((subject) => this.#takes(scenario, subject)).map((subject): Row => ({ subject, outcomes: [], counted: undefined, failures: [], given: false }));
      for (let round = 0; round < rounds; round++) {
        for (const row of shuffled(rows, random)) {
          progress.running(`${scenario.name} over ${lowers}: ${row.subject.name}, ${round < this.#discarded() ? "counting" : `run ${round + 1 - this.#discarded()} of ${options.runs}`}`);
          if (!row.given) await this.#take(scenario, fixture, row, round < this.#discarded());
          progress.ran();
        }
      }
      for (const row of rows) this.results.push(result(scenario, lowers, row));
      this.#verify(scenario, lowers, fixture, progress);
      progress.finished(`${scenario.name} over ${lowers}: ${rows.map((row) => line(row, scenario)).join(", ")}`);
      saved();
    }
  }

  /** Makes what all chosen scenarios need, and says what cannot be made. */
  prepare(): void {
    for (const scenario of this.#parts.scenarios) {
      for (const lowers of this.#lowersOf(scenario)) {
        const made = this.#prepared(scenario, lowers);
        process.stderr.write(`${scenario.name} over ${lowers}: ${typeof made === "string" ? made : "ready"}\n`);
      }
    }
  }

  /** One discarded run, but in a quick session, which measures nothing, unless it is to count. */
  #discarded(): number {
    return this.#parts.options.count ? 1 : 0;
  }

  #lowersOf(scenario: Scenario): readonly number[] {
    const { lowers: asked, preset } = this.#parts.options;
    const lowers = asked ?? preset?.scenarios[scenario.name] ?? [10];
    if (scenario.layered) return lowers;
    // One count: ten, where that was asked for.
    return lowers.includes(10) ? [10] : lowers.slice(0, 1);
  }

  #takes(scenario: Scenario, subject: Subject): boolean {
    const narrowed = this.#parts.options.preset?.narrowed[subject.name];
    return takes(scenario, subject) && (narrowed === undefined || narrowed.includes(scenario.name));
  }

  /** Tries each subject; those that work here. */
  async #present(): Promise<Subject[]> {
    const { subjects, runner } = this.#parts;
    const out: Subject[] = [];
    for (const subject of subjects) {
      const report = await runner.run(this.#job(subject, undefined, undefined));
      const { name, about } = subject;
      if (report.report === "version") {
        out.push(subject);
        this.subjects.push({ name, about, version: report.version });
      } else {
        const reason = report.report === "failed" ? report.message : "no answer";
        this.subjects.push({ name, about, skipped: reason });
        process.stderr.write(`${name} is skipped: ${reason}\n`);
      }
    }
    return out;
  }

  /** Notes the scenario; false when it cannot be run. */
  #record(scenario: Scenario): boolean {
    const { name, group, about, unit, cold, goals } = scenario;
    const missing = (scenario.needs ?? []).filter((program) => !installed(program));
    const reason = missing.length > 0 ? `${missing.join(", ")} is not installed` : cold === true && !this.#parts.options.quick ? cannotDrop() : undefined;
    this.scenarios.push({ name, group, about, unit, cold: cold === true, goals: goals ?? [], ...(reason === undefined ? {} : { skipped: reason }) });
    if (reason !== undefined) process.stderr.write(`${name} is skipped: ${reason}\n`);
    return reason === undefined;
  }

  /** The fixture, and the inputs made; or why they cannot be made. */
  #prepared(scenario: Scenario, lowers: number): Fixture | string {
    try {
      for (const name of scenario.inputs ?? []) this.#parts.fixtures.input(name);
      return this.#parts.fixtures.get(scenario.fixture, lowers);
    } catch (error) {
      return `its files cannot be made: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  #skip(scenario: Scenario, skipped: string, progress: Progress): void {
    const at = this.scenarios.findIndex(({ name }) => name === scenario.name);
    const record = this.scenarios[at];
    if (record !== undefined) this.scenarios[at] = { ...record, skipped };
    progress.say(`${scenario.name} is skipped: ${skipped}`);
  }

  #job(subject: Subject, scenario: Scenario | undefined, fixture: Fixture | undefined, count = false): Omit<Job, "directory"> {
    const { options, sizes, workload, fixtures } = this.#parts;
    const inputs: Partial<Record<InputName, string>> = {};
    for (const name of scenario?.inputs ?? []) inputs[name] = fixtures.input(name);
    return {
      subject: subject.name,
      ...(scenario === undefined ? {} : { scenario: scenario.name }),
      peers: options.peers,
      fixture: fixture ?? { name: "tree", lowers: [], flat: "", facts: { entries: 0, bytes: 0 } },
      inputs,
      sizes,
      workload,
      count,
    };
  }

  async #take(scenario: Scenario, fixture: Fixture, row: Row, discard: boolean): Promise<void> {
    const report = await this.#parts.runner.run(this.#job(row.subject, scenario, fixture, discard));
    if (report.report === "outcome") {
      if (discard) row.counted = report.outcome;
      else row.outcomes.push(report.outcome);
    } else {
      row.failures.push(report.report === "failed" ? report.message : "no answer");
      row.given = discard;
    }
  }

  /** No subject may have touched the lowers. */
  #verify(scenario: Scenario, lowers: number, fixture: Fixture, progress: Progress): void {
    const { fixtures } = this.#parts;
    if (fixtures.fingerprint(fixture.lowers) === fixture.fingerprint) return;
    const message = `the lower layers were changed by one of the subjects; they are made anew`;
    progress.say(`${scenario.name} over ${lowers}: ${message}`);
    fixtures.discard(fixture.name);
    for (let i = 0; i < this.results.length; i++) {
      const each = this.results[i];
      if (each?.scenario === scenario.name && each.lowers === lowers) this.results[i] = { ...each, failures: [...each.failures, message] };
    }
  }
}

function takes({ only }: Scenario, { kind }: Subject): boolean {
  if (only === "images" || kind === "images") return only === "images" && kind === "images";
  return only === undefined || kind === "fuse" || (only === "mounts" && kind === "kernel");
}

function line(row: Row, scenario: Scenario): string {
  const summary = summarize(row.outcomes.map(({ value }) => value));
  if (summary !== undefined) return `${row.subject.name} ${number(summary.median)} ${scenario.unit}`;
  return `${row.subject.name} failed (${(row.failures[0] ?? "no run").replace(/\s+/g, " ").slice(0, 200)})`;
}

function result(scenario: Scenario, lowers: number, row: Row): Result {
  const samples = row.outcomes.map(({ value }) => value);
  const summary = summarize(samples);
  const median = (of: (outcome: Outcome) => number) => summarize(row.outcomes.map(of))?.median ?? 0;
  const counted = row.counted;
  return {
    scenario: scenario.name,
    subject: row.subject.name,
    lowers,
    samples,
    ...(summary === undefined ? {} : { summary }),
    ...(counted?.counts === undefined
      ? {}
      : { counts: { ...counted.counts, operations: counted.operations, upperBytes: counted.upperBytes, upperDiskBytes: counted.upperDiskBytes } }),
    daemonCpuMs: median(({ daemonCpuMs }) => daemonCpuMs),
    daemonPssKiB: median(({ daemonPssKiB }) => daemonPssKiB),
    daemonPeakRssKiB: median(({ daemonPeakRssKiB }) => daemonPeakRssKiB),
    failures: row.failures,
  };
}
