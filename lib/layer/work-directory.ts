/**
 * The work directory of an upper: `<workdir>/work/`, where objects are made that nobody may see half done, as kernel overlayfs does.
 * Always true: it is on the upper's filesystem and mount, one process uses it at a time (flock), and what stands in it is rubbish
 * or in use by this process, but for `incompat/`, which says that an earlier mount did not sync.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { FsError, check, errnoOf } from "../base/errors.js";
import { O_RDONLY, S_IFDIR, S_IFREG, isDirectory } from "../base/mode.js";
import { pathBytes } from "../base/name.js";
import { native } from "../sys/binding.js";
import { listDirectory, readDirents } from "../sys/dirents.js";
import type { Dirent } from "../sys/dirents.js";
import { AT_FDCWD, AT_REMOVEDIR, LOCK_EX, LOCK_NB, O_DIRECTORY, O_NOFOLLOW, RENAME_NOREPLACE } from "../sys/flags.js";
import { statAt, statFd } from "../sys/statx.js";
import { OVERFLOW_ID } from "./ids.js";
import { DEFAULT_ACL } from "./posix-acl.js";
import { Rubbish } from "./rubbish.js";

const EEXIST = -errnoOf("EEXIST");
const ENOENT = -errnoOf("ENOENT");
const ENOTEMPTY = -errnoOf("ENOTEMPTY");
const EAGAIN = -errnoOf("EAGAIN");
const EACCES = -errnoOf("EACCES");
const EINVAL = -errnoOf("EINVAL");

export interface WorkDirectoryOptions {
  /** Made when it is missing, and removed by close(). */
  readonly temporary: boolean;
  /** Leaves the mark that makes the next open refuse. */
  readonly volatile: boolean;
  /** Nothing is left to be done after a call. */
  readonly blocking: boolean;
  /** The descriptors that hold the locks, of the process before this one: nothing is locked or refused anew. */
  readonly locks?: readonly number[];
}

export class WorkDirectory {
  /** `<workdir>/work`. */
  readonly fd: number;
  private readonly path: string;
  private readonly temporary: boolean;
  /** The directory and the upper, each open and locked. */
  readonly locks: readonly number[];
  private readonly rubbish: Rubbish | undefined;
  private owner: { readonly uid: number; readonly gid: number } | undefined;
  private count = 0;
  private closed = false;

  /**
   * Checks, locks and cleans. `upperFd` stays the caller's. Throws EXDEV (another filesystem or mount), EINVAL (one inside the other, or
   * left behind by a volatile mount), EBUSY (in use), EPERM (somebody else's), ENOENT.
   */
  static open(path: string, upperFd: number, options: WorkDirectoryOptions): WorkDirectory {
    if (options.locks !== undefined) return WorkDirectory.inherit(path, options.locks, options);
    if (options.temporary) {
      const made = native.mkdir(AT_FDCWD, pathBytes(path), 0o700);
      if (made < 0 && made !== EEXIST) check(made, "mkdir", `of the work directory ${path}`);
    }
    // A name that nobody chose may have been taken by somebody who knew it: his link is not followed, his directory not used.
    const flags = O_RDONLY | O_DIRECTORY | (options.temporary ? O_NOFOLLOW : 0);
    const fd = check(native.open(AT_FDCWD, pathBytes(path), flags, 0, 0), "open", `of the work directory ${path}`);
    const opened = [fd];
    try {
      if (options.temporary) checkOwner(fd, path);
      checkPlaces(path, fd, upperFd);
      lock(fd, `the work directory ${path}`);
      const upper = check(native.open(upperFd, ".", O_RDONLY | O_DIRECTORY, 0, 0), "open", "of the upper");
      opened.push(upper);
      lock(upper, "the upper directory");
      const work = openWork(fd, path);
      opened.push(work);
      const result = new WorkDirectory(path, work, opened.slice(0, 2), options);
      result.cleanAtStart(path);
      if (options.volatile) result.markVolatile();
      return result;
    } catch (error) {
      for (const each of opened.reverse()) native.close(each);
      throw error;
    }
  }

  private static inherit(path: string, locks: readonly number[], options: WorkDirectoryOptions): WorkDirectory {
    const result = new WorkDirectory(path, openWork(locks[0]!, path), locks, options);
    try {
      result.cleanAtStart(path, "incompat");
    } catch (error) {
      native.close(result.fd);
      throw error;
    }
    return result;
  }

