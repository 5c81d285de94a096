/** A whole FileSystem in memory, small and strict: what lib/node-fs and the fuse-native host are tried against. */
import type { Attr, AttrChanges, Time } from "../../lib/base/attr.js";
import { FsError } from "../../lib/base/errors.js";
import { O_ACCMODE, O_TRUNC, S_IFDIR, S_IFMT, S_IFREG, isDirectory, isRegular, isSymlink } from "../../lib/base/mode.js";
import type { Name } from "../../lib/base/name.js";
import type { Caller, DirEntry, FileSystem, NewNode, OpenFile, RenameMode, StatFs } from "../../lib/vfs.js";

export class MemoryNode {
  readonly ino: number;
  mode: number;
  nlink = 0;
  uid: number;
  gid: number;
  rdev: number;
  target = "";
  bytes = Buffer.alloc(0);
  readonly children = new Map<Name, MemoryNode>();
  parent: MemoryNode | undefined;
  atime = now();
  mtime = now();
  ctime = now();
  readonly btime = now();
  readonly xattrs = new Map<string, Uint8Array>();
  version = 0;
  forgotten = false;

  constructor(ino: number, mode: number, uid: number, gid: number, rdev = 0) {
    this.ino = ino;
    this.mode = mode;
    this.uid = uid;
    this.gid = gid;
    this.rdev = rdev;
  }
}

function now(): Time {
  const ms = Date.now();
  return { sec: Math.floor(ms / 1000), nsec: (ms % 1000) * 1_000_000 };
}

export class MemoryTree implements FileSystem<MemoryNode> {
  readonly root: MemoryNode;
  /** Every call that may answer with a promise does. */
  readonly slow: boolean;
  openFiles = 0;
  forgets = 0;
  #lastIno = 1;

  constructor(slow = false) {
    this.slow = slow;
    this.root = new MemoryNode(1, S_IFDIR | 0o755, 0, 0);
    this.root.nlink = 2;
    this.root.parent = this.root;
  }

