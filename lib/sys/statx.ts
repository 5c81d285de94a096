/**
 * Attributes by descriptor. The slots of one call are in a buffer of this module that the next call overwrites; what is returned is
 * a fresh object of one shape. Does not yield.
 */
import type { Attr } from "../base/attr.js";
import { check, errnoOf } from "../base/errors.js";
import { native } from "./binding.js";
import { AT_SYMLINK_NOFOLLOW } from "./flags.js";

/** Attr, and where the object lives. */
export interface FileStat extends Attr {
  /** major * 2^20 + minor: equal for objects of one filesystem. */
  readonly dev: number;
  /** The mount it was reached through (STATX_MNT_ID); 0 before Linux 5.8. */
  readonly mountId: number;
}

export const STATX_SLOTS = 21;
const slots = new Float64Array(STATX_SLOTS);
const ENOENT = -errnoOf("ENOENT");

/** Of `path` beneath `dirfd`, a final symbolic link not followed; undefined when there is no such name. Throws the rest. */
export function statAt(dirfd: number, path: string): FileStat | undefined {
  const result = native.statx(dirfd, path, AT_SYMLINK_NOFOLLOW, slots);
  if (result === ENOENT && path !== "") return undefined;
  check(result, "statx", path);
  return statOfSlots(slots);
}

/** Of an open descriptor, which may be O_PATH. */
export function statFd(fd: number): FileStat {
  check(native.statx(fd, "", 0, slots), "statx", `of descriptor ${fd}`);
  return statOfSlots(slots);
}

/** The object for the slots that native.statx() filled. */
export function statOfSlots(from: Float64Array): FileStat {
  return {
    ino: foldInode(from[0]!, from[20]!),
    mode: from[1]!,
    nlink: from[2]!,
    uid: from[3]!,
    gid: from[4]!,
    rdev: from[5]!,
    size: from[6]!,
    blocks: from[7]!,
    atimeSec: from[8]!,
    atimeNsec: from[9]!,
    mtimeSec: from[10]!,
    mtimeNsec: from[11]!,
    ctimeSec: from[12]!,
    ctimeNsec: from[13]!,
    btimeSec: from[14]!,
    btimeNsec: from[15]!,
    dev: from[16]!,
    mountId: from[17]!,
  };
}

/**
 * An inode number below 2^53 from its low 53 bits and its high 32. Numbers that are small already stay themselves; of larger ones
 * (some filesystems mark their kind in the top bits) the top eleven bits are mixed into bits 42…52.
 */
export function foldInode(low53: number, high32: number): number {
  if (high32 < 0x200000) return low53;
  const low32 = low53 % 0x100000000;
  const middle = (low53 - low32) / 0x100000000;
  return (middle ^ (high32 >>> 21) << 10) * 0x100000000 + low32;
}
