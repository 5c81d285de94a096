/**
 * A plain directory as the upper layer, in the format of overlayfs.
 * Always true: this process is the only one that changes the directory; a name shows the old object, the new one or a whiteout, and
 * never, not even after a crash, something of a lower layer that had been hidden. README.md has the order of steps of every call.
 * Nodes: all that are looked up are found again by inode number until they are released; one that has lost its last known name keeps a descriptor.
 */
import type { Attr } from "../base/attr.js";
import { FsError, check, errnoOf } from "../base/errors.js";
import { O_RDONLY, O_RDWR, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID, S_ISUID, isDirectory } from "../base/mode.js";
import type { Name } from "../base/name.js";
import { native } from "../sys/binding.js";
import { readDirents } from "../sys/dirents.js";
import { AT_FDCWD, AT_REMOVEDIR, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_TMPFILE, RENAME_EXCHANGE, RENAME_WHITEOUT, SEEK_SET } from "../sys/flags.js";
import { statAt, statFd } from "../sys/statx.js";
import type { FileStat } from "../sys/statx.js";
import { setXattr } from "../sys/xattr.js";
import type { Caller, NewNode } from "../vfs.js";
import { NO_RAW_MARKS, WHITEOUT_PREFIX, markKey } from "./dialect.js";
import type { RawMarks, WhiteoutSpelling, XattrPrefix } from "./dialect.js";
import { componentOf, openRoot } from "./directory-layer.js";
import { DirectoryObjects } from "./directory-objects.js";
import type { DirectoryUpperOptions } from "./directory-objects.js";
import { DirectoryStaged } from "./directory-staged.js";
import type { StagingHost } from "./directory-staged.js";
import { DiskNode, asDiskNode } from "./disk-node.js";
import type { LayerNode } from "./layer.js";
import { ACCESS_ACL, DEFAULT_ACL, inheritAcl } from "./posix-acl.js";
import type { KeepingUpper, Place, RenameHow, StagedNode } from "./upper.js";
import { Whiteouts, isWhiteout, standing } from "./whiteouts.js";
import { WorkDirectory, renameNew } from "./work-directory.js";

export type { DirectoryUpperOptions };

/** A name about to go, and the descriptor that its node will be held by, -1 when it needs none. */
interface Loss {
  readonly node: DiskNode | undefined;
  readonly held: number;
}

const EEXIST = -errnoOf("EEXIST");
const ENOTEMPTY = -errnoOf("ENOTEMPTY");
const YES = Buffer.from("y");
const NO_LOSS: Loss = { node: undefined, held: -1 };

export class DirectoryUpper extends DirectoryObjects implements KeepingUpper {
  private readonly work: WorkDirectory;
  private readonly whole: boolean;
  private readonly whiteouts: Whiteouts;
  private readonly staging: StagingHost;

  /** Throws EXDEV, EINVAL, EBUSY (see WorkDirectory.open), ENOENT, EROFS, EACCES. */
  static override open(at: string | number, options: DirectoryUpperOptions = {}): DirectoryUpper {
    const workdir = options.workdir ?? defaultWorkdir(at);
    const root = openRoot(at);
    let work: WorkDirectory | undefined;
    try {
      work = WorkDirectory.open(workdir, root, {
        temporary: options.workdir === undefined, volatile: options.volatile ?? false, blocking: options.blocking ?? false,
        ...(options.locks === undefined ? {} : { locks: options.locks }),
      });
      return new DirectoryUpper(root, work, options);
    } catch (error) {
      work?.close();
      native.close(root);
      throw error;
    }
  }

  private constructor(root: number, work: WorkDirectory, options: DirectoryUpperOptions) {
    const asked = options.xattrPrefix ?? "auto";
    super(root, options, asked === "auto" ? probePrefix(work.fd) : asked);
    this.work = work;
    this.whole = options.whole ?? false;
    const spelling = options.whiteouts ?? "auto";
    this.whiteouts = new Whiteouts(work, spelling === "auto" ? probeWhiteouts(work, this.prefix) : spelling, this.prefix);
    this.staging = {
      work, owners: this.owners, ids: this.ids, prefix: this.prefix, durability: this.durability,
      settle: (staged, dir, name, marks, defaultAcl) => this.settle(staged, asDiskNode(dir), name, marks, defaultAcl),
      settleUnnamed: (staged) => this.settleUnnamed(staged),
    };
  }

