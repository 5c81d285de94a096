/**
 * Exact counts: FUSE requests by opcode, from the kernel's tracepoint fuse_request_send, so that every FUSE subject is counted by
 * the same instrument; and system calls of the daemon, from raw_syscalls. A private tracing instance is made and removed;
 * nothing of the machine's own tracing is changed. Tracing costs time, so runs that are counted are not timed.
 * Needs root and tracefs; without them there are no counts.
 */
import { closeSync, constants, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, readSync, rmdirSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Counts {
  /** By the kernel's name without FUSE_, for example LOOKUP. Answers and FORGET messages are not requests and not in it. */
  readonly requests: Readonly<Record<string, number>>;
  /** System calls of the daemon's threads; undefined where only the server itself has counted. */
  readonly daemonSyscalls: number | undefined;
  /** Events that did not fit into the buffer: with more than none, `requests` is too low. */
  readonly lost: number;
  /** The same requests as the server's own counters have them, of a subject that has some. */
  readonly served?: Readonly<Record<string, number>>;
}

/** What the kernel sends with no one waiting for an answer. */
export const UNAWAITED: readonly string[] = ["FORGET", "BATCH_FORGET", "INTERRUPT"];

const BUFFER_KIB = 24_576;

export class RequestCounter {
  readonly #tracefs: string;
  readonly #mountedHere: boolean;
  #requests: string | undefined;
  #syscalls: string | undefined;
  #names: ReadonlyMap<string, string>;

  private constructor(tracefs: string, mountedHere: boolean) {
    this.#tracefs = tracefs;
    this.#mountedHere = mountedHere;
    const format = readFileSync(join(tracefs, "events/fuse/fuse_request_send/format"), "latin1");
    this.#names = new Map(Array.from(format.matchAll(/\{(\d+), "(?:FUSE_)?(\w+)"\}/g), (m) => [m[1] ?? "", m[2] ?? ""]));
  }

  /** A counter, or the reason in words why there is none. close() it. */
  static open(): RequestCounter | string {
    if (process.getuid?.() !== 0) return "tracepoints need root";
    let tracefs = "/sys/kernel/tracing";
    let mountedHere = false;
    if (!existsSync(join(tracefs, "events"))) {
      tracefs = mkdtempSync(join(tmpdir(), "stratafs-bench-tracefs-"));
      if (spawnSync("mount", ["-t", "tracefs", "tracefs", tracefs]).status !== 0) {
        rmdirSync(tracefs);
        return "tracefs cannot be mounted";
      }
      mountedHere = true;
    }
    try {
      return new RequestCounter(tracefs, mountedHere);
    } catch {
      if (mountedHere) release(tracefs);
      return "this kernel has no tracepoint fuse_request_send";
    }
  }

  /** Starts to count the requests of FUSE connection `connection` and the system calls of `threads`. */
  start(connection: number | undefined, threads: readonly number[]): void {
    this.#drop();
    if (connection !== undefined) {
      this.#requests = this.#instance("requests");
      writeFileSync(join(this.#requests, "buffer_size_kb"), String(BUFFER_KIB));
      writeFileSync(join(this.#requests, "events/fuse/fuse_request_send/filter"), `connection == ${connection}`);
      writeFileSync(join(this.#requests, "events/fuse/fuse_request_send/enable"), "1");
    }
    if (threads.length > 0) {
      this.#syscalls = this.#instance("syscalls");
      writeFileSync(join(this.#syscalls, "set_event_pid"), threads.join(" "));
      // Threads that these start while we count are counted as well.
      writeFileSync(join(this.#syscalls, "options/event-fork"), "1");
      writeFileSync(join(this.#syscalls, "events/raw_syscalls/sys_enter/enable"), "1");
    }
  }

  stop(): Counts {
    try {
      const requests: Record<string, number> = {};
      let lost = 0;
      if (this.#requests !== undefined) {
        writeFileSync(join(this.#requests, "events/fuse/fuse_request_send/enable"), "0");
        lost = eventCount(this.#requests, "overrun");
        for (const opcode of opcodes(this.#requests)) {
          const name = this.#names.get(opcode) ?? `opcode ${opcode}`;
          requests[name] = (requests[name] ?? 0) + 1;
        }
        for (const name of UNAWAITED) delete requests[name];
      }
      let daemonSyscalls = 0;
      if (this.#syscalls !== undefined) {
        writeFileSync(join(this.#syscalls, "events/raw_syscalls/sys_enter/enable"), "0");
        daemonSyscalls = eventCount(this.#syscalls, "entries") + eventCount(this.#syscalls, "overrun");
      }
      return { requests, daemonSyscalls, lost };
    } finally {
      this.#drop();
    }
  }

  close(): void {
    this.#drop();
    if (this.#mountedHere) release(this.#tracefs);
  }

  #instance(what: string): string {
    const directory = join(this.#tracefs, "instances", `stratafs-bench-${process.pid}-${what}`);
    mkdirSync(directory);
    return directory;
  }

  #drop(): void {
    for (const directory of [this.#requests, this.#syscalls]) {
      if (directory === undefined) continue;
      for (const event of ["fuse/fuse_request_send", "raw_syscalls/sys_enter"]) writeFileSync(join(directory, "events", event, "enable"), "0");
      rmdirSync(directory);
    }
    this.#requests = undefined;
    this.#syscalls = undefined;
  }
}

function release(tracefs: string): void {
  spawnSync("umount", [tracefs]);
  rmdirSync(tracefs);
}

/** Sum over the CPUs of one line of per_cpu/cpuN/stats. */
function eventCount(instance: string, key: "entries" | "overrun"): number {
  let sum = 0;
  for (const cpu of readdirSync(join(instance, "per_cpu"))) {
    const stats = readFileSync(join(instance, "per_cpu", cpu, "stats"), "latin1");
    sum += Number(new RegExp(`^${key}: (\\d+)`, "m").exec(stats)?.[1] ?? 0);
  }
  return sum;
}

/** The opcode numbers of all buffered events. trace_pipe hands each event out once and then says EAGAIN. */
function* opcodes(instance: string): Generator<string> {
  const fd = openSync(join(instance, "trace_pipe"), constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const buffer = Buffer.alloc(65_536);
    let rest = "";
    for (;;) {
      let got: number;
      try {
        got = readSync(fd, buffer);
      } catch (error) {
        if (error instanceof Error && "code" in error && error.code === "EAGAIN") return;
        throw error;
      }
      if (got === 0) return;
      const lines = (rest + buffer.toString("latin1", 0, got)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const match = /opcode (\d+) /.exec(line);
        if (match?.[1] !== undefined) yield match[1];
      }
    }
  } finally {
    closeSync(fd);
  }
}
