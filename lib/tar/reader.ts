/**
 * TarReader: an archive, uncompressed, as a stream of entries. Memory is bounded by the limits, whatever the archive holds.
 *
 * Every byte of the archive is either in the body of an entry or handed to `onRaw`, in the archive's order and exactly once
 * (bodies that are skipped are in neither). So whoever keeps both can rebuild the archive byte for byte.
 *
 * Yields entries one at a time; the next one is looked for only when asked. The source's own errors pass through unchanged.
 */
import { ByteSource } from "./byte-source.js";
import { mergeFields, PaxText, type TarEntry } from "./entry.js";
import { TarError } from "./errors.js";
import { BLOCK, isZeroBlock, parseHeader, type BlockHeader } from "./header.js";
import { readNumber } from "./numbers.js";
import { parsePax, type PaxRecord } from "./pax.js";
import { checkExtents, oldGnuExtents, paxSparse, SparseMapParser, tooManyExtents, type Extent, type PaxSparse } from "./sparse.js";

export interface TarLimits {
  /** Bytes of one x or g member, and of all global records together. Default 2 MiB. */
  readonly maxPaxSize?: number;
  /** Bytes of a name or link target. Default 65,536. */
  readonly maxNameLength?: number;
  /** Header blocks, those for long names and pax included. Default 2^26. */
  readonly maxHeaders?: number;
  /** Stored parts of one sparse file. Default 2^18. */
  readonly maxExtents?: number;
  /** Bytes of the archive. Default 2^40. */
  readonly maxArchiveSize?: number;
  /** Bytes of all files when unpacked, holes included. Default 2^42. */
  readonly maxContentSize?: number;
}

export interface TarReadOptions extends TarLimits {
  /** Receives all that is no body; called while the next entry is looked for. `bytes` are good during the call. */
  readonly onRaw?: (bytes: Uint8Array) => void;
}

const defaults: Required<TarLimits> = {
  maxPaxSize: 2 * 2 ** 20,
  maxNameLength: 65_536,
  maxHeaders: 2 ** 26,
  maxExtents: 2 ** 18,
  maxArchiveSize: 2 ** 40,
  maxContentSize: 2 ** 42,
};

/**
 * Reads `source` to its end, what follows the end marker included; leaving the iteration early closes the source. A chunk must
 * stay as it is until the next one is asked for. Throws TarError from the iteration and from bodies, TypeError for a wrong option.
 */
export function readTar(source: AsyncIterable<Uint8Array>, options: TarReadOptions = {}): AsyncIterableIterator<TarEntry> {
  return new TarReader(source, options).entries();
}

/** What has been gathered for the entry to come. */
interface Pending {
  offset: number;
  longName: string | undefined;
  longLink: string | undefined;
  pax: readonly PaxRecord[] | undefined;
}

interface Layout {
  readonly size: number;
  readonly storedSize: number;
  readonly extents: readonly Extent[] | undefined;
}

class TarReader {
  readonly #source: ByteSource;
  readonly #onRaw: ((bytes: Uint8Array) => void) | undefined;
  readonly #limits: Required<TarLimits>;
  #globals: readonly PaxRecord[] = [];
  #headers = 0;
  #contentSize = 0;
  /** The number of the entry whose body the source stands in; a body that remembers another one is stale. */
  #current = 0;
  #bodyLeft = 0;
  #paddingLeft = 0;

  constructor(source: AsyncIterable<Uint8Array>, options: TarReadOptions) {
    const { onRaw, ...limits } = options;
    for (const [key, value] of Object.entries(limits)) {
      if (!(key in defaults)) throw new TypeError(`unknown option ${key} of readTar`);
      if (value !== undefined && !(value >= 0)) throw new TypeError(`option ${key} of readTar: expected a number from 0, found ${String(value)}`);
    }
    this.#onRaw = onRaw;
    this.#limits = { ...defaults, ...limits };
    this.#source = new ByteSource(source);
  }

  async *entries(): AsyncGenerator<TarEntry, undefined> {
    try {
      for (;;) {
        const entry = await this.#next();
        if (entry === undefined) return undefined;
        yield entry;
      }
    } finally {
      this.#current = -1;
      await this.#source.close();
    }
  }

