/** Shell scripts as the steps of a proof: each must succeed, and what it prints is its result. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export const stratafs = fileURLToPath(new URL("../../../stratafs.js", import.meta.url));

/** Runs with `set -eu`, $1… being `args` and $S the command; its standard output. Throws with the end of what it said. */
export function sh(script: string, args: readonly string[] = [], cwd = "/"): string {
  const done = spawnSync("sh", ["-c", `set -eu\n${script}`, "sh", ...args], { cwd, encoding: "latin1", maxBuffer: 1 << 29, env: { ...process.env, S: stratafs, LC_ALL: "C" } });
  if (done.status !== 0) throw new Error(`${script.slice(0, 400)}: exit ${done.status ?? done.signal}\n${done.stdout.slice(-1000)}${done.stderr.slice(-3000)}`);
  return done.stdout;
}

export function step(text: string): void {
  console.log(`${new Date().toISOString().slice(11, 19)} ${text}`);
}

let failures = 0;
export function check(what: string, problems: readonly string[]): void {
  step(`${problems.length === 0 ? "ok  " : "FAIL"} ${what}`);
  for (const line of problems.slice(0, 30)) console.log(`       ${line}`);
  if (problems.length > 0) failures++;
}
export const failed = (): number => failures;
