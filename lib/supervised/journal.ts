/**
 * What a mount's server remembers where its death does not reach: a log in memory shared by descriptor (memfd). Only the end of a process
 * is to be survived, not of the machine: what has been stored is there for the next process, in the order in which it was stored.
 * Always true: the log up to its tail consists of whole groups; a group shows all of its records or none (the tail moves last). When the
 * log has grown, what still counts is written to the other half, which then becomes the log in one store.
 *
 *   0        | magic u64 | version u32 | half in use u32 | tail of each f64 ×2 | reads f64 | backing f64 | generation f64 | attempts f64 |
 *            | serving u32 ×2 | dying u32 ×2 | strikes f64 | pid f64 | ready f64 | length of the job f64 | length of the program f64 |
 *            | heir u32 | waits u32 |
 *   KEPT     one bit for each descriptor that the next process inherits
 *   JOB      text: what is mounted, and how; PROGRAM: text
 *   REQUEST  the request being served, where it was read to
 *   LOG      two halves
 *
 * A group is | length u32 | checksum u32 | records |, a record | length u32 | kind u32 | fields |, each a multiple of 8 bytes.
 */
import { check, errnoName, FsError } from "../base/errors.js";
import { native } from "../sys/binding.js";
import { AT_EMPTY_PATH } from "../sys/flags.js";
import { MESSAGE_SIZE } from "../fuse/wire/abi.js";

const VERSION = 2;
const MAGIC = [0x61727473, 0x73666174] as const; // "stratafs"
const AT = {
  magic: 0, version: 8, half: 12, tail: 16, reads: 32, backing: 40, generation: 48, attempts: 56, serving: 64, dying: 72, strikes: 80, pid: 88, ready: 96,
  jobLength: 104, programLength: 112, heir: 120, waits: 124,
} as const;
const KEPT_AT = 4096;
const KEPT_SIZE = 128 * 1024;
const JOB_AT = KEPT_AT + KEPT_SIZE;
const JOB_SIZE = 1024 * 1024;
const PROGRAM_AT = JOB_AT + JOB_SIZE;
const PROGRAM_SIZE = 8192;
const REQUEST_AT = PROGRAM_AT + PROGRAM_SIZE;
const LOG_AT = REQUEST_AT + Math.ceil(MESSAGE_SIZE / 4096) * 4096;
const HALF_SIZE = 256 * 1024 * 1024;
const SIZE = LOG_AT + 2 * HALF_SIZE;
/** The log is written anew when it has grown to this, or to four times what counted the last time. */
const COMPACT_ABOVE = 1024 * 1024;
const GROUP_HEAD = 8;
const RECORD_HEAD = 8;
/** Bytes that are copied here sooner than by a call. */
const SHORT = 200;
/** Waits are long, and who kills a server from outside meets one more often than not: such a death is a small part of a strike. A power of two. */
const WAITING = 1 / 16;
/** FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE */
const PUNCH_HOLE = 3;

/** Kinds of records. The numbers are the format. */
export const ENTRY = 1;
export const GONE = 2;
export const NODE = 3;
export const ANSWER = 4;
export const INTENT = 5;
export const NOTE = 6;
export const FORGOTTEN = 7;
export const COUNTERS = 8;
export const PERFORMED = 9;

/** One record as it lies in the log; its fields are read in the order in which they were written. All throw EIO past its end. */
export interface RecordReader {
  readonly kind: number;
  number(): number;
  /** A number that is a whole one, `least` or more. Throws EIO. */
  whole(least?: number): number;
  /** How many things follow, each of 8 bytes or more. Throws EIO where there cannot be so many. */
  count(): number;
  text(): string;
  bytes(): Buffer;
}

