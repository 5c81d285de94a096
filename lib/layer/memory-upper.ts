/**
 * An upper layer in memory: all that changes is gone with the process.
 * Always true: the rules of a directory upper (umask, setgid directories, ACLs, loss of setuid and capabilities) hold here too,
 * and a call changes nothing before it can no longer fail.
 */
import type { Attr, AttrChanges, Time } from "../base/attr.js";
import { FsError } from "../base/errors.js";
import { S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID, S_ISUID } from "../base/mode.js";
import type { Name } from "../base/name.js";
import type { Caller, NewNode } from "../vfs.js";
import type { Budget } from "./chunked-bytes.js";
import { WHITEOUT_PREFIX } from "./dialect.js";
import type { Backing, LayerNode } from "./layer.js";
import { MemoryBacking, MemoryLayer, asMemoryNode, dataOf, entriesOf } from "./memory-layer.js";
import { MemoryNode, WHITEOUT } from "./memory-node.js";
import { ACCESS_ACL, DEFAULT_ACL, chmodAcl, inheritAcl, modeOfAcl } from "./posix-acl.js";
import { storedKey } from "./private-keys.js";
import type { TreeDescription } from "./tree-description.js";
import type { Place, RenameHow, StagedNode, UpperLayer, WritableBacking } from "./upper.js";

export interface MemoryUpperOptions {
  readonly id?: string;
  /** Bytes of file data, counted in chunks of 64 KiB; ENOSPC beyond. No bound by default. */
  readonly maxBytes?: number;
  readonly redirect?: boolean;
  readonly metacopy?: boolean;
}

const CAPABILITY = "security.capability";
const COPY_PIECE = 1 << 20;
/** After so many bytes of a copy others get a turn. */
const TURN = 16 << 20;

export class MemoryUpper extends MemoryLayer implements UpperLayer {
  readonly can: { readonly redirect: boolean; readonly metacopy: boolean };

  constructor(description: TreeDescription = {}, options: MemoryUpperOptions = {}) {
    const budget: Budget = { maxBytes: options.maxBytes ?? Infinity, usedBytes: 0 };
    super(description, options.id === undefined ? {} : { id: options.id }, budget);
    this.can = { redirect: options.redirect ?? true, metacopy: options.metacopy ?? true };
  }

  create(parent: LayerNode, name: Name, what: NewNode, caller: Caller, place: Place): MemoryNode {
    const dir = asMemoryNode(parent);
    const type = what.mode & S_IFMT;
    checkReserved(name);
    if (type === S_IFCHR && (what.rdev ?? 0) === 0) throw new FsError("EPERM", "mknod", "a 0:0 character device is a whiteout");
    checkFree(dir, name, place, "create");
    const node = this.make(dir, what.mode, caller);
    node.rdev = what.rdev ?? 0;
    node.target = what.target ?? "";
    node.opaque = type === S_IFDIR && place.hidesLower;
    this.put(dir, name, node);
    return node;
  }

  createUnnamed(parent: LayerNode, mode: number, caller: Caller): MemoryNode {
    return this.make(asMemoryNode(parent), S_IFREG | (mode & 0o7777), caller);
  }

  private make(dir: MemoryNode, mode: number, caller: Caller): MemoryNode {
    const type = mode & S_IFMT;
    const node = new MemoryNode(type, this.nextIno++, this.budget, clock());
    const setgid = (dir.permissions & S_ISGID) !== 0;
    const defaultAcl = type === S_IFLNK ? undefined : dir.xattrs.get(DEFAULT_ACL);
    node.permissions = type === S_IFLNK ? 0o777 : (mode & ~caller.umask) & 0o7777;
    if (defaultAcl !== undefined) {
      const inherited = inheritAcl(defaultAcl, mode & 0o7777);
      node.permissions = inherited.mode;
      if (inherited.access !== undefined) node.xattrs.set(ACCESS_ACL, inherited.access);
      if (type === S_IFDIR) node.xattrs.set(DEFAULT_ACL, new Uint8Array(defaultAcl));
    }
    if (setgid && type === S_IFDIR) node.permissions |= S_ISGID;
    node.uid = caller.uid;
    node.gid = setgid ? dir.gid : caller.gid;
    return node;
  }

