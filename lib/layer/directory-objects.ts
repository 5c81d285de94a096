/**
 * The objects of a directory upper: their attributes, xattrs, marks and data. Names are the matter of directory-upper.ts.
 * Always true: what a failing call has changed is put back; marks kept in nodes are those on disk, because nobody else writes them.
 */
import type { Attr, AttrChanges, Time } from "../base/attr.js";
import { FsError, check, errnoOf } from "../base/errors.js";
import { O_RDONLY, O_RDWR, O_WRONLY, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID, S_ISUID } from "../base/mode.js";
import { native } from "../sys/binding.js";
import { O_DIRECTORY, O_NOFOLLOW, UTIME_NOW, UTIME_OMIT } from "../sys/flags.js";
import { statAt } from "../sys/statx.js";
import type { FileStat } from "../sys/statx.js";
import { getXattr, removeXattr, setXattr } from "../sys/xattr.js";
import { copyData } from "./copy-data.js";
import { syncAndClose } from "./durability.js";
import type { Durability } from "./durability.js";
import { MARK_KEYS, NO_RAW_MARKS, OPAQUE_SENTINEL, markKey } from "./dialect.js";
import type { RawMarks, WhiteoutSpelling, XattrPrefix } from "./dialect.js";
import { DirectoryLayer, componentOf } from "./directory-layer.js";
import type { DirectoryLayerOptions } from "./directory-layer.js";
import { asDiskNode } from "./disk-node.js";
import type { DiskNode } from "./disk-node.js";
import { FileBacking, WritableFileBacking } from "./file-backing.js";
import type { Backing, LayerNode } from "./layer.js";
import { Owners } from "./owners.js";
import { ACCESS_ACL, DEFAULT_ACL, mapAclIds, modeOfAcl } from "./posix-acl.js";
import { storedKey } from "./private-keys.js";
import { OVERRIDE_KEYS } from "./stat-override.js";
import type { Stop } from "./stop.js";
import type { WritableBacking } from "./upper.js";
import { standing } from "./whiteouts.js";

export interface DirectoryUpperOptions extends DirectoryLayerOptions {
  /** On the upper's filesystem. By default `<upper>.work`, made and removed again; needed when the upper is given as a descriptor. */
  readonly workdir?: string;
  /** Namespace of the marks; by default trusted where the process may, else user. */
  readonly xattrPrefix?: "auto" | XattrPrefix;
  /** By default devices where the process may make them, else `.wh.` files, else (on a mount of ours, which reserves these names) xattrs. */
  readonly whiteouts?: "auto" | WhiteoutSpelling;
  /** Opaque directories get the AUFS file too, for tools that know nothing else. */
  readonly opaqueSentinel?: boolean;
  /** Nothing is synced; after a crash the upper must be thrown away, and the next open refuses it. */
  readonly volatile?: boolean;
  /** Copies and syncs end before a call returns, however long they take: for a tree used without a mount, whose user waits anyway. */
  readonly blocking?: boolean;
  /** Objects are made in the work directory and appear whole, so that one which is there after a crash lacks nothing. */
  readonly whole?: boolean;
  /** `locks` of this upper in the process before, which this one has inherited. */
  readonly locks?: readonly number[];
  /** Both true by default where marks are trusted xattrs; with user xattrs kernel overlayfs would not follow them. */
  readonly redirect?: boolean;
  readonly metacopy?: boolean;
  /** Owners and modes in xattrs: 1 security.fuseoverlayfs.override_stat, 2 user.containers.override_stat. */
  readonly xattrPermissions?: 0 | 1 | 2;
}

const EACCES = -errnoOf("EACCES");
const EEXIST = -errnoOf("EEXIST");
const EINVAL = -errnoOf("EINVAL");
const CAPABILITY = "security.capability";
const YES = Buffer.from("y");

export class DirectoryObjects extends DirectoryLayer {
  readonly can: { readonly redirect: boolean; readonly metacopy: boolean };
  protected readonly owners: Owners;
  /** Undefined where the filesystem holds no marks. */
  protected readonly prefix: XattrPrefix | undefined;
  protected readonly durability: Durability;
  private readonly sentinels: boolean;

