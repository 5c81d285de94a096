/**
 * Child processes started by a plan, followed through their pidfd. Libuv knows nothing of them: nobody else reaps them.
 * Order of a start: fork, pidfd, our copy of the error pipe closed; `started` settles when the child's copy closes (exec) or speaks.
 */
import { readSync } from "node:fs";
import { FsError, check, errnoName, errnoOf } from "../base/errors.js";
import { native } from "./binding.js";
import type { Plan } from "./plan.js";

const EAGAIN = -errnoOf("EAGAIN");

/** How a process ended: its exit code, or the number of the signal that killed it. */
export type Exit = { readonly code: number } | { readonly signal: number };

export interface PlannedProcess {
  readonly pid: number;
  /** Resolves once the child has called exec; rejects with an FsError that names the step that failed. */
  readonly started: Promise<void>;
  /** Never rejects. 125 is the code of a plan that failed. */
  readonly exited: Promise<Exit>;
  /** False when the process has ended. */
  signal(number: number): boolean;
}

/** Forks and lets the child carry out the plan. Throws EAGAIN, ENOMEM, EMFILE when it cannot even fork. */
export function startPlan(plan: Plan): PlannedProcess {
  const [readEnd, writeEnd] = makePipe();
  const pid = native.runPlan(plan.encode(), writeEnd);
  native.close(writeEnd);
  if (pid < 0) native.close(readEnd);
  check(pid, "fork");
  const pidfd = native.pidfdOpen(pid);
  if (pidfd < 0) native.close(readEnd);
  check(pidfd, "pidfd_open");
  let ended = false;
  const exited = waitOn(pidfd).then((exit) => {
    ended = true;
    native.close(pidfd);
    return exit;
  });
  return {
    pid,
    started: whenStarted(readEnd, plan),
    exited,
    signal: (number) => !ended && native.pidfdSignal(pidfd, number) >= 0,
  };
}

/** Waits for a child of this process that nobody else waits for, and reaps it. */
export async function waitForChild(pid: number): Promise<Exit> {
  const pidfd = check(native.pidfdOpen(pid), "pidfd_open");
  try {
    return await waitOn(pidfd);
  } finally {
    native.close(pidfd);
  }
}

/** Both ends close on exec. The caller closes them. */
export function makePipe(): [readEnd: number, writeEnd: number] {
  const ends = new Float64Array(2);
  check(native.pipe(ends), "pipe2");
  return [ends[0]!, ends[1]!];
}

function waitOn(pidfd: number): Promise<Exit> {
  return new Promise((resolve, reject) => {
    const watch = native.watch(pidfd, () => {
      const result = native.pidfdWait(pidfd);
      if (result === EAGAIN) return;
      native.unwatch(watch);
      if (result < 0) reject(new FsError(errnoName(result), "waitid"));
      else resolve(result < 256 ? { code: result } : { signal: result - 256 });
    });
    if (watch < 0) reject(new FsError(errnoName(watch), "watch"));
  });
}

function whenStarted(errorPipe: number, plan: Plan): Promise<void> {
  return new Promise((resolve, reject) => {
    const report = Buffer.alloc(8);
    const watch = native.watch(errorPipe, () => {
      const length = readSync(errorPipe, report);
      native.unwatch(watch);
      native.close(errorPipe);
      if (length < report.length) return resolve();
      reject(new FsError(errnoName(report.readUInt32LE(4)), plan.describe(report.readUInt32LE(0))));
    });
  });
}
