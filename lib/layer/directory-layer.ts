/**
 * A plain directory as a layer.
 * Always true: every file is reached by one name from an open directory that is beneath the root, no link is followed and no mount
 * crossed; nothing is written to a lower, not even an access time, where the system lets us say so.
 * Lowers do not change: attributes and marks are read once. The upper (directory-upper.ts) reads them anew.
 */
import type { Attr } from "../base/attr.js";
import { FsError, check, errnoOf } from "../base/errors.js";
import { O_NOATIME, O_NONBLOCK, O_RDONLY, S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../base/mode.js";
import { pathBytes } from "../base/name.js";
import type { Name } from "../base/name.js";
import { native } from "../sys/binding.js";
import { readDirents } from "../sys/dirents.js";
import type { Dirent } from "../sys/dirents.js";
import {
  AT_EMPTY_PATH, AT_FDCWD, AT_NO_AUTOMOUNT, AT_SYMLINK_NOFOLLOW, O_DIRECTORY, O_NOFOLLOW, O_PATH,
  RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, SEEK_SET,
} from "../sys/flags.js";
import { foldInode } from "../sys/statx.js";
import { getXattr, listXattr } from "../sys/xattr.js";
import type { StatFs } from "../vfs.js";
import { sharedDescriptors } from "./descriptor-cache.js";
import type { DescriptorCache } from "./descriptor-cache.js";
import { MARK_KEYS, NO_RAW_MARKS, OPAQUE_SENTINEL, WHITEOUT_PREFIX, checkRedirect, hiddenBy, readMarks } from "./dialect.js";
import type { RawMarks } from "./dialect.js";
import { DiskNode, asDiskNode } from "./disk-node.js";
import { FileBacking, emptyBacking } from "./file-backing.js";
import { isIdMapped } from "./idmapped-mount.js";
import { idMap } from "./ids.js";
import type { IdMap, IdMapOptions } from "./ids.js";
import type { Backing, Layer, LayerEntry, LayerNode, Marks } from "./layer.js";
import { isRootOfMachine } from "./owners.js";
import { ACCESS_ACL, chmodAcl, mapAclIds } from "./posix-acl.js";
import { privateClone } from "./private-clone.js";
import { shownKey, storedKey } from "./private-keys.js";
import { OVERRIDE_KEYS, parseOverride } from "./stat-override.js";
import type { StatOverride } from "./stat-override.js";

export interface DirectoryLayerOptions {
  /** Unique in the stack; by default made from the device and inode number of the root. */
  readonly id?: string;
  readonly ids?: IdMapOptions;
  /**
   * Which marks of the layer count; redirect and metacopy do by default. Layers from strangers should honour neither. `userXattrs`: these
   * two also as user.*, which whoever owns a file may set. Default false for root of the machine, as kernel overlayfs without userxattr: a
   * user who owns a file in a layer could show through it what a lower one keeps from him.
   */
  readonly honour?: { readonly redirect?: boolean; readonly metacopy?: boolean; readonly userXattrs?: boolean };
  /** By default one cache for all layers of the process. */
  readonly descriptors?: DescriptorCache;
}

const STAT_FLAGS = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT;
const RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
/** Ancestors whose descriptors stay in the cache when a deep directory is opened again. */
const KEPT_ANCESTORS = 8;
const ENOENT = -errnoOf("ENOENT");
const ENAMETOOLONG = -errnoOf("ENAMETOOLONG");
const EPERM = -errnoOf("EPERM");
const EACCES = -errnoOf("EACCES");
const EINVAL = -errnoOf("EINVAL");

/** What the last statx said; read before the next call. */
const slots = new Float64Array(21);
const linkTarget = Buffer.allocUnsafeSlow(4096);
const NO_KEYS: readonly string[] = [];
const NO_MARKS: Marks = { opaque: false, redirect: undefined, metacopy: false, origin: undefined };
const OPAQUE_MARKS: Marks = { opaque: true, redirect: undefined, metacopy: false, origin: undefined };

export class DirectoryLayer implements Layer {
  readonly id: string;
  readonly inodeSpace: string;
  readonly root: DiskNode;
  readonly ids: IdMap;
  /** The key that holds owners and modes in this layer, if it has one. */
  readonly overrideKey: string | undefined;
  /** Attributes, marks and listings can be kept: true for lowers. */
  protected readonly immutable: boolean;
  protected readonly descriptors: DescriptorCache;
  /** Nodes that must be found again when their inode is: hard links in lowers, everything in an upper. */
  protected readonly nodes = new Map<number | string, DiskNode>();
  private readonly honourRedirect: boolean;
  private readonly honourMetacopy: boolean;
  private readonly honourUserXattrs: boolean;
  /** st_dev of the root, as statx.ts packs it. */
  protected readonly device: number;
  private readonly mountId: number;
  /** Asked for on every open; files of others refuse it, and are opened without. */
  private noatime = O_NOATIME;
  private closed = false;

  /** `at`: a path as text (relative and symbolic links allowed) or a descriptor, which stays the caller's. Throws ENOENT, ENOTDIR, EACCES. */
  static open(at: string | number, options: DirectoryLayerOptions = {}): DirectoryLayer {
    const plain = openRoot(at);
    const mapped = (options.ids?.uids ?? options.ids?.gids ?? []).length > 0 && isIdMapped(plain);
    const clone = privateClone(plain);
    if (clone !== undefined) native.close(plain);
    const fd = clone ?? plain;
    try {
      const layer = new DirectoryLayer(fd, mapped ? { ...options, ids: {} } : options, true);
      // The clone keeps access times still for every file, also for those where the flag is refused.
      if (clone !== undefined) layer.noatime = 0;
      return layer;
    } catch (error) {
      native.close(fd);
      throw error;
    }
  }

  /** `rootFd` is taken over unless this throws. */
  protected constructor(rootFd: number, options: DirectoryLayerOptions, immutable: boolean, writesOverride?: string) {
    this.immutable = immutable;
    this.descriptors = options.descriptors ?? sharedDescriptors();
    this.honourRedirect = options.honour?.redirect ?? true;
    this.honourMetacopy = options.honour?.metacopy ?? true;
    this.honourUserXattrs = options.honour?.userXattrs ?? !isRootOfMachine;
    this.ids = idMap(options.ids);
    check(native.statx(rootFd, "", STAT_FLAGS, slots), "statx", "of the layer's root");
    this.device = slots[16]!;
    this.mountId = slots[17]!;
    this.inodeSpace = `dev:${this.device}`;
    this.id = options.id ?? `dir:${this.device}:${slots[0]!}`;
    this.root = new DiskNode(S_IFDIR, slots[0]!, undefined, "" as Name);
    this.root.held = rootFd;
    this.nodes.set(this.root.key, this.root);
    // What a user may write to his own directory must not make root's mount show files of root's, setuid ones even.
    const mayOverride = (key: string): boolean => !isRootOfMachine || slots[3] === 0 || !key.startsWith("user.");
    this.overrideKey = writesOverride ?? OVERRIDE_KEYS.find((key) => mayOverride(key) && getXattr(rootFd, "", key) !== undefined);
  }

  lookup(parent: LayerNode, name: Name): DiskNode | undefined {
    const dir = asDiskNode(parent);
    if (dir.type !== S_IFDIR) throw new FsError("ENOTDIR", "lookup");
    if (dir.foreign || name.startsWith(WHITEOUT_PREFIX)) return undefined;
    const result = native.statx(this.descriptor(dir), name, STAT_FLAGS, slots);
    if (result === ENOENT || result === ENAMETOOLONG) return undefined;
    check(result, "lookup");
    return this.nodeFromSlots(dir, name);
  }

  /** The node for what statx just said about (dir, name); undefined for a whiteout. */
  protected nodeFromSlots(dir: DiskNode, name: Name): DiskNode | undefined {
    const type = slots[1]! & S_IFMT;
    if (type === S_IFCHR && slots[5] === 0) return undefined;
    const ino = foldInode(slots[0]!, slots[20]!);
    const key = slots[16] === this.device ? ino : `${slots[16]} ${ino}`;
    if (slots[17] !== this.mountId) return this.mountpoint(dir, name, type, key);
    // Files of a lower with one name are made anew each time: nothing is lost, and nobody has to release them.
    const shared = !this.immutable || type === S_IFDIR || slots[2]! > 1;
    const known = shared ? this.nodes.get(key) : undefined;
    if (known !== undefined) {
      known.addPlace(dir, name);
      return known;
    }
    const empty = type === S_IFREG && slots[6] === 0;
    let attr = this.immutable || this.overrideKey !== undefined ? attrFromSlots(slots) : undefined;
    if (empty && this.rawMarks(dir).opaque === "x" && isXattrWhiteout(this.descriptor(dir), name)) return undefined;
    let shownType = type;
    if (this.overrideKey !== undefined) {
      attr = overridden(attr!, this.override(this.descriptor(dir), name));
      shownType = attr.mode & S_IFMT;
      if (shownType === S_IFCHR && attr.rdev === 0) return undefined;
    }
    const node = new DiskNode(shownType, key, dir, name);
    if (this.immutable) node.attr = this.mapped(attr!);
    if (shared) this.nodes.set(key, node);
    return node;
  }

  list(parent: LayerNode): readonly LayerEntry[] {
    const dir = asDiskNode(parent);
    if (dir.type !== S_IFDIR) throw new FsError("ENOTDIR", "readdir");
    if (dir.foreign) return [];
    const entries: LayerEntry[] = [];
    const hidden: { name: Name; ino: number }[] = [];
    const maybeWhiteouts = this.rawMarks(dir).opaque === "x";
    let sentinel = false;
    for (const { name, ino, type } of this.direntsOf(dir)) {
      if (name.startsWith(WHITEOUT_PREFIX)) {
        if (name === OPAQUE_SENTINEL) sentinel = true;
        const target = hiddenBy(name);
        if (target !== undefined) hidden.push({ name: target as Name, ino });
        continue;
      }
      const plain = type !== 0 && type !== S_IFCHR && !(maybeWhiteouts && type === S_IFREG) && this.overrideKey === undefined;
      if (plain) entries.push({ name: name as Name, ino, type, whiteout: false });
      else this.examine(dir, name as Name, ino, maybeWhiteouts, entries);
    }
    dir.sentinel = sentinel;
    if (hidden.length > 0) {
      const real = new Set(entries.map((entry) => entry.name));
      for (const { name, ino } of hidden) if (!real.has(name)) entries.push({ name, ino, type: 0, whiteout: true });
    }
    return entries;
  }

  hides(parent: LayerNode, name: Name): boolean {
    const dir = asDiskNode(parent);
    if (dir.foreign || name.startsWith(WHITEOUT_PREFIX)) return false;
    const found: LayerEntry[] = [];
    this.examine(dir, name, 0, this.rawMarks(dir).opaque === "x", found);
    // What is really there counts before a file that hides its name.
    if (found[0] !== undefined) return found[0].whiteout;
    return isThere(native.statx(this.descriptor(dir), WHITEOUT_PREFIX + name, STAT_FLAGS, slots));
  }

  /** An entry whose d_type does not say whether it is a whiteout, or what type it is shown as. */
  private examine(dir: DiskNode, name: Name, ino: number, maybeWhiteouts: boolean, entries: LayerEntry[]): void {
    const fd = this.descriptor(dir);
    if (!isThere(native.statx(fd, name, STAT_FLAGS, slots))) return;
    let type = slots[1]! & S_IFMT;
    let whiteout = type === S_IFCHR && slots[5] === 0;
    if (!whiteout && maybeWhiteouts && type === S_IFREG && slots[6] === 0) whiteout = isXattrWhiteout(fd, name);
    if (!whiteout && this.overrideKey !== undefined) {
      const override = this.override(fd, name);
      if (override !== undefined && override.type !== 0) {
        type = override.type;
        whiteout = type === S_IFCHR && override.rdev === 0;
      }
    }
    entries.push({ name, ino, type: whiteout ? 0 : type, whiteout });
  }

  /** Every entry on disk but "." and "..", whiteouts and marks included, in a fresh pass. */
  protected direntsOf(dir: DiskNode): Dirent[] {
    const fd = this.descriptor(dir);
    if (native.lseek(fd, 0, SEEK_SET) >= 0) return readDirents(fd);
    // EBADF: an O_PATH descriptor, kept where only searching is allowed, or of a removed directory.
    const readable = check(native.open(fd, ".", O_RDONLY | O_DIRECTORY, 0, RESOLVE), "readdir");
    try {
      return readDirents(readable);
    } finally {
      native.close(readable);
    }
  }

  attr(layerNode: LayerNode): Attr {
    const node = asDiskNode(layerNode);
    if (node.attr !== undefined) return node.attr;
    check(native.statx(this.baseOf(node), componentOf(node), STAT_FLAGS, slots), "stat");
    let attr = attrFromSlots(slots);
    if (this.overrideKey !== undefined) attr = overridden(attr, this.override(this.baseOf(node), componentOf(node)));
    attr = this.mapped(attr);
    if (this.immutable) node.attr = attr;
    return attr;
  }

  inoOf(layerNode: LayerNode): number | undefined {
    const { key, foreign } = asDiskNode(layerNode);
    return foreign || typeof key === "string" ? undefined : key;
  }

  marks(layerNode: LayerNode): Marks {
    const node = asDiskNode(layerNode);
    if (node.foreign) return NO_MARKS;
    const raw = this.rawMarks(node);
    const opaque = node.type === S_IFDIR && (raw.opaque === "y" || this.hasSentinel(node));
    if (raw === NO_RAW_MARKS) return opaque ? OPAQUE_MARKS : NO_MARKS;
    const redirect = this.honourRedirect && raw.redirect !== undefined ? checkRedirect(raw.redirect) : undefined;
    return { opaque, redirect, metacopy: this.honourMetacopy && raw.metacopy && node.type === S_IFREG, origin: raw.origin };
  }

  /** Reads every key once per node; one call for the great majority that has none. */
  protected rawMarks(node: DiskNode): RawMarks {
    if (node.marks !== undefined) return node.marks;
    const keys = this.storedKeys(node);
    const marks = keys.length === 0 ? NO_RAW_MARKS : readMarks(keys, (key) => latin1(getXattr(this.baseOf(node), componentOf(node), key)), this.honourUserXattrs);
    node.marks = marks;
    return marks;
  }

  protected hasSentinel(dir: DiskNode): boolean {
    dir.sentinel ??= isThere(native.statx(this.descriptor(dir), OPAQUE_SENTINEL, STAT_FLAGS, slots));
    return dir.sentinel;
  }

  readlink(link: LayerNode): string {
    const node = asDiskNode(link);
    if (node.type !== S_IFLNK) throw new FsError("EINVAL", "readlink");
    let length = native.readlink(this.baseOf(node), componentOf(node), linkTarget);
    // A link that only an override calls one: a file with the target in it.
    if (length === EINVAL && this.overrideKey !== undefined) {
      const file = new FileBacking(this.openFile(node, O_RDONLY));
      length = file.read(linkTarget, 0);
      file.close();
    }
    return linkTarget.toString("latin1", 0, check(length, "readlink"));
  }

  listXattr(layerNode: LayerNode): readonly string[] {
    const node = asDiskNode(layerNode);
    if (node.foreign) return NO_KEYS;
    const stored = this.storedKeys(node);
    if (stored.length === 0) return NO_KEYS;
    const shown: string[] = [];
    for (const key of stored) {
      const visible = shownKey(key, this.overrideKey !== undefined);
      if (visible !== undefined && !shown.includes(visible)) shown.push(visible);
    }
    return shown;
  }

  getXattr(layerNode: LayerNode, key: string): Uint8Array | undefined {
    const node = asDiskNode(layerNode);
    const stored = storedKey(key, this.overrideKey !== undefined);
    if (node.foreign || stored === undefined) return undefined;
    let value = getXattr(this.baseOf(node), componentOf(node), stored);
    // The real object's mode says little under an override, and so does this part of its ACL.
    if (value !== undefined && key === ACCESS_ACL && this.overrideKey !== undefined) value = chmodAcl(value, this.attr(node).mode);
    if (value === undefined || this.ids.identity || !key.startsWith("system.posix_acl_")) return value;
    return mapAclIds(value, (id) => this.ids.uid.presented(id), (id) => this.ids.gid.presented(id));
  }

  open(file: LayerNode): Backing {
    const node = asDiskNode(file);
    if (node.type !== S_IFREG) throw new FsError(node.type === S_IFDIR ? "EISDIR" : "EINVAL", "open");
    return node.foreign ? emptyBacking : new FileBacking(this.openFile(node, O_RDONLY));
  }

  statfs(): StatFs {
    const out = new Float64Array(10);
    check(native.statfs(this.root.held, out), "statfs");
    return {
      blockSize: out[1]!, fragmentSize: out[2]! || out[1]!, blocks: out[3]!, free: out[4]!, available: out[5]!,
      files: out[6]!, filesFree: out[7]!, nameMax: out[8]!,
    };
  }

  release(layerNode: LayerNode): void {
    const node = asDiskNode(layerNode);
    if (node === this.root) return;
    if (node.type === S_IFDIR) this.descriptors.drop(node);
    if (this.nodes.get(node.key) === node) this.nodes.delete(node.key);
    if (node.held >= 0) {
      native.close(node.held);
      node.held = -1;
    }
    node.marks = undefined;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const node of [...this.nodes.values()]) this.release(node);
    this.descriptors.dropAll(this);
    native.close(this.root.held);
    this.root.held = -1;
  }

  // ── reaching things ──

  /** Descriptor to use with componentOf(node). */
  protected baseOf(node: DiskNode): number {
    if (node.held >= 0) return node.held;
    if (node.parent === undefined) throw new FsError("ESTALE", "layer", "the object was removed and released");
    return this.descriptor(node.parent);
  }

  /**
   * A descriptor of a directory, good until the next call here: from the cache, else opened from the nearest ancestor that is.
   * Not recursive: a tree may be deeper than the stack.
   */
  protected descriptor(dir: DiskNode): number {
    const cached = this.descriptors.get(dir);
    if (cached >= 0) return cached;
    const missing: DiskNode[] = [];
    let base = -1;
    for (let at = dir; base < 0; ) {
      missing.push(at);
      if (at.held >= 0) {
        base = at.held;
        break;
      }
      if (at.parent === undefined) throw new FsError("ESTALE", "layer", "the directory was removed and released");
      at = at.parent;
      base = this.descriptors.get(at);
    }
    let passing = -1;
    for (let i = missing.length - 1; i >= 0; i--) {
      const node = missing[i]!;
      const fd = this.openDirectory(base, node.held >= 0 ? "." : node.name);
      if (passing >= 0) native.close(passing);
      check(fd, "open", "of a directory of the layer");
      if (i < KEPT_ANCESTORS) {
        this.descriptors.put(node, fd, this);
        passing = -1;
      } else {
        passing = fd;
      }
      base = fd;
    }
    return base;
  }

  /** The descriptor, or a negative errno. O_PATH where the directory may be searched but not read. */
  private openDirectory(base: number, name: string): number {
    const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    let fd = native.open(base, name, flags | this.noatime, 0, RESOLVE);
    if (fd === EPERM && this.noatime !== 0) fd = native.open(base, name, flags, 0, RESOLVE);
    if (fd === EACCES) fd = native.open(base, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, RESOLVE);
    return fd;
  }

  /** Opens a regular file. An object that has no name any more is reached through the descriptor held for it. */
  protected openFile(node: DiskNode, flags: number): number {
    const all = flags | O_NONBLOCK | (flags === O_RDONLY ? this.noatime : 0);
    const held = node.held >= 0;
    const base = held ? AT_FDCWD : this.baseOf(node);
    const path = held ? `/proc/self/fd/${node.held}` : node.name;
    const resolve = held ? 0 : RESOLVE;
    let fd = native.open(base, path, held ? all : all | O_NOFOLLOW, 0, resolve);
    if (fd === EPERM && (all & O_NOATIME) !== 0) {
      fd = native.open(base, path, (held ? all : all | O_NOFOLLOW) & ~O_NOATIME, 0, resolve);
    }
    return check(fd, "open");
  }

  protected storedKeys(node: DiskNode): readonly string[] {
    return listXattr(this.baseOf(node), componentOf(node));
  }

  private override(fd: number, component: string): StatOverride | undefined {
    const value = latin1(getXattr(fd, component, this.overrideKey!));
    return value === undefined ? undefined : parseOverride(value);
  }

  private mapped(attr: Attr): Attr {
    if (this.ids.identity) return attr;
    return { ...attr, uid: this.ids.uid.presented(attr.uid), gid: this.ids.gid.presented(attr.gid) };
  }

  /**
   * A mountpoint shows as an empty directory or file, as it does in a clone of the mount. The inode number is the one that
   * listings have: that of the object underneath, which nothing else of it can be seen of.
   */
  private mountpoint(dir: DiskNode, name: Name, type: number, key: number | string): DiskNode {
    const seen = attrFromSlots(slots);
    let ino = seen.ino;
    for (const entry of this.direntsOf(dir)) if (entry.name === name) ino = entry.ino;
    const node = new DiskNode(type, key, dir, name);
    node.foreign = true;
    node.attr = this.mapped({ ...seen, ino, size: type === S_IFDIR ? seen.size : 0, blocks: 0, nlink: type === S_IFDIR ? 2 : 1 });
    return node;
  }
}

