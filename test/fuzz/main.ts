/**
 * npm run fuzz -- [--seconds N] [--seed S] [--at I] [--write-corpus] [TARGET...]
 *
 * Runs each target for N seconds (60), one after the other, each in a thread of its own that is ended when one input takes longer than half a
 * minute or more memory than it may. A finding is printed with what replays it, and its input is kept in a file; the target goes on after it.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { corpusFolder, corpusOf, inputAt, SCRATCH, type Target } from "./fuzz.js";
import { targets } from "./targets.js";

interface Work {
  readonly target: string;
  readonly seed: number;
  readonly from: number;
  readonly until: number;
  /** The number of the input that is being run, and 1 for ever when the thread is done. */
  readonly progress: SharedArrayBuffer;
}

const STUCK_MS = 30_000;
const MEMORY_MB = 1024;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seconds: { type: "string", default: "60" }, seed: { type: "string" }, at: { type: "string" }, "write-corpus": { type: "boolean" } },
  });
  const unknown = positionals.find((name) => !targets.some((target) => target.name === name));
  if (unknown !== undefined) {
    console.error(`no target ${unknown}; there are ${targets.map(({ name }) => name).join(", ")}`);
    return 2;
  }
  const chosen = positionals.length === 0 ? targets : targets.filter(({ name }) => positionals.includes(name));
  if (values["write-corpus"] === true) {
    for (const target of chosen) await writeCorpus(target);
    return 0;
  }
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
  if (values.at !== undefined) {
    for (const target of chosen) await target.run(inputAt(target, corpusOf(target).map(([, input]) => input), seed, Number(values.at)));
    return 0;
  }
  let findings = 0;
  const scratch = (process.env[SCRATCH] = mkdtempSync(join(tmpdir(), "stratafs-fuzz-")));
  try {
    for (const target of chosen) findings += await fuzz(target, seed, Number(values.seconds) * 1000);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return findings === 0 ? 0 : 1;
}

async function writeCorpus(target: Target): Promise<void> {
  mkdirSync(corpusFolder(target), { recursive: true });
  for (const [name, bytes] of Object.entries(await target.samples())) writeFileSync(join(corpusFolder(target), name), bytes);
}

/** The number of findings, each different in what it says. */
async function fuzz(target: Target, seed: number, ms: number): Promise<number> {
  const until = Date.now() + ms;
  const known = new Set<string>();
  let from = 0;
  while (Date.now() < until) {
    const { at, said } = await runUntilFinding({ target: target.name, seed, from, until, progress: new SharedArrayBuffer(8) });
    from = at + 1;
    if (said === undefined) break;
    // The same place with other numbers is the same finding.
    const kind = said.replace(/\d+/g, "N").slice(0, 200);
    if (known.has(kind)) continue;
    known.add(kind);
    const file = join(tmpdir(), `stratafs-finding-${target.name}-${seed}-${at}`);
    writeFileSync(file, inputAt(target, corpusOf(target).map(([, input]) => input), seed, at));
    console.log(`${target.name}: FOUND at ${at}, kept in ${file}; again: npm run fuzz -- --seed ${seed} --at ${at} ${target.name}\n${said}`);
  }
  console.log(`${target.name}: ${from} inputs, seed ${seed}, ${known.size} findings`);
  return known.size;
}

function runUntilFinding(work: Work): Promise<{ readonly at: number; readonly said: string | undefined }> {
  const progress = new Int32Array(work.progress);
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: work, resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB } });
  return new Promise((resolve) => {
    let last = -1;
    let since = Date.now();
    const watch = setInterval(() => {
      const at = Atomics.load(progress, 0);
      if (at !== last) [last, since] = [at, Date.now()];
      else if (Date.now() - since > STUCK_MS) finish("takes longer than half a minute");
    }, 1000);
    const finish = (said: string | undefined): void => {
      clearInterval(watch);
      void worker.terminate().then(() => resolve({ at: Atomics.load(progress, 0), said }));
    };
    worker.on("message", (said: string | undefined) => finish(said));
    worker.on("error", (error) => finish(String(error.stack ?? error)));
  });
}

/** In the thread: inputs until the time is over, or one is a finding. */
async function work({ target: name, seed, from, until, progress }: Work): Promise<void> {
  const target = targets.find((one) => one.name === name) as Target;
  const corpus = corpusOf(target).map(([, input]) => input);
  const shown = new Int32Array(progress);
  for (let at = from; ; at++) {
    Atomics.store(shown, 0, at);
    if ((at & 63) === 0 && Date.now() >= until) return parentPort?.postMessage(undefined);
    try {
      await target.run(inputAt(target, corpus, seed, at));
    } catch (error) {
      return parentPort?.postMessage(error instanceof Error ? String(error.stack) : `threw ${String(error)}`);
    }
  }
}

if (isMainThread) process.exitCode = await main();
else await work(workerData as Work);
