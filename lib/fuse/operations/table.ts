/** Which operation serves which opcode. An opcode that is not here is answered ENOSYS. */
import type { Operation } from "../serving.js";
import * as abi from "../wire/abi.js";
import { getattr, setattr, statx } from "./attributes.js";
import { destroy, init, interrupt, ioctl, notifyReply, notImplemented, statfs, syncfs } from "./connection.js";
import { copyFileRange, copyFileRange64, fallocate, fsync, lseek, read, write } from "./data.js";
import { fsyncdir, readdir, readdirplus } from "./directories.js";
import { batchForget, forget, lookup } from "./lookup.js";
import { link, mkdir, mknod, readlink, rename, rename2, rmdir, symlink, unlink } from "./namespace.js";
import { create, open, release, tmpfile } from "./open.js";
import { getxattr, listxattr, removexattr, setxattr } from "./xattrs.js";

export interface TableEntry {
  /** The opcode's name without FUSE_, as counters and logs spell it. */
  readonly name: string;
  /** The shortest body the kernel sends; a shorter one is answered EINVAL. */
  readonly minimum: number;
  /** False for the requests that must not be answered, whatever happens. */
  readonly answered: boolean;
  /** It changes the tree: performing it twice could show, so its answer is remembered where a recorder remembers any. */
  readonly once: boolean;
  /** Its answer says only that something has ended: whoever is being killed need not wait for that. */
  readonly idle: boolean;
  readonly run: Operation;
}

const changing = new Set([
  abi.FUSE_SETATTR, abi.FUSE_SYMLINK, abi.FUSE_MKNOD, abi.FUSE_MKDIR, abi.FUSE_UNLINK, abi.FUSE_RMDIR, abi.FUSE_RENAME, abi.FUSE_RENAME2, abi.FUSE_LINK,
  abi.FUSE_OPEN, abi.FUSE_CREATE, abi.FUSE_TMPFILE, abi.FUSE_RELEASE, abi.FUSE_WRITE, abi.FUSE_FALLOCATE, abi.FUSE_COPY_FILE_RANGE,
  abi.FUSE_COPY_FILE_RANGE_64, abi.FUSE_SETXATTR, abi.FUSE_REMOVEXATTR,
]);

const idle = new Set([abi.FUSE_FSYNC, abi.FUSE_FSYNCDIR, abi.FUSE_SYNCFS]);

/** Indexed by opcode. */
export const operations: readonly (TableEntry | undefined)[] = build();

