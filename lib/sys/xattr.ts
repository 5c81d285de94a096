/**
 * Extended attributes of (dirfd, path), a final symbolic link never followed; path "" is the descriptor itself, which may be O_PATH.
 * The kernel bounds values and lists by 64 KiB, so one buffer of this module always suffices. It allocates, and clears, as much as it is
 * offered: what is asked first has room for nearly all. Does not yield.
 */
import { check, errnoOf } from "../base/errors.js";
import { native } from "./binding.js";

/** XATTR_SIZE_MAX and XATTR_LIST_MAX. */
const buffer = new Uint8Array(64 << 10);
const few = buffer.subarray(0, 256);
const text = Buffer.from(buffer.buffer);
const ERANGE = -errnoOf("ERANGE");
const ENODATA = -errnoOf("ENODATA");
const EOPNOTSUPP = -errnoOf("EOPNOTSUPP");

/** The value, the caller's to keep; undefined when there is none, also where the filesystem has no attributes at all. */
export function getXattr(dirfd: number, path: string, key: string): Uint8Array | undefined {
  let length = native.getxattr(dirfd, path, key, few);
  if (length === ERANGE) length = native.getxattr(dirfd, path, key, buffer);
  if (length === ENODATA || length === EOPNOTSUPP) return undefined;
  check(length, "getxattr", key);
  return buffer.slice(0, length);
}

/** All keys that this process may see, latin1. */
export function listXattr(dirfd: number, path: string): string[] {
  let length = native.listxattr(dirfd, path, few);
  if (length === ERANGE) length = native.listxattr(dirfd, path, buffer);
  if (length === EOPNOTSUPP || length === 0) return [];
  check(length, "listxattr", path);
  return text.toString("latin1", 0, length - 1).split("\0");
}

/** `flags` XATTR_CREATE or XATTR_REPLACE or 0. Throws EEXIST, ENODATA, ENOSPC, EDQUOT, EOPNOTSUPP, EPERM. */
export function setXattr(dirfd: number, path: string, key: string, value: Uint8Array, flags = 0): void {
  check(native.setxattr(dirfd, path, key, value, flags), "setxattr", key);
}

/** False when there was no such attribute. */
export function removeXattr(dirfd: number, path: string, key: string): boolean {
  const result = native.removexattr(dirfd, path, key);
  if (result === ENODATA) return false;
  check(result, "removexattr", key);
  return true;
}