  /** `rootFd` is taken over unless this throws. */
  protected constructor(rootFd: number, options: DirectoryUpperOptions, prefix: XattrPrefix | undefined) {
    const permissions = options.xattrPermissions ?? 0;
    const honour = prefix === "user" ? { userXattrs: true, ...options.honour } : options.honour;
    super(rootFd, honour === undefined ? options : { ...options, honour }, false, permissions === 0 ? undefined : OVERRIDE_KEYS[permissions - 1]);
    this.durability = options.volatile === true ? "none" : options.blocking === true ? "blocking" : "jobs";
    this.prefix = prefix;
    this.sentinels = (options.opaqueSentinel ?? false) || prefix === undefined;
    // Kernel overlayfs follows neither when its marks are user xattrs, which anybody may write: there only on request.
    const byDefault = prefix === "trusted";
    this.can = {
      redirect: prefix !== undefined && (options.redirect ?? byDefault),
      metacopy: prefix !== undefined && (options.metacopy ?? byDefault),
    };
    this.owners = new Owners(this.ids, this.overrideKey);
    if (permissions !== 0) this.owners.markRoot(this.root.held, this.attr(this.root));
  }

  // ── attributes ──

  setAttr(layerNode: LayerNode, changes: AttrChanges): void {
    const node = asDiskNode(layerNode);
    if (changes.size !== undefined && node.type !== S_IFREG) throw new FsError(node.type === S_IFDIR ? "EISDIR" : "EINVAL", "truncate");
    if (changes.mode !== undefined && node.type === S_IFLNK) throw new FsError("EOPNOTSUPP", "chmod", "of a symbolic link");
    if (changes.mode !== undefined && this.owners.overrideKey === undefined && onlyMode(changes)) {
      check(native.chmod(this.baseOf(node), componentOf(node), changes.mode & 0o7777), "chmod");
      return;
    }
    const chowns = changes.uid !== undefined || changes.gid !== undefined;
    const before = chowns || changes.mode !== undefined || changes.killPrivileges === true ? this.attr(node) : undefined;
    // What can be undone comes first: a size cannot, and times can hardly fail.
    try {
      if (before !== undefined) this.changeOwnership(node, changes, before);
      if (changes.size !== undefined) this.truncate(node, changes.size);
      if (changes.atime !== undefined || changes.mtime !== undefined) this.changeTimes(node, changes.atime, changes.mtime);
    } catch (error) {
      if (before !== undefined) this.restoreOwnership(node, before);
      throw error;
    }
  }

  private changeOwnership(node: DiskNode, changes: AttrChanges, before: Attr): void {
    const base = this.baseOf(node);
    const component = componentOf(node);
    const kept = changes.killPrivileges === true ? withoutPrivileges(before.mode) : before.mode;
    const mode = changes.mode !== undefined ? (before.mode & S_IFMT) | (changes.mode & 0o7777) : kept;
    if (this.owners.overrideKey !== undefined) {
      this.owners.override(base, component, { uid: changes.uid ?? before.uid, gid: changes.gid ?? before.gid, mode, rdev: before.rdev });
    } else {
      if (changes.uid !== undefined || changes.gid !== undefined) this.owners.chown(base, component, changes.uid ?? -1, changes.gid ?? -1);
      if (changes.mode !== undefined || mode !== before.mode) check(native.chmod(base, component, mode & 0o7777), "chmod");
    }
    if (changes.killPrivileges === true && node.type === S_IFREG) {
      const key = storedKey(CAPABILITY, this.owners.overrideKey !== undefined)!;
      if (getXattr(base, component, key) !== undefined) removeXattr(base, component, key);
    }
  }

  private restoreOwnership(node: DiskNode, before: Attr): void {
    if (this.owners.overrideKey !== undefined) {
      this.owners.override(this.baseOf(node), componentOf(node), before);
      return;
    }
    const now = this.attr(node);
    if (now.uid !== before.uid || now.gid !== before.gid) this.owners.chown(this.baseOf(node), componentOf(node), before.uid, before.gid);
    if (this.attr(node).mode !== before.mode) native.chmod(this.baseOf(node), componentOf(node), before.mode & 0o7777);
  }

  private truncate(node: DiskNode, size: number): void {
    const fd = this.openToWrite(node);
    const result = native.ftruncate(fd, size);
    native.close(fd);
    check(result, "truncate");
  }

  private changeTimes(node: DiskNode, atime: "now" | Time | undefined, mtime: "now" | Time | undefined): void {
    const result = native.utimens(this.baseOf(node), componentOf(node), secOf(atime), nsecOf(atime), secOf(mtime), nsecOf(mtime));
    check(result, "utimens");
  }

