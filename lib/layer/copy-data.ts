/**
 * Copies a file's bytes for a copy-up: by reflink, else in the kernel, holes kept; through memory where there is no descriptor.
 * Durable before it settles, but for a reflink, which the filesystem's journal orders before the rename that shows it: a crash leaves both
 * or no name, never a name without the data. Kernel overlayfs does the same.
 * Waiting: large copies and the sync that follows run as jobs, so that the mount goes on answering; small ones are done at once,
 * and all of them where the upper is "blocking". A copy that waits may be stopped, and then rejects ECANCELED; a sync that has begun is finished.
 */
import { FsError, check, errnoName } from "../base/errors.js";
import { native } from "../sys/binding.js";
import { SEEK_DATA, SEEK_HOLE } from "../sys/flags.js";
import { startCopy } from "../sys/jobs.js";
import { statFd } from "../sys/statx.js";
import { syncNow } from "./durability.js";
import type { Durability } from "./durability.js";
import type { Backing } from "./layer.js";
import type { Stop } from "./stop.js";

/** Up to here a copy takes less time than handing it over. */
const SMALL = 1 << 20;
const CHUNK = 1 << 20;
/** How much of a memory layer is copied before others get a turn. */
const TURN = 16 << 20;
const zeros = Buffer.alloc(CHUNK);

/** Makes `to` (empty, or of holes) the first `size` bytes of `source`; both stay the caller's, and open until this settles. */
export function copyData(source: Backing, to: number, size: number, durability: Durability, stop?: Stop): void | Promise<void> {
  if (size === 0) {
    check(native.ftruncate(to, 0), "truncate");
    return;
  }
  if (source.fd >= 0 && native.clone(to, source.fd) >= 0) {
    // To cut a file to the size it has would end the sharing of its last block, on xfs: for that block's rest to be zeros.
    if (statFd(to).size !== size) check(native.ftruncate(to, size), "truncate");
    return;
  }
  const settled = copyBytes(source, to, size, durability === "blocking", stop);
  if (settled === undefined) return syncNow(to, "data", durability);
  return settled.then(() => {
    checkStop(stop);
    return syncNow(to, "data", durability);
  });
}

function checkStop(stop: Stop | undefined): void {
  if (stop?.asked === true) throw new FsError("ECANCELED", "copy");
}

function copyBytes(source: Backing, to: number, size: number, atOnce: boolean, stop: Stop | undefined): void | Promise<void> {
  if (source.fd < 0) return copyFromMemory(source, to, size, atOnce, stop);
  if (size <= SMALL || atOnce) return copyExtents(source.fd, to, size);
  const job = startCopy(source.fd, to, size);
  if (stop !== undefined) stop.hurry = () => job.cancel();
  return job.ended.then(() => undefined);
}

function copyExtents(from: number, to: number, size: number): void {
  check(native.ftruncate(to, size), "truncate");
  const buffer = Buffer.allocUnsafe(Math.min(size, CHUNK));
  for (let at = 0; at < size; ) {
    const data = native.lseek(from, at, SEEK_DATA);
    if (data < 0 && errnoName(data) === "ENXIO") return;
    const start = data < 0 ? at : data;
    const hole = data < 0 ? size : check(native.lseek(from, start, SEEK_HOLE), "lseek");
    const end = Math.min(hole, size);
    for (at = start; at < end; ) {
      const count = check(native.pread(from, buffer, 0, Math.min(buffer.length, end - at), at), "read");
      if (count === 0) return;
      writeAll(to, buffer, count, at);
      at += count;
    }
  }
}

function copyFromMemory(source: Backing, to: number, size: number, atOnce: boolean, stop: Stop | undefined): void | Promise<void> {
  check(native.ftruncate(to, size), "truncate");
  if (size <= TURN || atOnce) {
    copyRegion(source, to, 0, size);
    return;
  }
  return (async () => {
    for (let at = 0; at < size; at += TURN) {
      copyRegion(source, to, at, Math.min(at + TURN, size));
      await new Promise<void>((resolve) => setImmediate(resolve));
      checkStop(stop);
    }
  })();
}

function copyRegion(source: Backing, to: number, from: number, end: number): void {
  const buffer = Buffer.alloc(Math.min(CHUNK, end - from));
  for (let at = from; at < end; ) {
    const count = source.read(buffer.subarray(0, Math.min(buffer.length, end - at)), at);
    if (count === 0) return;
    // Pieces of nothing but zeros stay holes.
    if (!buffer.subarray(0, count).equals(zeros.subarray(0, count))) writeAll(to, buffer, count, at);
    at += count;
  }
}

function writeAll(to: number, from: Buffer, count: number, position: number): void {
  for (let done = 0; done < count; ) done += check(native.pwrite(to, from, done, count - done, position + done), "write");
}
