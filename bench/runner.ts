/**
 * Runs cells: each in a process, a session and a directory of its own. Whatever happens (an error, a hanging daemon, a signal to the
 * harness) every process of the cell is ended, every mount beneath its directory detached and the directory removed before
 * the next cell begins. Processes are known by the mark in their environment, never by name.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { chownSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { RequestCounter } from "./counting/requests.js";
import type { Job, Report, Request } from "./job.js";
import { dropCaches } from "./measure/caches.js";
import { detachBeneath } from "./measure/mounts.js";
import { MARK, marked, waitForEnd } from "./measure/processes.js";

/** The overflow user: owns nothing else. */
export const UNPRIVILEGED_ID = 65_534;

export interface RunnerOptions {
  readonly workDirectory: string;
  /** Cells run in a user namespace, as an ordinary user would run them. */
  readonly unprivileged: boolean;
  readonly counter: RequestCounter | undefined;
  readonly timeoutMs: number;
  /** Whether cold runs are given cold caches. */
  readonly dropCaches: boolean;
  /** Write back before each cell what earlier ones have left dirty. */
  readonly settle: boolean;
}

export class Runner {
  readonly #options: RunnerOptions;
  readonly #cells: string;
  #current: { readonly child: ChildProcess; readonly directory: string } | undefined;
  #count = 0;
  #stopped = false;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#cells = join(options.workDirectory, "cells");
    mkdirSync(this.#cells, { recursive: true });
    this.#sweep();
  }

  /** Runs one cell to its end. Never throws for what happens in it. After stop() it never returns. */
  async run(job: Omit<Job, "directory">): Promise<Report> {
    if (this.#stopped) return never();
    const directory = join(this.#cells, `${process.pid}-${++this.#count}`);
    mkdirSync(directory);
    const { unprivileged, settle } = this.#options;
    if (settle) spawnSync("sync");
    const asRoot = process.getuid?.() === 0;
    if (unprivileged && asRoot) chownSync(directory, UNPRIVILEGED_ID, UNPRIVILEGED_ID);
    const drop = asRoot ? ["setpriv", `--reuid=${UNPRIVILEGED_ID}`, `--regid=${UNPRIVILEGED_ID}`, "--clear-groups"] : [];
    // In a mount namespace of its own: one that somebody else makes meanwhile would hold a copy of the mounts, and their daemons with it.
    const prefix = unprivileged ? [...drop, "unshare", "--user", "--map-root-user", "--mount"] : ["unshare", "--mount"];
    const [program = "", ...args] = [...prefix, process.execPath, fileURLToPath(new URL("./cell.js", import.meta.url)), JSON.stringify({ ...job, directory } satisfies Job)];
    const child = spawn(program, args, {
      detached: true,
      cwd: directory,
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      env: { ...process.env, [MARK]: directory, HOME: directory, LC_ALL: "C", GIT_TERMINAL_PROMPT: "0" },
    });
    this.#current = { child, directory };
    let report: Report;
    try {
      report = await this.#conversation(child);
    } finally {
      await this.#clear(child, directory);
      this.#current = undefined;
    }
    return this.#stopped ? never() : report;
  }

  /** Ends the running cell and removes what it left; for signals. No other begins. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#current !== undefined) await this.#clear(this.#current.child, this.#current.directory);
  }

  #conversation(child: ChildProcess): Promise<Report> {
    return new Promise((resolve) => {
      let report: Report | undefined;
      let words = "";
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        if (child.pid !== undefined) endGroup(child.pid);
      }, this.#options.timeoutMs);
      const end = (reason: string) => {
        clearTimeout(timer);
        resolve(report ?? { report: "failed", message: late ? `no end within ${this.#options.timeoutMs / 1000} s` : `${reason} ${words.trim()}`.trim() });
      };
      child.stderr?.setEncoding("utf8").on("data", (text: string) => void (words = (words + text).slice(-2000)));
      child.on("message", (message: Request | Report) => {
        if ("report" in message) report = message;
        else this.#answer(child, message);
      });
      child.once("error", (error) => end(error.message));
      // "close" could wait for a daemon that keeps standard error open.
      child.once("exit", (code, signal) => end(`the cell's process ended with ${signal ?? code}`));
    });
  }

  #answer(child: ChildProcess, request: Request): void {
    const { counter } = this.#options;
    let counts;
    try {
      if (request.ask === "drop-caches") {
        if (this.#options.dropCaches) dropCaches();
      } else if (request.ask === "count") {
        counter?.start(request.connection, request.threads);
      } else {
        counts = counter?.stop();
      }
    } catch (error) {
      // The counts are lost; the run is not.
      process.stderr.write(`${request.ask}: ${error instanceof Error ? error.message : String(error)}\n`);
    }
    child.send({ answer: "done", ...(counts === undefined ? {} : { counts }) }, () => {
      // Refused when the cell has ended meanwhile; its exit tells.
    });
  }

  async #clear(child: ChildProcess, directory: string): Promise<void> {
    child.stderr?.destroy();
    if (child.pid !== undefined) endGroup(child.pid);
    for (let attempt = 0; attempt < 5; attempt++) {
      const pids = marked(directory);
      for (const pid of pids) end(pid);
      detachBeneath(directory);
      if ((await waitForEnd(pids, 2000)).length === 0 && marked(directory).length === 0) break;
    }
    const left = detachBeneath(directory);
    // Never remove through a mount: it would empty what lies below.
    if (left.length > 0) throw new Error(`cannot unmount ${left.map(({ target }) => target).join(", ")}`);
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }

  /** Removes what a harness that was killed has left. */
  #sweep(): void {
    for (const name of readdirSync(this.#cells)) {
      const owner = name.split("-")[0] ?? "";
      if (existsSync(`/proc/${owner}`)) continue;
      const directory = join(this.#cells, name);
      for (const pid of marked(directory)) end(pid);
      if (detachBeneath(directory).length === 0) rmSync(directory, { recursive: true, force: true });
    }
  }
}

const never = (): Promise<never> =>
  new Promise(() => {
    // The process is about to exit.
  });

function end(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // Ended by itself.
  }
}

function endGroup(pid: number): void {
  end(-pid);
}