  // ── making ──

  create(parent: LayerNode, name: Name, what: NewNode, caller: Caller, place: Place): DiskNode {
    const dir = asDiskNode(parent);
    checkNew(name, what);
    const type = what.mode & S_IFMT;
    const opaque = type === S_IFDIR && place.hidesLower;
    // What this process makes for itself is whole in one call.
    const own = this.isSelf(caller);
    const inParts = this.owners.overrideKey !== undefined || (this.whole && !own);
    if (place.overWhiteout || opaque || inParts) return this.createInWork(dir, name, what, caller, place, opaque);
    const fd = this.descriptor(dir);
    const before = native.umask(caller.umask);
    const made = makeObject(fd, name, what.mode, what);
    native.umask(before);
    check(made, "create");
    try {
      if (!own) this.giveToCaller(dir, name, type, caller);
    } catch (error) {
      native.unlink(fd, name, type === S_IFDIR ? AT_REMOVEDIR : 0);
      throw error;
    }
    return this.found(dir, name);
  }

  /** The filesystem has applied umask, default ACL and setgid; the owner is still this process. */
  private giveToCaller(dir: DiskNode, name: Name, type: number, caller: Caller): void {
    const user = this.ids.uid.actsAs(caller.uid);
    const group = this.ids.gid.actsAs(caller.gid);
    const fd = this.descriptor(dir);
    const made = statAt(fd, name)!;
    const uid = this.ids.uid.onDisk(user);
    const gid = this.ids.gid.onDisk(group);
    const keepGroup = made.gid === gid || (this.attr(dir).mode & S_ISGID) !== 0;
    if (made.uid === uid && keepGroup) return;
    this.owners.chownNew(this.descriptor(dir), name, made.uid === uid ? -1 : user, keepGroup ? -1 : group);
    const special = made.mode & (S_ISUID | S_ISGID);
    if (special !== 0 && type !== S_IFDIR && type !== S_IFLNK) check(native.chmod(this.descriptor(dir), name, made.mode & 0o7777), "chmod");
  }

  private isSelf(caller: Caller): boolean {
    return this.owners.isSelf(this.ids.uid.actsAs(caller.uid), this.ids.gid.actsAs(caller.gid));
  }

  /** Made out of sight with all that the directory hands down, then moved into place in one step. */
  private createInWork(dir: DiskNode, name: Name, what: NewNode, caller: Caller, place: Place, opaque: boolean): DiskNode {
    const staged = this.work.nextName();
    const real = this.owners.realType(what.mode);
    check(makeObject(this.work.fd, staged, real | (what.mode & 0o777), what), "create");
    try {
      this.inherit(this.work.fd, staged, dir, what.mode, what.rdev ?? 0, caller);
      if (opaque) this.writeOpaque(this.work.fd, staged);
      if (place.overWhiteout) this.placeOver(staged, isDirectory(what.mode), dir, name);
      else check(renameNew(this.work.fd, staged, this.descriptor(dir), name), "create");
    } catch (error) {
      this.work.discard(staged);
      throw error;
    }
    return this.found(dir, name);
  }

  /** Gives an object the owner, mode and ACLs that it would have got if it had been made in `dir`. */
  private inherit(fd: number, component: string, dir: DiskNode, mode: number, rdev: number, caller: Caller): void {
    const parent = this.attr(dir);
    const type = mode & S_IFMT;
    const setgid = (parent.mode & S_ISGID) !== 0;
    const defaultAcl = type === S_IFLNK ? null : this.defaultAclOf(dir);
    let access: Uint8Array | undefined;
    let full = type === S_IFLNK || defaultAcl !== null ? mode : mode & ~caller.umask;
    if (defaultAcl !== null) {
      const inherited = inheritAcl(defaultAcl, mode);
      full = inherited.mode;
      access = inherited.access;
    }
    if (type === S_IFDIR && setgid) full |= S_ISGID;
    this.owners.give(fd, component, {
      uid: this.ids.uid.actsAs(caller.uid), gid: setgid ? parent.gid : this.ids.gid.actsAs(caller.gid), mode: full, rdev,
    });
    if (access !== undefined) setXattr(fd, component, ACCESS_ACL, this.owners.realAcl(access, full));
    if (defaultAcl !== null && type === S_IFDIR) setXattr(fd, component, DEFAULT_ACL, defaultAcl);
  }

