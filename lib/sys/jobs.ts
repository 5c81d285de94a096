/**
 * Calls that may take long, as promises, on the addon's two threads. Descriptors must stay open until the promise settles.
 * A thread of JavaScript has one set of jobs; when it ends, jobs that have not begun are dropped and a copy stops midway.
 */
import { FsError, check, errnoName } from "../base/errors.js";
import { native } from "./binding.js";
import type { NativeBinding } from "./binding.js";

const FSYNC = 0;
const FDATASYNC = 1;
const SYNCFS = 2;
const COPY = 3;
const REMOVE = 4;
const FILES = 5;
const DEDUPE = 6;

interface Waiting {
  readonly syscall: string;
  readonly resolve: (result: number) => void;
  readonly reject: (error: FsError) => void;
}

/** A job that its owner may want to wait for without yielding. */
export interface Job {
  /** With 0, but for jobs that say otherwise. */
  readonly ended: Promise<number>;
  /** Blocks until the work is done; `ended` settles in a later turn. */
  wait(): void;
  /** Ends it sooner where that can be: `ended` then rejects ECANCELED. */
  cancel(): void;
}

type JobCalls = Pick<NativeBinding, "setJobHandler" | "startJob" | "waitJob" | "cancelJob">;

/** The jobs of one thread. Made by tests around a fake binding; everybody else uses the functions below. */
export class Jobs {
  readonly #binding: JobCalls;
  readonly #waiting = new Map<number, Waiting>();
  #listening = false;

  constructor(binding: JobCalls) {
    this.#binding = binding;
  }

  /** Rejects what the job does, or could not begin with. */
  async run(syscall: string, kind: number, a: number, b: number, c: number): Promise<void> {
    await this.start(syscall, kind, a, b, c).ended;
  }

  /** As run(), but throws when the job cannot begin. */
  start(syscall: string, kind: number, a: number, b: number, c: number, bytes?: Uint8Array, d?: number): Job {
    if (!this.#listening) {
      check(this.#binding.setJobHandler((id, result) => this.#settle(id, result)), syscall);
      this.#listening = true;
    }
    const id = check(this.#binding.startJob(kind, a, b, c, bytes, d), syscall);
    const ended = new Promise<number>((resolve, reject) => this.#waiting.set(id, { syscall, resolve, reject }));
    return { ended, wait: () => void this.#binding.waitJob(id), cancel: () => void this.#binding.cancelJob(id) };
  }

  #settle(id: number, result: number): void {
    const job = this.#waiting.get(id);
    if (job === undefined) return;
    this.#waiting.delete(id);
    if (result < 0) job.reject(new FsError(errnoName(result), job.syscall));
    else job.resolve(result);
  }
}

const jobs = new Jobs(native);

/** fsync(2). Rejects EIO, ENOSPC, EDQUOT, EINVAL. */
export const fsyncJob = (fd: number): Promise<void> => jobs.run("fsync", FSYNC, fd, -1, 0);
/** fdatasync(2). */
export const fdatasyncJob = (fd: number): Promise<void> => jobs.run("fdatasync", FDATASYNC, fd, -1, 0);
/** syncfs(2) of the filesystem that `fd` is on. */
export const syncfsJob = (fd: number): Promise<void> => jobs.run("syncfs", SYNCFS, fd, -1, 0);
/**
 * Copies the first `length` bytes from one descriptor to another, which holds no data yet: by reflink when that is the whole file, else
 * in the kernel, holes kept. `to` ends up `length` bytes long, also when the source is shorter. Not synced. File offsets of both move.
 * Throws when it cannot begin.
 */
export const startCopy = (from: number, to: number, length: number): Job => jobs.start("copy_file_range", COPY, from, to, length);
/** As startCopy(), but rejects. */
export const copyJob = (from: number, to: number, length: number): Promise<void> => jobs.run("copy_file_range", COPY, from, to, length);
/**
 * Removes directories of `parent` with all that is in them, one after the other, and rejects what the first said that cannot be removed: EISDIR
 * when it has a subdirectory. Names are latin1; what is not there is no error. Throws when it cannot begin.
 */
export const removeDirectoriesJob = (parent: number, names: readonly string[]): Job =>
  jobs.start("rmdir", REMOVE, parent, -1, 0, Buffer.from(names.join("\0"), "latin1"));
/**
 * Makes new files of `mode` in a directory. `records`, copied: for each the length of its body and that of its name with the NUL (32 bits,
 * little-endian), the name, the body. Rejects what the first ended with that cannot be made: those before it are there, of it nothing. Not synced.
 * Throws when it cannot begin.
 */
export const filesJob = (folder: number, mode: number, records: Uint8Array): Promise<void> =>
  jobs.start("open", FILES, folder, mode, 0, records).ended.then(() => undefined);
/**
 * Lets `to` share what `from` has at a range of both, `length` at most 16 MiB, where the kernel finds the bytes equal: how many it shares; 0 where
 * they differ, or a file has become shorter. Changes nothing else of either. Rejects EOPNOTSUPP where the filesystem cannot, EROFS, EXDEV, EINVAL, and
 * EPERM where `to` may not be written; both need to be open for reading only.
 */
export const dedupeJob = (from: number, to: number, position: number, length: number): Promise<number> =>
  jobs.start("ioctl", DEDUPE, from, to, position, undefined, length).ended;
