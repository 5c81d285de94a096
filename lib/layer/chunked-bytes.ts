/**
 * The bytes of a file in memory: chunks of 64 KiB, kept only where something was written.
 * Always true: memory grows with what was written, not with the size; what has no chunk reads as zeros and is a hole.
 */
import { FsError } from "../base/errors.js";
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE, SEEK_DATA } from "../sys/flags.js";

const CHUNK = 65536;
const SECTORS_PER_CHUNK = CHUNK / 512;

/** How much memory a tree of such files may take, and takes. */
export interface Budget {
  readonly maxBytes: number;
  usedBytes: number;
}

export const unlimited = (): Budget => ({ maxBytes: Infinity, usedBytes: 0 });

export class ChunkedBytes {
  private readonly chunks = new Map<number, Uint8Array>();
  private readonly budget: Budget;
  private length = 0;

  constructor(budget: Budget, content?: Uint8Array) {
    this.budget = budget;
    if (content !== undefined && content.length > 0) this.write(content, 0);
  }

  get size(): number {
    return this.length;
  }

  get blocks512(): number {
    return this.chunks.size * SECTORS_PER_CHUNK;
  }

  read(into: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(into.length, this.length - position));
    for (let done = 0; done < count; ) {
      const at = position + done;
      const within = at % CHUNK;
      const piece = Math.min(CHUNK - within, count - done);
      const chunk = this.chunks.get(Math.floor(at / CHUNK));
      if (chunk === undefined) into.fill(0, done, done + piece);
      else into.set(chunk.subarray(within, within + piece), done);
      done += piece;
    }
    return count;
  }

  /** Throws ENOSPC before anything has changed. */
  write(from: Uint8Array, position: number): number {
    this.reserve(position, from.length);
    for (let done = 0; done < from.length; ) {
      const at = position + done;
      const within = at % CHUNK;
      const piece = Math.min(CHUNK - within, from.length - done);
      this.chunks.get(Math.floor(at / CHUNK))!.set(from.subarray(done, done + piece), within);
      done += piece;
    }
    if (from.length > 0) this.length = Math.max(this.length, position + from.length);
    return from.length;
  }

  truncate(size: number): void {
    if (size < this.length) this.zero(size, this.length - size);
    this.length = size;
  }

  /** fallocate(2) for allocation, zeroing and holes; throws EOPNOTSUPP for the other modes. */
  allocate(mode: number, position: number, length: number): void {
    const keep = (mode & FALLOC_FL_KEEP_SIZE) !== 0;
    const kind = mode & ~FALLOC_FL_KEEP_SIZE;
    if (kind !== 0 && kind !== FALLOC_FL_ZERO_RANGE && !(kind === FALLOC_FL_PUNCH_HOLE && keep)) throw new FsError("EOPNOTSUPP", "fallocate");
    if (kind !== 0) this.zero(position, Math.min(length, Math.max(0, this.length - position)));
    if (!keep) this.length = Math.max(this.length, position + length);
  }

  /** lseek(2) with SEEK_DATA or SEEK_HOLE; the end of the file counts as a hole. Throws ENXIO. */
  seek(position: number, whence: 3 | 4): number {
    if (position >= this.length) throw new FsError("ENXIO", "lseek");
    for (let at = position; at < this.length; at = (Math.floor(at / CHUNK) + 1) * CHUNK) {
      if (this.chunks.has(Math.floor(at / CHUNK)) === (whence === SEEK_DATA)) return at;
    }
    if (whence === SEEK_DATA) throw new FsError("ENXIO", "lseek");
    return this.length;
  }

  /** The memory is free for others. */
  drop(): void {
    this.budget.usedBytes -= this.chunks.size * CHUNK;
    this.chunks.clear();
    this.length = 0;
  }

  private reserve(position: number, length: number): void {
    if (length === 0) return;
    const first = Math.floor(position / CHUNK);
    const last = Math.floor((position + length - 1) / CHUNK);
    let missing = 0;
    for (let index = first; index <= last; index++) if (!this.chunks.has(index)) missing++;
    if (this.budget.usedBytes + missing * CHUNK > this.budget.maxBytes) throw new FsError("ENOSPC", "write");
    this.budget.usedBytes += missing * CHUNK;
    for (let index = first; index <= last; index++) if (!this.chunks.has(index)) this.chunks.set(index, new Uint8Array(CHUNK));
  }

  private zero(position: number, length: number): void {
    const end = position + length;
    for (const [index, chunk] of this.chunks) {
      const start = index * CHUNK;
      const whole = position <= start && (end >= start + CHUNK || end >= this.length);
      if (whole && end > start) {
        this.chunks.delete(index);
        this.budget.usedBytes -= CHUNK;
      } else if (position < start + CHUNK && end > start) {
        chunk.fill(0, Math.max(0, position - start), Math.min(CHUNK, end - start));
      }
    }
  }
}