  createUnnamed(parent: LayerNode, mode: number, caller: Caller): DiskNode {
    const dir = asDiskNode(parent);
    const fd = check(native.open(this.work.fd, ".", O_TMPFILE | O_RDWR, 0o600, 0), "open");
    try {
      this.inherit(fd, "", dir, S_IFREG | (mode & 0o7777), 0, caller);
      // O_PATH: a descriptor that can write would count as a writer for as long as the node lives.
      return this.nodeHeldBy(check(native.open(AT_FDCWD, `/proc/self/fd/${fd}`, O_PATH, 0, 0), "open"));
    } finally {
      native.close(fd);
    }
  }

  stage(attr: Attr, target?: string): StagedNode {
    return new DirectoryStaged(this.staging, attr, target);
  }

  private settle(staged: string, dir: DiskNode, name: Name, marks: RawMarks, defaultAcl: boolean): DiskNode {
    if (marks !== NO_RAW_MARKS) this.markImpure(dir);
    const fd = this.descriptor(dir);
    const times = statFd(fd);
    check(renameNew(this.work.fd, staged, fd, name), "rename", "of a copy-up into place");
    native.utimens(fd, "", times.atimeSec, times.atimeNsec, times.mtimeSec, times.mtimeNsec);
    const node = this.found(dir, name);
    node.marks = marks;
    if (node.type !== S_IFDIR) return node;
    node.sentinel = false;
    if (!defaultAcl) node.defaultAcl = null;
    return node;
  }

  private settleUnnamed(staged: string): DiskNode {
    const held = check(native.open(this.work.fd, staged, O_PATH | O_NOFOLLOW, 0, 0), "open");
    const result = native.unlink(this.work.fd, staged, 0);
    if (result < 0) native.close(held);
    check(result, "unlink");
    return this.nodeHeldBy(held);
  }

  /** A node for an object without a name. */
  private nodeHeldBy(held: number, type?: number): DiskNode {
    const stat = statFd(held);
    const shown = this.overrideKey === undefined ? stat.mode & S_IFMT : S_IFREG;
    const node = new DiskNode(type ?? shown, this.keyOf(stat), undefined, "" as Name);
    node.held = held;
    this.nodes.set(node.key, node);
    return node;
  }

  // ── names ──

  link(layerNode: LayerNode, parent: LayerNode, name: Name, place: Place): void {
    const node = asDiskNode(layerNode);
    const dir = asDiskNode(parent);
    checkReserved(name);
    if (node.type === S_IFDIR) throw new FsError("EPERM", "link", "of a directory");
    if (this.rawMarks(node) !== NO_RAW_MARKS) this.markImpure(dir);
    const onDisk = place.overWhiteout ? standing(this.descriptor(dir), name) : "nothing";
    const fd = this.descriptor(dir);
    const base = this.baseOf(node);
    if (onDisk === "whiteout") {
      const staged = this.work.nextName();
      check(native.link(base, componentOf(node), this.work.fd, staged, 0), "link");
      const result = native.rename(this.work.fd, staged, fd, name, 0);
      if (result < 0) this.work.discard(staged);
      check(result, "link");
    } else {
      check(native.link(base, componentOf(node), fd, name, 0), "link");
      if (place.overWhiteout) this.whiteouts.removeDotted(fd, name);
    }
    node.addPlace(dir, name);
  }

