/** What promises.open() gives. It owns its descriptor: nothing closes it but close() and `await using`. */
import { EventEmitter } from "node:events";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { nodeError } from "./errors.js";
import type { Operations } from "./operations.js";
import type { Transfers } from "./transfers.js";

export interface StreamMakers {
  createReadStream(path: unknown, options?: object): Readable;
  createWriteStream(path: unknown, options?: object): Writable;
}

/** Emits "close". */
export class FileHandle extends EventEmitter {
  readonly #operations: Operations;
  readonly #transfers: Transfers;
  readonly #streams: StreamMakers;
  #fd: number;

  constructor(fd: number, operations: Operations, transfers: Transfers, streams: StreamMakers) {
    super();
    this.#fd = fd;
    this.#operations = operations;
    this.#transfers = transfers;
    this.#streams = streams;
  }

  /** -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  async read(...args: unknown[]): Promise<{ bytesRead: number; buffer: ArrayBufferView }> {
    const { count, data } = await this.#transfers.read(this.#opened("read"), ...args);
    return { bytesRead: count, buffer: data };
  }
  async write(...args: unknown[]): Promise<{ bytesWritten: number; buffer: unknown }> {
    const { count, data } = await this.#transfers.write(this.#opened("write"), ...args);
    return { bytesWritten: count, buffer: data };
  }
  async readv(buffers: unknown, position?: unknown): Promise<{ bytesRead: number; buffers: unknown }> {
    const { count, data } = await this.#transfers.readv(this.#opened("read"), buffers, position);
    return { bytesRead: count, buffers: data };
  }
  async writev(buffers: unknown, position?: unknown): Promise<{ bytesWritten: number; buffers: unknown }> {
    const { count, data } = await this.#transfers.writev(this.#opened("write"), buffers, position);
    return { bytesWritten: count, buffers: data };
  }
  async readFile(options?: unknown): Promise<string | Buffer> {
    return this.#operations.readFile(this.#opened("read"), options);
  }
  async writeFile(data: unknown, options?: unknown): Promise<void> {
    return this.#operations.writeFileOrChunks(this.#opened("write"), data, options);
  }
  async appendFile(data: unknown, options?: unknown): Promise<void> {
    return this.#operations.appendFile(this.#opened("write"), data, options);
  }
  async stat(options?: unknown): Promise<object> {
    return this.#operations.fstat(this.#opened("fstat"), options);
  }
  async truncate(length?: unknown): Promise<void> {
    return this.#operations.ftruncate(this.#opened("ftruncate"), length);
  }
  async sync(): Promise<void> {
    return this.#operations.fsync(this.#opened("fsync"));
  }
  async datasync(): Promise<void> {
    return this.#operations.fdatasync(this.#opened("fdatasync"));
  }
  async chmod(mode: unknown): Promise<void> {
    return this.#operations.fchmod(this.#opened("fchmod"), mode);
  }
  async chown(uid: unknown, gid: unknown): Promise<void> {
    return this.#operations.fchown(this.#opened("fchown"), uid, gid);
  }
  async utimes(atime: unknown, mtime: unknown): Promise<void> {
    return this.#operations.futimes(this.#opened("futime"), atime, mtime);
  }

  /** The stream closes the handle when it ends, unless `autoClose` is false. */
  createReadStream(options: object = {}): Readable {
    return this.#givenAway(this.#streams.createReadStream("", { ...options, fd: this.#opened("read") }), options);
  }
  createWriteStream(options: object = {}): Writable {
    return this.#givenAway(this.#streams.createWriteStream("", { ...options, fd: this.#opened("write") }), options);
  }
  readLines(options: object = {}): Interface {
    return createInterface({ input: this.createReadStream(options), crlfDelay: Infinity });
  }

  async close(): Promise<void> {
    if (this.#fd === -1) return;
    const fd = this.#fd;
    this.#fd = -1;
    this.#operations.close(fd);
    this.emit("close");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #opened(syscall: string): number {
    if (this.#fd === -1) throw nodeError("EBADF", syscall);
    return this.#fd;
  }

  #givenAway<S extends Readable | Writable>(stream: S, options: { autoClose?: boolean }): S {
    if (options.autoClose === false) return stream;
    stream.once("close", () => {
      this.#fd = -1;
      this.emit("close");
    });
    return stream;
  }
}
