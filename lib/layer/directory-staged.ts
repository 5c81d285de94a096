/**
 * A copy-up in progress: an object in the work directory that nobody sees.
 * Order: data (synced), xattrs, then owner, the xattrs that a change of owner would drop, mode, times; the rename into place last.
 * Always true: until publish() the upper is as it was; after discard() nothing is left.
 */
import type { Attr } from "../base/attr.js";
import { FsError, check, errnoName } from "../base/errors.js";
import { O_RDWR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../base/mode.js";
import type { Name } from "../base/name.js";
import { native } from "../sys/binding.js";
import { O_NOFOLLOW } from "../sys/flags.js";
import { setXattr } from "../sys/xattr.js";
import { copyData } from "./copy-data.js";
import type { Durability } from "./durability.js";
import { markKey } from "./dialect.js";
import type { MarkName, XattrPrefix } from "./dialect.js";
import type { IdMap } from "./ids.js";
import type { Backing, LayerNode } from "./layer.js";
import type { Owners } from "./owners.js";
import { ACCESS_ACL, mapAclIds } from "./posix-acl.js";
import { storedKey } from "./private-keys.js";
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
  /** Moves an object of the work directory to a name that is free, keeping the parent's times. `marked`: entries of the parent carry marks from now on. */
  settle(staged: string, dir: LayerNode, name: Name, marked: boolean): LayerNode;
  /** Takes the only name from an object of the work directory. */
  settleUnnamed(staged: string): LayerNode;
}

const CAPABILITY = "security.capability";
const EMPTY = new Uint8Array(0);

export class DirectoryStaged implements StagedNode {
  private readonly host: StagingHost;
  private readonly name: string;
  private readonly attr: Attr;
  /** Keys that a change of owner or mode would drop or alter: set after it. */
  private readonly late: [key: string, value: Uint8Array][] = [];
  private marked = false;

  constructor(host: StagingHost, attr: Attr, target: string | undefined) {
    this.host = host;
    this.attr = attr;
    this.name = host.work.nextName();
    const type = host.owners.realType(attr.mode);
    const { fd } = host.work;
    if (type === S_IFLNK) check(native.symlink(target ?? "", fd, this.name), "symlink");
    else if (type === S_IFDIR) check(native.mkdir(fd, this.name, 0o700), "mkdir");
    else check(native.mknod(fd, this.name, type | 0o600, attr.rdev), "mknod");
  }

  copyFrom(source: Backing, size: number): void | Promise<void> {
    if (size === 0) return;
    const to = this.openData();
    let settled: void | Promise<void>;
    try {
      settled = copyData(source, to, size, this.host.durability);
    } catch (error) {
      native.close(to);
      throw error;
    }
    if (settled !== undefined) return settled.finally(() => native.close(to));
    native.close(to);
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
  }

  setOrigin(ino: number): void {
    this.mark("stratafs.origin", Buffer.from(String(ino), "latin1"));
  }

  setMetacopy(redirect: string | undefined): void {
    if (this.host.prefix === undefined) throw new FsError("EOPNOTSUPP", "setxattr", "this upper holds no marks");
    // The size is the object's; its blocks are all holes.
    const fd = this.openData();
    const result = native.ftruncate(fd, this.attr.size);
    native.close(fd);
    check(result, "truncate");
    if (redirect !== undefined) this.setRedirect(redirect);
    setXattr(this.host.work.fd, this.name, markKey(this.host.prefix, "metacopy"), EMPTY);
    this.marked = true;
  }

  setRedirect(path: string): void {
    if (this.host.prefix === undefined) throw new FsError("EOPNOTSUPP", "setxattr", "this upper holds no marks");
    setXattr(this.host.work.fd, this.name, markKey(this.host.prefix, "redirect"), Buffer.from(path, "latin1"));
    this.marked = true;
  }

  publish(dir: LayerNode, name: Name): LayerNode {
    this.finish();
    return this.host.settle(this.name, dir, name, this.marked);
  }

  publishUnnamed(): LayerNode {
    this.finish();
    return this.host.settleUnnamed(this.name);
  }

  discard(): void {
    this.host.work.discard(this.name);
  }

  private finish(): void {
    const { attr, name, host } = this;
    const { fd } = host.work;
    host.owners.give(fd, name, attr);
    for (const [key, value] of this.late) this.put(key, value);
    check(native.utimens(fd, name, attr.atimeSec, attr.atimeNsec, attr.mtimeSec, attr.mtimeNsec), "utimens");
  }

  /** Keys that this filesystem has no place for are left out; so are those that this process may not set, where it is no full root. */
  private put(key: string, value: Uint8Array): void {
    const result = native.setxattr(this.host.work.fd, this.name, key, value, 0);
    if (result >= 0) return;
    const code = errnoName(result);
    if (code === "EOPNOTSUPP" || (this.host.owners.limited && (code === "EPERM" || code === "EINVAL"))) return;
    throw new FsError(code, "setxattr", key);
  }

  /** A mark that may be given up: without it the tree is the same, only inode numbers may change with the next mount. */
  private mark(mark: MarkName, value: Uint8Array): void {
    const { prefix, work } = this.host;
    if (prefix === undefined) return;
    const result = native.setxattr(work.fd, this.name, markKey(prefix, mark), value, 0);
    const code = result < 0 ? errnoName(result) : undefined;
    // user.* keys have no place on links, devices, fifos and sockets.
    if (code === "EPERM" || code === "EOPNOTSUPP") return;
    if (code !== undefined) throw new FsError(code, "setxattr");
    this.marked = true;
  }

  private openData(): number {
    if ((this.attr.mode & S_IFMT) !== S_IFREG) throw new FsError("EINVAL", "copy", "only regular files have data");
    return check(native.open(this.host.work.fd, this.name, O_RDWR | O_NOFOLLOW, 0, 0), "open");
  }
}
