/**
 * Errors in the shape of node:fs: code, negative errno, syscall, path, dest and the message Node would have written.
 * What is not a filesystem error (a bug, a wrong argument) passes through untouched.
 */
import { getSystemErrorMap, inspect } from "node:util";
import { FsError, errnoOf, type ErrnoName } from "../base/errors.js";
import { onFailure, type Maybe } from "./maybe.js";

export interface NodeFsError extends Error {
  code: string;
  errno: number;
  syscall: string;
  path?: string;
  dest?: string;
}

export function nodeError(code: ErrnoName, syscall: string, path?: string, dest?: string, cause?: unknown): NodeFsError {
  const errno = -errnoOf(code);
  const meaning = getSystemErrorMap().get(errno)?.[1] ?? "unknown error";
  const names = path === undefined ? "" : ` '${path}'${dest === undefined ? "" : ` -> '${dest}'`}`;
  const error = new Error(`${code}: ${meaning}, ${syscall}${names}`, cause === undefined ? undefined : { cause }) as NodeFsError;
  error.errno = errno;
  error.code = code;
  error.syscall = syscall;
  if (path !== undefined) error.path = path;
  if (dest !== undefined) error.dest = dest;
  return error;
}

/** Runs one operation; an FsError from inside leaves as Node's error about `path` (and `dest`). */
export function reporting<T>(syscall: string, path: string | undefined, dest: string | undefined, run: () => Maybe<T>): Maybe<T> {
  return onFailure(run, (error) => {
    if (error instanceof FsError) throw nodeError(error.code, syscall, path, dest, error);
    throw error;
  });
}

export function wrongType(argument: string, expected: string, received: unknown): TypeError {
  const text = `The "${argument}" argument must be ${expected}. Received ${inspect(received, { depth: -1 })}`;
  return Object.assign(new TypeError(text), { code: "ERR_INVALID_ARG_TYPE" });
}

export function wrongValue(argument: string, problem: string, received: unknown): TypeError {
  const text = `The argument '${argument}' ${problem}. Received ${inspect(received, { depth: -1 })}`;
  return Object.assign(new TypeError(text), { code: "ERR_INVALID_ARG_VALUE" });
}

export function outOfRange(argument: string, range: string, received: unknown): RangeError {
  const text = `The value of "${argument}" is out of range. It must be ${range}. Received ${inspect(received)}`;
  return Object.assign(new RangeError(text), { code: "ERR_OUT_OF_RANGE" });
}

/** True for the errors above, which Node's callback functions throw instead of handing them to the callback. */
export function isArgumentError(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return (error instanceof TypeError || error instanceof RangeError) && typeof code === "string" && code.startsWith("ERR_");
}