  async #next(): Promise<TarEntry | undefined> {
    await this.#finishBody();
    const pending: Pending = { offset: this.#source.offset, longName: undefined, longLink: undefined, pax: undefined };
    for (;;) {
      const offset = this.#source.offset;
      const taken = this.#source.take(BLOCK);
      const block = taken instanceof Promise ? await taken : taken;
      if (block.length === 0 || (block.length === BLOCK && isZeroBlock(block))) {
        if (hasPending(pending)) {
          throw new TarError("ERR_TAR_TRUNCATED", offset, "expected the entry that the preceding long name or pax header is for, found the end");
        }
        this.#raw(block);
        await this.#drain();
        return undefined;
      }
      if (block.length < BLOCK) throw new TarError("ERR_TAR_TRUNCATED", offset, `expected a header of ${BLOCK} bytes, found ${block.length}`);
      if (++this.#headers > this.#limits.maxHeaders) throw new TarError("ERR_TAR_LIMIT", offset, `expected at most ${this.#limits.maxHeaders} headers (maxHeaders)`);
      const header = parseHeader(block, offset);
      this.#raw(block);
      switch (header.type) {
        case "L":
        case "K":
          await this.#longName(header, offset, pending);
          break;
        case "x":
        case "X":
          await this.#pax(header, offset, pending);
          break;
        case "g":
          await this.#global(header, offset, pending);
          break;
        case "V":
          // A GNU volume label: a name for the archive, no entry of it.
          await this.#meta(header, offset, this.#limits.maxNameLength, "maxNameLength");
          break;
        default:
          return await this.#entry(header, block, pending);
      }
    }
  }

  async #entry(header: BlockHeader, block: Buffer, pending: Pending): Promise<TarEntry> {
    const { offset } = pending;
    const own = pending.pax ?? [];
    const records = this.#globals.length === 0 ? own : [...this.#globals, ...own];
    const sparse = paxSparse(own, offset, this.#limits.maxExtents);
    const fields = mergeFields({ offset, header, records, longName: pending.longName, longLink: pending.longLink, sparseName: sparse?.name });
    const longest = Math.max(fields.name.length, fields.linkName.length);
    if (longest > this.#limits.maxNameLength) throw this.#tooLong(longest, offset);
    let layout: Layout = { size: 0, storedSize: 0, extents: undefined };
    let padding = 0;
    if (fields.kind === "file") {
      const inArchive = new PaxText(own, offset).count("size") ?? header.size;
      layout = await this.#layout(header, block, sparse, inArchive, offset);
      padding = paddingOf(inArchive);
    } else if (header.type === "S" || sparse !== undefined) {
      throw new TarError("ERR_TAR_SPARSE", offset, `expected a sparse map only for a file, found one for a ${fields.kind}`);
    }
    this.#contentSize += layout.size;
    if (this.#contentSize > this.#limits.maxContentSize) {
      throw new TarError("ERR_TAR_LIMIT", offset, `expected files of at most ${this.#limits.maxContentSize} bytes in all (maxContentSize)`);
    }
    this.#checkArchiveSize(layout.storedSize);
    this.#bodyLeft = layout.storedSize;
    this.#paddingLeft = padding;
    const number = ++this.#current;
    const bodyOffset = this.#source.offset;
    return { ...fields, ...layout, offset, bodyOffset, pax: records, body: { [Symbol.asyncIterator]: () => this.#body(number, layout.storedSize), whole: () => this.#whole(number, layout.storedSize) } };
  }

  /** Where the bytes of a file lie. Reads what of the sparse map follows the header. `inArchive` is the member's size. */
  async #layout(header: BlockHeader, block: Buffer, sparse: PaxSparse | undefined, inArchive: number, offset: number): Promise<Layout> {
    if (header.type === "S") {
      if (header.dialect !== "gnu") throw new TarError("ERR_TAR_SPARSE", offset, `expected the GNU dialect for a member of type S, found ${header.dialect}`);
      if (sparse !== undefined) throw new TarError("ERR_TAR_SPARSE", offset, "found both an old GNU and a pax sparse map");
      return await this.#oldGnuLayout(block, inArchive, offset);
    }
    if (sparse === undefined) return { size: inArchive, storedSize: inArchive, extents: undefined };
    if (sparse.version === "0") {
      checkExtents(sparse.extents, sparse.realSize, inArchive, offset);
      return { size: sparse.realSize, storedSize: inArchive, extents: sparse.extents };
    }
    const map = new SparseMapParser(offset, this.#limits.maxExtents);
    let storedSize = inArchive;
    for (let complete = false; !complete; storedSize -= BLOCK) {
      if (storedSize < BLOCK) throw new TarError("ERR_TAR_SPARSE", offset, `expected a sparse map within the body of ${inArchive} bytes`);
      const next = await this.#block("a sparse map");
      complete = map.push(next);
      this.#raw(next);
    }
    checkExtents(map.extents, sparse.realSize, storedSize, offset);
    return { size: sparse.realSize, storedSize, extents: map.extents };
  }

  async #oldGnuLayout(header: Buffer, storedSize: number, offset: number): Promise<Layout> {
    const size = readNumber(header, 483, 12);
    if (!(size >= 0)) throw new TarError("ERR_TAR_SPARSE", offset, "expected a number from 0 to 2^53 as real size");
    const extents: Extent[] = [];
    oldGnuExtents(header, 386, 4, extents, offset);
    for (let more = header[482] !== 0; more; ) {
      const block = await this.#block("a sparse map");
      oldGnuExtents(block, 0, 21, extents, offset);
      if (extents.length > this.#limits.maxExtents) throw tooManyExtents(extents.length, this.#limits.maxExtents, offset);
      more = block[504] !== 0;
      this.#raw(block);
    }
    checkExtents(extents, size, storedSize, offset);
    return { size, storedSize, extents };
  }

  async #longName(header: BlockHeader, offset: number, pending: Pending): Promise<void> {
    const body = await this.#meta(header, offset, this.#limits.maxNameLength + 1, "maxNameLength");
    const nul = body.indexOf(0);
    const name = body.toString("latin1", 0, nul < 0 ? body.length : nul);
    if ((header.type === "L" ? pending.longName : pending.longLink) !== undefined) {
      throw new TarError("ERR_TAR_HEADER", offset, `expected one long name for an entry, found two of type ${header.type}`);
    }
    if (header.type === "L") pending.longName = name;
    else pending.longLink = name;
  }

  async #pax(header: BlockHeader, offset: number, pending: Pending): Promise<void> {
    if (pending.pax !== undefined) throw new TarError("ERR_TAR_HEADER", offset, "expected one pax header for an entry, found two");
    pending.pax = parsePax(await this.#meta(header, offset, this.#limits.maxPaxSize, "maxPaxSize"), offset + BLOCK);
  }

  async #global(header: BlockHeader, offset: number, pending: Pending): Promise<void> {
    if (hasPending(pending)) throw new TarError("ERR_TAR_HEADER", offset, "expected an entry after its long name or pax header, found a global pax header");
    const records = parsePax(await this.#meta(header, offset, this.#limits.maxPaxSize, "maxPaxSize"), offset + BLOCK);
    for (const { key } of records) {
      // One record that renames or resizes all entries to come serves no writer, only attacks on readers that differ.
      if (["path", "linkpath", "size"].includes(key) || key.startsWith("GNU.sparse.")) {
        throw new TarError("ERR_TAR_PAX", offset, `expected ${key} only in the pax header of an entry, found it in a global one`);
      }
    }
    const merged = new Map<string, PaxRecord>();
    for (const record of [...this.#globals, ...records]) merged.set(record.key, record);
    this.#globals = [...merged.values()];
    const size = this.#globals.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
    if (size > this.#limits.maxPaxSize) {
      throw new TarError("ERR_TAR_LIMIT", offset, `expected global pax records of at most ${this.#limits.maxPaxSize} bytes in all, found ${size} (maxPaxSize)`);
    }
  }

  /** A copy of the whole body of a member that describes others; its padding is passed on. */
  async #meta(header: BlockHeader, offset: number, limit: number, option: string): Promise<Buffer> {
    if (header.size > limit) throw new TarError("ERR_TAR_LIMIT", offset, `expected a member of type ${header.type} of at most ${limit} bytes, found ${header.size} (${option})`);
    const body = await this.#source.take(header.size);
    if (body.length < header.size) throw new TarError("ERR_TAR_TRUNCATED", offset, `expected ${header.size} bytes of a member of type ${header.type}, found ${body.length}`);
    this.#raw(body);
    const copy = Buffer.from(body);
    this.#paddingLeft = paddingOf(header.size);
    await this.#finishBody();
    return copy;
  }

  async #block(what: string): Promise<Buffer> {
    const offset = this.#source.offset;
    const block = await this.#source.take(BLOCK);
    if (block.length < BLOCK) throw new TarError("ERR_TAR_TRUNCATED", offset, `expected a block of ${what}, found ${block.length} bytes`);
    return block;
  }

  async *#body(number: number, size: number): AsyncGenerator<Uint8Array, undefined> {
    this.#checkUnread(number, size);
    for (;;) {
      if (number !== this.#current) throw this.#tooLate();
      if (this.#bodyLeft === 0) return undefined;
      yield await this.#bodyPart();
    }
  }

  #whole(number: number, size: number): Buffer | Promise<Buffer> {
    if (number !== this.#current) throw this.#tooLate();
    this.#checkUnread(number, size);
    const taken = this.#source.take(size);
    if (!(taken instanceof Promise)) {
      this.#bodyLeft = 0;
      return taken;
    }
    return taken.then((body) => {
      if (body.length < size) throw this.#endsEarly(size - body.length);
      this.#bodyLeft = 0;
      return body;
    });
  }

  #checkUnread(number: number, size: number): void {
    if (number === this.#current && this.#bodyLeft !== size) throw new TarError("ERR_TAR_STALE", this.#source.offset, "a body can be read once");
  }

  async #bodyPart(): Promise<Buffer> {
    const part = await this.#source.some(this.#bodyLeft);
    if (part.length === 0) throw this.#endsEarly(this.#bodyLeft);
    this.#bodyLeft -= part.length;
    return part;
  }

  /** Skips what is left of the body and passes the padding on. */
  async #finishBody(): Promise<void> {
    while (this.#bodyLeft > 0) await this.#bodyPart();
    if (this.#paddingLeft === 0) return;
    const offset = this.#source.offset;
    const taken = this.#source.take(this.#paddingLeft);
    const padding = taken instanceof Promise ? await taken : taken;
    if (padding.length < this.#paddingLeft) throw new TarError("ERR_TAR_TRUNCATED", offset, `expected ${this.#paddingLeft} bytes of padding, found ${padding.length}`);
    this.#paddingLeft = 0;
    this.#raw(padding);
  }

  /**
   * After the first zero block, or the end of the stream: passes on the rest. A lone zero block with more behind it ends the
   * archive for some readers and not for others, so it is refused.
   */
  async #drain(): Promise<void> {
    const offset = this.#source.offset;
    const second = await this.#source.take(BLOCK);
    if (second.length === BLOCK && !isZeroBlock(second)) throw new TarError("ERR_TAR_HEADER", offset, "expected a second block of zeros or the end, found something else");
    for (let rest = second; rest.length > 0; rest = await this.#source.some(65_536)) this.#raw(rest);
  }

  #raw(bytes: Uint8Array): void {
    this.#checkArchiveSize(0);
    this.#onRaw?.(bytes);
  }

  #checkArchiveSize(ahead: number): void {
    if (this.#source.offset + ahead <= this.#limits.maxArchiveSize) return;
    throw new TarError("ERR_TAR_LIMIT", this.#source.offset, `expected an archive of at most ${this.#limits.maxArchiveSize} bytes (maxArchiveSize)`);
  }

  #tooLate(): TarError {
    return new TarError("ERR_TAR_STALE", this.#source.offset, "expected the body to be read before the next entry");
  }

  #endsEarly(missing: number): TarError {
    return new TarError("ERR_TAR_TRUNCATED", this.#source.offset, `expected ${missing} more bytes of a body, found the end`);
  }

  #tooLong(length: number, offset: number): TarError {
    return new TarError("ERR_TAR_LIMIT", offset, `expected names of at most ${this.#limits.maxNameLength} bytes, found ${length} (maxNameLength)`);
  }
}

const hasPending = (pending: Pending): boolean => pending.longName !== undefined || pending.longLink !== undefined || pending.pax !== undefined;

export function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}
