/**
 * Writes archives in one canonical form: the same entries give the same bytes, always.
 *
 * - ustar headers ("ustar\0" "00"), numbers as zero-filled octal, strings as raw bytes.
 * - A name of up to 100 bytes stands in the name field; a longer one is split at the last slash that leaves at most 155 bytes
 *   of prefix and 1 to 100 of name. Directories end in a slash.
 * - An x header goes before an entry only when something does not fit: a long name or target, an id above 2^21-1, a size of
 *   8 GiB or more, a time that is negative, beyond 2^33 or has nanoseconds, an access or change time, extended attributes, a
 *   sparse map. Its records are sorted by key; the header fields that do not fit hold 0, or the string's first bytes.
 * - The x header's own fields are fixed: name "PaxHeaders/" and the end of the entry's, mode 0644, everything else 0.
 * - Sparse files in format 1.0, the name in the header being "GNUSparseFile.0/" and the end of the entry's.
 * - The archive ends with two blocks of zeros and nothing more.
 */
import type { Time } from "../base/attr.js";
import type { TarFields, TarKind } from "./entry.js";
import { TarError } from "./errors.js";
import { BLOCK, checksum, NAME_LENGTH, PREFIX_LENGTH } from "./header.js";
import { formatTime, octalMax, writeOctal } from "./numbers.js";
import { formatPax, xattrKey } from "./pax.js";
import { paddingOf } from "./reader.js";
import { checkExtents, formatSparseMap, type Extent } from "./sparse.js";

/** An entry to write; what the reader yields can be written again. Left out: "", 0, none. */
export type NewTarEntry =
  & Pick<TarFields, "kind" | "name" | "mode" | "uid" | "gid" | "mtime">
  & { readonly [K in "linkName" | "userName" | "groupName" | "size" | "atime" | "ctime" | "devMajor" | "devMinor" | "xattrs" | "extents"]?: TarFields[K] | undefined };

export interface TarItem {
  readonly entry: NewTarEntry;
  /** The stored bytes: all of the file, or only its extents. Files without one must be empty. */
  readonly body?: AsyncIterable<Uint8Array> | Iterable<Uint8Array> | undefined;
}

const letters: Readonly<Record<TarKind, string>> = {
  file: "0", hardlink: "1", symlink: "2", character: "3", block: "4", directory: "5", fifo: "6",
};

/** The whole archive, chunk by chunk. Throws ERR_TAR_SIZE when a body and its entry do not agree, and what encodeHeader throws. */
export async function* writeTar(items: AsyncIterable<TarItem> | Iterable<TarItem>): AsyncGenerator<Uint8Array, undefined> {
  let offset = 0;
  for await (const { entry, body } of items) {
    const header = encodeHeader(entry, offset);
    offset += header.length;
    yield header;
    const size = storedSizeOf(entry);
    let written = 0;
    for await (const chunk of body ?? []) {
      written += chunk.length;
      if (written > size) break;
      yield chunk;
    }
    if (written !== size) {
      throw new TarError("ERR_TAR_SIZE", offset, `expected a body of ${size} bytes for ${JSON.stringify(entry.name)}, found ${written > size ? "more" : String(written)}`);
    }
    const padding = paddingOf(size);
    offset += size + padding;
    if (padding > 0) yield Buffer.alloc(padding);
  }
  yield endOfArchive();
  return undefined;
}

/** Two blocks of zeros. */
export const endOfArchive = (): Buffer => Buffer.alloc(2 * BLOCK);

/** Bytes of body that follow encodeHeader()'s blocks, before the padding to a whole block. */
export function storedSizeOf(entry: NewTarEntry): number {
  if (entry.kind !== "file") return 0;
  if (entry.extents === undefined) return entry.size ?? 0;
  return entry.extents.reduce((sum, extent) => sum + extent.length, 0);
}

/**
 * All blocks that go before an entry's body. `offset` is where they will stand, for messages.
 * Throws ERR_TAR_NAME, ERR_TAR_NUMBER, ERR_TAR_SPARSE, ERR_TAR_PAX.
 */
export function encodeHeader(entry: NewTarEntry, offset = 0): Buffer {
  const extents = entry.kind === "file" && entry.extents !== undefined ? closed(entry, entry.extents, offset) : undefined;
  const name = entry.kind === "directory" && !entry.name.endsWith("/") ? `${entry.name}/` : entry.name;
  const linkName = entry.kind === "symlink" || entry.kind === "hardlink" ? entry.linkName ?? "" : undefined;
  checkString("name", name, offset);
  if (linkName !== undefined) checkString("link target", linkName, offset);
  if (entry.userName?.includes("\0") || entry.groupName?.includes("\0")) throw new TarError("ERR_TAR_NAME", offset, "found a NUL byte in the user or group name");

  const pax = new Map<string, Uint8Array>();
  const map = extents === undefined ? undefined : formatSparseMap(extents, BLOCK);
  const block = Buffer.alloc(BLOCK);
  if (map === undefined) {
    putName(block, name, pax);
  } else {
    putText(block, 0, NAME_LENGTH, `GNUSparseFile.0/${tail(name, 80)}`);
    pax.set("GNU.sparse.major", latin1("1"));
    pax.set("GNU.sparse.minor", latin1("0"));
    pax.set("GNU.sparse.name", latin1(name));
    pax.set("GNU.sparse.realsize", latin1(String(entry.size ?? 0)));
  }
  if (linkName !== undefined && !putText(block, 157, NAME_LENGTH, linkName)) pax.set("linkpath", latin1(linkName));
  putNumber(block, 100, 8, "mode", entry.mode, pax, offset);
  putNumber(block, 108, 8, "uid", entry.uid, pax, offset);
  putNumber(block, 116, 8, "gid", entry.gid, pax, offset);
  putNumber(block, 124, 12, "size", storedSizeOf(entry) + (map?.length ?? 0), pax, offset);
  putMtime(block, entry.mtime, pax, offset);
  if (entry.atime !== undefined) pax.set("atime", latin1(timeText(entry.atime, offset)));
  if (entry.ctime !== undefined) pax.set("ctime", latin1(timeText(entry.ctime, offset)));
  block[156] = letters[entry.kind].charCodeAt(0);
  block.write("ustar\x0000", 257, "latin1");
  // 32 bytes with the NUL that older readers want.
  if (!putText(block, 265, 31, entry.userName ?? "")) pax.set("uname", latin1(entry.userName as string));
  if (!putText(block, 297, 31, entry.groupName ?? "")) pax.set("gname", latin1(entry.groupName as string));
  const isDevice = entry.kind === "character" || entry.kind === "block";
  putNumber(block, 329, 8, "SCHILY.devmajor", isDevice ? entry.devMajor ?? 0 : 0, pax, offset);
  putNumber(block, 337, 8, "SCHILY.devminor", isDevice ? entry.devMinor ?? 0 : 0, pax, offset);
  seal(block);
  for (const [key, value] of entry.xattrs ?? []) {
    if (key === "" || key.includes("\0")) throw new TarError("ERR_TAR_PAX", offset, `expected the name of an extended attribute, found ${JSON.stringify(key)}`);
    pax.set(xattrKey(key), value);
  }
  const parts = pax.size === 0 ? [block] : [...paxMember(name, pax), block];
  return Buffer.concat(map === undefined ? parts : [...parts, map]);
}