  setXattr(layerNode: LayerNode, key: string, value: Uint8Array | undefined, only?: "create" | "replace"): void {
    const node = asDiskNode(layerNode);
    const stored = storedKey(key, this.owners.overrideKey !== undefined);
    if (stored === undefined) throw new FsError("EPERM", "setxattr", `${key} is reserved`);
    if (key === DEFAULT_ACL) node.defaultAcl = undefined;
    const base = this.baseOf(node);
    if (value === undefined) {
      check(native.removexattr(base, componentOf(node), stored), "removexattr");
      return;
    }
    const isAcl = key.startsWith("system.posix_acl_") && !this.ids.identity;
    let bytes = isAcl ? mapAclIds(value, (id) => this.ids.uid.onDisk(id), (id) => this.ids.gid.onDisk(id)) : value;
    if (key === ACCESS_ACL && this.owners.overrideKey !== undefined) {
      // The kernel would change the real mode with the ACL: here the one that stands in for it changes.
      const { permissions, plain } = modeOfAcl(value);
      const before = this.attr(node);
      const mode = (before.mode & ~0o777) | permissions;
      this.owners.override(base, componentOf(node), { ...before, mode });
      if (plain) return void native.removexattr(base, componentOf(node), stored);
      bytes = this.owners.realAcl(bytes, mode);
    }
    check(native.setxattr(base, componentOf(node), stored, bytes, only === "create" ? 1 : only === "replace" ? 2 : 0), "setxattr");
  }

  setOpaque(layerNode: LayerNode): void {
    const dir = asDiskNode(layerNode);
    const raw = this.rawMarks(dir);
    if (raw.opaque === "x") {
      // Empty files are whiteouts only while the mark is "x". The sentinel keeps the directory opaque while they go.
      const fd = this.descriptor(dir);
      const kept = makeSentinel(fd);
      for (const { name } of this.direntsOf(dir)) if (standing(fd, name) === "whiteout") check(native.unlink(fd, name, 0), "unlink");
      this.writeOpaque(this.baseOf(dir), componentOf(dir));
      if (kept && !this.sentinels) check(native.unlink(this.descriptor(dir), OPAQUE_SENTINEL, 0), "unlink");
    } else {
      this.writeOpaque(this.baseOf(dir), componentOf(dir));
    }
    dir.marks = { ...raw, opaque: this.prefix === undefined ? raw.opaque : "y" };
    dir.sentinel = undefined;
  }

  protected writeOpaque(base: number, component: string): void {
    if (this.prefix !== undefined) setXattr(base, component, markKey(this.prefix, "opaque"), YES);
    if (!this.sentinels) return;
    const fd = check(native.open(base, component === "" ? "." : component, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, 0), "open");
    try {
      makeSentinel(fd);
    } finally {
      native.close(fd);
    }
  }

  setRedirect(layerNode: LayerNode, path: string | undefined): void {
    const node = asDiskNode(layerNode);
    if (path === undefined) {
      for (const key of MARK_KEYS.redirect) removeXattr(this.baseOf(node), componentOf(node), key);
    } else {
      if (this.prefix === undefined) throw new FsError("EOPNOTSUPP", "setxattr", "this upper holds no marks");
      if (node.parent !== undefined) this.markImpure(node.parent);
      for (const { dir } of node.more ?? []) this.markImpure(dir);
      setXattr(this.baseOf(node), componentOf(node), markKey(this.prefix, "redirect"), Buffer.from(path, "latin1"));
    }
    node.marks = { ...this.rawMarks(node), redirect: path };
  }

  /** Only an impure directory has files with marks: of all others none need to be read. */
  protected override rawMarks(node: DiskNode): RawMarks {
    if (node.marks === undefined && node.type !== S_IFDIR && node.parent !== undefined && !super.rawMarks(node.parent).impure) {
      node.marks = NO_RAW_MARKS;
    }
    return super.rawMarks(node);
  }

  protected markImpure(dir: DiskNode): void {
    const raw = this.rawMarks(dir);
    if (raw.impure || this.prefix === undefined) return;
    setXattr(this.baseOf(dir), componentOf(dir), markKey(this.prefix, "impure"), YES);
    dir.marks = { ...raw, impure: true };
  }

  protected defaultAclOf(dir: DiskNode): Uint8Array | null {
    if (dir.defaultAcl === undefined) dir.defaultAcl = getXattr(this.baseOf(dir), componentOf(dir), DEFAULT_ACL) ?? null;
    return dir.defaultAcl;
  }

  // ── data ──

  override open(file: LayerNode): Backing {
    const node = asDiskNode(file);
    if (node.foreign || node.type !== S_IFREG) return super.open(node);
    return new FileBacking(this.openAsOwner(node, O_RDONLY));
  }

  openWritable(file: LayerNode): WritableBacking {
    const node = asDiskNode(file);
    if (node.type !== S_IFREG) throw new FsError(node.type === S_IFDIR ? "EISDIR" : "EINVAL", "open");
    return new WritableFileBacking(this.openAsOwner(node, O_RDWR), this.durability);
  }

  private openToWrite(node: DiskNode): number {
    return this.openAsOwner(node, O_WRONLY);
  }

