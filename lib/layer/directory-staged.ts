/**
 * A copy-up in progress: an object in the work directory that nobody sees.
 * Order: data (synced, but for a reflink), xattrs, then owner and mode, the xattrs that such a change would drop, times; the rename into place last. An owner and
 * a mode that it can be made with, because nobody gains anything by them before the data is there, it is made with.
 * Always true: until publish() the upper is as it was; after discard() nothing is left.
 */
import type { Attr } from "../base/attr.js";
import { FsError, check, errnoName } from "../base/errors.js";
import { O_CREAT, O_EXCL, O_RDWR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../base/mode.js";
import type { Name } from "../base/name.js";
import { native } from "../sys/binding.js";
import { O_NOFOLLOW } from "../sys/flags.js";
import { setXattr } from "../sys/xattr.js";
import { copyData } from "./copy-data.js";
import type { Durability } from "./durability.js";
import { NO_RAW_MARKS, markKey } from "./dialect.js";
import type { MarkName, RawMarks, XattrPrefix } from "./dialect.js";
import type { IdMap } from "./ids.js";
import type { Backing, LayerNode } from "./layer.js";
import type { Owners } from "./owners.js";
import { ACCESS_ACL, DEFAULT_ACL, mapAclIds } from "./posix-acl.js";
import { storedKey } from "./private-keys.js";
import type { Stop } from "./stop.js";
import type { StagedNode } from "./upper.js";
import type { WorkDirectory } from "./work-directory.js";

/** What a staged object needs of its upper. */
export interface StagingHost {
  readonly work: WorkDirectory;
  readonly owners: Owners;
  readonly ids: IdMap;
  /** Undefined where the filesystem holds no marks. */
  readonly prefix: XattrPrefix | undefined;
  readonly durability: Durability;
  /** Moves an object of the work directory to a name that is free, keeping the parent's times. Its marks, and whether it has a default ACL, are known. */
  settle(staged: string, dir: LayerNode, name: Name, marks: RawMarks, defaultAcl: boolean): LayerNode;
  /** Takes the only name from an object of the work directory. */
  settleUnnamed(staged: string): LayerNode;
}

const CAPABILITY = "security.capability";
const EMPTY = new Uint8Array(0);

export class DirectoryStaged implements StagedNode {
  private readonly host: StagingHost;
  private readonly name: string;
  private readonly attr: Attr;
  /** A regular file's own descriptor, until it is published or discarded; -1 for others, which are reached by name. */
  private fd = -1;
  /** What it was made with is what it shall have; else finish() gives it. */
  private readonly bornRight: boolean;
  /** Keys that a change of owner or mode would drop or alter: set after it. */
  private readonly late: [key: string, value: Uint8Array][] = [];
  private marks: RawMarks = NO_RAW_MARKS;
  private defaultAcl = false;

  constructor(host: StagingHost, attr: Attr, target: string | undefined) {
    this.host = host;
    this.attr = attr;
    this.name = host.work.nextName();
    const type = host.owners.realType(attr.mode);
    const { work } = host;
    this.bornRight = host.owners.asMade(attr, work.ownerOfNew());
    const before = native.umask(0);
    const permissions = this.bornRight ? attr.mode & 0o777 : type === S_IFDIR ? 0o700 : 0o600;
    let made: number;
    if (type === S_IFREG) made = this.fd = native.open(work.fd, this.name, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, permissions, 0);
    else if (type === S_IFLNK) made = native.symlink(target ?? "", work.fd, this.name);
    else if (type === S_IFDIR) made = native.mkdir(work.fd, this.name, permissions);
    else made = native.mknod(work.fd, this.name, type | permissions, attr.rdev);
    native.umask(before);
    check(made, "create", "of a copy");
  }

  copyFrom(source: Backing, size: number, stop?: Stop): void | Promise<void> {
    if (size > 0) return copyData(source, this.data(), size, this.host.durability, stop);
  }

  setXattr(key: string, value: Uint8Array): void {
    const { host } = this;
    const stored = storedKey(key, host.owners.overrideKey !== undefined);
    if (stored === undefined) return;
    const isAcl = key.startsWith("system.posix_acl_");
    const bytes = isAcl && !host.ids.identity ? mapAclIds(value, (id) => host.ids.uid.onDisk(id), (id) => host.ids.gid.onDisk(id)) : value;
    if (stored === CAPABILITY) this.late.push([stored, bytes]);
    else if (stored === ACCESS_ACL) this.late.push([stored, host.owners.realAcl(bytes, this.attr.mode)]);
    else this.put(stored, bytes);
    if (key === DEFAULT_ACL) this.defaultAcl = true;
  }

  setOrigin(ino: number): void {
    if (this.mark("stratafs.origin", Buffer.from(String(ino), "latin1"))) this.marks = { ...this.marks, origin: ino };
  }

  setMetacopy(redirect: string | undefined): void {
    if (this.host.prefix === undefined) throw new FsError("EOPNOTSUPP", "setxattr", "this upper holds no marks");
    // The size is the object's; its blocks are all holes.
    check(native.ftruncate(this.data(), this.attr.size), "truncate");
    if (redirect !== undefined) this.setRedirect(redirect);
    setXattr(this.base, this.component, markKey(this.host.prefix, "metacopy"), EMPTY);
    this.marks = { ...this.marks, metacopy: true };
  }

  setRedirect(path: string): void {
    if (this.host.prefix === undefined) throw new FsError("EOPNOTSUPP", "setxattr", "this upper holds no marks");
    setXattr(this.base, this.component, markKey(this.host.prefix, "redirect"), Buffer.from(path, "latin1"));
    this.marks = { ...this.marks, redirect: path };
  }

  publish(dir: LayerNode, name: Name): LayerNode {
    this.finish();
    return this.host.settle(this.name, dir, name, this.marks, this.defaultAcl);
  }

  publishUnnamed(): LayerNode {
    this.finish();
    return this.host.settleUnnamed(this.name);
  }

  discard(): void {
    this.letGo();
    this.host.work.discard(this.name);
  }

  private finish(): void {
    const { attr, host } = this;
    if (!this.bornRight) host.owners.give(this.base, this.component, attr);
    for (const [key, value] of this.late) this.put(key, value);
    check(native.utimens(this.base, this.component, attr.atimeSec, attr.atimeNsec, attr.mtimeSec, attr.mtimeNsec), "utimens");
    this.letGo();
  }

  private letGo(): void {
    if (this.fd >= 0) native.close(this.fd);
    this.fd = -1;
  }

  private get base(): number {
    return this.fd >= 0 ? this.fd : this.host.work.fd;
  }

  private get component(): string {
    return this.fd >= 0 ? "" : this.name;
  }

  /** Keys that this filesystem has no place for are left out; so are those that this process may not set, where it is no full root. */
  private put(key: string, value: Uint8Array): void {
    const result = native.setxattr(this.base, this.component, key, value, 0);
    if (result >= 0) return;
    const code = errnoName(result);
    if (code === "EOPNOTSUPP" || (this.host.owners.limited && (code === "EPERM" || code === "EINVAL"))) return;
    throw new FsError(code, "setxattr", key);
  }

  /** A mark that may be given up, and then false: without it the tree is the same, only inode numbers may change with the next mount. */
  private mark(mark: MarkName, value: Uint8Array): boolean {
    const { prefix } = this.host;
    if (prefix === undefined) return false;
    const result = native.setxattr(this.base, this.component, markKey(prefix, mark), value, 0);
    const code = result < 0 ? errnoName(result) : undefined;
    // user.* keys have no place on links, devices, fifos and sockets.
    if (code === "EPERM" || code === "EOPNOTSUPP") return false;
    if (code !== undefined) throw new FsError(code, "setxattr");
    return true;
  }

  private data(): number {
    if ((this.attr.mode & S_IFMT) !== S_IFREG) throw new FsError("EINVAL", "copy", "only regular files have data");
    return this.fd;
  }
}
