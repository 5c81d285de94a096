/**
 * Readers, writers, renamers and listers on the same two directories, each a process: `node crowd.js DIR SECONDS SEED`.
 *
 *   kept-N     replaced by renaming a new file over it; always there, always one whole version; in every listing exactly once
 *   moving-N   renamed to and fro between the directories; in the end each is in one of them
 *   log-N      appended to by several processes; in the end every line is there once, whole, and each process's in order
 *   passing-N  made and removed again
 *
 * Ends with 0 when nothing else was ever seen; what was seen goes to stderr.
 */
import { fork } from "node:child_process";
import { appendFileSync, linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Random } from "../../model/random.js";

const KEPT = 12;
const MOVING = 24;
const LOGS = 3;
const roles = ["reader", "reader", "writer", "writer", "renamer", "renamer", "lister", "lister", "appender", "appender", "passer"] as const;
type Role = (typeof roles)[number];

const codeOf = (error: unknown): string => (error instanceof Error && "code" in error ? String(error.code) : String(error));

/** Runs `act`; an error of one of these codes is nothing. */
function mayFail(codes: readonly string[], act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if (!codes.includes(codeOf(error))) throw error;
    return false;
  }
}

/** A version says who wrote it, and repeats that to a length that a torn one cannot have. */
const version = (by: number, count: number): string => `${by} ${count}\n`.repeat(1 + ((by * 7 + count) % 900));

function isWhole(text: string): boolean {
  const line = text.slice(0, text.indexOf("\n") + 1);
  const [by, count] = line.trim().split(" ").map(Number);
  return line !== "" && text === version(by!, count!);
}

/** One step of a role. `count` grows. Throws with what should not be. */
function step(role: Role, me: number, count: number, [a, b]: readonly [string, string], random: Random): void {
  const kept = join(random.pick([a, b]), `kept-${random.below(KEPT)}`);
  switch (role) {
    case "reader": {
      const text = readFileSync(kept, "latin1");
      if (!isWhole(text)) throw new Error(`${kept}: ${text.length} bytes, beginning ${JSON.stringify(text.slice(0, 20))}`);
      if (!statSync(kept).isFile()) throw new Error(`${kept} is no file`);
      return;
    }
    case "writer": {
      const temporary = `${kept}.new-${me}`;
      writeFileSync(temporary, version(me, count));
      // Now and then by a link, which shares the object for a moment.
      if (count % 5 === 0) mayFail(["EEXIST"], () => linkSync(temporary, join(a, `passing-link-${me}`))) && unlinkSync(join(a, `passing-link-${me}`));
      renameSync(temporary, kept);
      return;
    }
    case "renamer": {
      const name = `moving-${random.below(MOVING)}`;
      const [from, to] = random.pick([[a, b], [b, a]] as const);
      mayFail(["ENOENT"], () => renameSync(join(from, name), join(to, name)));
      return;
    }
    case "lister": {
      const dir = random.pick([a, b]);
      const names = readdirSync(dir);
      const twice = names.filter((name, i) => names.indexOf(name) !== i);
      if (twice.length > 0) throw new Error(`${dir}: twice in one listing: ${twice.join(" ")}`);
      for (let i = 0; i < KEPT; i++) if (!names.includes(`kept-${i}`)) throw new Error(`${dir}: kept-${i} missing in ${names.sort().join(" ")}`);
      return;
    }
    case "appender":
      appendFileSync(join(a, `log-${random.below(LOGS)}`), `${me} ${count} ${"x".repeat(random.below(60))}.\n`);
      return;
    case "passer": {
      const name = join(b, `passing-${me}`);
      if (count % 2 === 0) mkdirSync(name);
      else writeFileSync(name, "");
      // A directory goes by the same call as a file when it is replaced.
      if (count % 2 === 0) renameSync(name, `${name}-moved`), mkdirSync(name), renameSync(`${name}-moved`, name), removeDirectory(name);
      else unlinkSync(name);
      return;
    }
  }
}

const removeDirectory = (path: string): void => {
  renameSync(path, `${path}-gone`);
  rmdirSync(`${path}-gone`);
};

