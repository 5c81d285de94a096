/** Stats, BigIntStats and StatFs as node:fs gives them, made from the attributes of a node. Values, never live. */
import type { Attr } from "../base/attr.js";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from "../base/mode.js";
import type { StatFs } from "../vfs.js";

const blksize = 4096;

/** The questions that Stats, BigIntStats and Dirent answer alike. */
export abstract class TypedObject {
  /** S_IF* bits. */
  abstract typeBits(): number;

  isFile(): boolean {
    return this.typeBits() === S_IFREG;
  }
  isDirectory(): boolean {
    return this.typeBits() === S_IFDIR;
  }
  isSymbolicLink(): boolean {
    return this.typeBits() === S_IFLNK;
  }
  isFIFO(): boolean {
    return this.typeBits() === S_IFIFO;
  }
  isSocket(): boolean {
    return this.typeBits() === S_IFSOCK;
  }
  isCharacterDevice(): boolean {
    return this.typeBits() === S_IFCHR;
  }
  isBlockDevice(): boolean {
    return this.typeBits() === S_IFBLK;
  }
}

export class Stats extends TypedObject {
  readonly dev: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly blksize = blksize;
  readonly ino: number;
  readonly size: number;
  readonly blocks: number;
  readonly atimeMs: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
  readonly birthtimeMs: number;
  readonly atime: Date;
  readonly mtime: Date;
  readonly ctime: Date;
  readonly birthtime: Date;

  constructor(attr: Attr, dev: number) {
    super();
    this.dev = dev;
    this.mode = attr.mode;
    this.nlink = attr.nlink;
    this.uid = attr.uid;
    this.gid = attr.gid;
    this.rdev = attr.rdev;
    this.ino = attr.ino;
    this.size = attr.size;
    this.blocks = attr.blocks;
    const birth = birthOf(attr);
    this.atimeMs = milliseconds(attr.atimeSec, attr.atimeNsec);
    this.mtimeMs = milliseconds(attr.mtimeSec, attr.mtimeNsec);
    this.ctimeMs = milliseconds(attr.ctimeSec, attr.ctimeNsec);
    this.birthtimeMs = milliseconds(birth.sec, birth.nsec);
    this.atime = new Date(this.atimeMs);
    this.mtime = new Date(this.mtimeMs);
    this.ctime = new Date(this.ctimeMs);
    this.birthtime = new Date(this.birthtimeMs);
  }

  override typeBits(): number {
    return this.mode & S_IFMT;
  }
}

export class BigIntStats extends TypedObject {
  readonly dev: bigint;
  readonly mode: bigint;
  readonly nlink: bigint;
  readonly uid: bigint;
  readonly gid: bigint;
  readonly rdev: bigint;
  readonly blksize = BigInt(blksize);
  readonly ino: bigint;
  readonly size: bigint;
  readonly blocks: bigint;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly birthtimeNs: bigint;
  readonly atimeMs: bigint;
  readonly mtimeMs: bigint;
  readonly ctimeMs: bigint;
  readonly birthtimeMs: bigint;
  readonly atime: Date;
  readonly mtime: Date;
  readonly ctime: Date;
  readonly birthtime: Date;

  constructor(attr: Attr, dev: number) {
    super();
    this.dev = BigInt(dev);
    this.mode = BigInt(attr.mode);
    this.nlink = BigInt(attr.nlink);
    this.uid = BigInt(attr.uid);
    this.gid = BigInt(attr.gid);
    this.rdev = BigInt(attr.rdev);
    this.ino = BigInt(attr.ino);
    this.size = BigInt(attr.size);
    this.blocks = BigInt(attr.blocks);
    const birth = birthOf(attr);
    this.atimeNs = nanoseconds(attr.atimeSec, attr.atimeNsec);
    this.mtimeNs = nanoseconds(attr.mtimeSec, attr.mtimeNsec);
    this.ctimeNs = nanoseconds(attr.ctimeSec, attr.ctimeNsec);
    this.birthtimeNs = nanoseconds(birth.sec, birth.nsec);
    this.atimeMs = this.atimeNs / 1_000_000n;
    this.mtimeMs = this.mtimeNs / 1_000_000n;
    this.ctimeMs = this.ctimeNs / 1_000_000n;
    this.birthtimeMs = this.birthtimeNs / 1_000_000n;
    this.atime = new Date(Number(this.atimeMs));
    this.mtime = new Date(Number(this.mtimeMs));
    this.ctime = new Date(Number(this.ctimeMs));
    this.birthtime = new Date(Number(this.birthtimeMs));
  }

  override typeBits(): number {
    return Number(this.mode) & S_IFMT;
  }
}

export function statsOf(attr: Attr, dev: number, bigint: boolean): Stats | BigIntStats {
  return bigint ? new BigIntStats(attr, dev) : new Stats(attr, dev);
}

/** `bsize` is the unit that the block counts are in. `type` is 0: no kernel gave this tree a magic number. */
export function statfsOf(numbers: StatFs, bigint: boolean): object {
  const { fragmentSize, blocks, free, available, files, filesFree } = numbers;
  const plain = { type: 0, bsize: fragmentSize, blocks, bfree: free, bavail: available, files, ffree: filesFree };
  if (!bigint) return plain;
  return Object.fromEntries(Object.entries(plain).map(([key, value]) => [key, BigInt(value)]));
}

/** Where the birth time is not known, the change time stands in for it, as in Node. */
function birthOf(attr: Attr): { sec: number; nsec: number } {
  return attr.btimeNsec < 0 ? { sec: attr.ctimeSec, nsec: attr.ctimeNsec } : { sec: attr.btimeSec, nsec: attr.btimeNsec };
}
const milliseconds = (sec: number, nsec: number): number => sec * 1000 + nsec / 1e6;
const nanoseconds = (sec: number, nsec: number): bigint => BigInt(sec) * 1_000_000_000n + BigInt(nsec);