  rename(fromNode: LayerNode, oldName: Name, toNode: LayerNode, newName: Name, how: RenameHow): void {
    const from = asDiskNode(fromNode);
    const to = asDiskNode(toNode);
    checkReserved(newName);
    const source = statAt(this.descriptor(from), oldName);
    if (source === undefined || this.isWhiteoutIn(from, oldName, source)) throw new FsError("ENOENT", "rename");
    const target = statAt(this.descriptor(to), newName);
    if (this.rawMarks(from).impure) this.markImpure(to);
    if (how.exchange) {
      if (this.rawMarks(to).impure) this.markImpure(from);
      check(native.rename(this.descriptor(from), oldName, this.descriptor(to), newName, RENAME_EXCHANGE), "rename");
      const other = target === undefined ? undefined : this.nodes.get(this.keyOf(target));
      this.moved(this.nodes.get(this.keyOf(source)), from, oldName, to, newName);
      this.moved(other, to, newName, from, oldName);
      return;
    }
    if (target !== undefined && target.ino === source.ino && target.dev === source.dev) return;
    const whiteoutThere = target !== undefined && this.isWhiteoutIn(to, newName, target);
    if (target !== undefined && !whiteoutThere) this.makeWayFor(source, target, to, newName);
    const leave = how.leaveWhiteout && this.readyForWhiteouts(from);
    const loss = whiteoutThere || target === undefined ? NO_LOSS : this.beforeLoss(to, newName, target);
    try {
      this.renameOnDisk(from, oldName, to, newName, isDirectory(source.mode), whiteoutThere, target !== undefined, leave);
    } catch (error) {
      this.cancelLoss(loss);
      throw error;
    }
    if (how.overWhiteout && !whiteoutThere) this.whiteouts.removeDotted(this.descriptor(to), newName);
    this.afterLoss(loss, to, newName);
    this.moved(this.nodes.get(this.keyOf(source)), from, oldName, to, newName);
  }

  /** The old name goes and the new one appears; see README.md, "Order of steps". */
  private renameOnDisk(
    from: DiskNode, oldName: Name, to: DiskNode, newName: Name, isDir: boolean, whiteoutThere: boolean, replaces: boolean, leave: boolean,
  ): void {
    const a = this.descriptor(from);
    const b = this.descriptor(to);
    if (leave && this.whiteouts.spelling === "dotwh") {
      // The real entry wins over its own whiteout: nothing changes until it moves.
      this.whiteouts.makeDotted(a, oldName);
      try {
        this.renameOnDisk(from, oldName, to, newName, isDir, whiteoutThere, replaces, false);
      } catch (error) {
        this.whiteouts.removeDotted(a, oldName);
        throw error;
      }
    } else if (whiteoutThere && (leave || isDir)) {
      // The whiteout at the new name becomes the one at the old name.
      check(native.rename(a, oldName, b, newName, RENAME_EXCHANGE), "rename");
      if (!leave) check(native.unlink(a, oldName, 0), "rename");
    } else if (!leave) {
      check(native.rename(a, oldName, b, newName, 0), "rename");
    } else if (this.whiteouts.spelling !== "device" || native.rename(a, oldName, b, newName, RENAME_WHITEOUT) < 0) {
      this.renameBySteps(a, oldName, b, newName, isDir, replaces);
    }
  }

  /** Where RENAME_WHITEOUT is not to be had, or has no room for a new whiteout. */
  private renameBySteps(a: number, oldName: Name, b: number, newName: Name, isDir: boolean, replaces: boolean): void {
    const whiteout = this.whiteouts.make();
    try {
      if (isDir) {
        // An empty directory at the new name, if any, becomes a whiteout for a moment; then both change places.
        check(replaces ? native.rename(this.work.fd, whiteout, b, newName, RENAME_EXCHANGE) : renameNew(this.work.fd, whiteout, b, newName), "rename");
        const result = native.rename(a, oldName, b, newName, RENAME_EXCHANGE);
        if (result < 0 && replaces) native.rename(this.work.fd, whiteout, b, newName, RENAME_EXCHANGE);
        else if (result < 0) native.unlink(b, newName, 0);
        check(result, "rename");
      } else {
        // Both names for a moment: what the old one hides never shows. What is replaced waits in the work directory.
        const second = this.work.nextName();
        check(native.link(a, oldName, this.work.fd, second, 0), "rename");
        try {
          check(replaces ? native.rename(this.work.fd, second, b, newName, RENAME_EXCHANGE) : renameNew(this.work.fd, second, b, newName), "rename");
          const result = native.rename(this.work.fd, whiteout, a, oldName, 0);
          if (result < 0 && replaces) native.rename(this.work.fd, second, b, newName, RENAME_EXCHANGE);
          else if (result < 0) native.unlink(b, newName, 0);
          check(result, "rename");
        } finally {
          this.work.discard(second);
        }
      }
    } finally {
      this.work.discard(whiteout);
    }
  }

