/**
 * nodeFs: a tree in the shape of node:fs, for tools that accept an `fs`. It plays the part of the kernel and of one
 * process with full rights: it walks paths and keeps descriptors, and it checks no permissions (see README.md).
 */
import * as fs from "node:fs";
import type * as fsPromises from "node:fs/promises";
import { promisify } from "node:util";
import { KeptNodes } from "../base/kept-nodes.js";
import { FsError } from "../base/errors.js";
import type { FileSystem } from "../vfs.js";
import { integer, pathArg } from "./arguments.js";
import type { Context } from "./context.js";
import { Descriptors } from "./descriptors.js";
import { Dir, Dirent } from "./dirents.js";
import { FileHandle, type StreamMakers } from "./file-handle.js";
import { asPromise, callbackOf, synchronous, withCallback, type Operation } from "./forms.js";
import { then } from "./maybe.js";
import { operationsOn } from "./operations.js";
import { BigIntStats, Stats } from "./stats.js";
import { transfersOver, type Transfer } from "./transfers.js";
import { Walker } from "./walk.js";

export interface NodeFsOptions {
  /** Owner of what is made; 0 by default. Not a restriction: the object has full rights. */
  readonly uid?: number;
  readonly gid?: number;
  /** 0o022 by default. */
  readonly umask?: number;
  /** Absolute path inside the tree that relative paths start from; "/" by default. */
  readonly cwd?: string;
  /**
   * How many nodes may be held besides those in use, 4096 by default. Must be Infinity when anything else (a mount, another
   * nodeFs) uses the same tree at the same time: a node forgotten here would be gone for the other, too.
   */
  readonly nodesKept?: number;
}

type Paths = "access" | "appendFile" | "chmod" | "chown" | "copyFile" | "lchown" | "link" | "lstat" | "lutimes" | "mkdir" | "mkdtemp" | "open"
  | "opendir" | "readFile" | "readdir" | "readlink" | "realpath" | "rename" | "rm" | "rmdir" | "stat" | "statfs" | "symlink" | "truncate"
  | "unlink" | "utimes" | "writeFile";
type Open = "close" | "fchmod" | "fchown" | "fdatasync" | "fstat" | "fsync" | "ftruncate" | "futimes" | "read" | "readv" | "write" | "writev";
type Sync = `${Paths | Open | "exists"}Sync`;
export type NodeFsPromises = Pick<typeof fsPromises, Paths | "constants">;
/** The part of node:fs that is served. Not served: watch, watchFile, cp, lchmod, glob, openAsBlob and Node's internal classes. */
export type NodeFs = Pick<typeof fs, Paths | Open | Sync | "exists" | "constants" | "createReadStream" | "createWriteStream"> & {
  readonly promises: NodeFsPromises;
};

const pathNames: readonly Paths[] = [
  "access", "appendFile", "chmod", "chown", "copyFile", "lchown", "link", "lstat", "lutimes", "mkdir", "mkdtemp", "open", "opendir", "readFile",
  "readdir", "readlink", "realpath", "rename", "rm", "rmdir", "stat", "statfs", "symlink", "truncate", "unlink", "utimes", "writeFile",
];
const plainOpenNames = ["close", "fchmod", "fchown", "fdatasync", "fstat", "fsync", "ftruncate", "futimes"] as const;
const transferNames = ["read", "readv", "write", "writev"] as const;

/** Each object is a filesystem of its own to those who compare st_dev. */
let lastDev = 0;

