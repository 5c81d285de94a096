/**
 * A session: serves one tree to one kernel connection until it ends.
 * Always true: every request is answered once, if its kind is answered at all; no request throws out of here; an answer may be the last
 * thing that keeps a node alive, so nothing of the request is touched after it is sent.
 * Waiting: an operation may promise its answer; it is finished when the promise resolves, whatever came between; or, with EINTR and before that,
 * when its caller is being killed and the tree gives it up (interrupts.ts). Requests are served without a thread pool, so that clients that fill
 * libuv's pool cannot stall the mount they are waiting for.
 */
import { errnoFrom, errnoOf, FsError } from "../base/errors.js";
import { native } from "../sys/binding.js";
import { descriptorLimit } from "../sys/limits.js";
import type { NativeBinding } from "../../types/native.js";
import type { FileSystem } from "../vfs.js";
import type { Channel } from "./channel.js";
import { Counters } from "./counters.js";
import { OpenFiles } from "./files.js";
import { Interrupts } from "./interrupts.js";
import { Listings } from "./listings.js";
import { NodeTable, type NodeEntry } from "./nodes.js";
import { operations, type TableEntry } from "./operations/table.js";
import { Backings } from "./passthrough.js";
import { nothingAgreed, type Policy, type PolicyOptions } from "./policy.js";
import type { Recorder, Resumption } from "./recorder.js";
import { Relief } from "./relief.js";
import { NO_REPLY, type Outcome, type Serving } from "./serving.js";
import type { ServerStatus, WaitingRequest } from "./status.js";
import { FUSE_BATCH_FORGET, FUSE_FORGET, FUSE_KERNEL_VERSION, FUSE_UNIQUE_RESEND, IN_HEADER, OUT_HEADER } from "./wire/abi.js";
import { Reply } from "./wire/reply.js";
import { Request } from "./wire/request.js";

export interface SessionOptions extends PolicyOptions {
  /** Files of the tree kept open (descriptors), at least 16; default 4096, but at most a quarter of what the process may open. */
  readonly openFiles?: number;
  /** Backing ids kept for files that nobody has open; default 1024. */
  readonly idleBackings?: number;
  /** One line for whoever runs the mount; default: standard error. */
  readonly log?: (message: string) => void;
  /** The calls used besides the channel's; tests give their own. */
  readonly binding?: Pick<NativeBinding, "statx" | "copyRange" | "isKilled">;
  /** Told of all that another process would need to go on with this session. */
  readonly recorder?: Recorder;
}

const EIO = -errnoOf("EIO");
const EINTR = -errnoOf("EINTR");
const EINVAL = -errnoOf("EINVAL");
const ENOSYS = -errnoOf("ENOSYS");
const EOPNOTSUPP = -errnoOf("EOPNOTSUPP");
const AT_EMPTY_PATH = 0x1000;
/** Of those that wait, as many as a person reads. */
const SHOWN_WAITING = 16;
/** Linux 6.18. */
const MINOR_OF_PRUNE = 45;
/** Interrupts kept of requests that do not wait. Nearly all have been answered; with rings one may still be to come. */
const KEPT_INTERRUPTS = 64;
const TWO_32 = 0x1_0000_0000;

interface PendingRequest {
  readonly operation: TableEntry;
  readonly nodeid: number;
  readonly uniqueLo: number;
  readonly uniqueHi: number;
  /** What the tree knows it by. */
  readonly asker: number;
  readonly tid: number;
  readonly sinceMs: number;
  interrupted: boolean;
  /** Its caller has EINTR already. */
  answered: boolean;
}

export class Session implements Serving {
  readonly tree: FileSystem;
  readonly nodes: NodeTable;
  readonly files: OpenFiles;
  readonly listings: Listings;
  readonly backings: Backings;
  readonly channel: Channel;
  readonly native: Pick<NativeBinding, "statx" | "copyRange" | "isKilled">;
  readonly request = new Request();
  readonly reply = new Reply();
  readonly policyOptions: PolicyOptions;
  policy: Policy = nothingAgreed;
  /** Resolves with what was agreed in INIT; rejects (EPROTO, in words) when the kernel cannot be served or leaves before. */
  readonly ready: Promise<Policy>;
  /** Resolves when the connection has ended and files and backing ids are closed; the tree is left to its owner. Rejects on a broken device. */
  readonly closed: Promise<void>;
  readonly #log: (message: string) => void;
  readonly #counters = new Counters();
  readonly #stale: NodeEntry[] = [];
  /** Operations that have promised their answer, in the order in which they came. */
  readonly #pending = new Set<PendingRequest>();
  readonly #interrupts: Interrupts<PendingRequest>;
  /** Askers that were interrupted and do not wait, the oldest first. */
  readonly #early = new Set<number>();
  readonly #startedMs = performance.now();
  readonly #recorder: Recorder | undefined;
  readonly #relief: Relief;
  #whenIdle: (() => void) | undefined;
  #ended = false;
  #error: Error | undefined;
  #settleReady!: { resolve: (policy: Policy) => void; reject: (error: Error) => void };
  #settleClosed!: { resolve: () => void; reject: (error: Error) => void };

