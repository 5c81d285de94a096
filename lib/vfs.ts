/**
 * The contract between a tree and whatever serves it (a FUSE session, the fuse-native host, the node:fs shape). Types only.
 *
 * Calls that return without a promise are atomic: nothing else runs meanwhile. Where a promise comes back the tree
 * has copied what it needs from the arguments, and it looks its nodes up again after waiting.
 */
import type { Attr, AttrChanges } from "./base/attr.js";
import type { Name } from "./base/name.js";

export type { Attr, AttrChanges, Name };
export type RenameMode = "replace" | "noreplace" | "exchange";
/** Who asks, in the ids the kernel sent. `umask` is 0 where the request carries none. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  readonly umask: number;
}
export interface NewNode {
  /** Type and permission bits before the umask. */
  readonly mode: number;
  readonly rdev?: number;
  /** Target of a symbolic link, latin1. */
  readonly target?: string;
}
export interface DirEntry {
  readonly name: Name;
  /** 0 when the name has gone since it was listed. May be looked up only when it is read, and then throw as a lookup does. */
  readonly ino: number;
  /** S_IF* bits. */
  readonly type: number;
}

/**
 * A POSIX tree in the shape a mount needs. `N` is the tree's own node; the mount only hands it back.
 * A node stays usable, even after unlink, until forget(). "Not there" is undefined; the rest is FsError.
 * Permission bits are checked by whoever serves the tree (the kernel, with default_permissions), not by the tree.
 */
export interface FileSystem<N extends object = object> {
  readonly root: N;
  /** Whose call the next one is, for giveUp(); 0, or undefined: nobody's. Set by who calls, for each call, and 0 again after it. */
  asker?: number;
  /**
   * The asker's call that waits has nobody who wants it any more: nothing of it that is not done yet will be done, and its promise rejects EINTR, in
   * its time. False when there is none, or it waits for something that does not end sooner; then nothing has changed.
   */
  giveUp?(asker: number): boolean;
  /** The same node for every name of the same object. */
  lookup(parent: N, name: Name): N | undefined;
  /** `parent` of a directory; the root's is the root. Undefined when it was removed. */
  parentOf(dir: N): N | undefined;
  getAttr(node: N): Attr;
  /** Throws EROFS, EPERM, EISDIR (size of a directory), EFBIG, ENOSPC. */
  setAttr(node: N, changes: AttrChanges, caller: Caller): Attr | Promise<Attr>;
  /** Target as latin1. Throws EINVAL on anything but a symbolic link. */
  readlink(node: N): string;
  /** Makes any kind of object. Applies the caller's ids, umask or the parent's default ACL, and setgid directories. */
  create(parent: N, name: Name, what: NewNode, caller: Caller): N;
  /** A regular file without a name (O_TMPFILE); link() may give it one. */
  createUnnamed(parent: N, mode: number, caller: Caller): N;
  link(node: N, parent: N, name: Name): N | Promise<N>;
  /** Throws EISDIR on a directory. */
  unlink(parent: N, name: Name): void;
  /** Throws ENOTDIR, ENOTEMPTY. */
  rmdir(parent: N, name: Name): void;
  rename(from: N, oldName: Name, to: N, newName: Name, mode: RenameMode): void | Promise<void>;
  getXattr(node: N, key: string): Uint8Array | undefined;
  /** `undefined` removes. Throws EEXIST, ENODATA, EOPNOTSUPP, ENOSPC. */
  setXattr(node: N, key: string, value: Uint8Array | undefined, only?: "create" | "replace"): void | Promise<void>;
  listXattr(node: N): readonly string[];
  /**
   * A regular file's bytes. `flags` are O_* bits; asking to write is what copies a lower file up; O_TRUNC truncates.
   * Never O_CREAT, O_EXCL.
   */
  open(node: N, flags: number): OpenFile | Promise<OpenFile>;
  /** A snapshot, without "." and ".."; later changes to the directory do not show in it. */
  openDir(node: N): readonly DirEntry[];
  /** A number that changes whenever what openDir() would return changes. */
  dirVersion(node: N): number;
  /** Makes a directory's entries durable. */
  syncDir(node: N): void | Promise<void>;
  statfs(): StatFs;
  /** Frees memory and descriptors, nothing else: a failure here could be told to nobody. */
  forget(node: N): void;
  /** Everything written so far becomes durable. */
  sync(): void | Promise<void>;
  /** Releases descriptors and work files. Idempotent. */
  close(): void | Promise<void>;
}