  stage(attr: Attr, target?: string): StagedNode {
    const node = new MemoryNode(attr.mode & S_IFMT, this.nextIno++, this.budget, clock());
    node.target = target ?? "";
    return new MemoryStaged(node, attr, (dir, name) => {
      const parent = asMemoryNode(dir);
      checkFree(parent, name, { overWhiteout: false, hidesLower: false }, "rename");
      parent.enter(name, node);
    });
  }

  fill(file: LayerNode, source: Backing, size: number): void | Promise<void> {
    const node = asMemoryNode(file);
    const data = dataOf(node);
    const before = data.size;
    const done = (): void => {
      node.metacopy = false;
      node.redirect = undefined;
    };
    const failed = (error: unknown): never => {
      data.truncate(0);
      data.truncate(before);
      throw error;
    };
    try {
      const settled = copyInto(data, source, size);
      if (settled !== undefined) return settled.then(done, failed);
    } catch (error) {
      failed(error);
    }
    done();
  }

  setAttr(layerNode: LayerNode, changes: AttrChanges): void {
    const node = asMemoryNode(layerNode);
    const now = clock();
    if (changes.mode !== undefined && node.type === S_IFLNK) throw new FsError("EOPNOTSUPP", "chmod");
    if (changes.size !== undefined) {
      dataOf(node).truncate(changes.size);
      node.xattrs.delete(CAPABILITY);
      node.mtime = now;
    }
    const chowns = changes.uid !== undefined || changes.gid !== undefined;
    if (changes.uid !== undefined) node.uid = changes.uid;
    if (changes.gid !== undefined) node.gid = changes.gid;
    if (chowns || changes.killPrivileges === true) dropPrivileges(node);
    if (changes.mode !== undefined) chmod(node, changes.mode & 0o7777);
    if (changes.atime !== undefined) node.atime = changes.atime === "now" ? now : changes.atime;
    if (changes.mtime !== undefined) node.mtime = changes.mtime === "now" ? now : changes.mtime;
    node.ctime = now;
  }

  setXattr(layerNode: LayerNode, key: string, value: Uint8Array | undefined, only?: "create" | "replace"): void {
    const node = asMemoryNode(layerNode);
    if (storedKey(key, false) === undefined) throw new FsError("EPERM", "setxattr", `${key} is reserved`);
    if (!/^(user|trusted|security|system\.posix_acl_(access|default)$)/.test(key)) throw new FsError("EOPNOTSUPP", "setxattr");
    if (key.startsWith("user.") && node.type !== S_IFREG && node.type !== S_IFDIR) throw new FsError("EPERM", "setxattr");
    const there = node.xattrs.has(key);
    if (value === undefined || only === "replace") {
      if (!there) throw new FsError("ENODATA", value === undefined ? "removexattr" : "setxattr");
    } else if (only === "create" && there) {
      throw new FsError("EEXIST", "setxattr");
    }
    if (value === undefined) node.xattrs.delete(key);
    else if (key === ACCESS_ACL) setAccessAcl(node, value);
    else node.xattrs.set(key, new Uint8Array(value));
    node.ctime = clock();
  }

  setOpaque(dir: LayerNode): void {
    asMemoryNode(dir).opaque = true;
  }

  setRedirect(node: LayerNode, path: string | undefined): void {
    asMemoryNode(node).redirect = path;
  }

  // ── names ──

  link(layerNode: LayerNode, parent: LayerNode, name: Name, place: Place): void {
    const node = asMemoryNode(layerNode);
    const dir = asMemoryNode(parent);
    checkReserved(name);
    if (node.type === S_IFDIR) throw new FsError("EPERM", "link", "of a directory");
    checkFree(dir, name, place, "link");
    this.put(dir, name, node);
    node.ctime = clock();
  }

  rename(fromNode: LayerNode, oldName: Name, toNode: LayerNode, newName: Name, how: RenameHow): void {
    const from = asMemoryNode(fromNode);
    const to = asMemoryNode(toNode);
    checkReserved(newName);
    const source = entriesOf(from, "rename").get(oldName);
    const target = entriesOf(to, "rename").get(newName);
    if (source === undefined || source === WHITEOUT) throw new FsError("ENOENT", "rename");
    checkNotInside(source, to);
    if (how.exchange) {
      if (target === undefined || target === WHITEOUT) throw new FsError("ENOENT", "rename");
      checkNotInside(target, from);
      from.leave(oldName);
      to.leave(newName);
      this.put(from, oldName, target);
      this.put(to, newName, source);
      return;
    }
    if (target === source) return;
    if (target !== undefined && target !== WHITEOUT) checkReplaceable(source, target);
    from.leave(oldName);
    this.dropName(to, newName);
    this.put(to, newName, source);
    if (how.leaveWhiteout) from.entries!.set(oldName, WHITEOUT);
    touch(from);
    source.ctime = clock();
  }