function build(): (TableEntry | undefined)[] {
  const table = new Array<TableEntry | undefined>(abi.OPCODE_COUNT).fill(undefined);
  const on = (opcode: number, name: string, minimum: number, run: Operation, answered = true): void => {
    table[opcode] = { name, minimum, answered, once: changing.has(opcode), idle: idle.has(opcode), run };
  };
  on(abi.FUSE_INIT, "INIT", abi.INIT_IN.COMPAT_SIZE, init);
  on(abi.FUSE_LOOKUP, "LOOKUP", 1, lookup);
  on(abi.FUSE_FORGET, "FORGET", abi.FORGET_IN_SIZE, forget, false);
  on(abi.FUSE_BATCH_FORGET, "BATCH_FORGET", abi.BATCH_FORGET_IN.SIZE, batchForget, false);
  on(abi.FUSE_GETATTR, "GETATTR", abi.GETATTR_IN_SIZE, getattr);
  on(abi.FUSE_SETATTR, "SETATTR", abi.SETATTR_IN.SIZE, setattr);
  on(abi.FUSE_STATX, "STATX", abi.STATX_IN_SIZE, statx);
  on(abi.FUSE_READLINK, "READLINK", 0, readlink);
  on(abi.FUSE_SYMLINK, "SYMLINK", 2, symlink);
  on(abi.FUSE_MKNOD, "MKNOD", abi.MKNOD_IN.SIZE + 1, mknod);
  on(abi.FUSE_MKDIR, "MKDIR", abi.MKDIR_IN.SIZE + 1, mkdir);
  on(abi.FUSE_UNLINK, "UNLINK", 1, unlink);
  on(abi.FUSE_RMDIR, "RMDIR", 1, rmdir);
  on(abi.FUSE_RENAME, "RENAME", abi.RENAME_IN.SIZE + 2, rename);
  on(abi.FUSE_RENAME2, "RENAME2", abi.RENAME2_IN.SIZE + 2, rename2);
  on(abi.FUSE_LINK, "LINK", abi.LINK_IN.SIZE + 1, link);
  on(abi.FUSE_OPEN, "OPEN", abi.OPEN_IN.SIZE, open);
  on(abi.FUSE_CREATE, "CREATE", abi.CREATE_IN.SIZE + 1, create);
  on(abi.FUSE_TMPFILE, "TMPFILE", abi.CREATE_IN.SIZE, tmpfile);
  on(abi.FUSE_RELEASE, "RELEASE", abi.RELEASE_IN_SIZE, release);
  on(abi.FUSE_READ, "READ", abi.READ_IN.SIZE, read);
  on(abi.FUSE_WRITE, "WRITE", abi.WRITE_IN.SIZE, write);
  on(abi.FUSE_FSYNC, "FSYNC", abi.FSYNC_IN.SIZE, fsync);
  on(abi.FUSE_FALLOCATE, "FALLOCATE", abi.FALLOCATE_IN.SIZE, fallocate);
  on(abi.FUSE_LSEEK, "LSEEK", abi.LSEEK_IN.SIZE, lseek);
  on(abi.FUSE_COPY_FILE_RANGE, "COPY_FILE_RANGE", abi.COPY_FILE_RANGE_IN.SIZE, copyFileRange);
  on(abi.FUSE_COPY_FILE_RANGE_64, "COPY_FILE_RANGE_64", abi.COPY_FILE_RANGE_IN.SIZE, copyFileRange64);
  on(abi.FUSE_READDIR, "READDIR", abi.READ_IN.SIZE, readdir);
  on(abi.FUSE_READDIRPLUS, "READDIRPLUS", abi.READ_IN.SIZE, readdirplus);
  on(abi.FUSE_FSYNCDIR, "FSYNCDIR", abi.FSYNC_IN.SIZE, fsyncdir);
  on(abi.FUSE_GETXATTR, "GETXATTR", abi.GETXATTR_IN.SIZE + 1, getxattr);
  on(abi.FUSE_SETXATTR, "SETXATTR", abi.SETXATTR_IN.COMPAT_SIZE + 1, setxattr);
  on(abi.FUSE_LISTXATTR, "LISTXATTR", abi.GETXATTR_IN.SIZE, listxattr);
  on(abi.FUSE_REMOVEXATTR, "REMOVEXATTR", 1, removexattr);
  on(abi.FUSE_STATFS, "STATFS", 0, statfs);
  on(abi.FUSE_SYNCFS, "SYNCFS", 0, syncfs);
  on(abi.FUSE_INTERRUPT, "INTERRUPT", abi.INTERRUPT_IN.SIZE, interrupt, false);
  on(abi.FUSE_NOTIFY_REPLY, "NOTIFY_REPLY", 0, notifyReply, false);
  on(abi.FUSE_DESTROY, "DESTROY", 0, destroy);
  on(abi.FUSE_IOCTL, "IOCTL", 0, ioctl);
  // Asked once and never again: what the policy makes needless.
  on(abi.FUSE_FLUSH, "FLUSH", 0, notImplemented);
  on(abi.FUSE_OPENDIR, "OPENDIR", 0, notImplemented);
  on(abi.FUSE_RELEASEDIR, "RELEASEDIR", 0, notImplemented);
  on(abi.FUSE_ACCESS, "ACCESS", 0, notImplemented);
  on(abi.FUSE_POLL, "POLL", 0, notImplemented);
  on(abi.FUSE_BMAP, "BMAP", 0, notImplemented);
  on(abi.FUSE_GETLK, "GETLK", 0, notImplemented);
  on(abi.FUSE_SETLK, "SETLK", 0, notImplemented);
  on(abi.FUSE_SETLKW, "SETLKW", 0, notImplemented);
  on(abi.FUSE_SETUPMAPPING, "SETUPMAPPING", 0, notImplemented);
  on(abi.FUSE_REMOVEMAPPING, "REMOVEMAPPING", 0, notImplemented);
  return table;
}
