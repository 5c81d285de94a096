/** read, write, readv and writev in Node's many argument shapes, over one descriptor. Each gives the count of bytes. */
import { positionArg } from "./arguments.js";
import { readArguments, vectorArgument, writeArguments } from "./forms.js";
import { then, type Maybe } from "./maybe.js";
import type { Operations } from "./operations.js";

/** A count of bytes and the buffer (or string, or buffers) that the caller named or was given. */
export interface Transfer<T> {
  readonly count: number;
  readonly data: T;
}

export interface Transfers {
  read(fd: unknown, ...args: unknown[]): Maybe<Transfer<ArrayBufferView>>;
  write(fd: unknown, ...args: unknown[]): Maybe<Transfer<unknown>>;
  readv(fd: unknown, buffers: unknown, position?: unknown): Maybe<Transfer<unknown>>;
  writev(fd: unknown, buffers: unknown, position?: unknown): Maybe<Transfer<unknown>>;
}

export function transfersOver(operations: Operations): Transfers {
  const { read, write } = operations;

  /** Moves the buffers one after the other until one comes out short. */
  const vector = (
    buffers: readonly Buffer[], at: number | null, index: number, done: number, move: (buffer: Buffer, position: number | null) => Maybe<number>,
  ): Maybe<number> => {
    const buffer = buffers[index];
    if (buffer === undefined) return done;
    return then(move(buffer, at), (n) => {
      const next = at === null ? null : at + n;
      return n < buffer.length ? done + n : vector(buffers, next, index + 1, done + n, move);
    });
  };

  return {
    read(fd, ...args) {
      const { into, position, buffer } = readArguments(args);
      return then(read(fd, into, 0, into.length, position), (count) => ({ count, data: buffer }));
    },
    write(fd, ...args) {
      const { from, position, data } = writeArguments(args);
      return then(write(fd, from, position), (count) => ({ count, data }));
    },
    readv(fd, buffers, position) {
      const parts = vectorArgument(buffers);
      const moved = vector(parts, positionArg(position), 0, 0, (buffer, at) => read(fd, buffer, 0, buffer.length, at));
      return then(moved, (count) => ({ count, data: buffers }));
    },
    writev(fd, buffers, position) {
      const parts = vectorArgument(buffers);
      const moved = vector(parts, positionArg(position), 0, 0, (buffer, at) => write(fd, buffer, at));
      return then(moved, (count) => ({ count, data: buffers }));
    },
  };
}