export class Journal {
  readonly fd: number;
  /** Where requests are read to. */
  readonly request: Buffer;
  readonly kept: Uint8Array;
  /** The number of the heir that counts, u32. */
  readonly heir: Uint8Array;
  readonly #bytes: Buffer;
  readonly #view: DataView;
  readonly #words: Int32Array;
  #half: number;
  /** Where the next record goes; what lies between the tail and here is not part of the log yet. */
  #at: number;
  #group: number;
  #record = 0;
  #compactAbove = COMPACT_ABOVE;

  /** `name` is seen in /proc/PID/fd. Throws FsError. */
  static create(name: string): Journal {
    const fd = native.memfd(name, SIZE);
    if (fd < 0) throw new FsError(errnoName(fd), "memfd_create");
    return Journal.make(mapped(fd), fd);
  }

  /** A new journal in `memory`, of journalHead.memory zeros. */
  static make(memory: ArrayBuffer, fd: number): Journal {
    const journal = new Journal(fd, memory);
    journal.#view.setUint32(AT.magic, MAGIC[0], true);
    journal.#view.setUint32(AT.magic + 4, MAGIC[1], true);
    journal.#view.setUint32(AT.version, VERSION, true);
    journal.keep(fd);
    return journal;
  }

  /** The journal of the process before. Throws EINVAL for something else, and for a version not known here; EIO for a damaged one. */
  static open(fd: number): Journal {
    const stat = new Float64Array(32);
    check(native.statx(fd, "", AT_EMPTY_PATH, stat), "statx", "of the journal");
    // What is mapped beyond the end of a file ends the process when it is touched.
    if (stat[6] !== SIZE) throw new FsError("EINVAL", "journal", "is none");
    return Journal.in(mapped(fd), fd);
  }

  /** The journal that lies in `memory`, of journalHead.memory bytes. Throws as open(). */
  static in(memory: ArrayBuffer, fd: number): Journal {
    const journal = new Journal(fd, memory);
    const view = journal.#view;
    const version = view.getUint32(AT.version, true);
    if (view.getUint32(AT.magic, true) !== MAGIC[0] || view.getUint32(AT.magic + 4, true) !== MAGIC[1]) throw new FsError("EINVAL", "journal", "is none");
    if (version !== VERSION) throw new FsError("EINVAL", "journal", `of version ${version}; this program reads ${VERSION}`);
    const half = view.getUint32(AT.half, true);
    const tail = view.getFloat64(AT.tail + (half & 1) * 8, true);
    const lengths = [view.getFloat64(AT.jobLength, true), view.getFloat64(AT.programLength, true)];
    if (half > 1 || !(tail >= 0 && tail <= HALF_SIZE) || tail % 8 !== 0 || !lengths.every((length) => length >= 0 && length <= JOB_SIZE)) {
      throw new FsError("EIO", "journal", "is damaged at its head");
    }
    return journal;
  }

  /** Says to the heir that there is nothing to go on with, in a journal that may be too damaged to be opened. */
  static abandon(fd: number): void {
    native.pwrite(fd, Buffer.alloc(KEPT_SIZE), 0, KEPT_SIZE, KEPT_AT);
  }

  private constructor(fd: number, memory: ArrayBuffer) {
    this.fd = fd;
    this.#bytes = Buffer.from(memory);
    this.#view = new DataView(memory);
    this.#words = new Int32Array(memory);
    this.kept = this.#bytes.subarray(KEPT_AT, KEPT_AT + KEPT_SIZE);
    this.heir = this.#bytes.subarray(AT.heir, AT.heir + 4);
    this.request = this.#bytes.subarray(REQUEST_AT, REQUEST_AT + MESSAGE_SIZE);
    // Any other number is refused by in().
    this.#half = this.#view.getUint32(AT.half, true) & 1;
    this.#at = this.#group = this.#halfAt(this.#half) + this.#tail(this.#half);
  }

  // ── single values, each stored at once ──

