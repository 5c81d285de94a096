/**
 * IndexReader: an index file, opened without parsing. Holds the tables in one buffer, except the digests, which are read from
 * the file one at a time when a file's content is asked for.
 *
 * A row is a number that this reader gave out; anything in the file that points outside its table is EIO, never a wrong answer
 * from another table. Calls do not yield and do not allocate, except where they return a string, list or buffer.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { FsError } from "../base/errors.js";
import type { FastHash } from "../base/fast-hash.js";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../base/mode.js";
import { isComponent } from "../base/name.js";
import { DIGEST_BYTES, type Digest } from "./digest.js";
import {
  damaged, decodeIndexHeader, FLAG_IMPLICIT, FLAG_INLINE, FLAG_LOWER_LINK, FLAG_OPAQUE, HEADER_BYTES, META_BITS, META_GID, META_UID, META_WORDS, META_XATTRS,
  NODE_CONTENT, NODE_META, NODE_MTIME, NODE_MTIME_NSEC, NODE_NLINK, NODE_SIZE, NODE_WORDS, padTo8, tableNames, WHITEOUT_NODE, type IndexHeader, type IndexKind,
} from "./index-format.js";

/** Where the file's bytes come from. */
interface Source {
  readonly fileBytes: number;
  /** Fills `into` from byte `position`. Throws when there are fewer. */
  read(into: Uint8Array, position: number): void;
  close(): void;
}

export const ROOT_ROW = 0;

export class IndexReader {
  readonly kind: IndexKind;
  /** diffID or chainID. */
  readonly id: Digest;
  readonly rows: number;
  readonly digestCount: number;
  readonly #what: string;
  readonly #header: IndexHeader;
  readonly #source: Source;
  readonly #hash: FastHash;
  readonly #nodes: Uint32Array;
  readonly #entries: Uint32Array;
  readonly #lookup: Uint32Array;
  readonly #metas: Uint32Array;
  readonly #blob: Buffer;
  #allDigests: Buffer | undefined;
  readonly #digest = Buffer.alloc(DIGEST_BYTES);

  /** `what` names the file in messages. The descriptor is the reader's, which close() closes. Throws ERR_STORE_FORMAT, ERR_STORE_DAMAGED. */
  static open(path: string, hash: FastHash): IndexReader {
    const fd = openSync(path, "r");
    const source: Source = {
      fileBytes: fstatSync(fd).size,
      read: (into, position) => {
        for (let done = 0; done < into.length; ) {
          // One call reads less than 2 GiB.
          const count = readSync(fd, into, done, Math.min(into.length - done, 2 ** 30), position + done);
          if (count === 0) throw damaged(path, `expected ${into.length} bytes at ${position}, found ${done}`);
          done += count;
        }
      },
      close: () => closeSync(fd),
    };
    try {
      return new IndexReader(source, path, hash);
    } catch (error) {
      source.close();
      throw error;
    }
  }

  /** An index in memory, as IndexWriter.finish() gives it. */
  static fromBytes(bytes: Uint8Array, what: string, hash: FastHash): IndexReader {
    const read = (into: Uint8Array, position: number): void => into.set(bytes.subarray(position, position + into.length));
    return new IndexReader({ fileBytes: bytes.length, read, close: () => undefined }, what, hash);
  }