/** An x member: header, records in order of their keys, padding. */
function paxMember(name: string, records: ReadonlyMap<string, Uint8Array>): Buffer[] {
  const sorted = [...records].sort(([a], [b]) => (a < b ? -1 : 1));
  const body = Buffer.concat(sorted.map(([key, value]) => formatPax(key, value)));
  const block = Buffer.alloc(BLOCK);
  putText(block, 0, NAME_LENGTH, `PaxHeaders/${tail(name, 80)}`);
  writeOctal(block, 100, 8, 0o644);
  for (const [at, length] of [[108, 8], [116, 8], [136, 12], [329, 8], [337, 8]] as const) writeOctal(block, at, length, 0);
  writeOctal(block, 124, 12, body.length);
  block[156] = 0x78;
  block.write("ustar\x0000", 257, "latin1");
  seal(block);
  return [block, body, Buffer.alloc(paddingOf(body.length))];
}

/** Extents as GNU tar wants them: an empty one at the end of a file that ends in a hole. */
function closed(entry: NewTarEntry, extents: readonly Extent[], offset: number): readonly Extent[] {
  const size = entry.size ?? 0;
  checkExtents(extents, size, storedSizeOf(entry), offset);
  const last = extents.at(-1);
  return last !== undefined && last.offset + last.length === size ? extents : [...extents, { offset: size, length: 0 }];
}

function putName(block: Buffer, name: string, pax: Map<string, Uint8Array>): void {
  if (putText(block, 0, NAME_LENGTH, name)) return;
  for (let slash = name.lastIndexOf("/", PREFIX_LENGTH); slash > 0; slash = name.lastIndexOf("/", slash - 1)) {
    const rest = name.length - slash - 1;
    if (rest > NAME_LENGTH) break;
    if (rest === 0) continue;
    block.fill(0, 0, NAME_LENGTH);
    block.write(name.slice(slash + 1), 0, "latin1");
    block.write(name.slice(0, slash), 345, "latin1");
    return;
  }
  pax.set("path", latin1(name));
}

/** Puts what fits; true when that is all of it. */
function putText(block: Buffer, at: number, length: number, text: string): boolean {
  block.write(text.slice(0, length), at, "latin1");
  return text.length <= length;
}

function putNumber(block: Buffer, at: number, length: number, key: string, value: number, pax: Map<string, Uint8Array>, offset: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || (key === "mode" && value > 0o7777)) {
    throw new TarError("ERR_TAR_NUMBER", offset, `expected a number from 0 to ${key === "mode" ? "07777" : "2^53"} as ${key}, found ${value}`);
  }
  const fits = value <= octalMax(length);
  writeOctal(block, at, length, fits ? value : 0);
  if (!fits) pax.set(key, latin1(String(value)));
}

function putMtime(block: Buffer, time: Time, pax: Map<string, Uint8Array>, offset: number): void {
  const text = timeText(time, offset);
  const fits = time.sec >= 0 && time.sec <= octalMax(12);
  writeOctal(block, 136, 12, fits ? time.sec : 0);
  if (!fits || time.nsec !== 0) pax.set("mtime", latin1(text));
}

function timeText(time: Time, offset: number): string {
  if (Number.isSafeInteger(time.sec) && Number.isInteger(time.nsec) && time.nsec >= 0 && time.nsec < 1e9) return formatTime(time);
  throw new TarError("ERR_TAR_NUMBER", offset, `expected seconds and 0 to 999999999 nanoseconds, found ${time.sec} and ${time.nsec}`);
}

function checkString(what: string, value: string, offset: number): void {
  if (value === "") throw new TarError("ERR_TAR_NAME", offset, `expected a ${what}, found none`);
  if (value.includes("\0")) throw new TarError("ERR_TAR_NAME", offset, `found a NUL byte in the ${what}`);
}

function seal(block: Buffer): void {
  writeOctal(block, 148, 7, checksum(block));
  block[155] = 0x20;
}

/** The last component, cut to `length` bytes. */
function tail(name: string, length: number): string {
  const trimmed = name.replace(/\/+$/, "");
  return trimmed.slice(trimmed.lastIndexOf("/") + 1).slice(0, length);
}

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");
