/**
 * IndexWriter: collects nodes and directories in flat tables and gives the bytes of an index file.
 * The caller adds a node for every object, then says for every directory which names it has; equal strings, bodies, digests and
 * sets of attributes are kept once. Row 0 is the root. The same calls give the same bytes.
 */
import { isDirectory, isRegular, isSymlink, S_IFBLK, S_IFCHR, S_IFMT } from "../base/mode.js";
import type { FastHash } from "../base/fast-hash.js";
import { DIGEST_BYTES, type Digest } from "./digest.js";
import { StoreError } from "./errors.js";
import {
  encodeIndexHeader, FLAG_IMPLICIT, FLAG_INLINE, FLAG_LOWER_LINK, FLAG_OPAQUE, INLINE_MAX, META_WORDS, NODE_WORDS, padTo8, tableNames, WHITEOUT_NODE,
  type IndexKind,
} from "./index-format.js";
import { GrowingBytes, GrowingWords } from "./growing.js";

/** The content of a file: small bodies themselves, larger ones by digest. */
export type FileContent =
  | { readonly kind: "inline"; readonly bytes: Uint8Array }
  | { readonly kind: "object"; readonly digest: Digest; readonly size: number };

/** What an index says of one object. Links, devices and files carry what their kind needs, and nothing else. */
export interface IndexNode {
  /** Type and permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** Regular files, where undefined is an empty one; undefined for other kinds. */
  readonly content: FileContent | undefined;
  /** Symbolic links: the target, latin1; else "". */
  readonly target: string;
  /** Devices, as base/mode's makedev packs it; else 0. */
  readonly rdev: number;
}

const emptyBody: FileContent = { kind: "inline", bytes: new Uint8Array(0) };

export class IndexWriter {
  readonly #hash: FastHash;
  readonly #nodes = new GrowingWords();
  readonly #entries = new GrowingWords();
  readonly #lookup = new GrowingWords();
  readonly #metas = new GrowingWords();
  readonly #digests = new GrowingBytes();
  readonly #blob = new GrowingBytes();
  readonly #metaRows = new Map<string, number>();
  readonly #digestRows = new Map<Digest, number>();
  /** Offsets of what was put in the blob, by the form it has there. */
  readonly #names = new Map<string, number>();
  readonly #texts = new Map<string, number>();
  readonly #xattrs = new Map<string, number>();
  /** The words of the meta asked for last, which most often is the one asked for next, and its row. */
  readonly #lastMeta = { mode: -1, uid: 0, gid: 0, xattrs: 0, row: 0 };

  constructor(hash: FastHash) {
    this.#hash = hash;
  }

  /** Adds an object; its row. Opaque and implicit directories are of layers only. Throws ERR_STORE_LIMIT. */
  addNode(node: IndexNode, opaque = false, implicit = false): number {
    let flags = (opaque ? FLAG_OPAQUE : 0) | (implicit ? FLAG_IMPLICIT : 0);
    let content = 0;
    let size = 0;
    const body = isRegular(node.mode) ? node.content ?? emptyBody : undefined;
    if (isSymlink(node.mode)) {
      size = node.target.length;
      content = this.#text(node.target);
    } else if (body?.kind === "inline") {
      if (body.bytes.length > INLINE_MAX) throw new StoreError("ERR_STORE_LIMIT", `expected an inline body of at most ${INLINE_MAX} bytes, found ${body.bytes.length}`);
      flags |= FLAG_INLINE;
      size = body.bytes.length;
      content = this.#text(latin1Of(body.bytes));
    } else if (body !== undefined) {
      size = body.size;
      content = this.addDigest(body.digest);
    } else if ((node.mode & S_IFMT) === S_IFCHR || (node.mode & S_IFMT) === S_IFBLK) {
      content = node.rdev;
    }
    const xattrs = node.xattrs.size === 0 ? 0 : this.#placeXattrs(node.xattrs) + 1;
    const meta = this.#meta(node.mode | flags, node.uid, node.gid, xattrs);
    return this.#push(meta, isDirectory(node.mode) ? 2 : 0, content, node.mtimeSec, node.mtimeNsec, size);
  }

  /** Adds a hard link to a file of a lower layer, given by its path from the root without a leading slash; its row. */
  addLowerLink(path: string): number {
    return this.#push(this.#meta(FLAG_LOWER_LINK, 0, 0, 0), 0, this.#text(path), 0, 0, path.length);
  }

  /** Names an object that the index needs; its row in the table of digests. One that no node has is kept from the sweep all the same. */
  addDigest(digest: Digest): number {
    let row = this.#digestRows.get(digest);
    if (row === undefined) {
      row = this.#digests.length / DIGEST_BYTES;
      this.#digests.push(Buffer.from(digest, "hex"));
      this.#digestRows.set(digest, row);
    }
    return row;
  }

