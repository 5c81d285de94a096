/**
 * Whiteouts of an upper, in its spelling.
 * Always true: one spare stands in the work directory and new whiteouts are hard links of it, so that a name can be hidden, and a
 * file deleted, on a disk where nothing more can be created.
 */
import { FsError, check, errnoName, errnoOf } from "../base/errors.js";
import { S_IFCHR, S_IFMT, S_IFREG } from "../base/mode.js";
import { NAME_MAX } from "../base/name.js";
import { native } from "../sys/binding.js";
import type { Dirent } from "../sys/dirents.js";
import { statAt } from "../sys/statx.js";
import type { FileStat } from "../sys/statx.js";
import { getXattr } from "../sys/xattr.js";
import { MARK_KEYS, WHITEOUT_PREFIX, markKey } from "./dialect.js";
import type { WhiteoutSpelling, XattrPrefix } from "./dialect.js";
import { renameNew } from "./work-directory.js";
import type { WorkDirectory } from "./work-directory.js";

const SPARE = "spare-whiteout";
const ENOSPC = -errnoOf("ENOSPC");
const EDQUOT = -errnoOf("EDQUOT");
const EMLINK = -errnoOf("EMLINK");
const ENOENT = -errnoOf("ENOENT");
const EPERM = -errnoOf("EPERM");
const EOPNOTSUPP = -errnoOf("EOPNOTSUPP");

export class Whiteouts {
  readonly spelling: WhiteoutSpelling;
  private readonly work: WorkDirectory;
  private readonly prefix: XattrPrefix | undefined;
  /** Of the spare there is now, as listings number it; -1 without one. */
  private spareIno = -1;

  constructor(work: WorkDirectory, spelling: WhiteoutSpelling, prefix: XattrPrefix | undefined) {
    if (spelling === "xattr" && prefix === undefined) {
      throw new FsError("EOPNOTSUPP", "mount", "whiteouts as xattrs, on a filesystem that holds neither trusted.* nor user.* ones");
    }
    this.work = work;
    this.spelling = spelling;
    this.prefix = prefix;
    // A disk that is full already still mounts; the spare is made when one is needed and there is room.
    const made = this.trySpare();
    if (made !== ENOSPC && made !== EDQUOT) check(made, "mknod", "of a whiteout");
  }

  /** A whiteout in the work directory, for rename(2) to put in its place; its name. Not for the spelling `dotwh`. */
  make(): string {
    const name = this.work.nextName();
    const linked = this.linkSpare(this.work.fd, name);
    if (noLinks(linked)) check(this.tryObject(name), "mknod", "of a whiteout");
    else check(linked, "link", "of a whiteout");
    return name;
  }

  /** A whiteout where `fd` has nothing called `name`, in place at once. Returns -EEXIST when something is there. Not for the spelling `dotwh`. */
  place(fd: number, name: string): number {
    const linked = this.linkSpare(fd, name);
    if (!noLinks(linked)) return linked;
    const made = this.make();
    const result = renameNew(this.work.fd, made, fd, name);
    if (result < 0) this.work.discard(made);
    return result;
  }

  /** Whether an entry of a listing is a whiteout of ours, known without looking at it: a device that is the same object as the spare. */
  isSpare(entry: Dirent): boolean {
    return entry.type === S_IFCHR && entry.ino === this.spareIno;
  }

  /** A new link of the spare, which is made anew where there is none (ENOENT) or it has as many links as the filesystem allows (EMLINK). */
  private linkSpare(fd: number, name: string): number {
    const linked = native.link(this.work.fd, SPARE, fd, name, 0);
    if (linked !== EMLINK && linked !== ENOENT) return linked;
    native.unlink(this.work.fd, SPARE, 0);
    const made = this.trySpare();
    return made < 0 ? made : native.link(this.work.fd, SPARE, fd, name, 0);
  }

  private trySpare(): number {
    const made = this.tryObject(SPARE);
    this.spareIno = made < 0 ? -1 : statAt(this.work.fd, SPARE)?.ino ?? -1;
    return made;
  }

  /** Creates `.wh.NAME` in `fd`; one that is there will do. Throws ENAMETOOLONG for names that leave no room for the prefix. */
  makeDotted(fd: number, name: string): void {
    if (name.length + WHITEOUT_PREFIX.length > NAME_MAX) {
      throw new FsError("ENAMETOOLONG", "unlink", `a whiteout for a name of ${name.length} bytes has no room in this upper`);
    }
    const dotted = WHITEOUT_PREFIX + name;
    let result = native.mknod(fd, dotted, S_IFREG, 0);
    // Links of one file confuse tools that pack the directory, so only where nothing else is possible.
    if (result === ENOSPC || result === EDQUOT) result = native.link(this.work.fd, SPARE, fd, dotted, 0);
    if (result < 0 && errnoName(result) !== "EEXIST") check(result, "mknod", "of a whiteout");
  }

  /** Removes `.wh.NAME` if it is there. Beside a real entry it means nothing, so that one which cannot be removed is no failure. */
  removeDotted(fd: number, name: string): void {
    if (name.length + WHITEOUT_PREFIX.length > NAME_MAX) return;
    native.unlink(fd, WHITEOUT_PREFIX + name, 0);
  }

  private tryObject(name: string): number {
    const made = native.mknod(this.work.fd, name, this.spelling === "device" ? S_IFCHR : S_IFREG, 0);
    if (made < 0 || this.spelling !== "xattr") return made;
    const marked = native.setxattr(this.work.fd, name, markKey(this.prefix!, "whiteout"), Buffer.from("y"), 0);
    if (marked < 0) native.unlink(this.work.fd, name, 0);
    return marked;
  }
}

/** Links of such objects cannot be made here. */
function noLinks(result: number): boolean {
  return result === EPERM || result === EOPNOTSUPP;
}

/** What stands under a name on disk: nothing, a whiteout that is an object of its own, or something real. `.wh.` files are not looked at. */
export function standing(fd: number, name: string): "nothing" | "whiteout" | "object" {
  const stat = statAt(fd, name);
  if (stat === undefined) return "nothing";
  return isWhiteout(fd, name, stat) ? "whiteout" : "object";
}

/** Whether what statx said about a name is a whiteout; asks for xattrs only where the file is empty. */
export function isWhiteout(fd: number, name: string, stat: FileStat): boolean {
  const type = stat.mode & S_IFMT;
  if (type === S_IFCHR) return stat.rdev === 0;
  return type === S_IFREG && stat.size === 0 && MARK_KEYS.whiteout.some((key) => getXattr(fd, name, key) !== undefined);
}
