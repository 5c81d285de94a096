/** Compiles workload.c once per version of it, and runs it. */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface Work {
  /** From the first process's start of the loop to the last one's end. */
  readonly ns: number;
  readonly ops: number;
  readonly bytes: number;
  /** Checksum over what was seen, 16 hexadecimal digits; its meaning is the command's. */
  readonly sum: string;
}

/** Compiled to dist/bench/workload/, so the checkout is three levels up. */
const SOURCE = fileURLToPath(new URL("../../../bench/workload/workload.c", import.meta.url));

/** Path of the compiled program. Throws when there is no C compiler. */
export function compileWorkload(workDirectory: string): string {
  const version = createHash("sha256").update(readFileSync(SOURCE)).digest("hex").slice(0, 12);
  const directory = join(workDirectory, "bin");
  const program = join(directory, `workload-${version}`);
  if (existsSync(program)) return program;
  mkdirSync(directory, { recursive: true });
  const staged = `${program}.${process.pid}`;
  execFileSync("cc", ["-O2", "-o", staged, SOURCE], { stdio: ["ignore", "inherit", "inherit"] });
  renameSync(staged, program);
  return program;
}

/** Runs one command to its end. Throws with what the program said when it fails. */
export function work(program: string, args: readonly string[]): Work {
  const done = spawnSync(program, args, { encoding: "utf8" });
  if (done.status !== 0) throw new Error(`workload ${args.join(" ")}: ${done.error?.message ?? (done.stderr.trim() || `signal ${done.signal}`)}`);
  return JSON.parse(done.stdout) as Work;
}