  private constructor(path: string, fd: number, locks: readonly number[], options: WorkDirectoryOptions) {
    this.path = path;
    this.fd = fd;
    this.locks = locks;
    this.temporary = options.temporary;
    this.rubbish = options.blocking ? undefined : new Rubbish(fd, (name) => this.discard(name));
  }

  /** A name that nothing in here has. */
  nextName(): string {
    return `#${(this.count++).toString(36)}`;
  }

  /** To whom the filesystem gives what is made in here; undefined while it cannot be found out (a full disk). */
  ownerOfNew(): { readonly uid: number; readonly gid: number } | undefined {
    if (this.owner === undefined) {
      const probe = this.nextName();
      if (native.mknod(this.fd, probe, S_IFREG, 0) < 0) return undefined;
      this.owner = statAt(this.fd, probe);
      native.unlink(this.fd, probe, 0);
    }
    return this.owner;
  }

  /** Removes what nobody needs any more. A failure is left to the next start: the caller's work is done. */
  discard(name: string): void {
    try {
      this.removeTree(name);
    } catch {
      return;
    }
  }

  /** As discard(), of a directory with nothing but whiteouts, and not before the caller goes on. */
  discardWhiteouts(name: string): void {
    if (this.rubbish === undefined) this.discard(name);
    else this.rubbish.add(name);
  }

  /**
   * Removes a tree of any depth without recursion and with one descriptor: subdirectories that are not empty move up into the work
   * directory first. Links are not followed. Throws what the system says of the first thing that cannot be removed.
   */
  removeTree(top: string): void {
    const pending = [top];
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      if (this.removeOne(name)) continue;
      this.emptyDirectory(name, pending);
      const result = native.unlink(this.fd, name, AT_REMOVEDIR);
      if (result < 0) check(result, "rmdir", "in the work directory");
    }
  }

  /** False when it is a directory with entries. */
  private removeOne(name: string): boolean {
    const stat = statAt(this.fd, name);
    if (stat === undefined) return true;
    const result = native.unlink(this.fd, name, isDirectory(stat.mode) ? AT_REMOVEDIR : 0);
    if (isDirectory(stat.mode) && (result === ENOTEMPTY || result === EEXIST || result === EACCES)) return false;
    check(result, "unlink", "in the work directory");
    return true;
  }

  private emptyDirectory(name: string, pending: string[]): void {
    // Leftovers may have any permission bits, and moving a directory takes write permission on it.
    native.chmod(this.fd, name, 0o700);
    const dir = check(native.open(this.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, 0), "open", "in the work directory");
    try {
      for (const entry of readDirents(dir)) {
        const isDir = entry.type === 0 ? isDirectory(statAt(dir, entry.name)?.mode ?? 0) : entry.type === S_IFDIR;
        const result = native.unlink(dir, entry.name, isDir ? AT_REMOVEDIR : 0);
        if (result >= 0 || result === ENOENT) continue;
        if (!isDir) check(result, "unlink", "in the work directory");
        native.chmod(dir, entry.name, 0o700);
        const moved = this.nextName();
        check(native.rename(dir, entry.name, this.fd, moved, 0), "rename", "in the work directory");
        pending.push(moved);
      }
    } finally {
      native.close(dir);
    }
  }

  /** Idempotent. Its owner may have removed it already: a mount is gone for everybody else before its server has ended. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.rubbish?.close();
    for (const { name } of this.leftovers()) if (name !== "incompat") this.discard(name);
    if (this.temporary && native.unlink(this.locks[0]!, "work", AT_REMOVEDIR) >= 0) native.unlink(AT_FDCWD, pathBytes(this.path), AT_REMOVEDIR);
    native.close(this.fd);
    for (const fd of this.locks) native.close(fd);
  }

  private leftovers(): readonly Dirent[] {
    try {
      return listDirectory(this.fd);
    } catch (error) {
      if (error instanceof FsError && error.code === "ENOENT") return [];
      throw error;
    }
  }

  private cleanAtStart(path: string, keep?: string): void {
    for (const { name } of listDirectory(this.fd)) {
      if (name === keep) continue;
      if (name === "incompat") this.refuseIncompat(path);
      // Names given out below must not meet leftovers that are still to be removed.
      const moved = `old${this.nextName()}`;
      check(native.rename(this.fd, name, this.fd, moved, 0), "rename", `of a leftover in ${path}/work`);
      this.removeTree(moved);
    }
  }

  private refuseIncompat(path: string): void {
    const dir = check(native.open(this.fd, "incompat", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, 0), "open", `of ${path}/work/incompat`);
    const features = readDirents(dir).map((entry) => entry.name);
    native.close(dir);
    if (features.length === 0) return;
    const mark = `${path}/work/incompat/${features[0]}`;
    throw new FsError("EINVAL", "mount", `the upper was last mounted ${features[0]} and may have lost writes; remove ${mark} to use it all the same`);
  }

  private markVolatile(): void {
    check(native.mkdir(this.fd, "incompat", 0o700), "mkdir");
    check(native.mkdir(this.fd, "incompat/volatile", 0o700), "mkdir");
  }
}

/** rename(2) that replaces nothing; two steps where the filesystem cannot do it in one. Returns a negative errno. */
export function renameNew(fromFd: number, from: string, toFd: number, to: string): number {
  const result = native.rename(fromFd, from, toFd, to, RENAME_NOREPLACE);
  if (result !== EINVAL) return result;
  return statAt(toFd, to) === undefined ? native.rename(fromFd, from, toFd, to, 0) : EEXIST;
}

