/**
 * How an upper makes what it has written outlive a power cut, and on whose time.
 * "jobs": on threads of the addon, while the caller goes on answering (a mount); "blocking": before the call returns (a tree used by
 * one program, without a mount); "none": never (volatile).
 */
import { check } from "../base/errors.js";
import { native } from "../sys/binding.js";
import { fdatasyncJob, fsyncJob, syncfsJob } from "../sys/jobs.js";

export type Durability = "jobs" | "blocking" | "none";
export type Extent = "data" | "file" | "filesystem";

const calls = {
  data: (fd: number) => native.fdatasync(fd), file: (fd: number) => native.fsync(fd), filesystem: (fd: number) => native.syncfs(fd),
} as const;
const jobs = { data: fdatasyncJob, file: fsyncJob, filesystem: syncfsJob } as const;

/** Syncs what descriptor `fd` stands for. The descriptor must stay open until this settles. Throws or rejects EIO, ENOSPC, EDQUOT. */
export function syncNow(fd: number, extent: Extent, durability: Durability): void | Promise<void> {
  if (durability === "none") return;
  if (durability === "jobs") return jobs[extent](fd);
  check(calls[extent](fd), extent === "filesystem" ? "syncfs" : "fsync");
}

/** The same for a descriptor that belongs to this call. */
export function syncAndClose(fd: number, extent: Extent, durability: Durability): void | Promise<void> {
  let settled: void | Promise<void>;
  try {
    settled = syncNow(fd, extent, durability);
  } catch (error) {
    native.close(fd);
    throw error;
  }
  if (settled !== undefined) return settled.finally(() => native.close(fd));
  native.close(fd);
}