/** One name of a node. */
export interface Named<N extends object = object> {
  readonly dir: N;
  readonly name: Name;
}

/** A node without a name in words that another process understands, which opens the same layers and has inherited the descriptor. */
export interface Nameless {
  readonly type: number;
  readonly ino: number;
  /** Of the object in the upper layer; -1 when there is none. It belongs to the node. */
  readonly fd: number;
  /** Where the lower part is, as the stack counts layers; 0 when there is none. */
  readonly layer: number;
  readonly path: string;
  /** The upper has the attributes, the lower part the data. */
  readonly metacopy: boolean;
}

/** A tree whose nodes can be found again by the next process that serves it (lib/supervised). Nothing here waits but `ready…`. */
export interface LastingFileSystem<N extends object = object> extends FileSystem<N> {
  asker: number;
  giveUp(asker: number): boolean;
  /** What goes on after a wait, as the asker of now. */
  after<T>(wait: Promise<void>, goOn: () => T | Promise<T>): Promise<T>;
  /** Whether the directory has the name; takes hold of nothing. */
  has(dir: N, name: Name): boolean;
  /** The node called so, if somebody uses it. */
  peek(dir: N, name: Name): N | undefined;
  /** All known names; none for the root and for what was removed. */
  namesOf(node: N): readonly Named<N>[];
  /** Tells two objects that were copied up from each other, also in the next process. */
  identity(node: N): number;
  /** Does what link() and rename() would wait for, and checks what they would: after it has returned nothing they do not wait. */
  readyToLink(node: N, parent: N, name: Name): void | Promise<void>;
  readyToRename(from: N, oldName: Name, to: N, newName: Name, mode: RenameMode): void | Promise<void>;
  /** Before a node loses its last name: how to find it without. Of one that has none, given what was said `before`: whether that has changed. */
  hold(node: N, before?: Nameless): Nameless;
  /** The reverse; the node is held as by a lookup. Undefined when its object is gone. */
  adopt(nameless: Nameless): N | undefined;
  /** Its inode number, which getAttr() would say too. */
  numberOf(node: N): number;
  /** Gives a node the inode number that it had in the process before. */
  renumber(node: N, ino: number): void;
  /** What has become known since the last call that no layer says. */
  takeNotes(): readonly string[];
  recall(note: string): void;
}

/**
 * The bytes of one regular file, following its node: after a copy-up, reads see the new bytes.
 * Shared by all users of a node: positions are explicit and there is no file offset.
 */
export interface OpenFile {
  /** True when opened for writing, or when a copy-up for writing has happened since. */
  readonly writable: boolean;
  /**
   * The descriptor that holds the bytes now, offset 0 being the file's; -1 when there is none (memory).
   * Ask again for every use: a copy-up changes it.
   */
  readonly fd: number;
  /** Fills `into` from byte `position`; returns the count, short only at end of file. */
  read(into: Uint8Array, position: number): number | Promise<number>;
  /** Writes all of `from`, or throws having written nothing that matters. Throws EBADF when not writable. */
  write(from: Uint8Array, position: number): number | Promise<number>;
  /** fallocate(2); `mode` as FALLOC_FL_*. */
  allocate(mode: number, position: number, length: number): void | Promise<void>;
  /** lseek(2) with SEEK_DATA (3) or SEEK_HOLE (4): the new offset. Throws ENXIO. */
  seek(position: number, whence: 3 | 4): number;
  sync(dataOnly: boolean): void | Promise<void>;
  close(): void;
}

export interface StatFs {
  readonly blockSize: number;
  readonly fragmentSize: number;
  /** In fragments. */
  readonly blocks: number;
  readonly free: number;
  readonly available: number;
  readonly files: number;
  readonly filesFree: number;
  readonly nameMax: number;
}
