/**
 * Sparse maps, in the four spellings GNU tar has used. Pure.
 * A map lists the parts of a file that are stored; everything between them, up to the real size, is a hole.
 *
 *   old GNU  type S; 4 extents in the header, 21 in each block that follows; real size in the header
 *   0.0      pax GNU.sparse.{size,numblocks}, then GNU.sparse.offset and GNU.sparse.numbytes in turn
 *   0.1      pax GNU.sparse.{size,numblocks,name}, GNU.sparse.map = "offset,length,offset,length,…"
 *   1.0      pax GNU.sparse.{major,minor,name,realsize}; the map is text at the head of the body, padded to whole blocks:
 *            the number of extents, then offset and length of each, one decimal number a line
 *
 * Source: GNU tar manual, "Storing Sparse Files".
 */
import { TarError } from "./errors.js";
import { readDecimal, readNumber } from "./numbers.js";
import type { PaxRecord } from "./pax.js";

/** A stored part of a file: bytes [offset, offset + length). */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** What pax records say about a sparse file; for "1.0" the map is still to be read from the body. */
export type PaxSparse =
  | { readonly version: "0"; readonly name: string | undefined; readonly realSize: number; readonly extents: readonly Extent[] }
  | { readonly version: "1.0"; readonly name: string | undefined; readonly realSize: number };

/** Undefined when the records describe no sparse file. Throws ERR_TAR_SPARSE, ERR_TAR_LIMIT. */
export function paxSparse(records: readonly PaxRecord[], offset: number, maxExtents: number): PaxSparse | undefined {
  const last = new Map<string, string>();
  const pairs: number[] = [];
  for (const { key, value } of records) {
    if (!key.startsWith("GNU.sparse.")) continue;
    const text = value.toString("latin1");
    last.set(key.slice(11), text);
    if (key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes") {
      if ((pairs.length % 2 === 0) !== (key === "GNU.sparse.offset")) {
        throw new TarError("ERR_TAR_SPARSE", offset, "expected GNU.sparse.offset and GNU.sparse.numbytes in turn");
      }
      pairs.push(decimal(text, key, offset));
    }
  }
  if (last.size === 0) return undefined;
  const name = last.get("name");
  const major = last.get("major");
  const minor = last.get("minor");
  if (major === "1" && minor === "0") {
    return { version: "1.0", name, realSize: decimal(last.get("realsize"), "GNU.sparse.realsize", offset) };
  }
  if ((major ?? "0") !== "0" || !["0", "1"].includes(minor ?? "0")) {
    throw new TarError("ERR_TAR_SPARSE", offset, `expected sparse format 0.0, 0.1 or 1.0, found ${major ?? "0"}.${minor ?? "0"}`);
  }
  const map = last.get("map");
  if (map !== undefined && pairs.length > 0) throw new TarError("ERR_TAR_SPARSE", offset, "found both GNU.sparse.map and GNU.sparse.offset");
  if (map !== undefined && map !== "") for (const number of map.split(",")) pairs.push(decimal(number, "GNU.sparse.map", offset));
  const extents = pairUp(pairs, offset, maxExtents);
  const blocks = decimal(last.get("numblocks"), "GNU.sparse.numblocks", offset);
  if (blocks !== extents.length) throw new TarError("ERR_TAR_SPARSE", offset, `expected ${blocks} extents, found ${extents.length}`);
  return { version: "0", name, realSize: decimal(last.get("size"), "GNU.sparse.size", offset), extents };
}

/** Extents of an old GNU header (`count` 4 at 386) or of a block that follows it (21 at 0), up to the first empty one. */
export function oldGnuExtents(block: Uint8Array, at: number, count: number, into: Extent[], offset: number): void {
  for (let i = 0; i < count; i++, at += 24) {
    if (block[at] === 0) return;
    const extent = { offset: readNumber(block, at, 12), length: readNumber(block, at + 12, 12) };
    if (!(extent.offset >= 0 && extent.length >= 0)) throw new TarError("ERR_TAR_SPARSE", offset, "expected two numbers from 0 to 2^53 as an extent");
    into.push(extent);
  }
}

