/**
 * Every function of node:fs that is served, once, with Node's arguments and Maybe results. forms.ts makes the
 * synchronous, the callback and the promise form of each. Errors leave here in Node's shape.
 */
import { constants } from "node:fs";
import { posix } from "node:path";
import type { AttrChanges } from "../base/attr.js";
import { FsError, hasCode } from "../base/errors.js";
import { isDirectory } from "../base/mode.js";
import {
  dataArg, decoded, encodingOf, fdArg, flagsArg, idArg, integer, modeArg, nameEncodingOf, optionsOf, pathArg, positionArg, slice, timeArg,
} from "./arguments.js";
import { holding, type Context } from "./context.js";
import { Dir, Dirent } from "./dirents.js";
import { nodeError, reporting, wrongType } from "./errors.js";
import { then, type Maybe } from "./maybe.js";
import * as namespace from "./namespace.js";
import { type Stats, statfsOf, statsOf } from "./stats.js";
import type { Follow } from "./walk.js";
import * as whole from "./whole-files.js";

export type Operations = ReturnType<typeof operationsOn>;

/** Anything that has a descriptor: a number or a FileHandle. Undefined for a path. */
function descriptorOf(file: unknown): number | undefined {
  if (typeof file === "number") return fdArg(file);
  if (typeof file === "object" && file !== null && "fd" in file && typeof file.fd === "number") return file.fd;
  return undefined;
}