  /**
   * Opens whatever the permission bits say: they are for the mount's users, who were checked before. A process without
   * CAP_DAC_OVERRIDE has to open the bits of its own file for a moment.
   */
  private openAsOwner(node: DiskNode, flags: number): number {
    try {
      return this.openFile(node, flags);
    } catch (error) {
      if (!(error instanceof FsError) || error.errno !== EACCES) throw error;
      const { mode } = this.statOf(node);
      if (native.chmod(this.baseOf(node), componentOf(node), (mode & 0o7777) | 0o600) < 0) throw error;
      try {
        return this.openFile(node, flags);
      } finally {
        native.chmod(this.baseOf(node), componentOf(node), mode & 0o7777);
      }
    }
  }

  syncDir(layerNode: LayerNode): void | Promise<void> {
    if (this.durability === "none") return;
    const fd = this.reopen(asDiskNode(layerNode));
    return syncAndClose(fd, "file", this.durability);
  }

  sync(): void | Promise<void> {
    if (this.durability === "none") return;
    const fd = this.reopen(this.root);
    return syncAndClose(fd, "filesystem", this.durability);
  }

  /** A descriptor of its own for a job: those in the cache may be closed before it ends. */
  private reopen(dir: DiskNode): number {
    return check(native.open(this.descriptor(dir), ".", O_RDONLY | O_DIRECTORY, 0, 0), "fsync");
  }

  fill(file: LayerNode, source: Backing, size: number, stop?: Stop): void | Promise<void> {
    const node = asDiskNode(file);
    const before = this.statOf(node);
    const capability = getXattr(this.baseOf(node), componentOf(node), CAPABILITY);
    const fd = this.openToWrite(node);
    let settled: void | Promise<void>;
    try {
      settled = copyData(source, fd, size, this.durability, stop);
    } catch (error) {
      this.emptyAgain(fd, node, before, capability);
      throw error;
    }
    if (settled === undefined) return this.filled(fd, node, before, capability);
    return settled.then(
      () => this.filled(fd, node, before, capability),
      (error) => {
        this.emptyAgain(fd, node, before, capability);
        throw error;
      },
    );
  }

  /** The data is there and synced: now, and not before, the marks may go. */
  private filled(fd: number, node: DiskNode, before: FileStat, capability: Uint8Array | undefined): void {
    this.restoreAfterWrite(fd, before, capability);
    native.close(fd);
    for (const key of [...MARK_KEYS.metacopy, ...MARK_KEYS.redirect]) removeXattr(this.baseOf(node), componentOf(node), key);
    node.marks = { ...this.rawMarks(node), metacopy: false, redirect: undefined };
  }

  /** Back to a file of holes: a half-filled one would take room and gain nothing. */
  private emptyAgain(fd: number, node: DiskNode, before: FileStat, capability: Uint8Array | undefined): void {
    native.ftruncate(fd, 0);
    native.ftruncate(fd, before.size);
    this.restoreAfterWrite(fd, before, capability);
    native.close(fd);
    node.marks = undefined;
  }

  /** Writing may have dropped capabilities and setuid, and has changed the times. */
  private restoreAfterWrite(fd: number, before: FileStat, capability: Uint8Array | undefined): void {
    if (capability !== undefined) native.setxattr(fd, "", CAPABILITY, capability, 0);
    if ((before.mode & (S_ISUID | S_ISGID)) !== 0) native.chmod(fd, "", before.mode & 0o7777);
    native.utimens(fd, "", before.atimeSec, before.atimeNsec, before.mtimeSec, before.mtimeNsec);
  }

  private statOf(node: DiskNode): FileStat {
    const stat = statAt(this.baseOf(node), componentOf(node));
    if (stat === undefined) throw new FsError("ESTALE", "stat");
    return stat;
  }
}

function onlyMode({ uid, gid, size, atime, mtime, killPrivileges }: AttrChanges): boolean {
  return uid === undefined && gid === undefined && size === undefined && atime === undefined && mtime === undefined && killPrivileges !== true;
}

function withoutPrivileges(mode: number): number {
  if ((mode & S_IFMT) !== S_IFREG) return mode;
  return mode & ~S_ISUID & ((mode & 0o010) !== 0 ? ~S_ISGID : ~0);
}

const secOf = (time: "now" | Time | undefined): number => (typeof time === "object" ? time.sec : 0);
const nsecOf = (time: "now" | Time | undefined): number => (time === undefined ? UTIME_OMIT : time === "now" ? UTIME_NOW : time.nsec);

/** False where the name is reserved: on a mount of ours, which only the xattr can tell anything. */
function makeSentinel(fd: number): boolean {
  const result = native.mknod(fd, OPAQUE_SENTINEL, S_IFREG | 0o644, 0);
  if (result === EINVAL) return false;
  if (result !== EEXIST) check(result, "mknod", "of an opaque mark");
  return true;
}
