/**
 * Directories that left an upper with whiteouts in them, and go from the disk on a thread of the addon: a tree that is deleted leaves
 * as many whiteouts as it had entries, and who deletes it need not wait until they are removed one by one.
 * Always true: what waits here stands in the work directory, where nobody sees it and which is emptied when an upper is closed, or
 * opened after a crash; it is bounded.
 */
import type { Job } from "../sys/jobs.js";
import { removeDirectoriesJob } from "../sys/jobs.js";

/** Directories that may wait, and as many that are being removed; who brings more removes them by itself. */
const MOST = 4096;

export class Rubbish {
  private readonly work: number;
  private readonly removeNow: (name: string) => void;
  private waiting: string[] = [];
  private job: Job | undefined;

  /** `work` is the work directory's descriptor, good until close(); `removeNow` throws nothing. */
  constructor(work: number, removeNow: (name: string) => void) {
    this.work = work;
    this.removeNow = removeNow;
  }

  /** Takes a directory of the work directory that holds no directories. */
  add(name: string): void {
    if (this.waiting.length >= MOST) return this.removeNow(name);
    this.waiting.push(name);
    if (this.job === undefined) this.remove();
  }

  /** Returns when nothing is under way; what still waits is left to whoever empties the work directory. */
  close(): void {
    this.waiting = [];
    this.job?.wait();
  }

  private remove(): void {
    const names = this.waiting;
    this.waiting = [];
    try {
      this.job = removeDirectoriesJob(this.work, names);
    } catch {
      for (const name of names) this.removeNow(name);
      return;
    }
    const next = (): void => {
      this.job = undefined;
      if (this.waiting.length > 0) this.remove();
    };
    // What could not be removed is left to whoever empties the work directory next.
    this.job.ended.then(next, next);
  }
}
