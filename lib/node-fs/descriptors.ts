/**
 * The descriptor table: open, close, and reading and writing through a descriptor, with its position and O_APPEND.
 * Invariant: an open descriptor pins its node and the directories it was opened through, so they are not forgotten.
 * Appends to one node that have to wait run one after the other, so that none overwrites another.
 */
import { constants } from "node:fs";
import { FsError } from "../base/errors.js";
import { S_IFREG, isDirectory, isRegular, isSymlink } from "../base/mode.js";
import type { KeptNodes } from "../base/kept-nodes.js";
import type { Name } from "../base/name.js";
import type { Caller, FileSystem, OpenFile } from "../vfs.js";
import { lastly, then, type Maybe } from "./maybe.js";
import type { Walker } from "./walk.js";

const { O_ACCMODE, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW } = {
  O_ACCMODE: 3, ...constants,
};
const O_TMPFILE = 0o20000000;

/** Far above the descriptors a process gets from the kernel: one passed to the real node:fs by mistake is EBADF there. */
const firstFd = 0x40000000;

export interface Descriptor {
  readonly node: object;
  /** Undefined for a directory. */
  readonly file: OpenFile | undefined;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly append: boolean;
  readonly pinned: readonly object[];
  position: number;
  /** File capabilities were looked for, and removed, before the first write. */
  privilegesDropped: boolean;
}

export class Descriptors {
  readonly #tree: FileSystem;
  readonly #kept: KeptNodes;
  readonly #walker: Walker;
  readonly #caller: Caller;
  readonly #open = new Map<number, Descriptor>();
  readonly #appending = new WeakMap<object, Promise<unknown>>();
  #nextFd = firstFd;

  constructor(tree: FileSystem, kept: KeptNodes, walker: Walker, caller: Caller) {
    this.#tree = tree;
    this.#kept = kept;
    this.#walker = walker;
    this.#caller = caller;
  }

  /** open(2): a new descriptor. `path` in latin1. Throws ENXIO for fifos, sockets and devices: nobody is at the other end. */
  open(path: string, flags: number, mode: number): Maybe<number> {
    const tree = this.#tree;
    const access = flags & O_ACCMODE;
    const writable = access === O_WRONLY || access === O_RDWR;
    const once = (flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0;
    const place = this.#walker.walk(path, once || (flags & O_NOFOLLOW) !== 0 ? "no" : "yes", "open", (flags & O_CREAT) !== 0);
    const { dir, slash, trail } = place;

    if ((flags & O_TMPFILE) !== 0) {
      if (place.node === undefined) throw new FsError("ENOENT", "open");
      if (!isDirectory(tree.getAttr(place.node).mode)) throw new FsError("ENOTDIR", "open");
      if (!writable) throw new FsError("EINVAL", "open");
      return this.#opened(tree.createUnnamed(place.node, S_IFREG | mode, this.#caller), access, flags, trail);
    }
    if (place.node === undefined) {
      if ((flags & O_CREAT) === 0) throw new FsError("ENOENT", "open");
      return this.#opened(tree.create(dir, place.name as Name, { mode: S_IFREG | mode }, this.#caller), access, flags, trail);
    }
    if (once) throw new FsError("EEXIST", "open");
    const type = tree.getAttr(place.node).mode;
    if (isSymlink(type)) throw new FsError("ELOOP", "open");
    if (isDirectory(type)) {
      if (writable || (flags & O_CREAT) !== 0) throw new FsError("EISDIR", "open");
      return this.#add(place.node, undefined, access, flags, trail);
    }
    if ((flags & O_DIRECTORY) !== 0 || slash) throw new FsError("ENOTDIR", "open");
    if (!isRegular(type)) throw new FsError("ENXIO", "open");
    return this.#opened(place.node, access | (flags & O_TRUNC), flags, trail);
  }

  get(fd: number, syscall: string): Descriptor {
    const descriptor = this.#open.get(fd);
    if (descriptor === undefined) throw new FsError("EBADF", syscall);
    return descriptor;
  }

  close(fd: number): void {
    const { node, file, pinned } = this.get(fd, "close");
    this.#open.delete(fd);
    const gone = this.#tree.getAttr(node).nlink === 0;
    try {
      file?.close();
    } finally {
      this.#unpin(node, pinned, gone);
    }
  }

  /** The count read into `into`; 0 at the end. `position` null is the descriptor's own, which then moves. */
  read(fd: number, into: Uint8Array, position: number | null): Maybe<number> {
    const descriptor = this.get(fd, "read");
    if (!descriptor.readable) throw new FsError("EBADF", "read");
    if (descriptor.file === undefined) throw new FsError("EISDIR", "read");
    const count = descriptor.file.read(into, position ?? descriptor.position);
    if (position !== null) return count;
    return then(count, (n) => {
      descriptor.position += n;
      return n;
    });
  }

  /** The count written, always all of `from`. */
  write(fd: number, from: Uint8Array, position: number | null): Maybe<number> {
    const descriptor = this.get(fd, "write");
    const file = descriptor.file;
    if (!descriptor.writable || file === undefined) throw new FsError("EBADF", "write");
    if (from.length === 0) return 0;
    return then(this.#dropCapabilities(descriptor), () => {
      // As on Linux, O_APPEND wins over a position, which is then only good for leaving the descriptor's own alone.
      if (descriptor.append) return this.#append(descriptor, file, from, position === null);
      const at = position ?? descriptor.position;
      return then(file.write(from, at), (n) => {
        if (position === null) descriptor.position = at + n;
        return n;
      });
    });
  }

