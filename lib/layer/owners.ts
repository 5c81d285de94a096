/**
 * Owner and mode of objects on disk, or of the xattr that stands in for them.
 * Always true: owner before mode, because a change of owner drops setuid and setgid; what could not be given to its owner is not setuid either.
 */
import { readFileSync } from "node:fs";
import type { Attr } from "../base/attr.js";
import { check, errnoOf } from "../base/errors.js";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID, S_ISUID } from "../base/mode.js";
import { native } from "../sys/binding.js";
import { getXattr, setXattr } from "../sys/xattr.js";
import type { IdMap } from "./ids.js";
import { chmodAcl } from "./posix-acl.js";
import { formatOverride } from "./stat-override.js";

const EPERM = -errnoOf("EPERM");
const EINVAL = -errnoOf("EINVAL");

/** Ids as presented; `mode` with type bits. */
export interface Ownership {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly rdev: number;
}

export class Owners {
  /** The xattr that holds owners and modes; undefined where the real ones do. */
  readonly overrideKey: string | undefined;
  /** This process cannot give files to everybody (no root, or root of a user namespace): what it may not give away stays its own. */
  readonly limited: boolean;
  private readonly ids: IdMap;
  private readonly uid = process.geteuid!();
  private readonly gid = process.getegid!();

  constructor(ids: IdMap, overrideKey: string | undefined) {
    this.ids = ids;
    this.overrideKey = overrideKey;
    this.limited = !ownsEveryId();
  }

  /** Whether what this process makes belongs to these ids anyway. */
  isSelf(uid: number, gid: number): boolean {
    return this.ids.uid.onDisk(uid) === this.uid && this.ids.gid.onDisk(gid) === this.gid;
  }

  /** The type an object must really have to be shown as `mode` says. */
  realType(mode: number): number {
    const type = mode & S_IFMT;
    if (this.overrideKey === undefined || type === S_IFDIR || type === S_IFLNK) return type;
    return S_IFREG;
  }

  /**
   * Whether an object made with the permission bits of `owner` needs no give() afterwards: it will belong to `maker`, has no bits that a later
   * step must not lose, and its owner may go on to write to it and to its xattrs.
   */
  asMade(owner: Ownership, maker: { readonly uid: number; readonly gid: number } | undefined): boolean {
    if (this.overrideKey !== undefined || maker === undefined) return false;
    if (this.ids.uid.onDisk(owner.uid) !== maker.uid || this.ids.gid.onDisk(owner.gid) !== maker.gid) return false;
    if ((owner.mode & S_IFMT) === S_IFLNK) return true;
    const needed = (owner.mode & S_IFMT) === S_IFDIR ? 0o700 : 0o600;
    return (owner.mode & 0o7000) === 0 && (owner.mode & needed) === needed;
  }

  /** Gives a new object its owner and mode. Throws EPERM, EINVAL (no such id here), ENOSPC. */
  give(fd: number, component: string, owner: Ownership): void {
    if (this.overrideKey !== undefined) {
      this.override(fd, component, owner);
      if ((owner.mode & S_IFMT) !== S_IFLNK) check(native.chmod(fd, component, ownerMayUse(owner.mode)), "chmod");
      return;
    }
    const chowned = native.chown(fd, component, this.ids.uid.onDisk(owner.uid), this.ids.gid.onDisk(owner.gid));
    const refused = this.limited && (chowned === EPERM || chowned === EINVAL);
    if (!refused) check(chowned, "chown");
    if ((owner.mode & S_IFMT) === S_IFLNK) return;
    const mode = owner.mode & 0o7777;
    check(native.chmod(fd, component, refused ? mode & ~(S_ISUID | S_ISGID) : mode), "chmod");
  }

  /** -1 leaves an id. Throws EPERM, EINVAL. */
  chown(fd: number, component: string, uid: number, gid: number): void {
    check(native.chown(fd, component, uid < 0 ? -1 : this.ids.uid.onDisk(uid), gid < 0 ? -1 : this.ids.gid.onDisk(gid)), "chown");
  }

  /** The same, for an object this process has just made: ids that cannot be given stay as they are. */
  chownNew(fd: number, component: string, uid: number, gid: number): void {
    const result = native.chown(fd, component, uid < 0 ? -1 : this.ids.uid.onDisk(uid), gid < 0 ? -1 : this.ids.gid.onDisk(gid));
    if (this.limited && (result === EPERM || result === EINVAL)) return;
    check(result, "chown");
  }

  /** Writes the xattr. Symbolic links cannot hold a user.* one: theirs is given up, and they show the owner they really have. */
  override(fd: number, component: string, owner: Ownership): void {
    const key = this.overrideKey!;
    const type = owner.mode & S_IFMT;
    if (type === S_IFLNK && key.startsWith("user.")) return;
    const value = formatOverride(this.ids.uid.onDisk(owner.uid), this.ids.gid.onDisk(owner.gid), owner.mode, owner.rdev, this.realType(owner.mode));
    setXattr(fd, component, key, Buffer.from(value, "latin1"));
  }

  /** The access ACL to give the real object of `mode`: under an override what it says of owner, mask and others is read from there. */
  realAcl(access: Uint8Array, mode: number): Uint8Array {
    return this.overrideKey === undefined ? access : chmodAcl(access, ownerMayUse(mode));
  }

  /** Gives the layer's root the mark by which readers know that owners are in xattrs. */
  markRoot(rootFd: number, shown: Attr): void {
    if (this.overrideKey !== undefined && getXattr(rootFd, "", this.overrideKey) === undefined) this.override(rootFd, "", shown);
  }
}

/** The real mode under an override: this process must be able to use the object, nobody gains anything by it. */
function ownerMayUse(mode: number): number {
  return (mode & 0o777) | ((mode & S_IFMT) === S_IFDIR ? 0o700 : 0o600);
}

/** Root of the machine, to whom files of other users are strangers' work; root of a user namespace reads what its own user could have written. */
export const isRootOfMachine = process.geteuid!() === 0 && ownsEveryId();

function ownsEveryId(): boolean {
  if (process.geteuid!() !== 0) return false;
  try {
    return ["uid_map", "gid_map"].every((file) => /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync(`/proc/self/${file}`, "latin1")));
  } catch {
    return true;
  }
}