function checkPlaces(path: string, workFd: number, upperFd: number): void {
  const work = statFd(workFd);
  const upper = statFd(upperFd);
  if (work.dev !== upper.dev || work.mountId !== upper.mountId) {
    throw new FsError("EXDEV", "mount", `the work directory ${path} must be on the same filesystem, and in the same mount, as the upper directory`);
  }
  const workPath = pathOf(workFd);
  const upperPath = pathOf(upperFd);
  if (work.ino === upper.ino || `${upperPath}/`.startsWith(`${workPath}/`) || `${workPath}/`.startsWith(`${upperPath}/`)) {
    throw new FsError("EINVAL", "mount", `the work directory ${path} and the upper directory must not be one inside the other`);
  }
}

/** For messages and the check above only; nothing is opened by it. */
function pathOf(fd: number): string {
  const target = Buffer.alloc(4096);
  const length = check(native.readlink(AT_FDCWD, `/proc/self/fd/${fd}`, target), "readlink");
  return target.toString("latin1", 0, length);
}

function lock(fd: number, what: string): void {
  const result = native.flock(fd, LOCK_EX | LOCK_NB);
  if (result === EAGAIN) throw new FsError("EBUSY", "mount", `${what} is in use${holderOf(fd)}`);
  check(result, "flock", `of ${what}`);
}

/** " by process 123", where the system tells. The process that took the lock may be gone, and the lock inherited: then one that has it open now. */
function holderOf(fd: number): string {
  try {
    const { ino } = statFd(fd);
    const pid = lockIn("/proc/locks", ino);
    if (pid === undefined) return "";
    const holder = [pid, ...readdirSync("/proc").filter((name) => /^\d+$/.test(name))].find((one) => hasLock(one, ino));
    if (holder !== undefined) return ` by process ${holder}`;
    // Another user's descriptors are not ours to look at.
    return existsSync(`/proc/${pid}`) ? ` by process ${pid}` : "";
  } catch {
    return "";
  }
}

function hasLock(pid: string, ino: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/fdinfo`).some((fd) => lockIn(`/proc/${pid}/fdinfo/${fd}`, ino) !== undefined);
  } catch {
    return false; // Gone, or not ours to look at.
  }
}

/** Who took a lock on the inode, from lines as `1: FLOCK  ADVISORY  WRITE 123 08:01:456 0 EOF`; in fdinfo with `lock:` before them. */
function lockIn(path: string, ino: number): string | undefined {
  const held = readFileSync(path, "latin1").split("\n").find((line) => line.includes("FLOCK") && line.includes(`:${ino} `));
  return held === undefined ? undefined : /WRITE +(-?\d+)/.exec(held)?.[1];
}

function openWork(workdir: number, path: string): number {
  const made = native.mkdir(workdir, "work", 0o700);
  if (made < 0 && made !== EEXIST) check(made, "mkdir", `of ${path}/work`);
  native.chmod(workdir, "work", 0o700);
  const fd = check(native.open(workdir, "work", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, 0), "open", `of ${path}/work`);
  try {
    checkOwner(fd, `${path}/work`);
  } catch (error) {
    native.close(fd);
    throw error;
  }
  // What is made in here must not inherit from here.
  native.removexattr(fd, "", DEFAULT_ACL);
  return fd;
}

/** Who owns the directory could exchange what is made in it before it is in its place. Root may anyway; ids that this process has no name for are the overflow id. */
function checkOwner(fd: number, path: string): void {
  const { uid } = statFd(fd);
  if (uid !== process.geteuid!() && uid !== 0 && uid !== OVERFLOW_ID) throw new FsError("EPERM", "mount", `${path} belongs to user ${uid}, who could change what is made in it`);
}