/**
 * What statx said of a name that may be a mark. Throws when it could not say: a disk that fails, or a lack of memory, must not bring back what a
 * mark deletes. In a directory that may not be searched nothing is there.
 */
function isThere(result: number): boolean {
  if (result === ENOENT || result === ENAMETOOLONG || result === EACCES) return false;
  check(result, "statx", "of a mark");
  return true;
}

/** "" for an object that is reached by its own descriptor. */
export function componentOf(node: DiskNode): string {
  return node.held >= 0 ? "" : node.name;
}

/** Opens the root of a layer O_PATH; links are followed. */
export function openRoot(at: string | number): number {
  if (typeof at === "number") return check(native.open(at, ".", O_PATH | O_DIRECTORY, 0, 0), "open", "of the layer's descriptor");
  return check(native.open(AT_FDCWD, pathBytes(at), O_PATH | O_DIRECTORY, 0, 0), "open", `of the layer at ${at}`);
}

function overridden(attr: Attr, override: StatOverride | undefined): Attr {
  if (override === undefined) return attr;
  const real = attr.mode & S_IFMT;
  const type = override.type === 0 ? real : override.type;
  // A file may stand for anything. Of anything else such a value is a trap: a device called a file would be opened here.
  if (type !== real && (real !== S_IFREG || type === S_IFDIR)) throw new FsError("EIO", "stat", "an override that gives an object another type");
  const rdev = override.type === S_IFCHR || override.type === S_IFBLK ? override.rdev : attr.rdev;
  return { ...attr, uid: override.uid, gid: override.gid, mode: type | override.permissions, rdev };
}

function isXattrWhiteout(fd: number, name: string): boolean {
  return MARK_KEYS.whiteout.some((key) => getXattr(fd, name, key) !== undefined);
}

function latin1(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("latin1");
}

function attrFromSlots(s: Float64Array): Attr {
  return {
    ino: foldInode(s[0]!, s[20]!), mode: s[1]!, nlink: s[2]!, uid: s[3]!, gid: s[4]!, rdev: s[5]!, size: s[6]!, blocks: s[7]!,
    atimeSec: s[8]!, atimeNsec: s[9]!, mtimeSec: s[10]!, mtimeNsec: s[11]!, ctimeSec: s[12]!, ctimeNsec: s[13]!, btimeSec: s[14]!, btimeNsec: s[15]!,
  };
}
