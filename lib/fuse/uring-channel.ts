/**
 * The channel through an io_uring (Linux 6.14, where fuse.enable_uring is on): one system call answers a request and brings the next.
 * INIT, FORGET, INTERRUPT and notifications still travel through /dev/fuse, and so does all where rings are off.
 * Always true: an answer goes the way its request came; the ring is closed before the device; while an answer is owed to somebody
 * who waits for a promise, nothing here waits.
 */
import { readFileSync } from "node:fs";
import { errnoName, errnoOf, FsError } from "../base/errors.js";
import { native } from "../sys/binding.js";
import type { NativeBinding } from "../../types/native.js";
import type { Channel, ChannelListener } from "./channel.js";
import { DeviceChannel } from "./device-channel.js";
import { QueuePlacement } from "./placement.js";
import { FUSE_OVER_IO_URING, MAX_WRITE, MESSAGE_SIZE } from "./wire/abi.js";

/** Requests served before timers and promises get their turn. */
const TURN = 64;
/** How long a turn waits for one request more before it ends, µs. */
const WAIT_US = 100;
/** Requests that may be in the works for clients on one processor; more wait in the kernel. Memory is taken as it is used, 1 MiB each. */
const DEPTH = 8;
/** uringNext: the length is below it, the queue is counted in it. */
const QUEUE_UNIT = 2 ** 21;

const EAGAIN = -errnoOf("EAGAIN");
const ENOENT = -errnoOf("ENOENT");

export class UringChannel implements Channel {
  readonly wants2 = FUSE_OVER_IO_URING;
  get kind(): "device" | "uring" {
    return this.#serving ? "uring" : "device";
  }
  readonly #device: DeviceChannel;
  readonly #native: NativeBinding;
  readonly #buffer = Buffer.alloc(MESSAGE_SIZE);
  readonly #placement: QueuePlacement;
  readonly #ring: number;
  #listener: ChannelListener | undefined;
  #watch = 0;
  #registering = false;
  #serving = false;
  #turning = false;
  #owed = 0;
  #stopped = false;

  /** Owns `fd` as DeviceChannel does. Throws FsError, and owns nothing, when this process may have no ring. */
  constructor(fd: number, binding: NativeBinding = native) {
    const ring = binding.uringOpen(fd, possibleProcessors(), DEPTH, MAX_WRITE);
    if (ring < 0) throw new FsError(errnoName(ring), "io_uring_setup", "for /dev/fuse");
    this.#ring = ring;
    this.#native = binding;
    this.#device = new DeviceChannel(fd, binding);
    this.#placement = new QueuePlacement(binding);
  }

  start(listener: ChannelListener): void {
    this.#listener = listener;
    const watch = this.#native.watch(this.#ring, () => this.#turn(listener));
    if (watch < 0) throw new FsError(errnoName(watch), "watch", "of the ring");
    this.#watch = watch;
    this.#device.start({
      request: (bytes, length) => listener.request(bytes, length),
      ended: (error) => {
        this.#close();
        listener.ended(error);
      },
    });
  }

  agreed(flags2: number): void {
    this.#registering = (flags2 & FUSE_OVER_IO_URING) !== 0;
  }

  send(from: Uint8Array, length: number): number {
    if (this.#serving) {
      const sent = this.#native.uringReply(this.#ring, from, length, this.#turning ? 0 : 1);
      if (sent !== ENOENT) return this.#paid(sent);
    }
    const sent = this.#device.send(from, length);
    if (this.#registering) this.#register();
    return sent;
  }

  sendFile(head: Uint8Array, fd: number, position: number, length: number): number {
    if (this.#serving) {
      const sent = this.#native.uringReplyData(this.#ring, head, fd, position, length, this.#turning ? 0 : 1);
      if (sent !== ENOENT) return this.#paid(sent);
    }
    return this.#device.sendFile(head, fd, position, length);
  }

  backingOpen(fd: number): number {
    return this.#device.backingOpen(fd);
  }

  backingClose(id: number): void {
    this.#device.backingClose(id);
  }

  stop(): void {
    this.#close();
    this.#device.stop();
  }

  /**
   * After the answer to INIT. The kernel holds all requests back until each queue has an entry: where it refuses one now (it has run out of
   * memory), the connection ends, because it could only hang.
   */
  #register(): void {
    this.#registering = false;
    let result = this.#native.uringRegister(this.#ring);
    this.#serving = result >= 0;
    if (this.#serving) result = this.#native.uringRest(this.#ring);
    if (result < 0) this.#end(this.#listener!, result);
  }

  #turn(listener: ChannelListener): void {
    this.#turning = true;
    let served = 0;
    let result = 0;
    while (served < TURN && !this.#stopped) {
      result = this.#native.uringNext(this.#ring, this.#buffer, served > 0 && this.#owed === 0 ? WAIT_US : 0);
      if (result < 0) break;
      const queue = Math.floor(result / QUEUE_UNIT);
      this.#placement.request(queue);
      this.#owed++;
      served++;
      listener.request(this.#buffer, result - queue * QUEUE_UNIT);
    }
    this.#turning = false;
    if (this.#stopped) return;
    if (result >= 0 || result === EAGAIN) result = this.#native.uringRest(this.#ring);
    if (result < 0) this.#end(listener, result);
  }

  /** What was refused is still owed. */
  #paid(sent: number): number {
    if (sent >= 0) this.#owed--;
    return sent;
  }

  #end(listener: ChannelListener, errno: number): void {
    this.stop();
    listener.ended(new FsError(errnoName(errno), "io_uring_enter", "for /dev/fuse"));
  }

  #close(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#serving = false;
    if (this.#watch > 0) this.#native.unwatch(this.#watch);
    this.#placement.end();
    this.#native.uringClose(this.#ring);
  }
}

/** Whether the kernel offers rings to new mounts. It says the same in INIT; this is for who chooses before. */
export function uringEnabled(): boolean {
  try {
    return readFileSync("/sys/module/fuse/parameters/enable_uring", "latin1").startsWith("Y");
  } catch {
    return false; // before Linux 6.14
  }
}

/** The kernel has a queue for each processor that could ever be plugged in. */
function possibleProcessors(): number {
  let count = 0;
  for (const range of readFileSync("/sys/devices/system/cpu/possible", "latin1").trim().split(",")) {
    const [first = 0, last = first] = range.split("-").map(Number);
    count += last - first + 1;
  }
  return count;
}
