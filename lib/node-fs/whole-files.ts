/**
 * Calls about a whole file: readFile, writeFile, appendFile, copyFile, truncate, mkdtemp. Each opens, works, and closes
 * again also when it fails. None is atomic: what was written before an error stays written, as with node:fs.
 */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { FsError, hasCode } from "../base/errors.js";
import { isDirectory, isRegular } from "../base/mode.js";
import type { Context } from "./context.js";
import { lastly, then, type Maybe } from "./maybe.js";
import { makeDirectory } from "./namespace.js";

const chunkBytes = 1 << 20;

/** A path in latin1, or an open descriptor, which then stays open and is used from its position on. */
export type FileArg = string | number;

export function readWhole(context: Context, file: FileArg, flags: number): Maybe<Buffer> {
  return withFile(context, file, flags, 0o666, (fd) => {
    const { node, file: bytes, position } = context.descriptors.get(fd, "read");
    const expected = bytes === undefined ? 0 : context.tree.getAttr(node).size - position;
    return readRest(context, fd, Buffer.allocUnsafe(Math.max(expected, 0) + 1), 0);
  });
}

/** Reads until the end, into a buffer that had room for one byte more than was expected. */
function readRest(context: Context, fd: number, into: Buffer, filled: number): Maybe<Buffer> {
  for (;;) {
    const count = context.descriptors.read(fd, into.subarray(filled, filled + chunkBytes), null);
    if (count instanceof Promise) {
      return count.then((n) => (n === 0 ? into.subarray(0, filled) : readRest(context, fd, roomier(into, filled + n), filled + n)));
    }
    if (count === 0) return into.subarray(0, filled);
    filled += count;
    into = roomier(into, filled);
  }
}

function roomier(buffer: Buffer, filled: number): Buffer {
  if (filled < buffer.length) return buffer;
  const bigger = Buffer.allocUnsafe(buffer.length * 2 + 4096);
  buffer.copy(bigger, 0, 0, filled);
  return bigger;
}

export function writeWhole(context: Context, file: FileArg, flags: number, mode: number, data: Uint8Array, flush: boolean): Maybe<void> {
  return withFile(context, file, flags, mode, (fd) =>
    then(data.length === 0 ? 0 : context.descriptors.write(fd, data, null), () => (flush ? context.descriptors.sync(fd, false) : undefined)),
  );
}

/** Writes the chunks as they come (an iterable, an async iterable or a stream). */
export async function writeChunks(
  context: Context, file: FileArg, flags: number, mode: number, chunks: AsyncIterable<unknown> | Iterable<unknown>,
  bytesOf: (chunk: unknown) => Uint8Array,
): Promise<void> {
  await withFile(context, file, flags, mode, async (fd) => {
    for await (const chunk of chunks) await context.descriptors.write(fd, bytesOf(chunk), null);
  });
}

/** Copies bytes and permission bits, as libuv does; a copy of a file onto itself leaves it alone. */
export function copyFile(context: Context, from: string, to: string, mode: number): Maybe<void> {
  const { tree, walker, descriptors } = context;
  if ((mode & constants.COPYFILE_FICLONE_FORCE) !== 0) throw new FsError("ENOSYS", "copyfile");
  return withFile(context, from, constants.O_RDONLY, 0, (source) => {
    const { node } = descriptors.get(source, "copyfile");
    const attr = tree.getAttr(node);
    if (!isRegular(attr.mode)) throw new FsError(isDirectory(attr.mode) ? "EISDIR" : "EINVAL", "copyfile");
    const once = (mode & constants.COPYFILE_EXCL) !== 0;
    if (!once && walker.walk(to, "yes", "copyfile", true).node === node) return undefined;
    const flags = constants.O_WRONLY | constants.O_CREAT | (once ? constants.O_EXCL : constants.O_TRUNC);
    return withFile(context, to, flags, attr.mode & 0o7777, (target) =>
      then(copyRest(context, source, target, Buffer.allocUnsafe(Math.min(chunkBytes, attr.size + 1))), () =>
        then(tree.setAttr(descriptors.get(target, "copyfile").node, { mode: attr.mode & 0o7777 }, context.caller), () => undefined),
      ),
    );
  });
}

function copyRest(context: Context, source: number, target: number, buffer: Buffer): Maybe<void> {
  const { descriptors } = context;
  for (;;) {
    const count = descriptors.read(source, buffer, null);
    if (count === 0) return undefined;
    const written = then(count, (n) => (n === 0 ? 0 : descriptors.write(target, buffer.subarray(0, n), null)));
    if (written instanceof Promise) return written.then((n) => (n === 0 ? undefined : copyRest(context, source, target, buffer)));
  }
}

/** A new directory `prefix`XXXXXX with mode 0700; its path. */
export function makeTemporaryDirectory(context: Context, prefix: string): string {
  for (let attempt = 0; ; attempt++) {
    const path = prefix + randomBytes(6).toString("base64url").replace(/[-_]/g, "x").slice(0, 6);
    try {
      makeDirectory(context, path, 0o700);
      return path;
    } catch (error) {
      if (!hasCode(error, "EEXIST") || attempt === 100) throw error;
    }
  }
}

/** Runs `use` with a descriptor, its own or a new one that is closed afterwards. */
export function withFile<T>(context: Context, file: FileArg, flags: number, mode: number, use: (fd: number) => Maybe<T>): Maybe<T> {
  if (typeof file === "number") return use(file);
  return then(context.descriptors.open(file, flags, mode), (fd) => lastly(() => use(fd), () => context.descriptors.close(fd)));
}