/** Reads the map of format 1.0 line by line as blocks of the body come in. */
export class SparseMapParser {
  readonly #offset: number;
  readonly #maxExtents: number;
  readonly #numbers: number[] = [];
  #count = -1;
  #digits = "";

  constructor(offset: number, maxExtents: number) {
    this.#offset = offset;
    this.#maxExtents = maxExtents;
  }

  /** Takes the next block; true when the map is complete, the rest of the block being padding. */
  push(block: Uint8Array): boolean {
    for (const byte of block) {
      if (byte !== 0x0a) {
        this.#digits += String.fromCharCode(byte);
        if (this.#digits.length > 16) throw new TarError("ERR_TAR_SPARSE", this.#offset, "expected lines of at most 16 digits in the sparse map");
        continue;
      }
      const value = decimal(this.#digits, "sparse map", this.#offset);
      this.#digits = "";
      if (this.#count >= 0) this.#numbers.push(value);
      else if (value <= this.#maxExtents) this.#count = value;
      else throw tooManyExtents(value, this.#maxExtents, this.#offset);
      if (this.#numbers.length === 2 * this.#count) return true;
    }
    return false;
  }

  get extents(): Extent[] {
    return pairUp(this.#numbers, this.#offset, this.#maxExtents);
  }
}

/** Text of a 1.0 map, padded to whole blocks. */
export function formatSparseMap(extents: readonly Extent[], block: number): Buffer {
  const lines = [String(extents.length)];
  for (const { offset, length } of extents) lines.push(String(offset), String(length));
  const text = `${lines.join("\n")}\n`;
  const map = Buffer.alloc(Math.ceil(text.length / block) * block);
  map.write(text, 0, "latin1");
  return map;
}

/** Throws ERR_TAR_SPARSE unless extents rise without overlap up to `realSize` and add up to `storedSize`. */
export function checkExtents(extents: readonly Extent[], realSize: number, storedSize: number, offset: number): void {
  let end = 0;
  let stored = 0;
  for (const extent of extents) {
    if (extent.offset < end) throw new TarError("ERR_TAR_SPARSE", offset, `expected an extent at ${end} or later, found one at ${extent.offset}`);
    end = extent.offset + extent.length;
    stored += extent.length;
    if (end > realSize) throw new TarError("ERR_TAR_SPARSE", offset, `expected extents within ${realSize} bytes, found one that ends at ${end}`);
  }
  if (stored !== storedSize) throw new TarError("ERR_TAR_SPARSE", offset, `expected extents of ${storedSize} bytes in all, found ${stored}`);
}

export function tooManyExtents(found: number, limit: number, offset: number): TarError {
  return new TarError("ERR_TAR_LIMIT", offset, `expected at most ${limit} extents in a sparse file, found ${found} (maxExtents)`);
}

function pairUp(numbers: readonly number[], offset: number, maxExtents: number): Extent[] {
  if (numbers.length % 2 !== 0) throw new TarError("ERR_TAR_SPARSE", offset, "expected an offset and a length for each extent, found a lone number");
  if (numbers.length / 2 > maxExtents) throw tooManyExtents(numbers.length / 2, maxExtents, offset);
  const extents: Extent[] = [];
  for (let i = 0; i < numbers.length; i += 2) extents.push({ offset: numbers[i] as number, length: numbers[i + 1] as number });
  return extents;
}

function decimal(text: string | undefined, field: string, offset: number): number {
  const value = text === undefined ? NaN : readDecimal(text);
  if (Number.isNaN(value)) throw new TarError("ERR_TAR_SPARSE", offset, `expected a decimal number in ${field}, found ${JSON.stringify(text ?? "nothing")}`);
  return value;
}
