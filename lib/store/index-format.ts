/**
 * The layout of index files: constants, and the header's codec. FORMAT.md beside this file describes every byte.
 * Invariant: a reader built from this file refuses whatever it does not know: version, kind, flags, tables.
 */
import { DIGEST_BYTES, type Digest } from "./digest.js";
import { StoreError } from "./errors.js";

export const MAGIC = "strataix";
export const VERSION = 1;
/** Header: 64 bytes, then 32 for each table, then 8 of checksum. */
const FIXED = 64;
const TABLE = 32;

/** A layer's own entries with whiteouts and marks, or those of a chain of layers merged into one tree without any. */
export type IndexKind = "layer" | "chain";

export const tableNames = ["nodes", "entries", "lookup", "metas", "digests", "blob"] as const;
export type TableName = (typeof tableNames)[number];
/** Bytes of one row. */
export const rowBytes: Readonly<Record<TableName, number>> = { nodes: 32, entries: 8, lookup: 8, metas: 16, digests: DIGEST_BYTES, blob: 1 };
export const HEADER_BYTES = FIXED + TABLE * tableNames.length + 8;

/** Words of a node. */
export const NODE_WORDS = 8;
export const NODE_META = 0;
export const NODE_NLINK = 1;
export const NODE_CONTENT = 2;
export const NODE_MTIME_NSEC = 3;
export const NODE_MTIME = 4;
export const NODE_SIZE = 6;

/** Words of a meta; the first is st_mode and flags. */
export const META_WORDS = 4;
export const META_UID = 1;
export const META_GID = 2;
/** Blob offset of the extended attributes plus 1, or 0. */
export const META_XATTRS = 3;
/** The directory hides everything below it. Layers only. */
export const FLAG_OPAQUE = 1 << 16;
/** The directory is there only because something in it is: what is below gives its attributes. Layers only. */
export const FLAG_IMPLICIT = 1 << 17;
/** The file's bytes are in the blob. */
export const FLAG_INLINE = 1 << 18;
/** A hard link to a file of a lower layer, whose path is in the blob. Layers only. */
export const FLAG_LOWER_LINK = 1 << 19;
/** Every bit a meta may have. */
export const META_BITS = 0xffff | FLAG_OPAQUE | FLAG_IMPLICIT | FLAG_INLINE | FLAG_LOWER_LINK;

/** In place of an entry's node: the name is hidden in the layers below. Layers only. */
export const WHITEOUT_NODE = 0xffffffff;
/** Larger bodies are objects. */
export const INLINE_MAX = 64;

export interface Table {
  /** Byte of the file, a multiple of 8. */
  readonly offset: number;
  readonly bytes: number;
  readonly checksum: bigint;
}

export interface IndexHeader {
  readonly kind: IndexKind;
  readonly id: Digest;
  readonly fileBytes: number;
  readonly tables: Readonly<Record<TableName, Table>>;
}

export const padTo8 = (bytes: number): number => Math.ceil(bytes / 8) * 8;

/** The header of a file whose tables have these bytes, in the order of tableNames. `hash` is XXH64. */
export function encodeIndexHeader(kind: IndexKind, id: Digest, tables: Readonly<Record<TableName, Uint8Array>>, hash: (bytes: Uint8Array) => bigint): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 0, "latin1");
  header.writeUInt32LE(VERSION, 8);
  header.writeUInt32LE(kind === "layer" ? 1 : 2, 12);
  header.writeUInt32LE(tableNames.length, 24);
  header.write(id, 32, "hex");
  let offset = HEADER_BYTES;
  tableNames.forEach((name, i) => {
    const at = FIXED + TABLE * i;
    const bytes = tables[name];
    header.writeUInt32LE(i + 1, at);
    header.writeUInt32LE(rowBytes[name], at + 4);
    header.writeBigUInt64LE(BigInt(offset), at + 8);
    header.writeBigUInt64LE(BigInt(bytes.length), at + 16);
    header.writeBigUInt64LE(hash(bytes), at + 24);
    offset += padTo8(bytes.length);
  });
  header.writeBigUInt64LE(BigInt(offset), 16);
  header.writeBigUInt64LE(hash(header.subarray(0, HEADER_BYTES - 8)), HEADER_BYTES - 8);
  return header;
}

/**
 * Reads the header of a file of `fileBytes`. `what` names the file in messages.
 * Throws ERR_STORE_FORMAT for what this version does not know, ERR_STORE_DAMAGED for what no version writes.
 */
export function decodeIndexHeader(header: Buffer, fileBytes: number, what: string, hash: (bytes: Uint8Array) => bigint): IndexHeader {
  if (header.length < FIXED || header.toString("latin1", 0, 8) !== MAGIC) throw new StoreError("ERR_STORE_FORMAT", `${what}: expected an index, found no ${MAGIC} at its start`);
  const version = header.readUInt32LE(8);
  if (version !== VERSION) throw new StoreError("ERR_STORE_FORMAT", `${what}: expected index version ${VERSION}, found ${version}`);
  const kind = header.readUInt32LE(12);
  if (kind !== 1 && kind !== 2) throw new StoreError("ERR_STORE_FORMAT", `${what}: expected index kind 1 or 2, found ${kind}`);
  const flags = header.readUInt32LE(28);
  if (flags !== 0) throw new StoreError("ERR_STORE_FORMAT", `${what}: expected no flags, found 0x${flags.toString(16)}`);
  const count = header.readUInt32LE(24);
  if (count !== tableNames.length) throw new StoreError("ERR_STORE_FORMAT", `${what}: expected ${tableNames.length} tables, found ${count}`);
  if (header.length < HEADER_BYTES) throw damaged(what, `expected a header of ${HEADER_BYTES} bytes, found ${header.length}`);
  const stated = header.readBigUInt64LE(HEADER_BYTES - 8);
  if (stated !== hash(header.subarray(0, HEADER_BYTES - 8))) throw damaged(what, "the header's checksum does not match");
  const length = Number(header.readBigUInt64LE(16));
  if (length !== fileBytes) throw damaged(what, `expected ${length} bytes, found ${fileBytes}`);
  const tables: Partial<Record<TableName, Table>> = {};
  let expected = HEADER_BYTES;
  tableNames.forEach((name, i) => {
    const at = FIXED + TABLE * i;
    const bytes = Number(header.readBigUInt64LE(at + 16));
    if (header.readUInt32LE(at) !== i + 1 || header.readUInt32LE(at + 4) !== rowBytes[name]) {
      throw new StoreError("ERR_STORE_FORMAT", `${what}: expected table ${i + 1} to be ${name} with rows of ${rowBytes[name]} bytes`);
    }
    if (Number(header.readBigUInt64LE(at + 8)) !== expected || bytes % rowBytes[name] !== 0) throw damaged(what, `table ${name} lies where it may not`);
    tables[name] = { offset: expected, bytes, checksum: header.readBigUInt64LE(at + 24) };
    expected += padTo8(bytes);
  });
  if (expected !== fileBytes) throw damaged(what, `expected tables up to byte ${fileBytes}, found them to end at ${expected}`);
  return { kind: kind === 1 ? "layer" : "chain", id: header.toString("hex", 32, 64) as Digest, fileBytes, tables: tables as Record<TableName, Table> };
}

export function damaged(what: string, detail: string): StoreError {
  return new StoreError("ERR_STORE_DAMAGED", `${what}: ${detail}`);
}