export function operationsOn(context: Context) {
  const { tree, walker, descriptors, kept, caller, dev } = context;

  /** Changes the attributes of whatever is at a path. */
  const changeAt = (syscall: string, path: unknown, follow: Follow, changes: (mode: number) => AttrChanges): Maybe<void> => {
    const { bytes, shown } = pathArg(path);
    return reporting(syscall, shown, undefined, () => {
      const node = walker.find(bytes, follow, syscall);
      return holding(kept, [node], () => then(tree.setAttr(node, changes(tree.getAttr(node).mode), caller), () => undefined));
    });
  };
  const changeOpen = (syscall: string, fd: unknown, changes: (mode: number) => AttrChanges): Maybe<void> => {
    const number = fdArg(fd);
    return reporting(syscall, undefined, undefined, () => {
      const { node } = descriptors.get(number, syscall);
      return then(tree.setAttr(node, changes(tree.getAttr(node).mode), caller), () => undefined);
    });
  };
  /** Giving a file to somebody else takes setuid, setgid and capabilities away, as chown(2) does even for root. */
  const ownership = (uid: unknown, gid: unknown): ((mode: number) => AttrChanges) => {
    const newUid = idArg(uid, "uid");
    const newGid = idArg(gid, "gid");
    return (mode) => ({
      ...(newUid === undefined ? {} : { uid: newUid }),
      ...(newGid === undefined ? {} : { gid: newGid }),
      ...(isDirectory(mode) ? {} : { killPrivileges: true }),
    });
  };
  const times = (atime: unknown, mtime: unknown): (() => AttrChanges) => {
    const changes = { atime: timeArg(atime, "atime"), mtime: timeArg(mtime, "mtime") };
    return () => changes;
  };
  const statAt = (syscall: "stat" | "lstat", path: unknown, options: unknown): object | undefined => {
    const { bytes, shown } = pathArg(path);
    const { bigint, throwIfNoEntry } = optionsOf(options);
    try {
      const node = walker.find(bytes, syscall === "stat" ? "yes" : "slash", syscall);
      return statsOf(tree.getAttr(node), dev, bigint === true);
    } catch (error) {
      if (throwIfNoEntry === false && hasCode(error, "ENOENT")) return undefined;
      if (error instanceof FsError) throw nodeError(error.code, syscall, shown, undefined, error);
      throw error;
    }
  };
  /** Runs `work` on the file that `file` names, by path (whose errors name it) or by descriptor. */
  const onFile = <T>(file: unknown, work: (file: whole.FileArg) => Maybe<T>): Maybe<T> => {
    const fd = descriptorOf(file);
    if (fd !== undefined) return reporting("read", undefined, undefined, () => work(fd));
    const { bytes, shown } = pathArg(file);
    return namingOpen(shown, () => work(bytes));
  };
  /** Errors of open name the path; those of the reads and writes after it do not, as in Node. */
  const namingOpen = <T>(shown: string, run: () => Maybe<T>): Maybe<T> => {
    const rethrow = (error: unknown): never => {
      if (!(error instanceof FsError)) throw error;
      const atOpen = error.syscall !== "read" && error.syscall !== "write" && error.syscall !== "ftruncate";
      throw atOpen ? nodeError(error.code, "open", shown, undefined, error) : nodeError(error.code, error.syscall, undefined, undefined, error);
    };
    try {
      const result = run();
      return result instanceof Promise ? result.catch(rethrow) : result;
    } catch (error) {
      return rethrow(error);
    }
  };
  const write = (file: unknown, data: unknown, options: unknown, flags: string, chunks = false): Maybe<void> => {
    const given = optionsOf(options);
    const encoding = encodingOf(given);
    const bits = flagsArg(given["flag"], flags);
    const mode = modeArg(given["mode"], 0o666);
    if (chunks && isIterable(data)) {
      return onFile(file, (target) => whole.writeChunks(context, target, bits, mode, data, (chunk) => dataArg(chunk, encoding)));
    }
    const bytes = dataArg(data, encoding);
    return onFile(file, (target) => whole.writeWhole(context, target, bits, mode, bytes, given["flush"] === true));
  };

  return {
    access(path: unknown, mode?: unknown): void {
      const { bytes, shown } = pathArg(path);
      const wanted = mode === undefined ? constants.F_OK : integer(mode, "mode", 0, 7);
      void reporting("access", shown, undefined, () => {
        const attr = tree.getAttr(walker.find(bytes, "yes", "access"));
        // Full rights read and write everything, but execute only what somebody may execute.
        if ((wanted & constants.X_OK) !== 0 && !isDirectory(attr.mode) && (attr.mode & 0o111) === 0) throw new FsError("EACCES", "access");
      });
    },
    appendFile: (file: unknown, data: unknown, options?: unknown): Maybe<void> => write(file, data, options, "a"),
    chmod(path: unknown, mode: unknown): Maybe<void> {
      const bits = modeArg(mode);
      return changeAt("chmod", path, "yes", () => ({ mode: bits }));
    },
    chown: (path: unknown, uid: unknown, gid: unknown): Maybe<void> => changeAt("chown", path, "yes", ownership(uid, gid)),
    close(fd: unknown): void {
      const number = fdArg(fd);
      void reporting("close", undefined, undefined, () => descriptors.close(number));
    },
    copyFile(from: unknown, to: unknown, mode?: unknown): Maybe<void> {
      const source = pathArg(from, "src");
      const target = pathArg(to, "dest");
      const bits = integer(mode ?? 0, "mode", 0, 7);
      return reporting("copyfile", source.shown, target.shown, () => whole.copyFile(context, source.bytes, target.bytes, bits));
    },
    fchmod(fd: unknown, mode: unknown): Maybe<void> {
      const bits = modeArg(mode);
      return changeOpen("fchmod", fd, () => ({ mode: bits }));
    },
    fchown: (fd: unknown, uid: unknown, gid: unknown): Maybe<void> => changeOpen("fchown", fd, ownership(uid, gid)),
    fdatasync(fd: unknown): Maybe<void> {
      const number = fdArg(fd);
      return reporting("fdatasync", undefined, undefined, () => descriptors.sync(number, true));
    },
    fstat(fd: unknown, options?: unknown): object {
      const number = fdArg(fd);
      const found = reporting("fstat", undefined, undefined, () => tree.getAttr(descriptors.get(number, "fstat").node));
      return then(found, (attr) => statsOf(attr, dev, optionsOf(options)["bigint"] === true));
    },
    fsync(fd: unknown): Maybe<void> {
      const number = fdArg(fd);
      return reporting("fsync", undefined, undefined, () => descriptors.sync(number, false));
    },
    ftruncate(fd: unknown, length?: unknown): Maybe<void> {
      const number = fdArg(fd);
      const size = lengthArg(length);
      return reporting("ftruncate", undefined, undefined, () => descriptors.truncate(number, size));
    },
    futimes: (fd: unknown, atime: unknown, mtime: unknown): Maybe<void> => changeOpen("futime", fd, times(atime, mtime)),
    lchown: (path: unknown, uid: unknown, gid: unknown): Maybe<void> => changeAt("lchown", path, "slash", ownership(uid, gid)),
    link(existing: unknown, path: unknown): Maybe<void> {
      const from = pathArg(existing, "existingPath");
      const to = pathArg(path, "newPath");
      return reporting("link", from.shown, to.shown, () => namespace.link(context, from.bytes, to.bytes));
    },
    lstat: (path: unknown, options?: unknown): object | undefined => statAt("lstat", path, options),
    lutimes: (path: unknown, atime: unknown, mtime: unknown): Maybe<void> => changeAt("lutime", path, "slash", times(atime, mtime)),
    mkdir(path: unknown, options?: unknown): Maybe<string | undefined> {
      const { bytes, shown } = pathArg(path);
      const given = typeof options === "object" ? optionsOf(options) : { mode: options };
      const mode = modeArg(given["mode"], 0o777);
      return reporting("mkdir", shown, undefined, () => {
        if (given["recursive"] !== true) {
          namespace.makeDirectory(context, bytes, mode);
          return undefined;
        }
        const first = namespace.makeDirectories(context, bytes, mode);
        return first === undefined ? undefined : (decoded(first, "utf8") as string);
      });
    },
    mkdtemp(prefix: unknown, options?: unknown): Maybe<string | Buffer> {
      const { bytes, shown } = pathArg(prefix, "prefix");
      const encoding = nameEncodingOf(options);
      return reporting("mkdtemp", `${shown}XXXXXX`, undefined, () => decoded(whole.makeTemporaryDirectory(context, bytes), encoding));
    },
    open(path: unknown, flags?: unknown, mode?: unknown): Maybe<number> {
      const { bytes, shown } = pathArg(path);
      const bits = flagsArg(flags);
      const permissions = modeArg(mode, 0o666);
      return reporting("open", shown, undefined, () => descriptors.open(bytes, bits, permissions));
    },
    opendir(path: unknown, options?: unknown): Maybe<Dir> {
      const { bytes, shown } = pathArg(path);
      const encoding = nameEncodingOf(options);
      return reporting("opendir", shown, undefined, () => new Dir(shown, namespace.entriesOf(context, bytes, "opendir").entries, encoding));
    },
    /** The count of bytes; see forms.ts for the shapes of the arguments. */
    read(fd: unknown, buffer: unknown, offset?: unknown, length?: unknown, position?: unknown): Maybe<number> {
      const number = fdArg(fd);
      const into = slice(buffer, offset, length);
      const at = positionArg(position);
      return reporting("read", undefined, undefined, () => (into.length === 0 ? (descriptors.get(number, "read"), 0) : descriptors.read(number, into, at)));
    },
    readdir(path: unknown, options?: unknown): Maybe<(string | Buffer | Dirent)[]> {
      const { bytes, shown } = pathArg(path);
      const given = optionsOf(options);
      const encoding = encodingOf(given) ?? "utf8";
      const withTypes = given["withFileTypes"] === true;
      return reporting("scandir", shown, undefined, () => {
        const found = given["recursive"] === true
          ? namespace.entriesBelow(context, bytes)
          : namespace.entriesOf(context, bytes, "scandir").entries.map((entry) => ({ below: "", entry }));
        return found.map(({ below, entry }) => {
          if (!withTypes) return decoded(below === "" ? entry.name : `${below}/${entry.name}`, encoding);
          const parent = below === "" ? shown : posix.join(shown, decoded(below, "utf8").toString());
          return new Dirent(decoded(entry.name, encoding), entry.type, parent);
        });
      });
    },
    readFile(file: unknown, options?: unknown): Maybe<string | Buffer> {
      const given = optionsOf(options);
      const encoding = encodingOf(given);
      const flags = flagsArg(given["flag"], "r");
      return then(onFile(file, (source) => whole.readWhole(context, source, flags)), (bytes) =>
        encoding === undefined || encoding === "buffer" ? bytes : bytes.toString(encoding),
      );
    },
    readlink(path: unknown, options?: unknown): Maybe<string | Buffer> {
      const { bytes, shown } = pathArg(path);
      const encoding = nameEncodingOf(options);
      return reporting("readlink", shown, undefined, () => decoded(namespace.readlink(context, bytes), encoding));
    },
    realpath(path: unknown, options?: unknown): Maybe<string | Buffer> {
      const { bytes, shown } = pathArg(path);
      const encoding = nameEncodingOf(options);
      return reporting("realpath", shown, undefined, () => decoded(namespace.realpath(context, bytes), encoding));
    },
    rename(oldPath: unknown, newPath: unknown): Maybe<void> {
      const from = pathArg(oldPath, "oldPath");
      const to = pathArg(newPath, "newPath");
      return reporting("rename", from.shown, to.shown, () => namespace.rename(context, from.bytes, to.bytes));
    },
    rm(path: unknown, options?: unknown): void {
      const { bytes, shown } = pathArg(path);
      const { recursive, force } = optionsOf(options);
      void reporting("rm", shown, undefined, () => {
        const found = statAt("lstat", path, { throwIfNoEntry: force !== true }) as Stats | undefined;
        if (found === undefined) return;
        if (recursive !== true && found.isDirectory()) {
          throw Object.assign(nodeError("EISDIR", "rm", shown), { code: "ERR_FS_EISDIR" });
        }
        namespace.removeTree(context, bytes);
      });
    },
    rmdir(path: unknown, options?: unknown): void {
      const { bytes, shown } = pathArg(path);
      void reporting("rmdir", shown, undefined, () => {
        if (optionsOf(options)["recursive"] === true) namespace.removeTree(context, bytes);
        else namespace.rmdir(context, bytes);
      });
    },
    stat: (path: unknown, options?: unknown): object | undefined => statAt("stat", path, options),
    statfs(path: unknown, options?: unknown): Maybe<object> {
      const { bytes, shown } = pathArg(path);
      return reporting("statfs", shown, undefined, () => {
        walker.find(bytes, "yes", "statfs");
        return statfsOf(tree.statfs(), optionsOf(options)["bigint"] === true);
      });
    },
    symlink(target: unknown, path: unknown): void {
      const to = pathArg(target, "target");
      const { bytes, shown } = pathArg(path);
      void reporting("symlink", to.shown, shown, () => namespace.symlink(context, to.bytes, bytes));
    },
    truncate(path: unknown, length?: unknown): Maybe<void> {
      const { bytes, shown } = pathArg(path);
      const size = lengthArg(length);
      return namingOpen(shown, () => whole.withFile(context, bytes, constants.O_RDWR, 0, (fd) => descriptors.truncate(fd, size)));
    },
    unlink(path: unknown): void {
      const { bytes, shown } = pathArg(path);
      void reporting("unlink", shown, undefined, () => namespace.unlink(context, bytes));
    },
    utimes: (path: unknown, atime: unknown, mtime: unknown): Maybe<void> => changeAt("utime", path, "yes", times(atime, mtime)),
    write(fd: unknown, from: Uint8Array, position: unknown): Maybe<number> {
      const number = fdArg(fd);
      const at = positionArg(position);
      return reporting("write", undefined, undefined, () => descriptors.write(number, from, at));
    },
    writeFile: (file: unknown, data: unknown, options?: unknown): Maybe<void> => write(file, data, options, "w"),
    /** As writeFile, and takes iterables and streams as well; only the promise form has this. */
    writeFileOrChunks: (file: unknown, data: unknown, options?: unknown): Maybe<void> => write(file, data, options, "w", true),
  };
}

function lengthArg(value: unknown): number {
  if (value === undefined || value === null) return 0;
  if (typeof value !== "number") throw wrongType("len", "of type number", value);
  return Math.max(0, integer(value, "len", Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER));
}

function isIterable(data: unknown): data is AsyncIterable<unknown> | Iterable<unknown> {
  if (typeof data !== "object" || data === null || ArrayBuffer.isView(data)) return false;
  return Symbol.asyncIterator in data || Symbol.iterator in data;
}
