/** The harness's entry: reads options, measures, writes results and reports. `npm run bench -- --help`. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { RequestCounter } from "./counting/requests.js";
import { Fixtures } from "./fixtures/fixtures.js";
import { FULL, QUICK } from "./fixtures/sizes.js";
import { cannotDrop } from "./measure/caches.js";
import { readEnvironment } from "./measure/environment.js";
import { chosen, HELP, OptionError, readOptions, type Options } from "./options.js";
import { PRESETS } from "./presets.js";
import { htmlReport } from "./report/html.js";
import { markdownReport } from "./report/markdown.js";
import { marks, readmeTable, withTable } from "./report/readme-table.js";
import { added, readResults, writeResults, type Results } from "./report/results.js";
import { Runner, UNPRIVILEGED_ID } from "./runner.js";
import { SCENARIOS } from "./scenarios/scenarios.js";
import { Session } from "./session.js";
import { allSubjects } from "./subjects/subjects.js";
import { compileWorkload } from "./workload/workload.js";

/** Compiled to dist/bench/, so the checkout is two levels up. */
const RESULTS = fileURLToPath(new URL("../../bench/results/", import.meta.url));

function list(options: Options): void {
  for (const { name, group, unit, about } of SCENARIOS) console.log(`${name.padEnd(27)} ${unit.padEnd(5)} ${group}: ${about}`);
  console.log("");
  for (const { name, about } of allSubjects(options.peers)) console.log(`${name.padEnd(27)} ${about}`);
  console.log("");
  for (const { name, about } of PRESETS) console.log(`--preset ${name.padEnd(18)} ${about}`);
}

function writeReports(file: string, results: Results): void {
  const base = file.replace(/\.json$/, "");
  writeFileSync(`${base}.md`, markdownReport(results));
  writeFileSync(`${base}.html`, htmlReport(results));
}

function writeTables(file: string, results: Results): void {
  const text = withTable(readFileSync(file, "utf8"), results);
  if (text === undefined) throw new OptionError(`--into: ${file} has no marks ${marks(results).join(" and ")}`);
  writeFileSync(file, text);
  process.stderr.write(`the tables are in ${relative(".", file)}\n`);
}

async function measure(options: Options): Promise<number> {
  const subjects = chosen(allSubjects(options.peers), options.subjects, "subject");
  const scenarios = chosen(SCENARIOS, options.scenarios, "scenario");
  mkdirSync(options.work, { recursive: true });
  const startedAt = new Date().toISOString();
  const before = options.addTo === undefined ? undefined : readResults(options.addTo);
  const file = options.json ?? options.addTo ?? `${RESULTS}${options.quick || options.preset === undefined ? `${startedAt.slice(0, 19).replaceAll(":", "")}${options.quick ? "-quick" : ""}.json` : options.preset.results}`;
  const environment = readEnvironment(options.work, options.unprivileged);
  if ((environment.load[0] ?? 0) > environment.cpus / 4) process.stderr.write(`the machine is busy (load ${environment.load[0]?.toFixed(2)}): numbers will say little\n`);
  const workload = compileWorkload(options.work);
  const sizes = options.quick ? QUICK : FULL;
  const owner = options.unprivileged && process.getuid?.() === 0 ? UNPRIVILEGED_ID : undefined;
  const fixtures = new Fixtures(options.work, sizes, workload, owner);
  const opened = options.count ? RequestCounter.open() : "nobody asked";
  const counter = typeof opened === "string" ? undefined : opened;
  if (typeof opened === "string" && options.count) process.stderr.write(`requests are not counted: ${opened}\n`);
  const notCold = options.quick ? "a quick session drops no caches" : cannotDrop();
  const runner = new Runner({ workDirectory: options.work, unprivileged: options.unprivileged, counter, timeoutMs: options.timeoutMs, dropCaches: notCold === undefined, settle: !options.quick });
  const session = new Session({ options, sizes, fixtures, workload, runner, counter, subjects, scenarios });

  if (options.prepare) {
    session.prepare();
    counter?.close();
    return 0;
  }

  const save = (complete: boolean): Results => {
    const own: Results = {
      format: 1,
      command: ["npm run bench --", ...process.argv.slice(2)].join(" "),
      ...(options.preset === undefined ? {} : { preset: options.preset.name }),
      startedAt,
      finishedAt: new Date().toISOString(),
      complete,
      seed: options.seed,
      runs: options.runs,
      sizes: sizes.name,
      ...(notCold === undefined ? {} : { notCold }),
      environment,
      subjects: session.subjects,
      scenarios: session.scenarios,
      results: session.results,
    };
    const results = before === undefined ? own : added(before, own);
    writeResults(file, results);
    return results;
  };

  const interrupted = (signal: NodeJS.Signals) => {
    void runner.stop().finally(() => {
      counter?.close();
      process.stderr.write(`\nended by ${signal}; what was measured is in ${relative(".", file)}\n`);
      process.exit(signal === "SIGINT" ? 130 : 143);
    });
  };
  process.on("SIGINT", interrupted);
  process.on("SIGTERM", interrupted);

  process.stderr.write(`seed ${options.seed}, ${options.runs} runs, ${sizes.name} sizes, work in ${options.work}\n`);
  try {
    await session.run(() => save(false));
  } finally {
    counter?.close();
  }
  const results = save(true);
  writeReports(file, results);
  process.stderr.write(`results in ${relative(".", file)}, with .md and .html beside it\n`);
  if (options.into !== undefined) writeTables(options.into, results);
  const failures = session.results.filter(({ failures: each }) => each.length > 0);
  for (const { scenario, subject, lowers, failures: each } of failures) process.stderr.write(`failed: ${scenario} on ${subject} over ${lowers}: ${each[0]}\n`);
  return failures.some(({ subject }) => subject.startsWith("stratafs")) ? 1 : 0;
}

try {
  const options = readOptions(process.argv.slice(2));
  if (options.help) console.log(HELP);
  else if (options.list) list(options);
  else if (options.report !== undefined) writeReports(options.report, readResults(options.report));
  else if (options.table !== undefined && options.into !== undefined) writeTables(options.into, readResults(options.table));
  else if (options.table !== undefined) console.log(readmeTable(readResults(options.table)));
  else process.exitCode = await measure(options);
} catch (error) {
  if (!(error instanceof OptionError)) throw error;
  process.stderr.write(`bench: ${error.message}\n`);
  process.exitCode = 2;
}
