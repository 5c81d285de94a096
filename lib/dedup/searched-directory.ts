/**
 * A directory whose regular files are looked for and opened.
 * Always true: everything is reached from the directory's descriptor, no link is followed and no mount crossed, whatever is renamed meanwhile;
 * no access time changes where the system lets us say so.
 */
import { readFileSync } from "node:fs";
import { check, errnoOf, hasCode } from "../base/errors.js";
import { O_NOATIME, O_NONBLOCK, O_RDONLY, S_IFDIR, S_IFMT, S_IFREG } from "../base/mode.js";
import { pathBytes } from "../base/name.js";
import { native } from "../sys/binding.js";
import { readDirents } from "../sys/dirents.js";
import {
  AT_FDCWD, O_DIRECTORY, O_NOFOLLOW, O_PATH, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV,
} from "../sys/flags.js";
import { statAt, statFd, type FileStat } from "../sys/statx.js";

export interface FoundFile {
  readonly directory: SearchedDirectory;
  /** Beneath it; latin1. */
  readonly path: string;
  readonly dev: number;
  readonly ino: number;
  readonly size: number;
  /** What it takes on the disk, whoever shares it. */
  readonly diskBytes: number;
}

const RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
/** Of a path, in one call: the kernel takes 4095 bytes. */
const PART = 4000;
const EPERM = -errnoOf("EPERM");

export class SearchedDirectory {
  /** As given; latin1. */
  readonly path: string;
  /** "0:37": one for all mounts of a filesystem and, unlike st_dev, all its subvolumes. */
  readonly filesystem: string;
  /** "btrfs". */
  readonly type: string;
  readonly #fd: number;
  readonly #mountId: number;

  /** Symbolic links in `path` are followed. Throws ENOENT, ENOTDIR, EACCES. */
  constructor(path: string) {
    this.path = pathBytes(path);
    this.#fd = check(native.open(AT_FDCWD, this.path, O_PATH | O_DIRECTORY, 0, 0), "open", `of ${path}`);
    const { mountId, dev } = statFd(this.#fd);
    this.#mountId = mountId;
    [this.filesystem, this.type] = filesystemOf(mountId) ?? [`dev ${dev}`, "unknown"];
  }

  /** Every non-empty regular file, in no order; `unread` hears of directories that cannot be listed, and why. Do not close between two of them. */
  *files(unread: (path: string, error: unknown) => void): Generator<FoundFile, void> {
    const waiting = [""];
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      let fd: number;
      try {
        fd = this.#open(at === "" ? "." : at, O_DIRECTORY);
      } catch (error) {
        if (!isGone(error)) unread(at, error);
        continue;
      }
      try {
        for (const { name, type } of readDirents(fd)) {
          const path = at === "" ? name : `${at}/${name}`;
          const stat = type === S_IFREG || type === 0 ? statAt(fd, name) : undefined;
          const kind = stat === undefined ? type : stat.mode & S_IFMT;
          if (kind === S_IFDIR) waiting.push(path);
          else if (kind === S_IFREG && stat !== undefined && stat.mountId === this.#mountId && stat.size > 0) yield this.#found(path, stat);
        }
      } finally {
        native.close(fd);
      }
    }
  }

  /** A descriptor, the caller's to close; undefined when the file is not there as it was found. Throws EACCES, EMFILE. */
  open(file: FoundFile): number | undefined {
    let fd: number;
    try {
      fd = this.#open(file.path, O_NONBLOCK);
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
    const { dev, ino, size, mode } = statFd(fd);
    if (dev === file.dev && ino === file.ino && size === file.size && (mode & S_IFMT) === S_IFREG) return fd;
    native.close(fd);
    return undefined;
  }

  close(): void {
    native.close(this.#fd);
  }

  #found(path: string, { dev, ino, size, blocks }: FileStat): FoundFile {
    // Filesystems reserve more for a file that was written a moment ago.
    return { directory: this, path, dev, ino, size, diskBytes: Math.min(blocks * 512, Math.ceil(size / 4096) * 4096) };
  }

  #open(path: string, flags: number): number {
    let base = this.#fd;
    let from = 0;
    try {
      while (path.length - from > PART) {
        const end = path.lastIndexOf("/", from + PART);
        const next = check(native.open(base, path.slice(from, end), O_PATH | O_DIRECTORY, 0, RESOLVE), "open");
        if (base !== this.#fd) native.close(base);
        base = next;
        from = end + 1;
      }
      const rest = path.slice(from);
      const all = O_RDONLY | O_NOFOLLOW | flags;
      let fd = native.open(base, rest, all | O_NOATIME, 0, RESOLVE);
      // Only the owner may ask for that.
      if (fd === EPERM) fd = native.open(base, rest, all, 0, RESOLVE);
      return check(fd, "open");
    } finally {
      if (base !== this.#fd) native.close(base);
    }
  }
}

/** Removed, or replaced by something that is not looked at: a link, a mountpoint, another kind of file. */
function isGone(error: unknown): boolean {
  return (["ENOENT", "ENOTDIR", "ELOOP", "EXDEV", "ENXIO"] as const).some((code) => hasCode(error, code));
}

/** Device number and type. Lines of mountinfo: `36 35 0:57 / /mnt rw … - type source …`. */
function filesystemOf(mountId: number): [device: string, type: string] | undefined {
  for (const line of readFileSync("/proc/self/mountinfo", "latin1").split("\n")) {
    const [id, , device = "", ...rest] = line.split(" ");
    if (id === `${mountId}`) return [device, rest[rest.indexOf("-") + 1] ?? "unknown"];
  }
  return undefined;
}