  remove(parent: LayerNode, name: Name, leaveWhiteout: boolean): void {
    const dir = asMemoryNode(parent);
    const node = entriesOf(dir, "unlink").get(name);
    if (node === undefined || node === WHITEOUT) throw new FsError("ENOENT", "unlink");
    if (node.type === S_IFDIR) checkOnlyWhiteouts(node, "rmdir");
    this.dropName(dir, name);
    if (leaveWhiteout) dir.entries!.set(name, WHITEOUT);
    touch(dir);
  }

  whiteout(parent: LayerNode, name: Name): void {
    const dir = asMemoryNode(parent);
    if (entriesOf(dir, "whiteout").get(name) instanceof MemoryNode) throw new FsError("EEXIST", "whiteout");
    dir.entries!.set(name, WHITEOUT);
    touch(dir);
  }

  private dropName(dir: MemoryNode, name: Name): void {
    const node = dir.entries!.get(name);
    dir.leave(name);
    if (node !== undefined && node !== WHITEOUT) node.ctime = clock();
  }

  private put(dir: MemoryNode, name: Name, node: MemoryNode): void {
    dir.leave(name);
    dir.enter(name, node);
    touch(dir);
  }

  // ── data ──

  openWritable(file: LayerNode): WritableBacking {
    return new MemoryWriter(asMemoryNode(file), dataOf(file));
  }

  /** A file without a name that nobody uses gives its memory back. */
  override release(layerNode: LayerNode): void {
    const node = asMemoryNode(layerNode);
    if (node.nlink === 0 && node.data !== undefined) node.data.drop();
  }

  syncDir(_dir: LayerNode): void {
    return;
  }

  sync(): void {
    return;
  }
}

class MemoryWriter extends MemoryBacking implements WritableBacking {
  private readonly node: MemoryNode;

  constructor(node: MemoryNode, data: MemoryNode["data"] & object) {
    super(data);
    this.node = node;
  }

  write(from: Uint8Array, position: number): number {
    const count = this.data.write(from, position);
    this.changed();
    return count;
  }

  allocate(mode: number, position: number, length: number): void {
    this.data.allocate(mode, position, length);
    this.changed();
  }

  sync(): void {
    return;
  }

  private changed(): void {
    this.node.mtime = this.node.ctime = clock();
    this.node.xattrs.delete(CAPABILITY);
  }
}

class MemoryStaged implements StagedNode {
  private readonly node: MemoryNode;
  private readonly attr: Attr;
  private readonly enter: (dir: LayerNode, name: Name) => void;

  constructor(node: MemoryNode, attr: Attr, enter: (dir: LayerNode, name: Name) => void) {
    this.node = node;
    this.attr = attr;
    this.enter = enter;
  }

  copyFrom(source: Backing, size: number): void | Promise<void> {
    return copyInto(dataOf(this.node), source, size);
  }

  setXattr(key: string, value: Uint8Array): void {
    this.node.xattrs.set(key, new Uint8Array(value));
  }

  setOrigin(ino: number): void {
    this.node.origin = ino;
  }

  setMetacopy(redirect: string | undefined): void {
    dataOf(this.node).truncate(this.attr.size);
    this.node.metacopy = true;
    this.node.redirect = redirect;
  }

  setRedirect(path: string): void {
    this.node.redirect = path;
  }

  publish(dir: LayerNode, name: Name): LayerNode {
    this.finish();
    this.enter(dir, name);
    return this.node;
  }

  publishUnnamed(): LayerNode {
    this.finish();
    return this.node;
  }

  discard(): void {
    this.node.data?.drop();
  }

  private finish(): void {
    const { attr, node } = this;
    node.uid = attr.uid;
    node.gid = attr.gid;
    node.permissions = attr.mode & 0o7777;
    node.rdev = attr.rdev;
    node.atime = { sec: attr.atimeSec, nsec: attr.atimeNsec };
    node.mtime = { sec: attr.mtimeSec, nsec: attr.mtimeNsec };
  }
}