  private constructor(source: Source, what: string, hash: FastHash) {
    this.#what = what;
    this.#source = source;
    this.#hash = hash;
    const head = Buffer.alloc(Math.min(HEADER_BYTES, source.fileBytes));
    source.read(head, 0);
    this.#header = decodeIndexHeader(head, source.fileBytes, what, hash.bytes);
    const { tables } = this.#header;
    this.kind = this.#header.kind;
    this.id = this.#header.id;
    const load = (name: "nodes" | "entries" | "lookup" | "metas" | "blob"): Buffer => {
      const bytes = Buffer.allocUnsafeSlow(tables[name].bytes);
      source.read(bytes, tables[name].offset);
      return bytes;
    };
    this.#nodes = wordsOf(load("nodes"));
    this.#entries = wordsOf(load("entries"));
    this.#lookup = wordsOf(load("lookup"));
    this.#metas = wordsOf(load("metas"));
    this.#blob = load("blob");
    this.rows = this.#nodes.length / NODE_WORDS;
    this.digestCount = tables.digests.bytes / DIGEST_BYTES;
    if (this.rows === 0 || (this.mode(ROOT_ROW) & S_IFMT) !== S_IFDIR) throw damaged(what, "expected a directory as first node");
    if (this.#entries.length !== this.#lookup.length) throw damaged(what, "expected a lookup row for every entry");
  }

  close(): void {
    this.#source.close();
  }

  /** Type and permission bits. */
  mode(row: number): number {
    return this.#meta(row, 0) & 0xffff;
  }
  uid(row: number): number {
    return this.#meta(row, META_UID);
  }
  gid(row: number): number {
    return this.#meta(row, META_GID);
  }
  nlink(row: number): number {
    return this.#word(row, NODE_NLINK);
  }
  mtimeSec(row: number): number {
    return (this.#word(row, NODE_MTIME + 1) | 0) * 0x100000000 + this.#word(row, NODE_MTIME);
  }
  mtimeNsec(row: number): number {
    return this.#word(row, NODE_MTIME_NSEC);
  }
  /** Bytes of a file or link target; 0 for everything else. */
  size(row: number): number {
    const type = this.mode(row) & S_IFMT;
    return type === S_IFREG || type === S_IFLNK ? this.#size(row) : 0;
  }
  /** 0 unless a device. */
  rdev(row: number): number {
    const type = this.mode(row) & S_IFMT;
    return type === S_IFCHR || type === S_IFBLK ? this.#word(row, NODE_CONTENT) : 0;
  }
  opaque(row: number): boolean {
    return (this.#meta(row, 0) & FLAG_OPAQUE) !== 0;
  }
  implicit(row: number): boolean {
    return (this.#meta(row, 0) & FLAG_IMPLICIT) !== 0;
  }

  /** Path in the lower layers, from the root, of the file that this row is a hard link to; undefined for other rows. */
  lowerLink(row: number): string | undefined {
    if ((this.#meta(row, 0) & FLAG_LOWER_LINK) === 0) return undefined;
    return this.#text(this.#word(row, NODE_CONTENT), this.#size(row));
  }

  /** Latin1. Throws EINVAL on anything but a symbolic link. */
  readlink(row: number): string {
    if ((this.mode(row) & S_IFMT) !== S_IFLNK) throw new FsError("EINVAL", "readlink");
    return this.#text(this.#word(row, NODE_CONTENT), this.#size(row));
  }

  /** The bytes of a small file, a view that stays good; undefined for larger files. Throws EINVAL on anything but a file. */
  inlineBody(row: number): Uint8Array | undefined {
    if ((this.mode(row) & S_IFMT) !== S_IFREG) throw new FsError("EINVAL", "read");
    if ((this.#meta(row, 0) & FLAG_INLINE) === 0) return undefined;
    const at = this.#word(row, NODE_CONTENT);
    const size = this.#size(row);
    this.#within(at, size);
    return this.#blob.subarray(at, at + size);
  }

  /** The object of a larger file. Reads the digest from the file. Throws EINVAL on anything else, EIO. */
  digest(row: number): Digest {
    if ((this.mode(row) & S_IFMT) !== S_IFREG || (this.#meta(row, 0) & FLAG_INLINE) !== 0) throw new FsError("EINVAL", "read");
    return this.digestAt(this.#word(row, NODE_CONTENT));
  }

  /** Row 0…digestCount-1 of the table of digests. */
  digestAt(at: number): Digest {
    if (at >= this.digestCount) throw this.#broken();
    if (this.#allDigests !== undefined) return this.#allDigests.toString("hex", at * DIGEST_BYTES, (at + 1) * DIGEST_BYTES) as Digest;
    this.#source.read(this.#digest, this.#header.tables.digests.offset + at * DIGEST_BYTES);
    return this.#digest.toString("hex") as Digest;
  }

  /** Holds all digests in memory from now on: for those who will ask for most of them. */
  loadDigests(): void {
    if (this.#allDigests !== undefined) return;
    const { offset, bytes } = this.#header.tables.digests;
    const digests = Buffer.allocUnsafeSlow(bytes);
    this.#source.read(digests, offset);
    this.#allDigests = digests;
  }

  /** The number of a file's digest in the table; -1 for files without object. */
  digestRow(row: number): number {
    const isObject = (this.mode(row) & S_IFMT) === S_IFREG && (this.#meta(row, 0) & (FLAG_INLINE | FLAG_LOWER_LINK)) === 0;
    return isObject ? this.#word(row, NODE_CONTENT) : -1;
  }

  /**
   * Finds `name` in a directory: the child's row, WHITEOUT_NODE for a whiteout, -1 when there is no such entry. Throws ENOTDIR, EIO.
   * Binary search over the directory's part of the lookup table, by hash, ties by name. Source: FORMAT.md, "Lookup".
   */
  find(dir: number, name: string): number {
    this.#checkDirectory(dir);
    const hash = this.#hash.name(name);
    const first = this.#word(dir, NODE_CONTENT);
    let low = first;
    const count = this.#size(dir);
    let high = first + count - 1;
    if (2 * high + 1 >= this.#lookup.length) throw this.#broken();
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const found = this.#lookup[2 * middle] as number;
      let order = hash - found;
      if (order === 0) {
        const entry = this.#lookup[2 * middle + 1] as number;
        if (entry < first || entry - first >= count) throw this.#broken();
        order = this.#compareName(name, this.#entryWord(entry, 0));
        if (order === 0) return this.#entryWord(entry, 1);
      }
      if (order < 0) high = middle - 1;
      else low = middle + 1;
    }
    return -1;
  }

  /** The entries of a directory are [firstEntry, firstEntry + entryCount), in the order of their names' bytes. Throws ENOTDIR, EIO. */
  firstEntry(dir: number): number {
    this.#checkDirectory(dir);
    return this.#word(dir, NODE_CONTENT);
  }
  entryCount(dir: number): number {
    this.#checkDirectory(dir);
    const count = this.#size(dir);
    if (2 * (this.#word(dir, NODE_CONTENT) + count) > this.#entries.length) throw this.#broken();
    return count;
  }
  entryName(entry: number): string {
    const at = this.#entryWord(entry, 0);
    this.#within(at, 1);
    const name = this.#text(at + 1, this.#blob[at] as number);
    // Whoever makes a file of this name elsewhere (a copy-up, an export) believes that it stays in its directory.
    if (!isComponent(name)) throw this.#broken();
    return name;
  }
  /** The row, or WHITEOUT_NODE. */
  entryNode(entry: number): number {
    const node = this.#entryWord(entry, 1);
    if (node >= this.rows && node !== WHITEOUT_NODE) throw this.#broken();
    return node;
  }

  /** In the order of their keys. Values are views that stay good. */
  xattrs(row: number): ReadonlyMap<string, Uint8Array> {
    const xattrs = new Map<string, Uint8Array>();
    const ref = this.#meta(row, META_XATTRS);
    if (ref === 0) return xattrs;
    let at = ref - 1;
    this.#within(at, 2);
    let count = (this.#blob[at] as number) + 256 * (this.#blob[at + 1] as number);
    for (at += 2; count > 0; count--) {
      this.#within(at, 4);
      const keyLength = this.#blob[at] as number;
      const valueLength = this.#blob.readUIntLE(at + 1, 3);
      this.#within(at + 4, keyLength + valueLength);
      xattrs.set(this.#text(at + 4, keyLength), this.#blob.subarray(at + 4 + keyLength, at + 4 + keyLength + valueLength));
      at += 4 + keyLength + valueLength;
    }
    return xattrs;
  }
  /** True without decoding any. */
  hasXattrs(row: number): boolean {
    return this.#meta(row, META_XATTRS) !== 0;
  }

  /** Reads the whole file and throws ERR_STORE_DAMAGED unless every table has its checksum. For fsck: it costs as much as reading it. */
  verifyChecksums(): void {
    for (const name of tableNames) {
      const { offset, bytes, checksum } = this.#header.tables[name];
      const table = Buffer.allocUnsafeSlow(padTo8(bytes));
      this.#source.read(table, offset);
      if (table.subarray(bytes).some((byte) => byte !== 0)) throw damaged(this.#what, `expected zeros behind table ${name}`);
      if (this.#hash.bytes(table.subarray(0, bytes)) !== checksum) throw damaged(this.#what, `the checksum of table ${name} does not match`);
    }
    for (let i = 0; i < this.#metas.length; i += META_WORDS) {
      if (((this.#metas[i] as number) & ~META_BITS) !== 0) throw damaged(this.#what, "found an unknown flag");
    }
  }

  #word(row: number, word: number): number {
    if (row >= this.rows) throw this.#broken();
    return this.#nodes[row * NODE_WORDS + word] as number;
  }
  #size(row: number): number {
    return this.#word(row, NODE_SIZE) + this.#word(row, NODE_SIZE + 1) * 0x100000000;
  }
  #meta(row: number, word: number): number {
    const at = this.#word(row, NODE_META) * META_WORDS + word;
    if (at >= this.#metas.length) throw this.#broken();
    return this.#metas[at] as number;
  }
  #entryWord(entry: number, word: number): number {
    const at = 2 * entry + word;
    if (at >= this.#entries.length) throw this.#broken();
    return this.#entries[at] as number;
  }
  #checkDirectory(row: number): void {
    if ((this.mode(row) & S_IFMT) !== S_IFDIR) throw new FsError("ENOTDIR", "lookup");
  }

  /** Below 0, 0 or above 0 as `name` sorts before, with or after the name at `at`. */
  #compareName(name: string, at: number): number {
    this.#within(at, 1);
    const length = this.#blob[at] as number;
    this.#within(at + 1, length);
    const shorter = Math.min(name.length, length);
    for (let i = 0; i < shorter; i++) {
      const order = name.charCodeAt(i) - (this.#blob[at + 1 + i] as number);
      if (order !== 0) return order;
    }
    return name.length - length;
  }

  #text(at: number, length: number): string {
    this.#within(at, length);
    return this.#blob.toString("latin1", at, at + length);
  }
  #within(at: number, length: number): void {
    if (at + length > this.#blob.length) throw this.#broken();
  }
  #broken(): FsError {
    return new FsError("EIO", "index", `${this.#what} points outside its tables; fsck tells more`);
  }
}

function wordsOf(bytes: Buffer): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}
