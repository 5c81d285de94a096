/** File calls that several parts of the store share. Paths are text. Blocking; nothing here is for a thread that serves a mount. */
import { closeSync, fsyncSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { hasCode } from "../base/errors.js";
import { StoreError } from "./errors.js";

/** Makes the entries of a directory durable. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Writes a new file, which must not be there, and makes its bytes durable. Removes it again when that fails. */
export function writeSynced(path: string, parts: readonly Uint8Array[], mode: number): void {
  writeNew(path, parts, mode, fsyncSync);
}

/** Writes a new file, which must not be there. Removes it again when that, or `finallyDo`, fails. */
export function writeNew(path: string, parts: readonly Uint8Array[], mode: number, finallyDo?: (fd: number) => void): void {
  const fd = openSync(path, "wx", mode);
  let whole = false;
  try {
    for (const part of parts) writeAll(fd, part);
    finallyDo?.(fd);
    whole = true;
  } finally {
    closeSync(fd);
    if (!whole) rmSync(path, { force: true });
  }
}

/** Writes all of `bytes` at the descriptor's offset, or at `position`. */
export function writeAll(fd: number, bytes: Uint8Array, position?: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(fd, bytes, done, bytes.length - done, position === undefined ? null : position + done);
  }
}

/** Replaces `path` in one step by a file made beside it under `temporary`. */
export function replaceFile(path: string, temporary: string, bytes: Uint8Array, mode: number): void {
  rmSync(temporary, { force: true });
  writeSynced(temporary, [bytes], mode);
  try {
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Names in a directory, sorted; none when it is missing. */
export function namesIn(path: string): string[] {
  return ifThere(() => readdirSync(path))?.sort() ?? [];
}

/** The text of a small file; undefined when it is missing. */
export function readText(path: string): string | undefined {
  return ifThere(() => readFileSync(path, "utf8"));
}

/** Whether there is anything at `path`, which is no symbolic link of ours. */
export function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** The result of `call`, or undefined when what it asked for is not there. */
export function ifThere<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** Runs work that writes to the store: a full disk or quota becomes ERR_STORE_FULL, everything else passes. */
export function writing<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw asStoreError(what, error);
  }
}

/** ERR_STORE_FULL for a full disk or quota; every other error itself. */
export function asStoreError(what: string, error: unknown): unknown {
  if (!hasCode(error, "ENOSPC") && !hasCode(error, "EDQUOT")) return error;
  return new StoreError("ERR_STORE_FULL", `no space left for ${what}`, { cause: error });
}

/** What a JSON document has; nothing where it is no object. `path` is for the message. Throws ERR_STORE_DAMAGED for text that is no JSON. */
export function fieldsOf(text: string, path: string): Readonly<Record<string, unknown>> {
  try {
    return (JSON.parse(text) as Record<string, unknown> | null) ?? {};
  } catch (error) {
    throw new StoreError("ERR_STORE_DAMAGED", `${path}: expected a JSON document`, { cause: error });
  }
}