  /** Checks what rename(2) would, and empties a directory that holds only whiteouts without ever showing what they hide. */
  private makeWayFor(source: FileStat, target: FileStat, to: DiskNode, newName: Name): void {
    if (!isDirectory(target.mode)) {
      if (isDirectory(source.mode)) throw new FsError("ENOTDIR", "rename");
      return;
    }
    if (!isDirectory(source.mode)) throw new FsError("EISDIR", "rename");
    if (!this.holdsWhiteouts(to, newName, -1, "rename")) return;
    const staged = this.work.nextName();
    check(native.mkdir(this.work.fd, staged, 0o700), "mkdir");
    try {
      // Only the xattr: the AUFS file would keep the directory from being replaced.
      if (this.prefix !== undefined) setXattr(this.work.fd, staged, markKey(this.prefix, "opaque"), YES);
      check(native.chown(this.work.fd, staged, target.uid, target.gid), "chown");
      check(native.chmod(this.work.fd, staged, target.mode & 0o7777), "chmod");
      check(native.rename(this.work.fd, staged, this.descriptor(to), newName, RENAME_EXCHANGE), "rename");
      const node = this.nodes.get(this.keyOf(target));
      if (node !== undefined) this.hold(node, staged);
    } finally {
      this.work.discard(staged);
    }
  }

  /** The directory was moved to the work directory to be removed: its node follows it by descriptor. */
  private hold(node: DiskNode, staged: string): void {
    if (node.held < 0) node.held = native.open(this.work.fd, staged, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, 0);
    node.parent = undefined;
    this.descriptors.drop(node);
  }

  remove(parent: LayerNode, name: Name, leaveWhiteout: boolean): void {
    const dir = asDiskNode(parent);
    const stat = statAt(this.descriptor(dir), name);
    if (stat === undefined || this.isWhiteoutIn(dir, name, stat)) throw new FsError("ENOENT", "unlink");
    const isDir = isDirectory(stat.mode);
    const loss = this.beforeLoss(dir, name, stat);
    try {
      // An exchange would take a full directory along: this is the last look at what is in it.
      const holds = isDir && leaveWhiteout && this.holdsWhiteouts(dir, name, loss.held, "rmdir");
      const leave = leaveWhiteout && this.readyForWhiteouts(dir);
      if (leave) this.replaceByWhiteout(dir, name, isDir, holds, loss.held);
      else this.removeOnDisk(dir, name, isDir, loss.held);
    } catch (error) {
      this.cancelLoss(loss);
      throw error;
    }
    this.afterLoss(loss, dir, name);
  }

  private replaceByWhiteout(dir: DiskNode, name: Name, isDir: boolean, holdsWhiteouts: boolean, held: number): void {
    const fd = this.descriptor(dir);
    if (this.whiteouts.spelling === "dotwh") {
      this.whiteouts.makeDotted(fd, name);
      try {
        this.removeOnDisk(dir, name, isDir, held);
      } catch (error) {
        this.whiteouts.removeDotted(fd, name);
        throw error;
      }
      return;
    }
    const whiteout = this.whiteouts.make();
    const result = native.rename(this.work.fd, whiteout, fd, name, isDir ? RENAME_EXCHANGE : 0);
    if (result >= 0 && holdsWhiteouts) this.work.discardWhiteouts(whiteout);
    else if (result < 0 || isDir) this.work.discard(whiteout);
    check(result, "unlink");
  }