  #maybe<T>(work: () => T): T | Promise<T> {
    if (!this.slow) return work();
    return new Promise((resolve, reject) => setImmediate(() => {
      try {
        resolve(work());
      } catch (error) {
        reject(error as Error);
      }
    }));
  }

  #use(node: MemoryNode): void {
    if (node.forgotten) throw new Error(`inode ${node.ino} is used after forget()`);
  }

  lookup(parent: MemoryNode, name: Name): MemoryNode | undefined {
    this.#use(parent);
    const child = parent.children.get(name);
    if (child !== undefined) child.forgotten = false;
    return child;
  }
  parentOf(dir: MemoryNode): MemoryNode | undefined {
    return dir.parent;
  }
  getAttr(node: MemoryNode): Attr {
    this.#use(node);
    const size = isRegular(node.mode) ? node.bytes.length : isSymlink(node.mode) ? node.target.length : 4096;
    return {
      ino: node.ino, mode: node.mode, nlink: node.nlink, uid: node.uid, gid: node.gid, rdev: node.rdev, size, blocks: Math.ceil(size / 512),
      atimeSec: node.atime.sec, atimeNsec: node.atime.nsec, mtimeSec: node.mtime.sec, mtimeNsec: node.mtime.nsec,
      ctimeSec: node.ctime.sec, ctimeNsec: node.ctime.nsec, btimeSec: node.btime.sec, btimeNsec: node.btime.nsec,
    };
  }
  setAttr(node: MemoryNode, changes: AttrChanges): Attr | Promise<Attr> {
    return this.#maybe(() => {
      this.#use(node);
      if (changes.size !== undefined) resize(node, changes.size);
      if (changes.killPrivileges === true) {
        node.mode &= (node.mode & 0o010) !== 0 ? ~0o6000 : ~0o4000;
        node.xattrs.delete("security.capability");
      }
      if (changes.mode !== undefined) node.mode = (node.mode & S_IFMT) | (changes.mode & 0o7777);
      if (changes.uid !== undefined) node.uid = changes.uid;
      if (changes.gid !== undefined) node.gid = changes.gid;
      if (changes.atime !== undefined) node.atime = changes.atime === "now" ? now() : changes.atime;
      if (changes.mtime !== undefined) node.mtime = changes.mtime === "now" ? now() : changes.mtime;
      node.ctime = now();
      return this.getAttr(node);
    });
  }
  readlink(node: MemoryNode): string {
    if (!isSymlink(node.mode)) throw new FsError("EINVAL", "readlink");
    return node.target;
  }
  create(parent: MemoryNode, name: Name, what: NewNode, caller: Caller): MemoryNode {
    this.#use(parent);
    if (parent.children.has(name)) throw new FsError("EEXIST", "create");
    const node = this.#make(what, caller);
    node.nlink = isDirectory(node.mode) ? 2 : 1;
    this.#put(parent, name, node);
    return node;
  }
  createUnnamed(_parent: MemoryNode, mode: number, caller: Caller): MemoryNode {
    return this.#make({ mode: S_IFREG | mode }, caller);
  }
  #make(what: NewNode, caller: Caller): MemoryNode {
    const mode = isSymlink(what.mode) ? what.mode : what.mode & ~caller.umask;
    const node = new MemoryNode(++this.#lastIno, mode, caller.uid, caller.gid, what.rdev);
    node.target = what.target ?? "";
    return node;
  }
  #put(parent: MemoryNode, name: Name, node: MemoryNode): void {
    if (parent.nlink === 0) throw new FsError("ENOENT", "create");
    parent.children.set(name, node);
    if (isDirectory(node.mode)) {
      node.parent = parent;
      parent.nlink++;
    }
    touched(parent);
  }
  #take(parent: MemoryNode, name: Name): MemoryNode {
    const node = parent.children.get(name);
    if (node === undefined) throw new FsError("ENOENT", "unlink");
    parent.children.delete(name);
    if (isDirectory(node.mode)) parent.nlink--;
    touched(parent);
    return node;
  }
  link(node: MemoryNode, parent: MemoryNode, name: Name): MemoryNode | Promise<MemoryNode> {
    return this.#maybe(() => {
      this.#use(node);
      if (parent.children.has(name)) throw new FsError("EEXIST", "link");
      node.nlink++;
      this.#put(parent, name, node);
      return node;
    });
  }
  unlink(parent: MemoryNode, name: Name): void {
    const node = parent.children.get(name);
    if (node !== undefined && isDirectory(node.mode)) throw new FsError("EISDIR", "unlink");
    this.#take(parent, name).nlink--;
  }
  rmdir(parent: MemoryNode, name: Name): void {
    const node = parent.children.get(name);
    if (node !== undefined && !isDirectory(node.mode)) throw new FsError("ENOTDIR", "rmdir");
    if (node !== undefined && node.children.size > 0) throw new FsError("ENOTEMPTY", "rmdir");
    const removed = this.#take(parent, name);
    removed.nlink = 0;
    removed.parent = undefined;
  }
  rename(from: MemoryNode, oldName: Name, to: MemoryNode, newName: Name, mode: RenameMode): void | Promise<void> {
    return this.#maybe(() => {
      if (mode !== "replace") throw new FsError("EINVAL", "rename");
      const node = from.children.get(oldName);
      if (node === undefined) throw new FsError("ENOENT", "rename");
      const over = to.children.get(newName);
      if (over !== undefined) {
        if (isDirectory(over.mode)) this.rmdir(to, newName);
        else this.unlink(to, newName);
      }
      this.#take(from, oldName);
      this.#put(to, newName, node);
    });
  }
  getXattr(node: MemoryNode, key: string): Uint8Array | undefined {
    return node.xattrs.get(key);
  }
  setXattr(node: MemoryNode, key: string, value: Uint8Array | undefined, only?: "create" | "replace"): void {
    const there = node.xattrs.has(key);
    if (only === "create" && there) throw new FsError("EEXIST", "setxattr");
    if ((only === "replace" || value === undefined) && !there) throw new FsError("ENODATA", "setxattr");
    if (value === undefined) node.xattrs.delete(key);
    else node.xattrs.set(key, Uint8Array.from(value));
  }
  listXattr(node: MemoryNode): readonly string[] {
    return [...node.xattrs.keys()];
  }
  open(node: MemoryNode, flags: number): OpenFile | Promise<OpenFile> {
    return this.#maybe(() => {
      this.#use(node);
      if ((flags & O_TRUNC) !== 0) resize(node, 0);
      this.openFiles++;
      return this.#file(node, (flags & O_ACCMODE) !== 0);
    });
  }
  #file(node: MemoryNode, writable: boolean): OpenFile {
    let open = true;
    const use = (): void => {
      this.#use(node);
      if (!open) throw new FsError("EBADF", "read");
    };
    return {
      writable, fd: -1,
      read: (into, position) => this.#maybe(() => {
        use();
        return position >= node.bytes.length ? 0 : node.bytes.copy(into, 0, position, position + into.length);
      }),
      write: (from, position) => {
        const copied = Buffer.from(from);
        return this.#maybe(() => {
          use();
          if (!writable) throw new FsError("EBADF", "write");
          if (position + copied.length > node.bytes.length) resize(node, position + copied.length);
          copied.copy(node.bytes, position);
          node.mtime = node.ctime = now();
          return copied.length;
        });
      },
      allocate: () => {
        throw new FsError("EOPNOTSUPP", "fallocate");
      },
      seek: () => {
        throw new FsError("ENXIO", "lseek");
      },
      sync: () => undefined,
      close: () => {
        if (open) this.openFiles--;
        open = false;
      },
    };
  }
  openDir(node: MemoryNode): readonly DirEntry[] {
    this.#use(node);
    return [...node.children].map(([name, child]) => ({ name, ino: child.ino, type: child.mode & S_IFMT }));
  }
  dirVersion(node: MemoryNode): number {
    return node.version;
  }
  syncDir(): void {}
  statfs(): StatFs {
    return { blockSize: 4096, fragmentSize: 4096, blocks: 1000, free: 500, available: 400, files: 100, filesFree: 50, nameMax: 255 };
  }
  forget(node: MemoryNode): void {
    this.forgets++;
    node.forgotten = true;
  }
  sync(): void {}
  close(): void {}
}

function resize(node: MemoryNode, size: number): void {
  if (isDirectory(node.mode)) throw new FsError("EISDIR", "truncate");
  if (!isRegular(node.mode)) throw new FsError("EINVAL", "truncate");
  if (size > 1 << 30) throw new FsError("EFBIG", "truncate");
  const bytes = Buffer.alloc(size);
  node.bytes.copy(bytes);
  node.bytes = bytes;
  node.mtime = node.ctime = now();
}

function touched(dir: MemoryNode): void {
  dir.version++;
  dir.mtime = dir.ctime = now();
}
