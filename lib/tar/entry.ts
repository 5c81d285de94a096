/**
 * A tar entry: what header, long names and pax records say together. Pure.
 * Precedence, as POSIX and GNU tar have it: an entry's own pax record, else a global one, else the header. A sparse file's real
 * name (GNU.sparse.name) goes before its path. A GNU long name and a pax path that differ are refused: readers disagree on it.
 */
import type { Time } from "../base/attr.js";
import { TarError } from "./errors.js";
import type { BlockHeader } from "./header.js";
import { readDecimal, readTime } from "./numbers.js";
import { xattrsOf, type PaxRecord } from "./pax.js";
import type { Extent } from "./sparse.js";

export type TarKind = "file" | "hardlink" | "symlink" | "character" | "block" | "directory" | "fifo";

/** Fields of an entry; every string is latin1, one character per byte, as the archive has it. */
export interface TarFields {
  readonly kind: TarKind;
  /** Never empty and without NUL; otherwise unchecked: may be absolute, hold "..", end in a slash. */
  readonly name: string;
  /** Target of a symlink, or the name of the earlier entry a hard link refers to; "" for other kinds. */
  readonly linkName: string;
  /** Permission bits, 0…07777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** "" when unknown. */
  readonly userName: string;
  readonly groupName: string;
  /** Bytes of the file when unpacked, holes included; 0 for every kind but "file". */
  readonly size: number;
  readonly mtime: Time;
  readonly atime: Time | undefined;
  readonly ctime: Time | undefined;
  /** 0 unless a device. */
  readonly devMajor: number;
  readonly devMinor: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** The parts of a sparse file that are stored, rising, without overlap; undefined when the body is the whole file. */
  readonly extents: readonly Extent[] | undefined;
}

export interface TarEntry extends TarFields {
  /** Byte of the archive at which the entry's first header (long name, pax or its own) begins. */
  readonly offset: number;
  /** Byte of the archive at which the body begins. */
  readonly bodyOffset: number;
  /** Bytes of the body as stored: `size`, or the sum of the extents. */
  readonly storedSize: number;
  /** All pax records that apply, global ones first. */
  readonly pax: readonly PaxRecord[];
  /**
   * The stored bytes, in views of the source's chunks that stay as they are for as long as the source leaves them. To be
   * read at most once, and before the next entry is asked for, which skips what is left; later it throws ERR_TAR_STALE.
   */
  readonly body: TarBody;
}

export interface TarBody extends AsyncIterable<Uint8Array> {
  /** All of it instead, for bodies that memory can hold: a view where the source's chunk has it in one piece, else a copy. */
  whole(): Buffer | Promise<Buffer>;
}

const kinds: Readonly<Record<string, TarKind>> = {
  "0": "file", "7": "file", S: "file", "1": "hardlink", "2": "symlink", "3": "character", "4": "block", "5": "directory", "6": "fifo",
};

/** What a type letter stands for. A "file" of one of the old dialects whose name ends in a slash is a directory. Throws ERR_TAR_TYPE. */
export function kindOf(header: BlockHeader, name: string, offset: number): TarKind {
  const kind = kinds[header.type];
  if (kind === undefined) {
    throw new TarError("ERR_TAR_TYPE", offset, `expected a file, link, device, directory or fifo, found type ${JSON.stringify(header.type)}`);
  }
  return header.type === "0" && name.endsWith("/") ? "directory" : kind;
}

/** The text of pax records, each key's last. An empty value takes the header's field back (POSIX), so it is left out. */
export class PaxText {
  readonly #values = new Map<string, string>();
  readonly #offset: number;

  constructor(records: readonly PaxRecord[], offset: number) {
    this.#offset = offset;
    for (const { key, value } of records) {
      if (key.startsWith("SCHILY.xattr.") || key.startsWith("LIBARCHIVE.xattr.")) continue;
      if (value.length === 0) this.#values.delete(key);
      else this.#values.set(key, value.toString("latin1"));
    }
  }

  text(key: string): string | undefined {
    return this.#values.get(key);
  }

  /** Throws ERR_TAR_NUMBER. */
  count(key: string): number | undefined {
    const text = this.#values.get(key);
    if (text === undefined) return undefined;
    const value = readDecimal(text);
    if (Number.isNaN(value)) throw new TarError("ERR_TAR_NUMBER", this.#offset, `expected a number from 0 to 2^53 as pax ${key}, found ${JSON.stringify(text.slice(0, 40))}`);
    return value;
  }

  /** Throws ERR_TAR_NUMBER. */
  time(key: string): Time | undefined {
    const text = this.#values.get(key);
    if (text === undefined) return undefined;
    const value = readTime(text);
    if (value === undefined) throw new TarError("ERR_TAR_NUMBER", this.#offset, `expected seconds as pax ${key}, found ${JSON.stringify(text.slice(0, 40))}`);
    return value;
  }
}

/** Everything that came before an entry's body. */
export interface EntryParts {
  readonly offset: number;
  readonly header: BlockHeader;
  readonly records: readonly PaxRecord[];
  /** From GNU members L and K. */
  readonly longName: string | undefined;
  readonly longLink: string | undefined;
  /** GNU.sparse.name. */
  readonly sparseName: string | undefined;
}

/** All fields but size and extents. Throws ERR_TAR_NAME, ERR_TAR_NUMBER, ERR_TAR_TYPE, ERR_TAR_PAX. */
export function mergeFields(parts: EntryParts): Omit<TarFields, "size" | "extents"> {
  const { header, offset } = parts;
  const pax = new PaxText(parts.records, offset);
  const path = oneName("name", parts.longName, pax.text("path"), offset);
  const name = parts.sparseName ?? path ?? header.name;
  const kind = kindOf(header, name, offset);
  const isLink = kind === "hardlink" || kind === "symlink";
  const linkName = isLink ? oneName("link target", parts.longLink, pax.text("linkpath"), offset) ?? header.linkName : "";
  checkName("name", name, offset);
  if (isLink) checkName("link target", linkName, offset);
  const isDevice = kind === "character" || kind === "block";
  return {
    kind, name, linkName,
    mode: header.mode % 0o10000,
    uid: pax.count("uid") ?? header.uid,
    gid: pax.count("gid") ?? header.gid,
    userName: pax.text("uname") ?? header.userName,
    groupName: pax.text("gname") ?? header.groupName,
    mtime: pax.time("mtime") ?? { sec: header.mtime, nsec: 0 },
    atime: pax.time("atime") ?? wholeSeconds(header.atime),
    ctime: pax.time("ctime") ?? wholeSeconds(header.ctime),
    devMajor: isDevice ? pax.count("SCHILY.devmajor") ?? header.devMajor : 0,
    devMinor: isDevice ? pax.count("SCHILY.devminor") ?? header.devMinor : 0,
    xattrs: xattrsOf(parts.records, offset),
  };
}

const wholeSeconds = (sec: number | undefined): Time | undefined => (sec === undefined ? undefined : { sec, nsec: 0 });

function oneName(what: string, long: string | undefined, pax: string | undefined, offset: number): string | undefined {
  if (long !== undefined && pax !== undefined && long !== pax) {
    throw new TarError("ERR_TAR_NAME", offset, `found two different values for the ${what}, a GNU one and a pax one`);
  }
  return pax ?? long;
}

function checkName(what: string, value: string, offset: number): void {
  if (value === "") throw new TarError("ERR_TAR_NAME", offset, `expected a ${what}, found none`);
  if (value.includes("\0")) throw new TarError("ERR_TAR_NAME", offset, `found a NUL byte in the ${what}`);
}
