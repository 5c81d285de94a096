/**
 * How whole messages travel between the kernel and a session. Implemented by device-channel.ts on /dev/fuse,
 * by uring-channel.ts on an io_uring, which finds the entry of a reply by the `unique` in its header, and by tests in memory.
 */

export interface ChannelListener {
  /**
   * One request lies in bytes[0, length) until this returns. It may be answered before or after that.
   * Never throws.
   */
  request(bytes: Buffer, length: number): void;
  /** No request will come any more; `error` is undefined after an unmount. Called once. */
  ended(error: Error | undefined): void;
}

export interface Channel {
  /** How requests travel now. */
  readonly kind: "device" | "uring";
  /** Flags of INIT's high word that this channel has a use for. */
  readonly wants2?: number;
  /** What was agreed of that word; called just before the answer to INIT is sent. */
  agreed?(flags2: number): void;
  /** Begins to deliver requests, on this thread, never from within this call. */
  start(listener: ChannelListener): void;
  /** Sends from[0, length) as one message. Returns 0 or more, or a negative errno: -ENOENT when nobody waits for it any more. */
  send(from: Uint8Array, length: number): number;
  /**
   * Answers with file data: completes the 16-byte header at the start of `head` (its `unique` is there already) and sends it with up to
   * `length` bytes from `position` of descriptor `fd`; a failed read is sent as its errno. Returns as send().
   */
  sendFile(head: Uint8Array, fd: number, position: number, length: number): number;
  /** Registers descriptor `fd` as a backing file; returns its id (> 0) or a negative errno. The kernel holds its own reference. */
  backingOpen(fd: number): number;
  backingClose(id: number): void;
  /** Delivers nothing more, and keeps the connection open. */
  pause?(): void;
  /** Delivers nothing more and closes the connection. Idempotent; does not call ended(). */
  stop(): void;
}
