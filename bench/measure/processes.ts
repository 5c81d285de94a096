/**
 * Which processes belong to one run, and what they have used. A run's processes are known by a variable in their
 * environment, which every child inherits, daemons too; so nothing else is ever signalled, and a daemon is found
 * whatever it calls itself.
 */
import { readdirSync, readFileSync } from "node:fs";

/** Its value is the cell's own directory, which is unique. */
export const MARK = "STRATAFS_BENCH_CELL";

/** Clock ticks per second of /proc/PID/stat: USER_HZ, 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** Pids whose environment carries the mark, in the order of /proc, without `except`. Needs the right to read their environment. */
export function marked(cellDirectory: string, except: readonly number[] = []): number[] {
  const wanted = `${MARK}=${cellDirectory}`;
  const out: number[] = [];
  for (const entry of readdirSync("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || except.includes(pid)) continue;
    let environment: string;
    try {
      environment = readFileSync(`/proc/${pid}/environ`, "latin1");
    } catch {
      continue; // ended meanwhile, or another user's
    }
    if (environment.split("\0").includes(wanted)) out.push(pid);
  }
  return out;
}

function statFields(pid: number): string[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return [];
  }
}

/** True while the process runs; a zombie has ended. */
export function alive(pid: number): boolean {
  const state = statFields(pid)[0];
  return state !== undefined && state !== "Z" && state !== "X";
}

/** User and system time used so far, ms, in steps of 10. */
export function cpuMs(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const fields = statFields(pid);
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  }
  return (ticks * 1000) / TICKS_PER_SECOND;
}

export interface Memory {
  /** Proportional set size: shared pages are divided among those who share them. */
  readonly pssKiB: number;
  readonly peakRssKiB: number;
}

function kib(file: string, key: string): number {
  try {
    const line = readFileSync(file, "latin1").split("\n").find((each) => each.startsWith(key));
    return line === undefined ? 0 : Number.parseInt(line.slice(key.length), 10);
  } catch {
    return 0;
  }
}

export function memory(pids: readonly number[]): Memory {
  let pssKiB = 0;
  let peakRssKiB = 0;
  for (const pid of pids) {
    pssKiB += kib(`/proc/${pid}/smaps_rollup`, "Pss:");
    peakRssKiB += kib(`/proc/${pid}/status`, "VmHWM:");
  }
  return { pssKiB, peakRssKiB };
}

/** The process's name and state, for messages. */
export function nameOf(pid: number): string {
  try {
    return `${readFileSync(`/proc/${pid}/comm`, "latin1").trim()} ${statFields(pid)[0] ?? ""}`.trim();
  } catch {
    return "a process that has ended";
  }
}

export function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch {
    return [];
  }
}

/** Waits up to `ms` for the processes to end; those that did not. */
export async function waitForEnd(pids: readonly number[], ms: number): Promise<number[]> {
  const until = performance.now() + ms;
  for (;;) {
    const left = pids.filter(alive);
    if (left.length === 0 || performance.now() > until) return left;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
