/**
 * The process of one cell: one scenario on one subject, once, on a fresh mount. Started by the harness with a Job; says
 * one Report and ends. It unmounts what it mounted; the harness makes sure of it afterwards, whatever happened here.
 */
import { spawnSync } from "node:child_process";
import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Answer, Job, Outcome, Report, Request } from "./job.js";
import { pageCacheBytes } from "./measure/caches.js";
import { mountsBeneath } from "./measure/mounts.js";
import { cpuMs, marked, memory, nameOf, threadsOf, waitForEnd } from "./measure/processes.js";
import type { Cell, Measured, Scenario } from "./scenarios/scenario.js";
import { SCENARIOS } from "./scenarios/scenarios.js";
import { makePlace, type Place, type Subject } from "./subjects/subject.js";
import { allSubjects } from "./subjects/subjects.js";
import { work } from "./workload/workload.js";

function send(message: Request | Report): void {
  process.send?.(message);
}

function ask(request: Request): Promise<Answer> {
  return new Promise((resolve) => {
    process.once("message", (message) => resolve(message as Answer));
    send(request);
  });
}

/** Runs to the end; throws with the program's own words. */
function command(argv: readonly string[], options: { readonly cwd?: string; readonly environment?: Readonly<Record<string, string>> } = {}): { ms: number; output: string } {
  const [program = "", ...args] = argv;
  const started = performance.now();
  const done = spawnSync(program, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 1 << 26,
    env: { ...process.env, ...options.environment },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const ms = performance.now() - started;
  if (done.status !== 0) throw new Error(`${argv.join(" ")}: ${done.error?.message ?? `status ${done.status ?? done.signal}: ${done.stderr.trim()}`}`);
  return { ms, output: done.stdout };
}

class RunningCell implements Cell {
  readonly root: string;
  readonly scratch: string;
  readonly outside: string;
  readonly sizes;
  readonly facts;
  readonly #job: Job;
  readonly #subject: Subject;
  readonly #place: Place;
  #mounts = 0;

  constructor(job: Job, subject: Subject, changesLowers: boolean) {
    this.#job = job;
    this.#subject = subject;
    this.#place = makePlace(job.directory, job.fixture.lowers, job.fixture.flat, subject.kind === "directory", changesLowers);
    this.root = this.#place.root;
    this.sizes = job.sizes;
    this.facts = job.fixture.facts;
    this.outside = join(job.directory, "outside");
    mkdirSync(this.outside);
    // `plain` must not write into the fixture.
    this.scratch = join(subject.kind === "directory" ? job.directory : this.root, "scratch");
  }

  get place(): Place {
    return this.#place;
  }

  input(name: keyof Job["inputs"]): string {
    const path = this.#job.inputs[name];
    if (path === undefined) throw new Error(`the scenario does not name its input ${name}`);
    return path;
  }

  work(...args: string[]) {
    return work(this.#job.workload, args);
  }

  command = command;

  mount(): number {
    const started = performance.now();
    this.#subject.mount(this.#place);
    const ms = performance.now() - started;
    this.#mounts = 1;
    return ms;
  }

  mountAnother(): string {
    const directory = join(this.#job.directory, `mount-${this.#mounts++}`);
    const place = makePlace(directory, this.#job.fixture.lowers, this.#job.fixture.flat, this.#subject.kind === "directory", false);
    this.#subject.mount(place);
    return place.root;
  }

  start(argv: readonly string[]): { ms: number; output: string } {
    const own = this.#subject.start?.(this.#place, argv);
    if (own !== undefined) return command(own);
    const started = performance.now();
    if (this.#subject.kind !== "directory") this.mount();
    const { output } = command(["unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "chroot", this.root, ...argv]);
    return { ms: performance.now() - started, output };
  }

  daemonKiB(): number {
    return memory(this.daemons()).pssKiB;
  }

  pageCacheBytes = pageCacheBytes;

  async dropCaches(): Promise<void> {
    await ask({ ask: "drop-caches" });
  }

  /** Whatever serves the mounts: between the steps, this run has no other process. */
  daemons(): number[] {
    return this.#subject.kind === "fuse" ? marked(this.#job.directory, [process.pid]) : [];
  }

  /** Unmounts everything below the cell's directory the way a user would, and waits for the daemons to end. */
  async unmountAll(): Promise<void> {
    const daemons = this.daemons();
    for (const { target, type } of mountsBeneath(this.#job.directory).reverse()) {
      command(process.getuid?.() === 0 || !type.startsWith("fuse") ? ["umount", target] : ["fusermount3", "-u", target]);
    }
    const left = await waitForEnd(daemons, 10_000);
    if (left.length > 0) throw new Error(`${left.map((pid) => `${nameOf(pid)} (${pid})`).join(", ")} did not end within 10 s of the unmount`);
  }
}

function sizesBelow(directory: string): { bytes: number; diskBytes: number } {
  let bytes = 0;
  let diskBytes = 0;
  for (const name of readdirSync(directory)) {
    const stat = lstatSync(join(directory, name));
    if (stat.isDirectory()) {
      const below = sizesBelow(join(directory, name));
      bytes += below.bytes;
      diskBytes += below.diskBytes;
    } else if (stat.isFile()) {
      bytes += stat.size;
      diskBytes += stat.blocks * 512;
    }
  }
  return { bytes, diskBytes };
}

async function runScenario(job: Job, subject: Subject, scenario: Scenario): Promise<Outcome> {
  const cell = new RunningCell(job, subject, scenario.changesLowers === true);
  if (scenario.mounts === true) {
    // `plain` has nothing to mount, but may need its copy.
    if (subject.kind === "directory") subject.mount(cell.place);
  } else {
    cell.mount();
    mkdirSync(cell.scratch);
  }
  scenario.setup?.(cell);
  if (scenario.cold === true) await cell.dropCaches();
  if (job.count) {
    const connection = subject.kind === "fuse" ? mountsBeneath(cell.root)[0]?.minor : undefined;
    const threads = cell.daemons().flatMap(threadsOf);
    await ask({ ask: "count", connection, threads });
  }
  const before = cpuMs(cell.daemons());
  const started = performance.now();
  const measured: Measured = await scenario.run(cell);
  const wallMs = performance.now() - started;
  const counts = job.count ? (await ask({ ask: "stop-counting" })).counts : undefined;
  const daemons = cell.daemons();
  const used = cpuMs(daemons) - before;
  const { pssKiB, peakRssKiB } = memory(daemons);
  if (!Number.isFinite(measured.value)) throw new Error(`no number was measured: ${measured.value}`);
  scenario.check(cell, measured);
  await cell.unmountAll();
  const upper = sizesBelow(cell.place.upper);
  return {
    value: measured.value,
    operations: measured.operations,
    wallMs,
    daemonCpuMs: Math.max(0, used),
    daemonPssKiB: pssKiB,
    daemonPeakRssKiB: peakRssKiB,
    upperBytes: upper.bytes,
    upperDiskBytes: upper.diskBytes,
    ...(counts === undefined ? {} : { counts }),
  };
}

/** Mounts, reads, writes and unmounts once; the subject's version. Throws with the reason when it does not work here. */
async function tryOut(job: Job, subject: Subject): Promise<string> {
  const version = subject.version();
  const lower = join(job.directory, "lower");
  mkdirSync(lower);
  writeFileSync(join(lower, "file"), "from below");
  const cell = new RunningCell({ ...job, fixture: { ...job.fixture, lowers: [lower], flat: lower } }, subject, false);
  cell.mount();
  const read = readFileSync(join(cell.root, "file"), "utf8");
  if (read !== "from below") throw new Error("a lower file does not show its content");
  mkdirSync(cell.scratch);
  writeFileSync(join(cell.scratch, "new"), "new");
  await cell.unmountAll();
  return version;
}

async function main(): Promise<Report> {
  const job = JSON.parse(process.argv[2] ?? "") as Job;
  const subject = allSubjects(job.peers).find((each) => each.name === job.subject);
  if (subject === undefined) throw new Error(`no subject ${job.subject}`);
  if (job.scenario === undefined) return { report: "version", version: await tryOut(job, subject) };
  const scenario = SCENARIOS.find((each) => each.name === job.scenario);
  if (scenario === undefined) throw new Error(`no scenario ${job.scenario}`);
  return { report: "outcome", outcome: await runScenario(job, subject, scenario) };
}

let report: Report;
try {
  report = await main();
} catch (error) {
  report = { report: "failed", message: error instanceof Error ? error.message : String(error) };
}
process.send?.(report, () => process.disconnect());