  truncate(fd: number, size: number): Maybe<void> {
    const { node, writable, file } = this.get(fd, "ftruncate");
    if (!writable || file === undefined) throw new FsError("EINVAL", "ftruncate");
    return then(this.#tree.setAttr(node, { size }, this.#caller), () => undefined);
  }

  sync(fd: number, dataOnly: boolean): Maybe<void> {
    const { node, file } = this.get(fd, dataOnly ? "fdatasync" : "fsync");
    return file === undefined ? this.#tree.syncDir(node) : file.sync(dataOnly);
  }

  #opened(node: object, treeFlags: number, flags: number, trail: readonly object[]): Maybe<number> {
    const pinned = [...trail, node];
    this.#kept.saw(node);
    for (const each of pinned) this.#kept.pin(each);
    try {
      const file = this.#tree.open(node, treeFlags);
      if (!(file instanceof Promise)) return this.#register(node, file, flags, pinned);
      return file.then(
        (late) => this.#register(node, late, flags, pinned),
        (error: unknown) => {
          this.#unpin(node, pinned, false);
          throw error;
        },
      );
    } catch (error) {
      this.#unpin(node, pinned, false);
      throw error;
    }
  }

  #add(node: object, file: OpenFile | undefined, access: number, flags: number, trail: readonly object[]): number {
    const pinned = [...trail, node];
    for (const each of pinned) this.#kept.pin(each);
    return this.#register(node, file, (flags & ~O_ACCMODE) | access, pinned);
  }

  #register(node: object, file: OpenFile | undefined, flags: number, pinned: readonly object[]): number {
    const access = flags & O_ACCMODE;
    const fd = this.#nextFd++;
    this.#open.set(fd, {
      node, file, pinned,
      readable: access !== O_WRONLY,
      writable: access === O_WRONLY || access === O_RDWR,
      append: (flags & O_APPEND) !== 0,
      position: 0,
      privilegesDropped: false,
    });
    return fd;
  }

  #unpin(node: object, pinned: readonly object[], gone: boolean): void {
    for (let i = pinned.length - 1; i >= 0; i--) this.#kept.unpin(pinned[i]!, gone && pinned[i] === node);
  }

  #append(descriptor: Descriptor, file: OpenFile, from: Uint8Array, moves: boolean): Maybe<number> {
    const { node } = descriptor;
    const write = (): Maybe<number> => {
      const end = this.#tree.getAttr(node).size;
      return then(file.write(from, end), (n) => {
        if (moves) descriptor.position = end + n;
        return n;
      });
    };
    const before = this.#appending.get(node);
    const result = before === undefined ? write() : before.then(write, write);
    if (result instanceof Promise) {
      this.#appending.set(node, result);
      return lastly(() => result, () => {
        if (this.#appending.get(node) === result) this.#appending.delete(node);
      });
    }
    return result;
  }

  /** A write takes a file's capabilities away, even root's write (as the kernel's file_remove_privs does). */
  #dropCapabilities(descriptor: Descriptor): Maybe<void> {
    if (descriptor.privilegesDropped) return undefined;
    descriptor.privilegesDropped = true;
    if (this.#tree.getXattr(descriptor.node, "security.capability") === undefined) return undefined;
    return this.#tree.setXattr(descriptor.node, "security.capability", undefined);
  }
}