  private removeOnDisk(dir: DiskNode, name: Name, isDir: boolean, held: number): void {
    const fd = this.descriptor(dir);
    const result = native.unlink(fd, name, isDir ? AT_REMOVEDIR : 0);
    if (!isDir || (result !== ENOTEMPTY && result !== EEXIST)) {
      check(result, isDir ? "rmdir" : "unlink");
      return;
    }
    this.holdsWhiteouts(dir, name, held, "rmdir");
    const moved = this.work.nextName();
    check(native.rename(fd, name, this.work.fd, moved, 0), "rmdir");
    this.work.discardWhiteouts(moved);
  }

  whiteout(parent: LayerNode, name: Name): void {
    const dir = asDiskNode(parent);
    if (!this.readyForWhiteouts(dir)) return;
    const fd = this.descriptor(dir);
    if (this.whiteouts.spelling === "dotwh") {
      const there = standing(fd, name);
      if (there === "object") throw new FsError("EEXIST", "whiteout");
      if (there === "nothing") this.whiteouts.makeDotted(fd, name);
      return;
    }
    const result = this.whiteouts.place(fd, name);
    if (result === EEXIST && standing(fd, name) === "whiteout") return;
    check(result, "whiteout");
  }

  /** As lookup() sees it: an empty file is looked at more closely only in a directory that is marked for it. */
  private isWhiteoutIn(dir: DiskNode, name: Name, stat: FileStat): boolean {
    const emptyFile = (stat.mode & S_IFMT) === S_IFREG && stat.size === 0;
    if (emptyFile && this.rawMarks(dir).opaque !== "x") return false;
    return isWhiteout(this.descriptor(dir), name, stat);
  }

  /** False where a whiteout is not needed. Whiteouts that are xattrs count only in directories marked so, and an opaque one needs none. */
  private readyForWhiteouts(dir: DiskNode): boolean {
    if (this.whiteouts.spelling !== "xattr") return true;
    const raw = this.rawMarks(dir);
    if (raw.opaque === "y") return false;
    if (raw.opaque === "") {
      setXattr(this.baseOf(dir), componentOf(dir), markKey(this.prefix!, "opaque"), Buffer.from("x"));
      dir.marks = { ...raw, opaque: "x" };
    }
    return true;
  }

  /**
   * False for an empty directory. Throws ENOTEMPTY when something real is in it: nobody's data goes with the whiteouts.
   * `held` is a descriptor of it, if there is one.
   */
  private holdsWhiteouts(dir: DiskNode, name: Name, held: number, syscall: string): boolean {
    const readable = held >= 0 && native.lseek(held, 0, SEEK_SET) >= 0;
    const fd = readable ? held : check(native.open(this.descriptor(dir), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, 0), syscall);
    try {
      const entries = readDirents(fd);
      for (const entry of entries) {
        if (this.whiteouts.isSpare(entry) || entry.name.startsWith(WHITEOUT_PREFIX)) continue;
        if (standing(fd, entry.name) === "object") throw new FsError("ENOTEMPTY", syscall);
      }
      return entries.length > 0;
    } finally {
      if (!readable) native.close(fd);
    }
  }

  /** Puts an object of the work directory where a whiteout stands. */
  private placeOver(staged: string, isDir: boolean, dir: DiskNode, name: Name): void {
    const fd = this.descriptor(dir);
    const there = standing(fd, name);
    if (there === "object") throw new FsError("EEXIST", "create");
    if (there === "nothing") {
      check(renameNew(this.work.fd, staged, fd, name), "create");
      this.whiteouts.removeDotted(fd, name);
      return;
    }
    check(native.rename(this.work.fd, staged, fd, name, isDir ? RENAME_EXCHANGE : 0), "create");
    if (isDir) this.work.discard(staged);
  }

  // ── nodes that lose and change names ──

  /** Before a name goes: if it is the last one known of a node in use, a descriptor that will stand for it. */
  private beforeLoss(dir: DiskNode, name: Name, stat: FileStat): Loss {
    const node = this.nodes.get(this.keyOf(stat));
    if (node === undefined) return NO_LOSS;
    // Marks are found by way of the parent: read while there is one.
    this.rawMarks(node);
    const last = node.held < 0 && node.isAt(dir, name) && (node.more === undefined || node.more.length === 0);
    if (!last) return { node, held: -1 };
    const open = node.type === S_IFDIR ? this.descriptors.take(node) : -1;
    return { node, held: open >= 0 ? open : check(native.open(this.descriptor(dir), name, O_PATH | O_NOFOLLOW, 0, 0), "open") };
  }

