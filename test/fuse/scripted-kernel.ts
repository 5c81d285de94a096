/**
 * A channel in memory: a test says what the kernel sends and reads what it gets. Requests are made by hand here, byte by byte, so that
 * the codecs are not tested against themselves.
 */
import type { Channel, ChannelListener } from "../../lib/fuse/channel.js";
import type { Access } from "../../lib/fuse/files.js";
import { Session, type SessionOptions } from "../../lib/fuse/session.js";
import { MemoryFileSystem, type MemoryOptions } from "../helpers/memory-file-system.js";

export type { Access };

export interface Answer {
  readonly unique: number;
  /** 0, a negative errno, or the code of a notification (unique 0). */
  readonly error: number;
  readonly body: Buffer;
}

/** A body is made of u32s and u64s and strings: u32(1), u64(2), str("name"). */
export const u16 = (value: number): Buffer => Buffer.from([value & 255, value >> 8]);
export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
};
export const u64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  return bytes;
};
export const str = (text: string): Buffer => Buffer.from(`${text}\0`, "latin1");

export function message(opcode: number, unique: number, nodeid: number, ...body: Buffer[]): Buffer {
  const payload = Buffer.concat(body);
  return Buffer.concat([
    u32(40 + payload.length), u32(opcode), u64(unique), u64(nodeid), u32(1000), u32(100), u32(42), u16(0), u16(0), payload,
  ]);
}

export class ScriptedChannel implements Channel {
  readonly kind = "device";
  readonly answers: Answer[] = [];
  /** Descriptors given to backingOpen; ids count from 1. */
  readonly backings: number[] = [];
  readonly closedBackings: number[] = [];
  backingErrno = 0;
  stopped = false;
  #listener: ChannelListener | undefined;

  start(listener: ChannelListener): void {
    this.#listener = listener;
  }

  /** As the device does, in one buffer for all. */
  readonly buffer = Buffer.alloc((1 << 20) + 4096);
  deliver(bytes: Buffer): void {
    bytes.copy(this.buffer);
    this.#listener?.request(this.buffer, bytes.length);
    // What is kept of a request without a copy shows.
    this.buffer.fill(0xee, 0, bytes.length);
  }

  end(error?: Error): void {
    this.#listener?.ended(error);
  }

  send(from: Uint8Array, length: number): number {
    const bytes = Buffer.from(from.subarray(0, length));
    if (bytes.readUInt32LE(0) !== length) throw new Error("the header does not say the message's length");
    this.answers.push({ unique: Number(bytes.readBigUInt64LE(8)), error: bytes.readInt32LE(4), body: bytes.subarray(16) });
    return length;
  }

  sendFile(head: Uint8Array, fd: number, position: number, length: number): number {
    this.answers.push({ unique: Number(Buffer.from(head).readBigUInt64LE(8)), error: 0, body: Buffer.from(`${fd}@${position}+${length}`) });
    return 16 + length;
  }

  backingOpen(fd: number): number {
    if (this.backingErrno !== 0) return this.backingErrno;
    return this.backings.push(fd);
  }

  backingClose(id: number): void {
    this.closedBackings.push(id);
  }

  stop(): void {
    this.stopped = true;
  }
}

/** A session on a scripted channel, with a file system in memory. */
export class ScriptedKernel {
  readonly channel = new ScriptedChannel();
  readonly tree: MemoryFileSystem;
  readonly session: Session;
  readonly logged: string[] = [];
  #unique = 0;

  constructor(options: Partial<SessionOptions> & MemoryOptions & { readonly tree?: MemoryFileSystem } = {}) {
    this.tree = options.tree ?? new MemoryFileSystem(options);
    this.session = new Session(this.tree, this.channel, { dataMode: "cached", log: (line) => this.logged.push(line), ...options });
    this.session.start();
  }

  /** Sends a request; returns its answer, or undefined when none came at once. */
  ask(opcode: number, nodeid: number, ...body: Buffer[]): Answer | undefined {
    const before = this.channel.answers.length;
    this.#unique += 2;
    const unique = this.#unique;
    this.channel.deliver(message(opcode, unique, nodeid, ...body));
    return this.channel.answers.slice(before).find((answer) => answer.unique === unique);
  }

  /** As ask(), for an answer that comes later. */
  async askLate(opcode: number, nodeid: number, ...body: Buffer[]): Promise<Answer> {
    this.#unique += 2;
    const unique = this.#unique;
    this.channel.deliver(message(opcode, unique, nodeid, ...body));
    for (let turn = 0; turn < 100; turn++) {
      const answer = this.channel.answers.find((one) => one.unique === unique);
      if (answer !== undefined) return answer;
      await new Promise((resolve) => setImmediate(resolve));
    }
    throw new Error("no answer");
  }

  /** INIT as a kernel of this minor version sends it, offering every flag but those in `without`. */
  init(minor = 45, without = 0, without2 = 0): Answer | undefined {
    return this.ask(26, 0, u32(7), u32(minor), u32(131072), u32(~without), u32(~without2), Buffer.alloc(44));
  }

  /** LOOKUP; returns the nodeid. */
  lookup(parent: number, name: string): number {
    return Number(this.ask(1, parent, str(name))?.body.readBigUInt64LE(0));
  }
}