  /** Owns `channel` once start() is called. `tree` stays the caller's, to sync and close after `closed`. */
  constructor(tree: FileSystem, channel: Channel, options: SessionOptions) {
    this.tree = tree;
    this.channel = channel;
    this.policyOptions = channel.wants2 === undefined ? options : { ...options, channelWants2: channel.wants2 };
    this.native = options.binding ?? native;
    this.#interrupts = new Interrupts(this.native, (pending) => this.#giveUp(pending));
    this.#log = carefully(options.log ?? ((message) => process.stderr.write(`stratafs: ${message}\n`)));
    this.files = new OpenFiles(tree, Math.max(16, options.openFiles ?? defaultOpenFiles()));
    const { recorder } = options;
    this.#recorder = recorder;
    const touched = recorder === undefined ? undefined : (entry: NodeEntry): void => recorder.touched(entry);
    this.listings = new Listings(tree, options.lasting);
    const identify = (fd: number, out: Float64Array): number => this.native.statx(fd, "", AT_EMPTY_PATH, out);
    this.backings = new Backings(channel, identify, Math.max(1, options.idleBackings ?? 1024), this.#log, touched);
    this.nodes = new NodeTable(tree.root, (entry, lastOfNode) => this.#dropped(entry, lastOfNode), touched);
    this.ready = new Promise((resolve, reject) => (this.#settleReady = { resolve, reject }));
    this.closed = new Promise((resolve, reject) => (this.#settleClosed = { resolve, reject }));
    this.#relief = new Relief({
      entries: () => this.nodes.entries(),
      dropListings: () => this.listings.clear(),
      prune: (ids, count) => this.policy.minor >= MINOR_OF_PRUNE && this.channel.send(this.reply.bytes, this.reply.prune(ids, count)) >= 0,
    });
    // Whoever does not ask is not told by a crash.
    this.ready.catch(() => {});
    this.closed.catch(() => {});
  }

  start(): void {
    this.channel.start({
      request: (bytes, length) => this.#serve(bytes, length),
      ended: (error) => this.#end(error),
    });
  }

  /** In place of start(), with nodes and backings as the process before left them: what it had not answered is sent again. */
  resume({ policy, stale, unread }: Resumption): void {
    this.policy = policy;
    this.#settleReady.resolve(policy);
    if (unread !== undefined && isForget(unread.bytes)) this.#serve(unread.bytes, unread.length);
    this.#stale.push(...stale);
    this.#notify();
    this.start();
    this.channel.send(this.reply.bytes, this.reply.resend());
  }

  /** Takes no more requests; resolves when all that were taken are answered. The connection stays open. */
  async pause(): Promise<void> {
    this.channel.pause?.();
    if (this.#pending.size > 0) await new Promise<void>((resolve) => (this.#whenIdle = resolve));
  }

  /** Ends the connection from this side: what still asks gets ENOTCONN. Unmounting is mountpoint.ts's, and the usual way to end. */
  stop(): Promise<void> {
    if (!this.#ended) {
      this.channel.stop();
      this.#end(undefined);
    }
    return this.closed;
  }

  /** Requests served so far, by opcode name. */
  counters(): Record<string, number> {
    return this.#counters.read();
  }

  status(): ServerStatus {
    const { policy, channel, nodes, files } = this;
    const nowMs = performance.now();
    const waiting: WaitingRequest[] = [];
    let waitingCount = 0;
    for (const { operation, nodeid, sinceMs, interrupted, answered } of this.#pending) {
      if (answered || ++waitingCount > SHOWN_WAITING) continue;
      waiting.push({ operation: operation.name, nodeid, forMs: Math.round(nowMs - sinceMs), interrupted });
    }
    return {
      data: policy.passthrough ? "passthrough" : policy.writeback ? "cached" : "plain",
      channel: channel.kind,
      protocol: `${FUSE_KERNEL_VERSION}.${policy.minor}`,
      uptimeSec: Math.round((nowMs - this.#startedMs) / 1000),
      memoryBytes: process.memoryUsage.rss(),
      nodes: nodes.size,
      openFiles: files.size,
      served: this.counters(),
      waiting,
      waitingCount,
    };
  }

  agree(policy: Policy): void {
    this.policy = policy;
    this.channel.agreed?.(policy.flags2);
    if (this.policyOptions.dataMode === "passthrough" && !policy.passthrough) {
      this.#log("the kernel does not offer passthrough; files are served through the page cache");
    }
    this.#settleReady.resolve(policy);
  }

  refuse(message: string): void {
    this.#log(message);
    this.#settleReady.reject(new Error(message));
  }

  invalidate(entry: NodeEntry): void {
    this.channel.send(this.reply.bytes, this.reply.invalidateAttributes(entry.nodeid));
  }

  touched(entry: NodeEntry): void {
    this.#recorder?.touched(entry);
  }

  invalidateAfter(entry: NodeEntry): void {
    this.#stale.push(entry);
  }

  interrupted(uniqueLo: number, uniqueHi: number): void {
    const asker = askerOf(uniqueLo, uniqueHi);
    for (const pending of this.#pending) if (pending.asker === asker) return this.#interrupted(pending);
    this.#early.add(asker);
    if (this.#early.size > KEPT_INTERRUPTS) this.#early.delete(this.#early.values().next().value!);
  }

  #interrupted(pending: PendingRequest): void {
    pending.interrupted = true;
    this.#interrupts.add(pending);
  }

  /** The caller is being killed: it is answered now if what it waits for can be given up, or if only its caller has a use for the answer. */
  #giveUp(pending: PendingRequest): void {
    const { operation, uniqueLo, uniqueHi, asker } = pending;
    if (this.tree.giveUp?.(asker) !== true && !operation.idle) return;
    this.#interrupts.drop(pending);
    pending.answered = true;
    this.#finish(EINTR, operation, uniqueLo, uniqueHi);
  }

  #serve(bytes: Buffer, length: number): void {
    const { request } = this;
    const whole = request.parse(bytes, length);
    const { opcode, uniqueLo, uniqueHi } = request;
    this.#counters.count(opcode);
    const operation = operations[opcode];
    if (!whole || (operation !== undefined && request.bodyLength < operation.minimum)) {
      this.#log(`malformed ${operation?.name ?? `request ${opcode}`} of ${length} bytes`);
      if ((uniqueLo !== 0 || uniqueHi !== 0) && operation?.answered !== false) this.#send(uniqueLo, uniqueHi, whole ? EINVAL : EIO);
      return;
    }
    if (operation === undefined) return this.#send(uniqueLo, uniqueHi, ENOSYS);
    if (this.#recorder !== undefined) {
      const answer = this.#recorder.begin(uniqueLo, (uniqueHi & ~FUSE_UNIQUE_RESEND) >>> 0, (uniqueHi & FUSE_UNIQUE_RESEND) !== 0);
      if (answer !== undefined) return this.#repeat(answer, uniqueHi);
    }
    const { nodeid } = request;
    this.tree.asker = askerOf(uniqueLo, uniqueHi);
    let outcome: Outcome;
    try {
      outcome = operation.run(this);
    } catch (error) {
      outcome = this.#failure(error, operation, nodeid);
    }
    this.tree.asker = 0;
    if (typeof outcome === "number") this.#finish(outcome, operation, uniqueLo, uniqueHi);
    else this.#begin(outcome, operation, nodeid, uniqueLo, uniqueHi);
  }

  #finish(outcome: number, operation: TableEntry, uniqueLo: number, uniqueHi: number): void {
    if (outcome !== NO_REPLY && operation.answered) this.#answer(operation.once, uniqueLo, uniqueHi, outcome);
    this.#recorder?.ended();
    if (this.#stale.length > 0) this.#notify();
    this.#relief.served(this.nodes.next);
  }

  /** Waits for the request that has just been read. */
  #begin(promise: Promise<() => Outcome>, operation: TableEntry, nodeid: number, uniqueLo: number, uniqueHi: number): void {
    const asker = askerOf(uniqueLo, uniqueHi);
    const { pid: tid } = this.request.caller;
    const pending: PendingRequest = { operation, nodeid, uniqueLo, uniqueHi, asker, tid, sinceMs: performance.now(), interrupted: false, answered: false };
    this.#pending.add(pending);
    if (this.#early.delete(asker)) this.#interrupted(pending);
    this.#wait(promise, pending);
  }

  #wait(promise: Promise<() => Outcome>, pending: PendingRequest): void {
    const { operation, nodeid } = pending;
    promise.then((next) => this.#settled(next, pending), (error: unknown) => this.#settled(() => this.#failure(error, operation, nodeid), pending));
  }

  #settled(next: () => Outcome, pending: PendingRequest): void {
    const { operation, nodeid, uniqueLo, uniqueHi, asker } = pending;
    this.tree.asker = asker;
    let outcome: Outcome;
    try {
      outcome = next();
    } catch (error) {
      outcome = this.#failure(error, operation, nodeid);
    }
    this.tree.asker = 0;
    if (typeof outcome !== "number") return this.#wait(outcome, pending);
    if (!pending.answered) this.#finish(outcome, operation, uniqueLo, uniqueHi);
    this.#pending.delete(pending);
    this.#interrupts.drop(pending);
    if (this.#pending.size === 0) this.#whenIdle?.();
    this.#closeWhenIdle();
  }

  /** The errno to answer with. ENOSYS would be remembered for the whole connection, so a tree cannot send it. */
  #failure(error: unknown, operation: TableEntry, nodeid: number): number {
    if (error instanceof FsError) return error.errno === ENOSYS ? EOPNOTSUPP : error.errno;
    const errno = errnoFrom(error);
    const cause = error instanceof Error ? error.stack ?? error.message : String(error);
    this.#log(`${operation.name} of nodeid ${nodeid} failed unexpectedly: ${cause}`);
    return errno === ENOSYS ? EIO : errno;
  }

  #answer(once: boolean, uniqueLo: number, uniqueHi: number, outcome: number): void {
    if (this.#recorder !== undefined) {
      const length = this.reply.seal(uniqueLo, uniqueHi, outcome < 0 ? outcome : 0, outcome < 0 ? 0 : outcome);
      this.#recorder.answering(this.reply.bytes, length, once, this.#stale);
    }
    this.#send(uniqueLo, uniqueHi, outcome);
  }

  /** Sends an answer of the process before, which may or may not have been sent. */
  #repeat(answer: Uint8Array, uniqueHi: number): void {
    this.reply.bytes.set(answer);
    this.reply.bytes.writeUInt32LE(uniqueHi, OUT_HEADER.unique + 4);
    this.channel.send(this.reply.bytes, answer.length);
  }

  /** `outcome` is a body's length, or a negative errno. */
  #send(uniqueLo: number, uniqueHi: number, outcome: number): void {
    const { reply } = this;
    const length = reply.seal(uniqueLo, uniqueHi, outcome < 0 ? outcome : 0, outcome < 0 ? 0 : outcome);
    const sent = this.channel.send(reply.bytes, length);
    // Nobody waits any more (ENOENT), or the connection is gone and the channel will say so; else the kernel did not like the answer.
    if (sent === EINVAL && outcome >= 0) {
      this.#log(`the kernel refused an answer of ${length} bytes`);
      this.channel.send(reply.bytes, reply.seal(uniqueLo, uniqueHi, EIO, 0));
    }
  }

  /** After the answer: a notification for an inode whose lookup is not answered yet would be lost. */
  #notify(): void {
    for (const entry of this.#stale) this.invalidate(entry);
    this.#stale.length = 0;
  }

  #dropped(entry: NodeEntry, lastOfNode: boolean): void {
    this.files.drop(entry);
    this.listings.drop(entry);
    this.backings.drop(entry);
    if (lastOfNode) this.tree.forget(entry.node);
  }

  #end(error: Error | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#settleReady.reject(error ?? new Error("the connection ended before it was agreed on"));
    this.#closeWhenIdle();
  }

  /** Operations that still wait use the files; their answers go nowhere. */
  #closeWhenIdle(): void {
    if (!this.#ended || this.#pending.size > 0) return;
    this.files.close();
    if (this.#error === undefined) this.#settleClosed.resolve();
    else this.#settleClosed.reject(this.#error);
  }
}

/** A request's number, the same when it is sent again. They count up from 1. */
function askerOf(uniqueLo: number, uniqueHi: number): number {
  return ((uniqueHi & ~FUSE_UNIQUE_RESEND) >>> 0) * TWO_32 + uniqueLo;
}

function isForget(bytes: Buffer): boolean {
  const opcode = bytes.readUInt32LE(IN_HEADER.opcode);
  return opcode === FUSE_FORGET || opcode === FUSE_BATCH_FORGET;
}

/** A log that throws must not end the mount. */
function carefully(log: (message: string) => void): (message: string) => void {
  return (message) => {
    try {
      log(message);
    } catch {
      // Nobody is left to tell.
    }
  };
}

/** A quarter: the rest is for what the tree opens besides, directories, layers, files kept from unlink to forget. */
function defaultOpenFiles(): number {
  return Math.min(4096, Math.floor(descriptorLimit() / 4));
}
