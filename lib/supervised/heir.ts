/**
 * The process that goes on when this one is gone: it shares this one's descriptors, waits for its end, and becomes the next server.
 * Always true: while the mount is to be handed on there is one whose number is in the journal, and no other goes on; one that ends before
 * its time is replaced. It stays until the server that it has started has an heir of its own.
 */
import { check } from "../base/errors.js";
import { native } from "../sys/binding.js";
import { waitForChild } from "../sys/process.js";
import type { Journal } from "./journal.js";

/** Descriptor of the journal, told to the next server. */
const TOLD = "STRATAFS_JOURNAL";
/** Between the end of an heir and the next one. */
const REST_MS = 100;

/** A program to execute: argv with the path of the executable first. */
export interface Program {
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

export class Heir {
  readonly #journal: Journal;
  readonly #fuseFd: number;
  readonly #log: (line: string) => void;
  readonly #self: number;
  #program: Program;
  #pid = 0;
  #wanted = false;

  constructor(journal: Journal, fuseFd: number, program: Program, log: (line: string) => void) {
    this.#journal = journal;
    this.#fuseFd = fuseFd;
    this.#program = program;
    this.#log = log;
    this.#self = check(native.pidfdOpen(process.pid), "pidfd_open");
  }

  /** The journal's descriptor, in a process that was an heir. It is told once. */
  static inherited(): number | undefined {
    const told = process.env[TOLD];
    delete process.env[TOLD];
    return told === undefined ? undefined : Number(told);
  }

  start(): void {
    this.#wanted = true;
    const { argv, env } = this.#program;
    const variables = Object.entries({ ...env, [TOLD]: String(this.#journal.fd) }).map(([name, value]) => `${name}=${value}`);
    const { kept, heir, heirNumber } = this.#journal;
    const pid = check(native.startHeir(listed(argv), listed(variables), this.#self, this.#fuseFd, kept, heir, heirNumber + 1), "fork");
    // Up to here the one before counts, from here on this one.
    this.#journal.heirNumber = heirNumber + 1;
    this.#pid = pid;
    void waitForChild(pid).then(() => this.#gone(pid), () => this.#gone(pid));
  }

  /** The next heir executes this script instead of the one before; "" for the same. */
  replace(script: string): void {
    if (script === "") return;
    const [executable = "", ...rest] = this.#program.argv;
    this.#program = { ...this.#program, argv: [executable, ...rest.slice(0, -1), script] };
    const old = this.#pid;
    this.start();
    process.kill(old, "SIGKILL");
  }

  /** There will be no successor any more. */
  end(): void {
    this.#wanted = false;
    this.#journal.drop(this.#fuseFd);
  }

  #gone(pid: number): void {
    if (pid !== this.#pid || !this.#wanted || !this.#journal.isKept(this.#fuseFd)) return;
    setTimeout(() => {
      if (!this.#wanted || !this.#journal.isKept(this.#fuseFd)) return;
      this.#log("the process that would take over has ended; there is a new one");
      this.start();
    }, REST_MS).unref();
  }
}

/** Each text, ended by NUL. Texts are what Node decoded, and go back to the same bytes. */
function listed(texts: readonly string[]): Uint8Array {
  return Buffer.from(texts.map((text) => `${text}\0`).join(""), "utf8");
}
