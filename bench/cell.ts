/**
 * The process of one cell: one scenario on one subject, once, on a fresh mount. Started by the harness with a Job; says
 * one Report and ends. It unmounts what it mounted; the harness makes sure of it afterwards, whatever happened here.
 */
import { spawn, spawnSync } from "node:child_process";
import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { UNAWAITED } from "./counting/requests.js";
import type { Answer, Job, Outcome, Report, Request } from "./job.js";
import { pageCacheBytes } from "./measure/caches.js";
import { mountsBeneath } from "./measure/mounts.js";
import { cpuMs, marked, memory, nameOf, threadsOf, waitForEnd } from "./measure/processes.js";
import type { Cell, Measured, Scenario } from "./scenarios/scenario.js";
import { SCENARIOS } from "./scenarios/scenarios.js";
import { makePlace, type ImageSubject, type Images, type MountSubject, type Place, type Subject } from "./subjects/subject.js";
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

/** The same, but the time is that until its first output. */
function firstOutput(argv: readonly string[]): Promise<{ ms: number; output: string }> {
  const [program = "", ...args] = argv;
  const started = performance.now();
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let ms = Number.NaN;
  let [output, words] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    if (output === "") ms = performance.now() - started;
    output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => void (words += text));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    // A daemon may keep standard error open; standard output is the command's alone.
    child.once("exit", (status, signal) => {
      const end = () => (status === 0 ? resolve({ ms, output }) : reject(new Error(`${argv.join(" ")}: status ${status ?? signal}: ${words.trim()}`)));
      if (child.stdout.readableEnded) end();
      else child.stdout.once("end", end);
    });
  });
}

/** A daemon writes back first, which takes its time on a busy disk. */
const END_MS = 60_000;

