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
  /** Regular files; undefined for other kinds. */
  readonly content: FileContent | undefined;
  /** Symbolic links: the target, latin1; else "". */
  readonly target: string;
  /** Devices, as base/mode's makedev packs it; else 0. */
  readonly rdev: number;
  /** Directories of layers. */
  readonly opaque: boolean;
  /** Directories of layers that only their contents imply. */
  readonly implicit: boolean;
  /** A hard link to a file of a lower layer: its path from the root without a leading slash; then every other field is ignored. */
  readonly lowerLink: string | undefined;
}

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
  /** Offset of what was put in the blob; the key's first character says in which form. */
  readonly #placed = new Map<string, number>();

  constructor(hash: FastHash) {
    this.#hash = hash;
  }

  /** Adds an object; its row. Throws ERR_STORE_LIMIT. */
  addNode(node: IndexNode): number {
    const row = this.#nodes.length / NODE_WORDS;
    if (row >= WHITEOUT_NODE) throw limit("objects");
    let flags = (node.opaque ? FLAG_OPAQUE : 0) | (node.implicit ? FLAG_IMPLICIT : 0);
    let content = 0;
    let size = 0;
    const body = isRegular(node.mode) ? node.content : undefined;
    if (node.lowerLink !== undefined) {
      flags = FLAG_LOWER_LINK;
      size = node.lowerLink.length;
      content = this.#place("p", node.lowerLink);
    } else if (isSymlink(node.mode)) {
      size = node.target.length;
      content = this.#place("p", node.target);
    } else if (body?.kind === "inline") {
      if (body.bytes.length > INLINE_MAX) throw new StoreError("ERR_STORE_LIMIT", `expected an inline body of at most ${INLINE_MAX} bytes, found ${body.bytes.length}`);
      flags |= FLAG_INLINE;
      size = body.bytes.length;
      content = this.#place("p", Buffer.from(body.bytes).toString("latin1"));
    } else if (body !== undefined) {
      size = body.size;
      content = this.#digest(body.digest);
    } else if ((node.mode & S_IFMT) === S_IFCHR || (node.mode & S_IFMT) === S_IFBLK) {
      content = node.rdev;
    }
    this.#nodes.push(this.#meta(node, flags));
    this.#nodes.push(isDirectory(node.mode) && node.lowerLink === undefined ? 2 : 0);
    this.#nodes.push(content);
    this.#nodes.push(node.mtimeNsec);
    this.#nodes.pushNumber(node.mtimeSec);
    this.#nodes.pushNumber(size);
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
      this.#entries.push(this.#place("n", name));
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

  #meta(node: IndexNode, flags: number): number {
    const xattrs = node.xattrs.size === 0 || node.lowerLink !== undefined ? 0 : this.#placeXattrs(node.xattrs) + 1;
    // A link to a lower file has none of its own attributes.
    const words = node.lowerLink === undefined ? [node.mode | flags, node.uid, node.gid, xattrs] : [flags, 0, 0, 0];
    const key = words.join();
    let row = this.#metaRows.get(key);
    if (row === undefined) {
      row = this.#metas.length / META_WORDS;
      for (const word of words) this.#metas.push(word);
      this.#metaRows.set(key, row);
    }
    return row;
  }

  #digest(digest: Digest): number {
    let row = this.#digestRows.get(digest);
    if (row === undefined) {
      row = this.#digests.length / DIGEST_BYTES;
      this.#digests.push(Buffer.from(digest, "hex"));
      this.#digestRows.set(digest, row);
    }
    return row;
  }

  /** Form "n": one byte of length, then the bytes. Form "p": the bytes alone, their length being elsewhere. Form "x": as FORMAT.md says. */
  #place(form: "n" | "p" | "x", latin1: string): number {
    const key = form + latin1;
    const known = this.#placed.get(key);
    if (known !== undefined) return known;
    const offset = this.#blob.length;
    if (offset + latin1.length + 1 > 0xfffffff0) throw limit("bytes of names and small bodies");
    if (form === "n") this.#blob.pushLatin1(String.fromCharCode(latin1.length));
    this.#blob.pushLatin1(latin1);
    this.#placed.set(key, offset);
    return offset;
  }

  #placeXattrs(xattrs: ReadonlyMap<string, Uint8Array>): number {
    const sorted = [...xattrs].sort(([a], [b]) => (a < b ? -1 : 1));
    if (sorted.length > 0xffff) throw limit("extended attributes of one object");
    const parts: string[] = [String.fromCharCode(sorted.length & 0xff, sorted.length >>> 8)];
    for (const [key, value] of sorted) {
      if (key.length > 255 || value.length > 0xffffff) throw new StoreError("ERR_STORE_LIMIT", `expected an extended attribute with a name of at most 255 bytes and a value of at most 16 MiB, found ${key.length} and ${value.length}`);
      const length = value.length;
      parts.push(String.fromCharCode(key.length, length & 0xff, (length >>> 8) & 0xff, length >>> 16), key, Buffer.from(value).toString("latin1"));
    }
    return this.#place("x", parts.join(""));
  }
}

function limit(what: string): StoreError {
  return new StoreError("ERR_STORE_LIMIT", `too many ${what} for one index`);
}