  private cancelLoss(loss: Loss): void {
    if (loss.held >= 0) native.close(loss.held);
  }

  private afterLoss({ node, held }: Loss, dir: DiskNode, name: Name): void {
    if (node === undefined) return;
    node.dropPlace(dir, name);
    if (held < 0) return;
    node.held = held;
    this.descriptors.drop(node);
  }

  private moved(node: DiskNode | undefined, from: DiskNode, oldName: Name, to: DiskNode, newName: Name): void {
    if (node === undefined) return;
    node.dropPlace(from, oldName);
    node.addPlace(to, newName);
  }

  get locks(): readonly number[] {
    return this.work.locks;
  }

  keepOpen(layerNode: LayerNode): number {
    const node = asDiskNode(layerNode);
    if (node.held >= 0) return node.held;
    // Marks are found by way of the parent: read while there is one.
    this.rawMarks(node);
    node.held = check(native.open(this.baseOf(node), node.name, O_PATH | O_NOFOLLOW, 0, 0), "open");
    return node.held;
  }

  fromOpen(fd: number, type: number): DiskNode {
    return this.nodeHeldBy(fd, type);
  }

  private keyOf(stat: FileStat): number | string {
    return stat.dev === this.device ? stat.ino : `${stat.dev} ${stat.ino}`;
  }

  /** What was just made. A change that has been made is not to be told as an error: a look that fails is taken once more. */
  private found(dir: DiskNode, name: Name): DiskNode {
    let node: DiskNode | undefined;
    try {
      node = this.lookup(dir, name);
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      node = this.lookup(dir, name);
    }
    if (node === undefined) throw new FsError("EIO", "lookup", "what was just made is not there: somebody else changes the upper");
    return node;
  }

  override close(): void {
    super.close();
    this.work.close();
  }
}

/** Throws EPERM for a device that would be a whiteout, EINVAL for a reserved name. */
function checkNew(name: Name, what: NewNode): void {
  checkReserved(name);
  if ((what.mode & S_IFMT) === S_IFCHR && (what.rdev ?? 0) === 0) throw new FsError("EPERM", "mknod", "a 0:0 character device is a whiteout");
}

function checkReserved(name: Name): void {
  if (name.startsWith(WHITEOUT_PREFIX)) throw new FsError("EINVAL", "create", `names beginning ${WHITEOUT_PREFIX} are reserved`);
}

function makeObject(fd: number, name: string, mode: number, what: NewNode): number {
  const type = mode & S_IFMT;
  if (type === S_IFLNK) return native.symlink(what.target ?? "", fd, name);
  if (type === S_IFDIR) return native.mkdir(fd, name, mode & 0o7777);
  return native.mknod(fd, name, mode, type === S_IFREG ? 0 : (what.rdev ?? 0));
}

function defaultWorkdir(at: string | number): string {
  if (typeof at === "number") throw new FsError("EINVAL", "mount", "an upper given as a descriptor needs a work directory");
  return `${at.replace(/\/+$/, "")}.work`;
}

function probeWhiteouts(work: WorkDirectory, prefix: XattrPrefix | undefined): WhiteoutSpelling {
  const name = work.nextName();
  const made = (as: string, type: number): boolean => native.mknod(work.fd, as, type, 0) >= 0 && native.unlink(work.fd, as, 0) >= 0;
  if (made(name, S_IFCHR)) return "device";
  // A mount of ours has neither: there the third spelling is left.
  return prefix === undefined || made(WHITEOUT_PREFIX + name, S_IFREG) ? "dotwh" : "xattr";
}

function probePrefix(work: number): XattrPrefix | undefined {
  for (const prefix of ["trusted", "user"] as const) {
    const key = markKey(prefix, "impure");
    if (native.setxattr(work, "", key, YES, 0) < 0) continue;
    native.removexattr(work, "", key);
    return prefix;
  }
  return undefined;
}