function prepare([a, b]: readonly [string, string]): void {
  for (const dir of [a, b]) {
    mkdirSync(dir, { recursive: true });
    for (let i = 0; i < KEPT; i++) writeFileSync(join(dir, `kept-${i}`), version(0, i));
  }
  for (let i = 0; i < MOVING; i++) writeFileSync(join(a, `moving-${i}`), `${i}\n`);
  for (let i = 0; i < LOGS; i++) writeFileSync(join(a, `log-${i}`), "");
}

/** `appended[me]` is how many lines that process wrote. */
function problemsAfter([a, b]: readonly [string, string], appended: ReadonlyMap<number, number>): string[] {
  const problems: string[] = [];
  const [inA, inB] = [readdirSync(a), readdirSync(b)];
  for (let i = 0; i < MOVING; i++) {
    const at = [...inA.filter((name) => name === `moving-${i}`).map((name) => join(a, name)), ...inB.filter((name) => name === `moving-${i}`).map((name) => join(b, name))];
    if (at.length !== 1) problems.push(`moving-${i} is in ${at.length} places`);
    for (const path of at) if (readFileSync(path, "latin1") !== `${i}\n`) problems.push(`${path} has other bytes`);
  }
  const rest = [...inA, ...inB].filter((name) => !/^(kept|moving|log)-\d+$/.test(name));
  if (rest.length > 0) problems.push(`left: ${rest.join(" ")}`);
  const seen = new Map<number, number>();
  for (let i = 0; i < LOGS; i++) {
    const last = new Map<number, number>();
    for (const line of readFileSync(join(a, `log-${i}`), "latin1").split("\n").slice(0, -1)) {
      const [, by, count] = /^(\d+) (\d+) x*\.$/.exec(line) ?? [];
      if (by === undefined) problems.push(`log-${i}: ${JSON.stringify(line)}`);
      else if (Number(count) <= (last.get(Number(by)) ?? -1)) problems.push(`log-${i}: ${line} out of order`);
      last.set(Number(by), Number(count));
      seen.set(Number(by), (seen.get(Number(by)) ?? 0) + 1);
    }
  }
  for (const [by, count] of appended) if (seen.get(by) !== count) problems.push(`process ${by} appended ${count} lines, ${seen.get(by) ?? 0} are there`);
  return problems;
}

async function main(): Promise<void> {
  const [dir = "", seconds = "10", seed = "1", role, me = "0"] = process.argv.slice(2);
  const dirs = [join(dir, "sub1"), join(dir, "sub2")] as const;
  if (role !== undefined) {
    const random = new Random(Number(seed) + Number(me));
    const end = Date.now() + Number(seconds) * 1000;
    let count = 0;
    for (; Date.now() < end; count++) step(role as Role, Number(me), count, dirs, random);
    process.send!(count);
    process.disconnect();
    return;
  }
  for (const path of dirs) for (const name of mayList(path)) unlinkSync(join(path, name));
  prepare(dirs);
  const appended = new Map<number, number>();
  const problems: string[] = [];
  await Promise.all(roles.map((name, i) => new Promise<void>((ended) => {
    const child = fork(fileURLToPath(import.meta.url), [dir, seconds, seed, name, String(i + 1)], { stdio: ["ignore", "ignore", "pipe", "ipc"] });
    let said = "";
    child.stderr!.setEncoding("latin1").on("data", (text: string) => (said += text));
    child.on("message", (count) => name === "appender" && appended.set(i + 1, Number(count)));
    child.on("close", (status) => {
      if (status !== 0) problems.push(`${name}: ${/^\w*Error.*$/m.exec(said)?.[0] ?? said}`);
      ended();
    });
  })));
  problems.push(...problemsAfter(dirs, appended));
  for (const problem of problems) console.error(problem);
  process.exitCode = problems.length === 0 ? 0 : 1;
}

function mayList(path: string): string[] {
  let names: string[] = [];
  mayFail(["ENOENT"], () => (names = readdirSync(path)));
  return names;
}

await main();
