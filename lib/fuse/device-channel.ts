/**
 * The channel on a /dev/fuse descriptor. The descriptor is non-blocking; the event loop says when it is readable, and each turn
 * reads until nothing waits, so that most replies are written before the next read.
 * Always true: at most one request is in the buffer, and nothing is read after the end.
 */
import { availableParallelism } from "node:os";
import { errnoName, errnoOf, FsError } from "../base/errors.js";
import { native } from "../sys/binding.js";
import type { NativeBinding } from "../../types/native.js";
import type { Channel, ChannelListener } from "./channel.js";
import { Patience } from "./patience.js";
import { Placement } from "./placement.js";
import { IN_HEADER, MESSAGE_SIZE } from "./wire/abi.js";

/** Requests served before timers and promises get their turn; the descriptor stays readable, so the loop comes back. */
const TURN = 64;

const EAGAIN = -errnoOf("EAGAIN");
const EINTR = -errnoOf("EINTR");
const ENOENT = -errnoOf("ENOENT");
const ENODEV = -errnoOf("ENODEV");
const ENOTCONN = -errnoOf("ENOTCONN");

export class DeviceChannel implements Channel {
  readonly kind = "device";
  readonly #fd: number;
  readonly #native: NativeBinding;
  readonly #buffer: Buffer;
  readonly #beforeRead: (() => void) | undefined;
  readonly #placement: Placement;
  readonly #patience = new Patience(availableParallelism());
  #listener: ChannelListener | undefined;
  #watch = 0;
  #paused = false;
  #stopped = false;

  /**
   * Owns `fd`, an open and mounted /dev/fuse with O_NONBLOCK, and closes it in stop(). Requests are read into `buffer`, when one is given,
   * and `beforeRead` is called before each.
   */
  constructor(fd: number, binding: NativeBinding = native, buffer: Buffer = Buffer.alloc(MESSAGE_SIZE), beforeRead?: () => void) {
    this.#fd = fd;
    this.#buffer = buffer;
    this.#beforeRead = beforeRead;
    this.#native = binding;
    this.#placement = new Placement(binding);
  }

  start(listener: ChannelListener): void {
    this.#listener = listener;
    const watch = this.#native.watch(this.#fd, () => this.#turn(listener));
    if (watch < 0) throw new FsError(errnoName(watch), "watch", "of /dev/fuse");
    this.#watch = watch;
  }

  send(from: Uint8Array, length: number): number {
    return this.#native.fuseWrite(this.#fd, from, length);
  }

  sendFile(head: Uint8Array, fd: number, position: number, length: number): number {
    return this.#native.fuseReplyData(this.#fd, head, fd, position, length);
  }

  backingOpen(fd: number): number {
    return this.#native.backingOpen(this.#fd, fd);
  }

  backingClose(id: number): void {
    this.#native.backingClose(this.#fd, id);
  }

  pause(): void {
    if (this.#paused || this.#stopped || this.#listener === undefined) return;
    this.#paused = true;
    this.#native.unwatch(this.#watch);
  }

  stop(): void {
    if (this.#stopped) return;
    this.pause();
    this.#stopped = true;
    this.#placement.end();
    this.#native.close(this.#fd);
  }

  #turn(listener: ChannelListener): void {
    for (let served = 0; served < TURN && !this.#stopped && !this.#paused; served++) {
      this.#beforeRead?.();
      let length = this.#native.fuseRead(this.#fd, this.#buffer, 0);
      if (length === EAGAIN) length = this.#look();
      if (length > 0) {
        this.#placement.request(this.#buffer.readUInt32LE(IN_HEADER.pid));
        listener.request(this.#buffer, length);
      }
      else if (length === EAGAIN) return;
      else if (length !== EINTR && length !== ENOENT) return this.#end(listener, length);
    }
  }

  /** Nothing waits: what comes in the next moment, or EAGAIN. */
  #look(): number {
    const { us } = this.#patience;
    if (us === 0) return EAGAIN;
    const length = this.#native.fuseRead(this.#fd, this.#buffer, us);
    this.#patience.looked(length > 0);
    return length;
  }

  #end(listener: ChannelListener, errno: number): void {
    this.stop();
    const unmounted = errno === ENODEV || errno === ENOTCONN;
    listener.ended(unmounted ? undefined : new FsError(errnoName(errno), "read", "of /dev/fuse"));
  }
}