/** The tree stays the caller's to close, after the last descriptor; calls after that give what the tree throws. */
export function nodeFs(tree: FileSystem, options: NodeFsOptions = {}): NodeFs {
  const context = contextOf(tree, options);
  const begin = (): void => void context.kept.trim();
  const operations = operationsOn(context);
  const transfers = transfersOver(operations);
  const served: Record<string, unknown> = {};
  const promises: Record<string, unknown> = {};

  for (const name of [...pathNames, ...plainOpenNames]) {
    const operation = operations[name] as Operation;
    const undo = name === "open" ? (fd: unknown) => operations.close(fd) : undefined;
    served[name] = withCallback(operation, begin);
    served[`${name}Sync`] = synchronous(operation, begin, undo);
  }
  for (const name of pathNames) promises[name] = asPromise(operations[name] as Operation, begin);
  for (const name of transferNames) addTransfer(served, name, transfers[name] as Operation, begin);

  served["realpath"] = Object.assign(served["realpath"] as Operation, { native: served["realpath"] });
  served["realpathSync"] = Object.assign(served["realpathSync"] as Operation, { native: served["realpathSync"] });
  addExists(served);

  // Node's own streams take the functions they work with from `fs`.
  const streams: StreamMakers = {
    createReadStream: (path, given) => fs.createReadStream(path as string, { ...given, fs: served } as object),
    createWriteStream: (path, given) => fs.createWriteStream(path as string, { ...given, fs: served } as object),
  };
  promises["open"] = async (path: unknown, flags?: unknown, mode?: unknown) => {
    begin();
    return new FileHandle(await operations.open(path, flags, mode), operations, transfers, streams);
  };
  promises["writeFile"] = asPromise(operations.writeFileOrChunks as Operation, begin);
  promises["constants"] = fs.constants;

  const { F_OK, R_OK, W_OK, X_OK } = fs.constants;
  return Object.assign(served, {
    createReadStream: (path: unknown, given?: unknown) => streams.createReadStream(path, typeof given === "string" ? { encoding: given } : (given as object)),
    createWriteStream: (path: unknown, given?: unknown) => streams.createWriteStream(path, typeof given === "string" ? { encoding: given } : (given as object)),
    constants: fs.constants, F_OK, R_OK, W_OK, X_OK, Stats, BigIntStats, Dirent, Dir, promises,
  }) as unknown as NodeFs;
}

function contextOf(tree: FileSystem, options: NodeFsOptions): Context {
  const known = new Set(["uid", "gid", "umask", "cwd", "nodesKept"]);
  for (const key of Object.keys(options)) if (!known.has(key)) throw new FsError("EINVAL", "nodeFs", `unknown option ${JSON.stringify(key)}`);
  const { uid = 0, gid = 0, umask = 0o022, cwd = "/", nodesKept = 4096 } = options;
  if (!cwd.startsWith("/")) throw new FsError("EINVAL", "nodeFs", `cwd ${JSON.stringify(cwd)} is not absolute`);
  if (nodesKept !== Infinity) integer(nodesKept, "nodesKept", 0, Number.MAX_SAFE_INTEGER);
  const caller = {
    uid: integer(uid, "uid", 0, 0xffffffff), gid: integer(gid, "gid", 0, 0xffffffff), umask: integer(umask, "umask", 0, 0o777), pid: process.pid,
  };
  const kept = new KeptNodes((node) => tree.forget(node), nodesKept);
  const walker = new Walker(tree, kept, pathArg(cwd, "cwd").bytes);
  return { tree, walker, kept, caller, descriptors: new Descriptors(tree, kept, walker, caller), dev: ++lastDev };
}

/** Callbacks of reads and writes get the count and the buffer; their promisified forms give both in one object. */
function addTransfer(served: Record<string, unknown>, name: (typeof transferNames)[number], transfer: Operation, begin: () => void): void {
  const counted = name.startsWith("read") ? "bytesRead" : "bytesWritten";
  const buffers = name.endsWith("v") ? "buffers" : "buffer";
  const callback = withCallback(transfer, begin, (value) => {
    const { count, data } = value as Transfer<unknown>;
    return [count, data];
  });
  served[name] = Object.assign(callback, {
    [promisify.custom]: asPromise((...args) => then(transfer(...args), (value) => {
      const { count, data } = value as Transfer<unknown>;
      return { [counted]: count, [buffers]: data };
    }), begin),
  });
  served[`${name}Sync`] = synchronous((...args) => then(transfer(...args), (value) => (value as Transfer<unknown>).count), begin);
}

/** exists() calls back with a boolean alone. */
function addExists(served: Record<string, unknown>): void {
  const existsSync = (path: unknown): boolean => {
    try {
      return (served["statSync"] as Operation)(path, { throwIfNoEntry: false }) !== undefined;
    } catch {
      return false;
    }
  };
  served["existsSync"] = existsSync;
  served["exists"] = Object.assign(
    (...args: unknown[]) => {
      const callback = callbackOf(args);
      setImmediate(callback, existsSync(args[0]));
    },
    { [promisify.custom]: async (path: unknown) => existsSync(path) },
  );
}
