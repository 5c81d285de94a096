/**
 * Directory listings with types and inode numbers in one call per 64 KiB. Does not yield.
 *
 *   struct linux_dirent64:  0 ino u64 | 8 next position u64 | 16 length of this record u16 | 18 type u8 | 19 name, NUL, padding
 */
import { typeOfDtype } from "../base/mode.js";
import { check } from "../base/errors.js";
import { native } from "./binding.js";
import { foldInode } from "./statx.js";

export interface Dirent {
  /** Latin1, one character per byte. */
  readonly name: string;
  /** Below 2^53, as statx.ts numbers it. */
  readonly ino: number;
  /** S_IF* bits; 0 where the filesystem does not say. */
  readonly type: number;
}

const DOT = 0x2e;
const buffer = Buffer.allocUnsafeSlow(64 << 10);

/** All names of an open directory from its current position on, "." and ".." left out, in the filesystem's order. */
export function readDirents(fd: number): Dirent[] {
  const entries: Dirent[] = [];
  for (;;) {
    const length = check(native.getdents(fd, buffer), "getdents64");
    if (length === 0) return entries;
    parseDirents(buffer, length, entries);
  }
}

/** As readDirents, but from the first entry, whatever the position was. */
export function listDirectory(fd: number): Dirent[] {
  check(native.lseek(fd, 0, 0), "lseek");
  return readDirents(fd);
}

/** Appends the records in bytes[0, length), which getdents64(2) wrote. */
export function parseDirents(bytes: Buffer, length: number, into: Dirent[]): void {
  for (let at = 0; at < length; ) {
    const next = at + bytes.readUInt16LE(at + 16);
    const start = at + 19;
    // What follows the NUL is padding, and not cleared.
    let end = start;
    while (bytes[end] !== 0) end++;
    const dots = bytes[start] === DOT && (end === start + 1 || (end === start + 2 && bytes[start + 1] === DOT));
    if (!dots) {
      const high = bytes.readUInt32LE(at + 4);
      const low53 = (high & 0x1fffff) * 0x100000000 + bytes.readUInt32LE(at);
      into.push({ name: bytes.toString("latin1", start, end), ino: foldInode(low53, high), type: typeOfDtype(bytes[at + 18]!) });
    }
    at = next;
  }
}