  /**
   * Gives a directory its entries, once. `names` are sorted by their bytes and unique; `rows` are the nodes, or WHITEOUT_NODE.
   * Counts the links of nodes on the way.
   */
  setDirectory(row: number, names: readonly string[], rows: readonly number[]): void {
    const first = this.#entries.length / 2;
    const count = names.length;
    if (first + count >= WHITEOUT_NODE) throw limit("entries");
    const at = row * NODE_WORDS;
    this.#nodes.set(at + 2, first);
    this.#nodes.set(at + 6, count);
    const pairs: { readonly hash: number; readonly entry: number }[] = [];
    for (let i = 0; i < count; i++) {
      const name = names[i] as string;
      const child = rows[i] as number;
      this.#entries.push(this.#name(name));
      this.#entries.push(child);
      pairs.push({ hash: this.#hash.name(name), entry: first + i });
      if (child === WHITEOUT_NODE) continue;
      if (this.#isDirectory(child)) this.#nodes.set(at + 1, this.#nodes.get(at + 1) + 1);
      else this.#nodes.set(child * NODE_WORDS + 1, this.#nodes.get(child * NODE_WORDS + 1) + 1);
    }
    // Ties stay in the order of their names, so that they can be searched too.
    pairs.sort((a, b) => a.hash - b.hash || a.entry - b.entry);
    for (const { hash, entry } of pairs) {
      this.#lookup.push(hash);
      this.#lookup.push(entry);
    }
  }

  /** The parts of the file in order. */
  finish(kind: IndexKind, id: Digest): Uint8Array[] {
    const tables = {
      nodes: this.#nodes.bytes, entries: this.#entries.bytes, lookup: this.#lookup.bytes,
      metas: this.#metas.bytes, digests: this.#digests.bytes, blob: this.#blob.bytes,
    };
    const parts: Uint8Array[] = [encodeIndexHeader(kind, id, tables, this.#hash.bytes)];
    for (const name of tableNames) {
      parts.push(tables[name]);
      const padding = padTo8(tables[name].length) - tables[name].length;
      if (padding > 0) parts.push(Buffer.alloc(padding));
    }
    return parts;
  }

  #isDirectory(row: number): boolean {
    return isDirectory(this.#metas.get(this.#nodes.get(row * NODE_WORDS) * META_WORDS) & 0xffff);
  }

  #push(meta: number, nlink: number, content: number, mtimeSec: number, mtimeNsec: number, size: number): number {
    const row = this.#nodes.length / NODE_WORDS;
    if (row >= WHITEOUT_NODE) throw limit("objects");
    this.#nodes.push(meta);
    this.#nodes.push(nlink);
    this.#nodes.push(content);
    this.#nodes.push(mtimeNsec);
    this.#nodes.pushNumber(mtimeSec);
    this.#nodes.pushNumber(size);
    return row;
  }

  #meta(mode: number, uid: number, gid: number, xattrs: number): number {
    const last = this.#lastMeta;
    if (last.mode === mode && last.uid === uid && last.gid === gid && last.xattrs === xattrs) return last.row;
    const key = `${mode},${uid},${gid},${xattrs}`;
    let row = this.#metaRows.get(key);
    if (row === undefined) {
      row = this.#metas.length / META_WORDS;
      for (const word of [mode, uid, gid, xattrs]) this.#metas.push(word);
      this.#metaRows.set(key, row);
    }
    last.mode = mode;
    last.uid = uid;
    last.gid = gid;
    last.xattrs = xattrs;
    last.row = row;
    return row;
  }

  /** One byte of length, then the bytes. */
  #name(name: string): number {
    let offset = this.#names.get(name);
    if (offset === undefined) {
      offset = this.#place(String.fromCharCode(name.length) + name);
      this.#names.set(name, offset);
    }
    return offset;
  }

  /** The bytes alone, their count being elsewhere. */
  #text(text: string): number {
    let offset = this.#texts.get(text);
    if (offset === undefined) {
      offset = this.#place(text);
      this.#texts.set(text, offset);
    }
    return offset;
  }

  #place(latin1: string): number {
    const offset = this.#blob.length;
    if (offset + latin1.length > 0xfffffff0) throw limit("bytes of names and small bodies");
    this.#blob.pushLatin1(latin1);
    return offset;
  }

  #placeXattrs(xattrs: ReadonlyMap<string, Uint8Array>): number {
    const sorted = [...xattrs].sort(([a], [b]) => (a < b ? -1 : 1));
    if (sorted.length > 0xffff) throw limit("extended attributes of one object");
    const parts: string[] = [String.fromCharCode(sorted.length & 0xff, sorted.length >>> 8)];
    for (const [key, value] of sorted) {
      if (key.length > 255 || value.length > 0xffffff) throw new StoreError("ERR_STORE_LIMIT", `expected an extended attribute with a name of at most 255 bytes and a value of at most 16 MiB, found ${key.length} and ${value.length}`);
      const length = value.length;
      parts.push(String.fromCharCode(key.length, length & 0xff, (length >>> 8) & 0xff, length >>> 16), key, latin1Of(value));
    }
    const record = parts.join("");
    let offset = this.#xattrs.get(record);
    if (offset === undefined) {
      offset = this.#place(record);
      this.#xattrs.set(record, offset);
    }
    return offset;
  }
}

function latin1Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

function limit(what: string): StoreError {
  return new StoreError("ERR_STORE_LIMIT", `too many ${what} for one index`);
}
