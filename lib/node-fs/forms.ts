/**
 * The three forms of an operation: synchronous, with a callback, and as a promise.
 * Callbacks run from the event loop, never inside the call; wrong arguments are thrown by the first two forms.
 */
import { isArgumentError, nodeError, wrongType } from "./errors.js";
import type { Maybe } from "./maybe.js";
import { dataArg, integer, positionArg, slice } from "./arguments.js";

export type Operation = (...args: unknown[]) => Maybe<unknown>;
export type Callback = (...results: unknown[]) => void;

/**
 * The synchronous form. Where the tree can only answer later it throws EAGAIN; the work goes on, and `undo` receives
 * what it comes to when somebody would have to let go of it.
 */
export function synchronous(operation: Operation, begin: () => void, undo?: (value: unknown) => void): Operation {
  return (...args) => {
    begin();
    const result = operation(...args);
    if (!(result instanceof Promise)) return result;
    result.then(undo, () => undefined);
    throw nodeError("EAGAIN", "a call that has to wait for the tree; the promise and callback forms can");
  };
}

/** `spread` makes the callback's results; one value unless said otherwise. */
export function withCallback(operation: Operation, begin: () => void, spread: (value: unknown, args: unknown[]) => unknown[] = (value) => [value]): Operation {
  return (...args) => {
    const callback = callbackOf(args);
    const fail = (error: unknown): void => void setImmediate(callback, error);
    const succeed = (value: unknown): void => {
      const results = value === undefined ? [] : spread(value, args);
      setImmediate(() => callback(null, ...results));
    };
    try {
      begin();
      const result = operation(...args);
      if (result instanceof Promise) result.then(succeed, fail);
      else succeed(result);
    } catch (error) {
      if (isArgumentError(error)) throw error;
      fail(error);
    }
    return undefined;
  };
}

export function asPromise(operation: Operation, begin: () => void): (...args: unknown[]) => Promise<unknown> {
  return async (...args) => {
    begin();
    return operation(...args);
  };
}

/** Takes the callback off the end of the arguments, and the gaps that optional arguments leave before it. */
export function callbackOf(args: unknown[]): Callback {
  const callback = args.pop();
  if (typeof callback !== "function") throw wrongType("cb", "of type function", callback);
  return callback as Callback;
}

/** read(fd, buffer, offset, length, position), read(fd, buffer, options) or read(fd, options). */
export function readArguments(args: readonly unknown[]): { into: Buffer; position: number | null; buffer: ArrayBufferView } {
  let [buffer, offset, length, position] = args;
  if (!ArrayBuffer.isView(buffer)) {
    const options = (buffer ?? {}) as Record<string, unknown>;
    buffer = options["buffer"] ?? Buffer.alloc(16_384);
    ({ offset, length, position } = options);
  } else if (typeof offset === "object" && offset !== null) {
    ({ offset, length, position } = offset as Record<string, unknown>);
  }
  return { into: slice(buffer, offset, length), position: positionArg(position), buffer: buffer as ArrayBufferView };
}

/** write(fd, string, position, encoding), write(fd, buffer, offset, length, position) or write(fd, buffer, options). */
export function writeArguments(args: readonly unknown[]): { from: Uint8Array; position: number | null; data: unknown } {
  let [data, offset, length, position] = args;
  if (typeof data === "string") {
    const encoding = typeof length === "string" && Buffer.isEncoding(length) ? length : "utf8";
    return { from: dataArg(data, encoding), position: typeof offset === "number" ? positionArg(offset) : null, data };
  }
  if (typeof offset === "object" && offset !== null) ({ offset, length, position } = offset as Record<string, unknown>);
  return { from: slice(data, offset, length), position: typeof position === "number" || typeof position === "bigint" ? positionArg(position) : null, data };
}

/** The buffers of readv and writev. */
export function vectorArgument(buffers: unknown): Buffer[] {
  if (!Array.isArray(buffers)) throw wrongType("buffers", "an instance of ArrayBufferView[]", buffers);
  integer(buffers.length, "buffers.length", 0, 1 << 20);
  return buffers.map((buffer) => slice(buffer, 0, undefined));
}
