/**
 * Writes one reply into one buffer that is used again for the next. Offsets count from the end of fuse_out_header.
 * Every field of a struct is written, because the buffer still holds an older reply.
 */
import type { Attr } from "../../base/attr.js";
import { dtypeOf, majorOf, minorOf } from "../../base/mode.js";
import type { StatFs } from "../../vfs.js";
import {
  ATTR, ATTR_OUT, DIRENT, ENTRY_OUT, INVAL_INODE_OUT, FUSE_NOTIFY_INVAL_INODE, FUSE_NOTIFY_PRUNE, FUSE_NOTIFY_RESEND, PRUNE_OUT, MESSAGE_SIZE, OPEN_OUT, OUT_HEADER, SIZE_OUT_SIZE, STATFS_OUT,
  STATX_BASIC_STATS, STATX_BTIME, STATX_OUT,
} from "./abi.js";

const TWO_32 = 0x1_0000_0000;
const HEAD = OUT_HEADER.SIZE;
/** Reported as st_blksize: one page, so that partial pages are read and written as such. */
const BLOCK_SIZE = 4096;

export class Reply {
  /** The whole message; its first 16 bytes are the header. */
  bytes: Buffer = Buffer.alloc(MESSAGE_SIZE);
  #view = viewOf(this.bytes);

  /** Finishes the header; returns the message's length. `error` is 0 or a negative errno, which sends no body. */
  seal(uniqueLo: number, uniqueHi: number, error: number, bodyLength: number): number {
    const length = error === 0 ? HEAD + bodyLength : HEAD;
    this.#view.setUint32(OUT_HEADER.len, length, true);
    this.#view.setInt32(OUT_HEADER.error, error, true);
    this.#view.setUint32(OUT_HEADER.unique, uniqueLo, true);
    this.#view.setUint32(OUT_HEADER.unique + 4, uniqueHi, true);
    return length;
  }

  /** Hands the current buffer to the caller for good and goes on with a new one. */
  surrender(): Buffer {
    const taken = this.bytes;
    this.bytes = Buffer.alloc(MESSAGE_SIZE);
    this.#view = viewOf(this.bytes);
    return taken;
  }

  /** The body as something to fill; valid until the next reply. */
  body(length: number): Uint8Array {
    return this.bytes.subarray(HEAD, HEAD + length);
  }

  u16(offset: number, value: number): void {
    this.#view.setUint16(HEAD + offset, value, true);
  }

  u32(offset: number, value: number): void {
    this.#view.setUint32(HEAD + offset, value, true);
  }

  /** `value` is a whole number, -2^53…2^53; a negative one is written as two's complement. */
  u64(offset: number, value: number): void {
    const hi = Math.floor(value / TWO_32);
    this.#view.setUint32(HEAD + offset, value - hi * TWO_32, true);
    this.#view.setInt32(HEAD + offset + 4, hi, true);
  }

  zero(offset: number, length: number): void {
    this.bytes.fill(0, HEAD + offset, HEAD + offset + length);
  }

  /** `text` as latin1; returns how many bytes that is. */
  latin1(offset: number, text: string): number {
    return this.bytes.write(text, HEAD + offset, "latin1");
  }

  /** fuse_entry_out; `entrySec` and `attrSec` are lifetimes in seconds. */
  entry(offset: number, nodeid: number, attr: Attr, entrySec: number, attrSec: number): number {
    this.u64(offset + ENTRY_OUT.nodeid, nodeid);
    this.u64(offset + ENTRY_OUT.generation, 0);
    this.u64(offset + ENTRY_OUT.entryValid, entrySec);
    this.u64(offset + ENTRY_OUT.attrValid, attrSec);
    this.u32(offset + ENTRY_OUT.entryValidNsec, 0);
    this.u32(offset + ENTRY_OUT.attrValidNsec, 0);
    this.#attr(offset + ENTRY_OUT.attr, attr);
    return ENTRY_OUT.SIZE;
  }

  /** A name that is known not to be there: nodeid 0 and a lifetime. */
  missing(entrySec: number): number {
    this.zero(0, ENTRY_OUT.SIZE);
    this.u64(ENTRY_OUT.entryValid, entrySec);
    return ENTRY_OUT.SIZE;
  }

  attributes(attr: Attr, attrSec: number): number {
    this.u64(ATTR_OUT.attrValid, attrSec);
    this.u64(ATTR_OUT.attrValidNsec, 0);
    this.#attr(ATTR_OUT.attr, attr);
    return ATTR_OUT.SIZE;
  }

  statx(attr: Attr, attrSec: number): number {
    const known = attr.btimeNsec >= 0;
    this.zero(0, STATX_OUT.SIZE);
    this.u64(STATX_OUT.attrValid, attrSec);
    this.u32(STATX_OUT.mask, known ? STATX_BASIC_STATS | STATX_BTIME : STATX_BASIC_STATS);
    this.u32(STATX_OUT.blksize, BLOCK_SIZE);
    this.u32(STATX_OUT.nlink, attr.nlink);
    this.u32(STATX_OUT.uid, attr.uid);
    this.u32(STATX_OUT.gid, attr.gid);
    this.u16(STATX_OUT.mode, attr.mode);
    this.u64(STATX_OUT.ino, attr.ino);
    this.#fileSize(STATX_OUT.size, attr.size);
    this.u64(STATX_OUT.blocks, attr.blocks);
    this.#statxTime(STATX_OUT.atime, attr.atimeSec, attr.atimeNsec);
    this.#statxTime(STATX_OUT.mtime, attr.mtimeSec, attr.mtimeNsec);
    this.#statxTime(STATX_OUT.ctime, attr.ctimeSec, attr.ctimeNsec);
    if (known) this.#statxTime(STATX_OUT.btime, attr.btimeSec, attr.btimeNsec);
    this.u32(STATX_OUT.rdevMajor, majorOf(attr.rdev));
    this.u32(STATX_OUT.rdevMinor, minorOf(attr.rdev));
    return STATX_OUT.SIZE;
  }

