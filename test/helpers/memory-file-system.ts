/**
 * A small writable tree for tests of whatever serves a FileSystem. Names live in memory; file bodies in memory too, or, with
 * `descriptors`, in unlinked temporary files, so that they have descriptors. A file may be marked as lower: opening it for writing
 * moves its bytes to another file, as a copy-up does. With `late`, whatever may return a promise does; reads wait while they are held.
 */
import { closeSync, fdatasyncSync, fstatSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Attr, AttrChanges, Time } from "../../lib/base/attr.js";
import { FsError } from "../../lib/base/errors.js";
import { isDirectory, isRegular, isSymlink, O_ACCMODE, O_RDONLY, O_TRUNC, S_IFDIR, S_IFMT, S_IFREG, S_ISGID, S_ISUID } from "../../lib/base/mode.js";
import { name as toName, type Name } from "../../lib/base/name.js";
import type { Caller, DirEntry, FileSystem, NewNode, OpenFile, RenameMode, StatFs } from "../../lib/vfs.js";

export interface MemoryOptions {
  readonly descriptors?: boolean;
  readonly late?: boolean;
}

/** Bytes. A tree in memory should refuse what memory cannot hold. */
const MAX_SIZE = 2 ** 28;

interface Body {
  readonly fd: number;
  bytes: Buffer;
}

export class MemoryNode {
  parent: MemoryNode | undefined;
  readonly children = new Map<Name, MemoryNode>();
  readonly xattrs = new Map<string, Uint8Array>();
  version = 1;
  nlink = 1;
  uid = 0;
  gid = 0;
  rdev = 0;
  target = "";
  body: Body | undefined;
  lower = false;
  atime: Time;
  mtime: Time;
  ctime: Time;
  readonly birth: Time;
  readonly ino: number;
  mode: number;

  constructor(ino: number, mode: number) {
    this.ino = ino;
    this.mode = mode;
    this.birth = this.atime = this.mtime = this.ctime = now();
  }
}

export class MemoryFileSystem implements FileSystem<MemoryNode> {
  readonly root = new MemoryNode(1, S_IFDIR | 0o755);
  /** Nodes that forget() was called for, in order. */
  readonly forgotten: MemoryNode[] = [];
  asker?: number;
  giveUp?: (asker: number) => boolean;
  /** Reads wait for this. */
  held: Promise<void> | undefined;
  readonly #options: MemoryOptions;
  readonly #folder: string;
  readonly #descriptors: number[] = [];
  #nextIno = 2;

  constructor(options: MemoryOptions = {}) {
    this.#options = options;
    this.#folder = options.descriptors === true ? mkdtempSync(join(tmpdir(), "stratafs-bodies-")) : "";
    this.root.nlink = 2;
  }

  /** Puts a file, with its directories, at a path of plain text. */
  put(path: string, text: string, lower = false): MemoryNode {
    const parts = path.split("/");
    let dir = this.root;
    const caller: Caller = { uid: 0, gid: 0, pid: 0, umask: 0 };
    for (const part of parts.slice(0, -1)) dir = this.lookup(dir, toName(part)) ?? this.create(dir, toName(part), { mode: S_IFDIR | 0o755 }, caller);
    const node = this.create(dir, toName(parts.at(-1) ?? ""), { mode: S_IFREG | 0o644 }, caller);
    this.#write(node, Buffer.from(text), 0);
    node.lower = lower;
    return node;
  }

  lookup(parent: MemoryNode, name: Name): MemoryNode | undefined {
    if (!isDirectory(parent.mode)) throw new FsError("ENOTDIR", "lookup");
    return parent.children.get(name);
  }

  parentOf(dir: MemoryNode): MemoryNode | undefined {
    return dir === this.root ? dir : dir.parent;
  }

  getAttr(node: MemoryNode): Attr {
    const size = this.#size(node);
    return {
      ino: node.ino, mode: node.mode, nlink: node.nlink, uid: node.uid, gid: node.gid, rdev: node.rdev, size, blocks: Math.ceil(size / 512),
      atimeSec: node.atime.sec, atimeNsec: node.atime.nsec, mtimeSec: node.mtime.sec, mtimeNsec: node.mtime.nsec,
      ctimeSec: node.ctime.sec, ctimeNsec: node.ctime.nsec, btimeSec: node.birth.sec, btimeNsec: node.birth.nsec,
    };
  }

  setAttr(node: MemoryNode, changes: AttrChanges): Attr | Promise<Attr> {
    if (changes.mode !== undefined) node.mode = (node.mode & S_IFMT) | changes.mode;
    if (changes.uid !== undefined) node.uid = changes.uid;
    if (changes.gid !== undefined) node.gid = changes.gid;
    if (changes.size !== undefined) this.#truncate(node, changes.size);
    if (changes.killPrivileges === true) node.mode &= (node.mode & 0o010) !== 0 ? ~(S_ISUID | S_ISGID) : ~S_ISUID;
    if (changes.atime !== undefined) node.atime = changes.atime === "now" ? now() : changes.atime;
    if (changes.mtime !== undefined) node.mtime = changes.mtime === "now" ? now() : changes.mtime;
    node.ctime = now();
    return this.#perhapsLate(this.getAttr(node));
  }