  get reads(): number {
    return this.#view.getFloat64(AT.reads, true);
  }
  /** The last backing id that the kernel gave, or undefined before. */
  get backing(): number {
    return this.#view.getFloat64(AT.backing, true);
  }
  set backing(id: number) {
    this.#view.setFloat64(AT.backing, id, true);
  }
  /** How many processes have served before this one. */
  get generation(): number {
    return this.#view.getFloat64(AT.generation, true);
  }
  /** Processes in a row that have begun to serve and not answered anything. */
  get attempts(): number {
    return this.#view.getFloat64(AT.attempts, true);
  }
  /** How often in a row a server has died with the request that the last one died with; a death while that only waited for a disk counts WAITING. */
  get strikes(): number {
    return this.#view.getFloat64(AT.strikes, true);
  }
  get dying(): readonly [lo: number, hi: number] {
    return [this.#view.getUint32(AT.dying, true), this.#view.getUint32(AT.dying + 4, true)];
  }
  /** One store decides which heir goes on. */
  get heirNumber(): number {
    return Atomics.load(this.#words, AT.heir >> 2);
  }
  set heirNumber(number: number) {
    Atomics.store(this.#words, AT.heir >> 2, number);
  }
  set ready(ready: boolean) {
    this.#view.setFloat64(AT.ready, ready ? 1 : 0, true);
  }

  /** A process begins to serve. */
  begin(pid: number): void {
    const view = this.#view;
    const lo = view.getUint32(AT.serving, true);
    const hi = view.getUint32(AT.serving + 4, true);
    const again = (lo !== 0 || hi !== 0) && lo === view.getUint32(AT.dying, true) && hi === view.getUint32(AT.dying + 4, true);
    const weight = view.getUint32(AT.waits, true) === 0 ? 1 : WAITING;
    view.setFloat64(AT.strikes, again ? this.strikes + weight : weight, true);
    view.setUint32(AT.dying, lo, true);
    view.setUint32(AT.dying + 4, hi, true);
    this.serving(0, 0);
    view.setFloat64(AT.pid, pid, true);
    view.setFloat64(AT.attempts, this.attempts + 1, true);
    view.setFloat64(AT.generation, this.generation + 1, true);
  }

  /** Something was answered. */
  succeeded(): void {
    this.#view.setFloat64(AT.attempts, 0, true);
  }

  serving(uniqueLo: number, uniqueHi: number): void {
    this.#view.setUint32(AT.serving, uniqueLo, true);
    this.#view.setUint32(AT.serving + 4, uniqueHi, true);
    this.#view.setUint32(AT.waits, 0, true);
  }

  /** The next request is about to be read: the one in the buffer has been performed, or waits for what threads do. */
  beforeRead(): void {
    this.#view.setUint32(AT.waits, 1, true);
    this.#view.setUint32(REQUEST_AT, 0, true);
    this.#view.setFloat64(AT.reads, this.reads + 1, true);
  }

  get job(): string {
    return this.#bytes.toString("utf8", JOB_AT, JOB_AT + this.#view.getFloat64(AT.jobLength, true));
  }
  /** Throws E2BIG. */
  set job(text: string) {
    this.#store(text, JOB_AT, JOB_SIZE, AT.jobLength);
  }

  /** What the next server is to be, when it is not what this one is: written by another process. */
  get program(): string {
    return this.#bytes.toString("utf8", PROGRAM_AT, PROGRAM_AT + Math.min(PROGRAM_SIZE, this.#view.getFloat64(AT.programLength, true)));
  }

  #store(text: string, at: number, size: number, lengthAt: number): void {
    const length = Buffer.byteLength(text);
    if (length > size) throw new FsError("E2BIG", "journal", `a description of ${length} bytes`);
    this.#bytes.write(text, at, "utf8");
    this.#view.setFloat64(lengthAt, length, true);
  }

  // ── descriptors that the next process inherits ──

  keep(fd: number): void {
    if (fd >= KEPT_SIZE * 8) throw new FsError("EMFILE", "journal", `descriptor ${fd}`);
    this.kept[fd >> 3]! |= 1 << (fd & 7);
  }
  drop(fd: number): void {
    this.kept[fd >> 3]! &= ~(1 << (fd & 7));
  }
  isKept(fd: number): boolean {
    return (this.kept[fd >> 3]! & (1 << (fd & 7))) !== 0;
  }
  keptDescriptors(): number[] {
    const fds: number[] = [];
    // By words: nearly all of them are 0, and this is done at every start.
    for (let word = KEPT_AT >> 2, end = (KEPT_AT + KEPT_SIZE) >> 2; word < end; word++) {
      if (this.#words[word] === 0) continue;
      for (let bit = 0; bit < 32; bit++) if ((this.#words[word]! >>> bit & 1) !== 0) fds.push((word - (KEPT_AT >> 2)) * 32 + bit);
    }
    return fds;
  }

  // ── writing: record(), fields, record(), …, commit() ──

  /** Whether the log should be written anew, by a rewrite(), before more is added. */
  get isLong(): boolean {
    return this.#tail(this.#half) > this.#compactAbove;
  }

  /** Begins a record of a group; its fields follow. Throws ENOMEM when the log has no room, and then the group is lost. */
  record(kind: number): void {
    this.#endRecord();
    if (this.#at === this.#group) this.#at += GROUP_HEAD;
    this.#record = this.#at;
    this.#need(RECORD_HEAD);
    this.#view.setUint32(this.#at + 4, kind, true);
    this.#at += RECORD_HEAD;
  }

  number(value: number): void {
    this.#need(8);
    this.#view.setFloat64(this.#at, value, true);
    this.#at += 8;
  }

  /** Latin1. */
  text(text: string): void {
    this.#need(text.length + 8);
    this.#view.setFloat64(this.#at, text.length, true);
    this.#at += 8;
    const bytes = this.#bytes;
    if (text.length > SHORT) bytes.write(text, this.#at, "latin1");
    else for (let i = 0; i < text.length; i++) bytes[this.#at + i] = text.charCodeAt(i);
    this.#at += text.length;
    this.#align();
  }

  bytes(bytes: Uint8Array, length: number): void {
    this.#need(length + 8);
    this.#view.setFloat64(this.#at, length, true);
    this.#at += 8;
    const to = this.#bytes;
    if (length > SHORT) to.set(length === bytes.length ? bytes : bytes.subarray(0, length), this.#at);
    else for (let i = 0; i < length; i++) to[this.#at + i] = bytes[i]!;
    this.#at += length;
    this.#align();
  }

  /** The group becomes part of the log. */
  commit(): void {
    this.#endRecord();
    if (this.#at === this.#group) return;
    this.#seal();
    this.#setTail(this.#half, this.#at - this.#halfAt(this.#half));
    this.#group = this.#at;
  }

  /** Writes the log anew: `write` makes groups, by record() and commit(), of all that counts. */
  rewrite(write: () => void): void {
    const old = this.#half;
    this.#half = 1 - old;
    this.#record = 0;
    this.#at = this.#group = this.#halfAt(this.#half);
    this.#setTail(this.#half, 0);
    write();
    this.commit();
    this.#view.setUint32(AT.half, this.#half, true);
    this.#compactAbove = Math.max(COMPACT_ABOVE, 4 * this.#tail(this.#half));
    // Frees the memory; without this it would only be used again later.
    native.fallocate(this.fd, PUNCH_HOLE, this.#halfAt(old), HALF_SIZE);
  }

  // ── reading ──

  /** Every record of the log, oldest first. Throws EIO when it is damaged; whatever it holds, reading it ends. */
  replay(visit: (record: RecordReader) => void): void {
    const start = this.#halfAt(this.#half);
    const end = start + this.#tail(this.#half);
    const view = this.#view;
    for (let group = start; group < end; ) {
      const length = end - group < GROUP_HEAD ? 0 : view.getUint32(group, true);
      const stop = group + length;
      if (length < GROUP_HEAD || length % 8 !== 0 || stop > end || checksumOf(this.#words, group, length) !== view.getInt32(group + 4, true)) damaged(group - start);
      for (let at = group + GROUP_HEAD; at < stop; ) {
        const size = view.getUint32(at, true);
        if (size < RECORD_HEAD || size % 8 !== 0 || at + size > stop) damaged(at - start);
        visit(this.#reader(at, at + size, at - start));
        at += size;
      }
      group = stop;
    }
  }

  /** `place` is for messages. */
  #reader(record: number, end: number, place: number): RecordReader {
    const view = this.#view;
    const bytes = this.#bytes;
    let at = record + RECORD_HEAD;
    const number = (): number => {
      if (at + 8 > end) damaged(place);
      return view.getFloat64((at += 8) - 8, true);
    };
    const whole = (least = 0): number => {
      const value = number();
      if (!Number.isInteger(value) || value < least) damaged(place);
      return value;
    };
    const span = (): readonly [number, number] => {
      const length = whole();
      const from = at;
      at += Math.ceil(length / 8) * 8;
      if (at > end) damaged(place);
      return [from, from + length];
    };
    return {
      kind: view.getUint32(record + 4, true),
      number,
      whole,
      count: () => {
        const count = whole();
        if (count > (end - at) / 8) damaged(place);
        return count;
      },
      text: () => bytes.toString("latin1", ...span()),
      bytes: () => Buffer.from(bytes.subarray(...span())),
    };
  }

  #need(length: number): void {
    if (this.#at + length + 16 <= this.#halfAt(this.#half) + HALF_SIZE) return;
    this.#at = this.#group;
    this.#record = 0;
    throw new FsError("ENOMEM", "journal", `has no room for more than ${HALF_SIZE} bytes`);
  }

  /** Zeros up to the next multiple of 8: what lies there is of an older log, and counts in the checksum. */
  #align(): void {
    while ((this.#at & 7) !== 0) this.#bytes[this.#at++] = 0;
  }

  #endRecord(): void {
    if (this.#record !== 0) this.#view.setUint32(this.#record, this.#at - this.#record, true);
    this.#record = 0;
  }

  #seal(): void {
    const length = this.#at - this.#group;
    this.#view.setUint32(this.#group, length, true);
    this.#view.setInt32(this.#group + 4, checksumOf(this.#words, this.#group, length), true);
  }

  #halfAt(half: number): number {
    return LOG_AT + half * HALF_SIZE;
  }
  #tail(half: number): number {
    return this.#view.getFloat64(AT.tail + half * 8, true);
  }
  #setTail(half: number, tail: number): void {
    this.#view.setFloat64(AT.tail + half * 8, tail, true);
  }
}

/** Of a group of `length` bytes at byte `group` of the memory. */
export function checksumOf(words: Int32Array, group: number, length: number): number {
  let sum = length;
  for (let i = (group + GROUP_HEAD) >> 2, end = (group + length) >> 2; i < end; i++) sum = Math.imul(sum ^ words[i]!, 0x01000193) ^ (sum >>> 15);
  return sum | 0;
}

function damaged(at: number): never {
  throw new FsError("EIO", "journal", `is damaged at byte ${at}`);
}

function mapped(fd: number): ArrayBuffer {
  const memory = native.mapShared(fd, SIZE);
  if (typeof memory === "number") throw new FsError(errnoName(memory), "mmap", "of the journal");
  return memory;
}

/** What `stratafs upgrade` reads and writes through /proc, and where the rest lies. */
export const head = {
  ...AT, program: PROGRAM_AT, programSize: PROGRAM_SIZE, size: KEPT_AT, request: REQUEST_AT, log: [LOG_AT, LOG_AT + HALF_SIZE], memory: SIZE,
} as const;