  /** fuse_open_out at `offset`. fh is 0: requests name the node. */
  open(offset: number, openFlags: number, backingId: number): number {
    this.u64(offset + OPEN_OUT.fh, 0);
    this.u32(offset + OPEN_OUT.openFlags, openFlags);
    this.u32(offset + OPEN_OUT.backingId, backingId);
    return OPEN_OUT.SIZE;
  }

  /** fuse_write_out and fuse_getxattr_out. */
  size(value: number): number {
    this.u32(0, value);
    this.u32(4, 0);
    return SIZE_OUT_SIZE;
  }

  statfs(st: StatFs): number {
    this.zero(0, STATFS_OUT.SIZE);
    this.u64(STATFS_OUT.blocks, st.blocks);
    this.u64(STATFS_OUT.bfree, st.free);
    this.u64(STATFS_OUT.bavail, st.available);
    this.u64(STATFS_OUT.files, st.files);
    this.u64(STATFS_OUT.ffree, st.filesFree);
    this.u32(STATFS_OUT.bsize, st.blockSize);
    this.u32(STATFS_OUT.namelen, st.nameMax);
    this.u32(STATFS_OUT.frsize, st.fragmentSize);
    return STATFS_OUT.SIZE;
  }

  /** fuse_dirent at `offset`; returns its padded size. `next` is the offset at which a listing goes on after this entry. */
  dirent(offset: number, name: string, ino: number, mode: number, next: number): number {
    this.u64(offset + DIRENT.ino, ino);
    this.u64(offset + DIRENT.off, next);
    this.u32(offset + DIRENT.type, dtypeOf(mode));
    const length = this.latin1(offset + DIRENT.name, name);
    this.u32(offset + DIRENT.namelen, length);
    const end = direntSize(length);
    this.zero(offset + DIRENT.name + length, end - DIRENT.name - length);
    return end;
  }

  /** A whole notification that the attributes of `nodeid` are out of date, its data not; returns the message's length. */
  invalidateAttributes(nodeid: number): number {
    this.u64(INVAL_INODE_OUT.nodeid, nodeid);
    this.u64(INVAL_INODE_OUT.off, -1);
    this.u64(INVAL_INODE_OUT.len, 0);
    const length = this.seal(0, 0, 0, INVAL_INODE_OUT.SIZE);
    this.#view.setInt32(OUT_HEADER.error, FUSE_NOTIFY_INVAL_INODE, true);
    return length;
  }

  /** A whole notification that the kernel is to forget what is unused of ids[0, count). */
  prune(ids: Float64Array, count: number): number {
    this.u32(PRUNE_OUT.count, count);
    this.u32(PRUNE_OUT.padding, 0);
    this.u64(PRUNE_OUT.spare, 0);
    for (let i = 0; i < count; i++) this.u64(PRUNE_OUT.SIZE + i * 8, ids[i]!);
    const length = this.seal(0, 0, 0, PRUNE_OUT.SIZE + count * 8);
    this.#view.setInt32(OUT_HEADER.error, FUSE_NOTIFY_PRUNE, true);
    return length;
  }

  /** A whole notification: what was read and not answered is to be sent again. */
  resend(): number {
    const length = this.seal(0, 0, 0, 0);
    this.#view.setInt32(OUT_HEADER.error, FUSE_NOTIFY_RESEND, true);
    return length;
  }

  /** The largest size, 2^63 - 1, is 2^63 as a number, and an object of that size is EIO to the kernel. */
  #fileSize(offset: number, value: number): void {
    if (value < 2 ** 63) return this.u64(offset, value);
    this.u32(offset, 0xffff_ffff);
    this.u32(offset + 4, 0x7fff_ffff);
  }

  #attr(offset: number, attr: Attr): void {
    this.u64(offset + ATTR.ino, attr.ino);
    this.#fileSize(offset + ATTR.size, attr.size);
    this.u64(offset + ATTR.blocks, attr.blocks);
    this.u64(offset + ATTR.atime, attr.atimeSec);
    this.u64(offset + ATTR.mtime, attr.mtimeSec);
    this.u64(offset + ATTR.ctime, attr.ctimeSec);
    this.u32(offset + ATTR.atimensec, attr.atimeNsec);
    this.u32(offset + ATTR.mtimensec, attr.mtimeNsec);
    this.u32(offset + ATTR.ctimensec, attr.ctimeNsec);
    this.u32(offset + ATTR.mode, attr.mode);
    this.u32(offset + ATTR.nlink, attr.nlink);
    this.u32(offset + ATTR.uid, attr.uid);
    this.u32(offset + ATTR.gid, attr.gid);
    this.u32(offset + ATTR.rdev, attr.rdev);
    this.u32(offset + ATTR.blksize, BLOCK_SIZE);
    this.u32(offset + ATTR.flags, 0);
  }

  #statxTime(offset: number, sec: number, nsec: number): void {
    this.u64(offset, sec);
    this.u32(offset + 8, nsec);
  }
}

/** The padded size of a fuse_dirent whose name has `length` bytes. */
export function direntSize(length: number): number {
  return (DIRENT.name + length + 7) & ~7;
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