/** Copies what is data; holes stay holes. */
function copyInto(data: NonNullable<MemoryNode["data"]>, source: Backing, size: number): void | Promise<void> {
  const buffer = Buffer.allocUnsafe(Math.min(COPY_PIECE, Math.max(1, size)));
  const copyUntil = (from: number, end: number): void => {
    for (let at = nextData(source, from, end); at < end; ) {
      const hole = Math.min(end, nextHole(source, at, end));
      const count = source.read(buffer.subarray(0, Math.min(buffer.length, hole - at)), at);
      if (count === 0) return;
      data.write(buffer.subarray(0, count), at);
      at += count;
      if (at === hole) at = nextData(source, at, end);
    }
  };
  if (size <= TURN) {
    copyUntil(0, size);
    data.truncate(size);
    return;
  }
  return (async () => {
    for (let at = 0; at < size; at += TURN) {
      copyUntil(at, Math.min(at + TURN, size));
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    data.truncate(size);
  })();
}

function nextData(source: Backing, position: number, end: number): number {
  return position >= end ? end : seekOr(source, position, 3, end);
}

function nextHole(source: Backing, position: number, end: number): number {
  return seekOr(source, position, 4, end);
}

/** ENXIO: no more data. Other failures come from filesystems that cannot tell holes. */
function seekOr(source: Backing, position: number, whence: 3 | 4, end: number): number {
  try {
    return source.seek(position, whence);
  } catch (error) {
    if (error instanceof FsError && error.code === "ENXIO") return end;
    return whence === 3 ? position : end;
  }
}

function chmod(node: MemoryNode, permissions: number): void {
  node.permissions = permissions;
  const access = node.xattrs.get(ACCESS_ACL);
  if (access !== undefined) node.xattrs.set(ACCESS_ACL, chmodAcl(access, permissions));
}

function setAccessAcl(node: MemoryNode, acl: Uint8Array): void {
  if (node.type === S_IFLNK) throw new FsError("EOPNOTSUPP", "setxattr");
  const { permissions, plain } = modeOfAcl(acl);
  node.permissions = (node.permissions & ~0o777) | permissions;
  if (plain) node.xattrs.delete(ACCESS_ACL);
  else node.xattrs.set(ACCESS_ACL, new Uint8Array(acl));
}

function dropPrivileges(node: MemoryNode): void {
  if (node.type === S_IFDIR || node.type === S_IFLNK) return;
  node.permissions &= ~S_ISUID & ((node.permissions & 0o010) !== 0 ? ~S_ISGID : ~0);
  node.xattrs.delete(CAPABILITY);
}

function checkReserved(name: Name): void {
  if (name.startsWith(WHITEOUT_PREFIX)) throw new FsError("EINVAL", "create", `names beginning ${WHITEOUT_PREFIX} are reserved`);
}

function checkFree(dir: MemoryNode, name: Name, place: Place, syscall: string): void {
  const there = entriesOf(dir, syscall).get(name);
  if (there instanceof MemoryNode || (there === WHITEOUT && !place.overWhiteout)) throw new FsError("EEXIST", syscall);
}

function checkReplaceable(source: MemoryNode, target: MemoryNode): void {
  if (source.type === S_IFDIR) {
    if (target.type !== S_IFDIR) throw new FsError("ENOTDIR", "rename");
    checkOnlyWhiteouts(target, "rename");
  } else if (target.type === S_IFDIR) {
    throw new FsError("EISDIR", "rename");
  }
}

function checkOnlyWhiteouts(dir: MemoryNode, syscall: string): void {
  for (const child of dir.entries!.values()) if (child !== WHITEOUT) throw new FsError("ENOTEMPTY", syscall);
}

function checkNotInside(moving: MemoryNode, dir: MemoryNode): void {
  for (let at: MemoryNode | undefined = dir; at !== undefined; at = at.parent === at ? undefined : at.parent) {
    if (at === moving) throw new FsError("EINVAL", "rename", "of a directory into itself");
  }
}

function touch(dir: MemoryNode): void {
  dir.mtime = dir.ctime = clock();
}

function clock(): Time {
  const ms = Date.now();
  return { sec: Math.floor(ms / 1000), nsec: (ms % 1000) * 1e6 };
}
