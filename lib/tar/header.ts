/**
 * The 512-byte header block in its dialects. Pure: bytes in, fields out; nothing here knows of long names or pax.
 *
 *   offset size field          offset size, only in
 *        0  100 name              345  155 prefix     ustar
 *      100    8 mode              345  131 prefix     star ("tar\0" at 508), then atime 476, ctime 488, 12 bytes each
 *      108    8 uid               345   12 atime      gnu
 *      116    8 gid               357   12 ctime      gnu
 *      124   12 size              386   96 sparse     gnu, type S: four times {offset 12, length 12}
 *      136   12 mtime             482    1 more       gnu, type S: another block of the sparse map follows
 *      148    8 checksum          483   12 real size  gnu, type S
 *      156    1 type
 *      157  100 link name
 *      257    8 magic, version    "ustar\0" "00" (ustar, pax, star), "ustar  \0" (gnu), anything else (v7)
 *      265   32 user name, 297 32 group name, 329 8 device major, 337 8 device minor: not in v7
 *
 * Sources: POSIX.1-2017 pax "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
 */
import { TarError } from "./errors.js";
import { readNumber } from "./numbers.js";

export const BLOCK = 512;
export const NAME_LENGTH = 100;
export const PREFIX_LENGTH = 155;

export type Dialect = "v7" | "ustar" | "star" | "gnu";

export interface BlockHeader {
  readonly dialect: Dialect;
  /** One character: "0" for regular files, also where the field is NUL. */
  readonly type: string;
  /** With the prefix of ustar and star joined on. Latin1, may be empty. */
  readonly name: string;
  readonly linkName: string;
  /** As written; some writers put the type bits in. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of the member's body in the archive, if its type has one. */
  readonly size: number;
  /** Seconds; may be negative. */
  readonly mtime: number;
  /** Undefined where the dialect or the writer has none. */
  readonly atime: number | undefined;
  readonly ctime: number | undefined;
  readonly userName: string;
  readonly groupName: string;
  readonly devMajor: number;
  readonly devMinor: number;
}

/** True for a block of zeros, which ends an archive. */
export function isZeroBlock(block: Uint8Array): boolean {
  for (let i = 0; i < BLOCK; i++) if (block[i] !== 0) return false;
  return true;
}

/** Reads the block that was found at byte `offset` of the archive. Throws ERR_TAR_CHECKSUM, ERR_TAR_NUMBER. */
export function parseHeader(block: Buffer, offset: number): BlockHeader {
  verifyChecksum(block, offset);
  const dialect = dialectOf(block);
  const extended = dialect !== "v7";
  const type = block[156] === 0 ? "0" : String.fromCharCode(block[156] as number);
  const device = extended && (type === "3" || type === "4");
  let prefix = "";
  let atime: number | undefined;
  let ctime: number | undefined;
  if (dialect === "ustar") prefix = text(block, 345, PREFIX_LENGTH);
  if (dialect === "star") {
    prefix = text(block, 345, 131);
    atime = optionalTime(block, 476);
    ctime = optionalTime(block, 488);
  }
  if (dialect === "gnu") {
    atime = optionalTime(block, 345);
    ctime = optionalTime(block, 357);
    // Go before 1.8, and so old image builders, wrote a ustar prefix under the gnu magic: where the times are no numbers,
    // and only then, the bytes are that prefix.
    if ((Number.isNaN(atime) || Number.isNaN(ctime)) && type !== "S") {
      prefix = text(block, 345, PREFIX_LENGTH);
      atime = ctime = undefined;
    }
  }
  const name = text(block, 0, NAME_LENGTH);
  return {
    dialect,
    type,
    name: prefix === "" ? name : `${prefix}/${name}`,
    linkName: text(block, 157, NAME_LENGTH),
    mode: count(block, 100, 8, "mode", offset),
    uid: count(block, 108, 8, "user id", offset),
    gid: count(block, 116, 8, "group id", offset),
    size: count(block, 124, 12, "size", offset),
    mtime: time(readNumber(block, 136, 12), "modification time", offset),
    atime: atime === undefined ? undefined : time(atime, "access time", offset),
    ctime: ctime === undefined ? undefined : time(ctime, "change time", offset),
    userName: extended ? text(block, 265, 32) : "",
    groupName: extended ? text(block, 297, 32) : "",
    devMajor: device ? count(block, 329, 8, "device major", offset) : 0,
    devMinor: device ? count(block, 337, 8, "device minor", offset) : 0,
  };
}

/** The sum of all bytes with the checksum's own eight taken as spaces; signed as the first tar programs took them, if asked. */
export function checksum(block: Uint8Array, signed = false): number {
  let sum = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) {
    if (i === 148) i = 156;
    const byte = block[i] as number;
    sum += signed && byte > 127 ? byte - 256 : byte;
  }
  return sum;
}

function verifyChecksum(block: Uint8Array, offset: number): void {
  const stated = readNumber(block, 148, 8);
  const sum = checksum(block);
  if (stated === sum || stated === checksum(block, true)) return;
  const found = Number.isNaN(stated) ? "no number" : String(stated);
  throw new TarError("ERR_TAR_CHECKSUM", offset, `expected a header with checksum ${sum}, found ${found}`);
}

function dialectOf(block: Buffer): Dialect {
  const magic = block.toString("latin1", 257, 265);
  if (magic === "ustar  \0") return "gnu";
  if (!magic.startsWith("ustar\0")) return "v7";
  return block.toString("latin1", 508, 512) === "tar\0" ? "star" : "ustar";
}

/** Bytes up to the first NUL, or the whole field. */
function text(block: Buffer, at: number, length: number): string {
  const nul = block.indexOf(0, at);
  return block.toString("latin1", at, nul < 0 || nul > at + length ? at + length : nul);
}

function count(block: Uint8Array, at: number, length: number, field: string, offset: number): number {
  const value = readNumber(block, at, length);
  if (value >= 0) return value;
  const found = Number.isNaN(value) ? "something else" : String(value);
  throw new TarError("ERR_TAR_NUMBER", offset, `expected a number from 0 to 2^53 as ${field}, found ${found}`);
}

function time(value: number, field: string, offset: number): number {
  if (!Number.isNaN(value)) return value;
  throw new TarError("ERR_TAR_NUMBER", offset, `expected seconds below 2^53 as ${field}, found something else`);
}

/** Undefined for a field of NULs, which writers leave that do not store these times. */
function optionalTime(block: Uint8Array, at: number): number | undefined {
  return block[at] === 0 ? undefined : readNumber(block, at, 12);
}