  readlink(node: MemoryNode): string {
    if (!isSymlink(node.mode)) throw new FsError("EINVAL", "readlink");
    return node.target;
  }

  create(parent: MemoryNode, name: Name, what: NewNode, caller: Caller): MemoryNode {
    if (this.lookup(parent, name) !== undefined) throw new FsError("EEXIST", "create");
    const node = this.#make(what, caller);
    if (isDirectory(node.mode)) {
      node.nlink = 2;
      parent.nlink++;
    }
    this.#attach(parent, name, node);
    return node;
  }

  createUnnamed(_parent: MemoryNode, mode: number, caller: Caller): MemoryNode {
    const node = this.#make({ mode }, caller);
    node.nlink = 0;
    return node;
  }

  link(node: MemoryNode, parent: MemoryNode, name: Name): MemoryNode | Promise<MemoryNode> {
    if (parent.children.has(name)) throw new FsError("EEXIST", "link");
    node.nlink++;
    node.ctime = now();
    this.#attach(parent, name, node);
    return this.#perhapsLate(node);
  }

  unlink(parent: MemoryNode, name: Name): void {
    const node = this.#child(parent, name);
    if (isDirectory(node.mode)) throw new FsError("EISDIR", "unlink");
    this.#detach(parent, name, node);
  }

  rmdir(parent: MemoryNode, name: Name): void {
    const node = this.#child(parent, name);
    if (!isDirectory(node.mode)) throw new FsError("ENOTDIR", "rmdir");
    if (node.children.size > 0) throw new FsError("ENOTEMPTY", "rmdir");
    this.#detach(parent, name, node);
    node.parent = undefined;
  }

  rename(from: MemoryNode, oldName: Name, to: MemoryNode, newName: Name, mode: RenameMode): void {
    const node = this.#child(from, oldName);
    const over = to.children.get(newName);
    if (mode === "noreplace" && over !== undefined) throw new FsError("EEXIST", "rename");
    if (mode === "exchange") {
      if (over === undefined) throw new FsError("ENOENT", "rename");
      this.#attach(from, oldName, over);
    } else {
      if (over === node) return;
      if (over !== undefined) {
        if (over.children.size > 0) throw new FsError("ENOTEMPTY", "rename");
        this.#detach(to, newName, over);
      }
      from.children.delete(oldName);
      from.version++;
      if (isDirectory(node.mode)) {
        from.nlink--;
        to.nlink++;
      }
    }
    this.#attach(to, newName, node);
  }

  getXattr(node: MemoryNode, key: string): Uint8Array | undefined {
    return node.xattrs.get(key);
  }

  setXattr(node: MemoryNode, key: string, value: Uint8Array | undefined, only?: "create" | "replace"): void {
    const present = node.xattrs.has(key);
    if (only === "create" && present) throw new FsError("EEXIST", "setxattr");
    if ((only === "replace" || value === undefined) && !present) throw new FsError("ENODATA", "setxattr");
    if (value === undefined) node.xattrs.delete(key);
    else node.xattrs.set(key, value);
  }

  listXattr(node: MemoryNode): readonly string[] {
    return [...node.xattrs.keys()];
  }

  open(node: MemoryNode, flags: number): OpenFile | Promise<OpenFile> {
    if (!isRegular(node.mode)) throw new FsError(isDirectory(node.mode) ? "EISDIR" : "EINVAL", "open");
    const writable = (flags & O_ACCMODE) !== O_RDONLY;
    if (writable) this.#copyUp(node);
    if ((flags & O_TRUNC) !== 0) this.#truncate(node, 0);
    return this.#perhapsLate(this.#file(node, writable));
  }

  openDir(node: MemoryNode): readonly DirEntry[] {
    if (!isDirectory(node.mode)) throw new FsError("ENOTDIR", "opendir");
    return [...node.children].map(([name, child]) => ({ name, ino: child.ino, type: child.mode & S_IFMT }));
  }

  dirVersion(node: MemoryNode): number {
    return node.version;
  }

  syncDir(): void {}

  statfs(): StatFs {
    return { blockSize: 4096, fragmentSize: 4096, blocks: 1000, free: 600, available: 500, files: 400, filesFree: 300, nameMax: 255 };
  }

  forget(node: MemoryNode): void {
    this.forgotten.push(node);
  }

  sync(): void {}