class RunningCell implements Cell {
  readonly root: string;
  readonly scratch: string;
  readonly outside: string;
  readonly sizes;
  readonly facts;
  readonly #job: Job;
  readonly #subject: Subject;
  readonly #place: Place;
  readonly #images: Images | undefined;
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
    this.#images = subject.kind === "images" ? this.#openImages(subject) : undefined;
    // `plain` must not write into the fixture.
    this.scratch = join(subject.kind === "directory" ? job.directory : this.root, "scratch");
  }

  #openImages(subject: ImageSubject): Images {
    const directory = join(this.outside, "images");
    mkdirSync(directory);
    return subject.open(directory, join(this.input("image"), "layout"));
  }

  get images(): Images {
    if (this.#images === undefined) throw new Error(`${this.#subject.name} keeps no images`);
    return this.#images;
  }

  get #mounting(): MountSubject {
    if (this.#subject.kind === "images") throw new Error(`${this.#subject.name} mounts nothing`);
    return this.#subject;
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
    this.#mounting.mount(this.#place);
    const ms = performance.now() - started;
    this.#mounts = 1;
    return ms;
  }

  mountAnother(): string {
    const directory = join(this.#job.directory, `mount-${this.#mounts++}`);
    const place = makePlace(directory, this.#job.fixture.lowers, this.#job.fixture.flat, this.#subject.kind === "directory", false);
    this.#mounting.mount(place);
    return place.root;
  }

  async start(argv: readonly string[]): Promise<{ ms: number; output: string }> {
    const own = this.#mounting.start?.(this.#place, argv);
    if (own !== undefined) return await firstOutput(own);
    const mounted = this.#mounting.kind === "directory" ? 0 : this.mount();
    const { ms, output } = await firstOutput(["unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "chroot", this.root, ...argv]);
    return { ms: mounted + ms, output };
  }

  /** What is done once for the lowers. */
  prepare(): void {
    if (this.#subject.kind !== "images") this.#subject.prepare?.(this.#place);
  }

  /** What the server has counted, of a subject that counts, where there is one mount. */
  async served(): Promise<Readonly<Record<string, number>> | undefined> {
    if (this.#subject.kind === "images" || this.#subject.status === undefined || mountsBeneath(this.root).length === 0) return undefined;
    return (await this.#subject.status(this.root)).served;
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
      await patiently(process.getuid?.() === 0 || !type.startsWith("fuse") ? ["umount", target] : ["fusermount3", "-u", target]);
    }
    const left = await waitForEnd(daemons, END_MS);
    if (left.length > 0) throw new Error(`${left.map((pid) => `${nameOf(pid)} (${pid})`).join(", ")} did not end within ${END_MS / 1000} s of the unmount`);
  }
}

/** What was served between two questions, without the second one, which asks for an xattr, and what nobody waits for, as in Counts. */
function difference(after: Readonly<Record<string, number>>, before: Readonly<Record<string, number>>): Record<string, number> {
  const more = Object.entries(after).map(([name, count]): [string, number] => [name, count - (before[name] ?? 0) - (name === "GETXATTR" ? 1 : 0)]);
  return Object.fromEntries(more.filter(([name, count]) => count > 0 && !UNAWAITED.includes(name)));
}

/** An unmount, tried again while somebody else looks into the mount: other programs of the machine walk through all of them. */
async function patiently(argv: readonly string[]): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return void command(argv);
    } catch (error) {
      if (attempt === 20 || !/busy/.test(String(error))) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
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
  cell.prepare();
  if (subject.kind === "directory") {
    // Nothing to mount, but a scenario may need its copy.
    subject.mount(cell.place);
    mkdirSync(cell.scratch);
  } else if (subject.kind !== "images" && scenario.mounts !== true) {
    cell.mount();
    mkdirSync(cell.scratch);
  }
  scenario.setup?.(cell);
  if (scenario.cold === true) await cell.dropCaches();
  const servedBefore = job.count ? await cell.served() : undefined;
  if (job.count) {
    const connection = subject.kind === "fuse" ? mountsBeneath(cell.root)[0]?.minor : undefined;
    const threads = cell.daemons().flatMap(threadsOf);
    await ask({ ask: "count", connection, threads });
  }
  const before = cpuMs(cell.daemons());
  const started = performance.now();
  const measured: Measured = await scenario.run(cell);
  const wallMs = performance.now() - started;
  const traced = job.count ? (await ask({ ask: "stop-counting" })).counts : undefined;
  const servedAfter = job.count ? await cell.served() : undefined;
  const daemons = cell.daemons();
  const used = cpuMs(daemons) - before;
  const { pssKiB, peakRssKiB } = memory(daemons);
  if (!Number.isFinite(measured.value)) throw new Error(`no number was measured: ${measured.value}`);
  scenario.check(cell, measured);
  await cell.unmountAll();
  const upper = sizesBelow(cell.place.upper);
  const served = servedAfter === undefined ? undefined : difference(servedAfter, servedBefore ?? {});
  const counts = traced === undefined && served === undefined ? undefined : { ...(traced ?? { requests: served ?? {}, daemonSyscalls: undefined, lost: 0 }), ...(served === undefined ? {} : { served }) };
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

/** Mounts, reads, writes and unmounts once, where that is what the subject does; its version. Throws with the reason when it does not work here. */
async function tryOut(job: Job, subject: Subject): Promise<string> {
  const version = subject.version();
  if (subject.kind === "images") return version;
  const lower = join(job.directory, "lower");
  mkdirSync(lower);
  writeFileSync(join(lower, "file"), "from below");
  const cell = new RunningCell({ ...job, fixture: { ...job.fixture, lowers: [lower], flat: lower } }, subject, false);
  cell.prepare();
  cell.mount();
  const read = readFileSync(join(cell.root, "file"), "utf8");
  if (read !== "from below") throw new Error("a lower file does not show its content");
  mkdirSync(cell.scratch);
  writeFileSync(join(cell.scratch, "new"), "new");
  const mode = (await subject.status?.(cell.root))?.mode;
  await cell.unmountAll();
  return mode === undefined ? version : `${version}; ${mode}`;
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