  close(): void {
    for (const fd of this.#descriptors) closeSync(fd);
    this.#descriptors.length = 0;
    if (this.#folder !== "") rmSync(this.#folder, { recursive: true, force: true });
  }

  #perhapsLate<T>(value: T): T | Promise<T> {
    return this.#options.late === true ? new Promise((resolve) => setImmediate(resolve, value)) : value;
  }

  #make(what: NewNode, caller: Caller): MemoryNode {
    const node = new MemoryNode(this.#nextIno++, isSymlink(what.mode) ? what.mode : what.mode & ~caller.umask);
    node.uid = caller.uid;
    node.gid = caller.gid;
    node.rdev = what.rdev ?? 0;
    node.target = what.target ?? "";
    if (isRegular(node.mode)) node.body = this.#newBody();
    return node;
  }

  #newBody(): Body {
    if (this.#options.descriptors !== true) return { fd: -1, bytes: Buffer.alloc(0) };
    const path = join(this.#folder, String(this.#descriptors.length));
    const fd = openSync(path, "wx+");
    unlinkSync(path);
    this.#descriptors.push(fd);
    return { fd, bytes: Buffer.alloc(0) };
  }

  #copyUp(node: MemoryNode): void {
    if (!node.lower) return;
    const bytes = Buffer.alloc(this.#size(node));
    this.#read(node, bytes, 0);
    node.body = this.#newBody();
    node.lower = false;
    this.#write(node, bytes, 0);
  }

  #child(parent: MemoryNode, name: Name): MemoryNode {
    const node = parent.children.get(name);
    if (node === undefined) throw new FsError("ENOENT", "lookup");
    return node;
  }

  #attach(parent: MemoryNode, name: Name, node: MemoryNode): void {
    parent.children.set(name, node);
    parent.version++;
    parent.mtime = parent.ctime = now();
    if (isDirectory(node.mode)) node.parent = parent;
  }

  #detach(parent: MemoryNode, name: Name, node: MemoryNode): void {
    parent.children.delete(name);
    parent.version++;
    parent.mtime = parent.ctime = now();
    node.ctime = now();
    if (isDirectory(node.mode)) {
      node.nlink = 0;
      parent.nlink--;
    } else {
      node.nlink--;
    }
  }

  #bodyOf(node: MemoryNode): Body {
    if (node.body === undefined) throw new FsError("EINVAL", "open");
    return node.body;
  }

  #size(node: MemoryNode): number {
    if (isSymlink(node.mode)) return node.target.length;
    if (node.body === undefined) return 0;
    return node.body.fd >= 0 ? fstatSync(node.body.fd).size : node.body.bytes.length;
  }

  #truncate(node: MemoryNode, size: number): void {
    if (node.body === undefined) throw new FsError("EISDIR", "truncate");
    if (size > MAX_SIZE) throw new FsError("EFBIG", "truncate");
    this.#copyUp(node);
    const body = this.#bodyOf(node);
    if (body.fd >= 0) ftruncateSync(body.fd, size);
    else body.bytes = Buffer.concat([body.bytes.subarray(0, size), Buffer.alloc(Math.max(0, size - body.bytes.length))]);
    node.mtime = now();
  }

  #read(node: MemoryNode, into: Uint8Array, position: number): number {
    const body = this.#bodyOf(node);
    if (body.fd >= 0) return readSync(body.fd, into, 0, into.length, position);
    const piece = body.bytes.subarray(position, position + into.length);
    into.set(piece);
    return piece.length;
  }

  #write(node: MemoryNode, from: Uint8Array, position: number): number {
    const body = this.#bodyOf(node);
    if (position + from.length > MAX_SIZE) throw new FsError("EFBIG", "write");
    node.mtime = node.ctime = now();
    if (body.fd >= 0) return writeSync(body.fd, from, 0, from.length, position);
    if (body.bytes.length < position + from.length) {
      body.bytes = Buffer.concat([body.bytes, Buffer.alloc(position + from.length - body.bytes.length)]);
    }
    body.bytes.set(from, position);
    return from.length;
  }

  #file(node: MemoryNode, writable: boolean): OpenFile {
    const tree = this;
    let open = true;
    const check = (): void => {
      if (!open) throw new Error("used after close");
    };
    return {
      get writable() {
        return writable;
      },
      get fd() {
        check();
        return tree.#bodyOf(node).fd;
      },
      read(into, position) {
        check();
        if (tree.held !== undefined) return tree.held.then(() => tree.#read(node, into, position));
        return tree.#perhapsLate(tree.#read(node, into, position));
      },
      write(from, position) {
        check();
        if (!writable) throw new FsError("EBADF", "write");
        return tree.#perhapsLate(tree.#write(node, from, position));
      },
      allocate(_mode, position, length) {
        check();
        if (tree.#size(node) < position + length) tree.#truncate(node, position + length);
      },
      seek(position, whence) {
        check();
        const size = tree.#size(node);
        if (position >= size) throw new FsError("ENXIO", "lseek");
        return whence === 3 ? position : size;
      },
      sync() {
        check();
        const { fd } = tree.#bodyOf(node);
        if (fd >= 0) fdatasyncSync(fd);
      },
      close() {
        check();
        open = false;
      },
    };
  }
}

function now(): Time {
  const ms = Date.now();
  return { sec: Math.floor(ms / 1000), nsec: (ms % 1000) * 1_000_000 };
}
