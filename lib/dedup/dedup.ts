/**
 * Equal files among directories get to share their data on the disk.
 * Invariant: whatever a file's names, attributes and bytes are, they stay. Hashes only say which files to try: the kernel compares the bytes itself,
 * under the locks of both files, and shares none that differ.
 * Order: all directories are searched, then every filesystem is asked whether it can, then files of one size are compared, large ones first.
 */
import { read as readCallback } from "node:fs";
import { promisify } from "node:util";
import { loadFastHash, type FastHash } from "../base/fast-hash.js";
import { errnoFrom, errnoName, FsError, hasCode, type ErrnoName } from "../base/errors.js";
import { textOf } from "../base/name.js";
import { running, type Running } from "../base/progress.js";
import { native } from "../sys/binding.js";
import { dedupeJob } from "../sys/jobs.js";
import { placeOfData } from "./extents.js";
import { SearchedDirectory, type FoundFile } from "./searched-directory.js";

export interface DedupOptions {
  /** Only find out: what would be shared, going by the hashes. */
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: ((event: DedupEvent) => void) | undefined;
}

/** Paths are latin1. */
export type DedupEvent =
  /** The directories have been searched: `candidates` of `files` have a size that others have too, `total` bytes. */
  | { readonly type: "start"; readonly files: number; readonly candidates: number; readonly total: number }
  /** `bytes` of the total are compared or need not be. */
  | { readonly type: "progress"; readonly bytes: number }
  /** The data of `path` is that of `with` now, or would be; it took `bytes` on the disk. */
  | { readonly type: "shared"; readonly path: string; readonly with: string; readonly bytes: number }
  /** A file or directory that could not be read or shared, and why: EACCES, EPERM (it may not be written), EINVAL (kept in another way than its equal). */
  | { readonly type: "left"; readonly path: string; readonly code: ErrnoName };

export interface DedupResult {
  /** Regular files that are not empty, each once however many names it has. */
  readonly files: number;
  readonly sharedFiles: number;
  /** What these took on the disk. It is free now, but for what snapshots and other files still hold of it. */
  readonly sharedBytes: number;
  /** Candidates that shared with another one already. */
  readonly alreadyFiles: number;
  readonly leftFiles: number;
}

/** Files whose data is in one place. */
interface Copy {
  readonly files: FoundFile[];
}

const HEAD = 64 << 10;
const PIECE = 1 << 20;
/** What btrfs does at once; also how long a signal waits. */
const SHARE = 16 << 20;
/** Files of one hash that differ were made to: whoever makes many costs no more than this many comparisons for each. */
const ROUNDS = 16;
const FOUND_AT_ONCE = 4096;
const read = promisify(readCallback);

/**
 * Lets equal regular files beneath the directories share their data; files of different filesystems are not compared. It may be repeated, and be
 * stopped at any time. Throws EOPNOTSUPP and EROFS, before anything is shared, for a filesystem that cannot; ENOENT, ENOTDIR, EACCES for a directory.
 */
export async function dedupDirectories(directories: readonly string[], options: DedupOptions = {}): Promise<DedupResult> {
  const searched: SearchedDirectory[] = [];
  try {
    for (const path of directories) searched.push(new SearchedDirectory(path));
    return await new Dedup(options, await loadFastHash()).run(searched);
  } finally {
    for (const directory of searched) directory.close();
  }
}

/** dedupDirectories(), with its events as an async iterable. */
export function deduping(directories: readonly string[], options: Omit<DedupOptions, "onEvent"> = {}): Running<DedupEvent, DedupResult> {
  return running((onEvent) => dedupDirectories(directories, { ...options, onEvent }));
}

class Dedup {
  readonly #dryRun: boolean;
  readonly #signal: AbortSignal | undefined;
  readonly #tell: (event: DedupEvent) => void;
  readonly #hash: FastHash;
  readonly #buffer = Buffer.allocUnsafeSlow(PIECE);
  readonly #counts = { files: 0, sharedFiles: 0, sharedBytes: 0, alreadyFiles: 0, leftFiles: 0 };
  /** Of the total. */
  #done = 0;

  constructor({ dryRun, signal, onEvent }: DedupOptions, hash: FastHash) {
    this.#dryRun = dryRun ?? false;
    this.#signal = signal;
    this.#tell = onEvent ?? (() => undefined);
    this.#hash = hash;
  }

  async run(directories: readonly SearchedDirectory[]): Promise<DedupResult> {
    this.#signal?.throwIfAborted();
    const sizes = await this.#search(directories);
    const groups = [...sizes.values()].filter(({ length }) => length > 1).sort(([a], [b]) => b!.size - a!.size);
    const candidates = groups.reduce((sum, { length }) => sum + length, 0);
    this.#tell({ type: "start", files: this.#counts.files, candidates, total: groups.reduce((sum, group) => sum + group.length * group[0]!.size, 0) });
    let end = 0;
    for (const group of groups) {
      for (const copies of await this.#equal(group)) await this.#share(copies);
      end += group.length * group[0]!.size;
      this.#progress(end - this.#done);
    }
    return this.#counts;
  }

  /** Files by filesystem and size, one name of each. */
  async #search(directories: readonly SearchedDirectory[]): Promise<ReadonlyMap<string, FoundFile[]>> {
    const sizes = new Map<string, FoundFile[]>();
    const known = new Set<string>();
    const asked = new Set<string>();
    for (const directory of directories) {
      const unread = (path: string, error: unknown): void => this.#left(path === "" ? directory.path : `${directory.path}/${path}`, error);
      for (const file of directory.files(unread)) {
        if (!asked.has(directory.filesystem) && (await mayShare(file))) asked.add(directory.filesystem);
        const inode = `${directory.filesystem} ${file.dev} ${file.ino}`;
        if (known.has(inode)) continue;
        known.add(inode);
        if (++this.#counts.files % FOUND_AT_ONCE === 0) {
          await new Promise(setImmediate);
          this.#signal?.throwIfAborted();
        }
        const size = `${directory.filesystem} ${file.size}`;
        const group = sizes.get(size);
        if (group === undefined) sizes.set(size, [file]);
        else group.push(file);
      }
    }
    return sizes;
  }

  /** Of files of one size, sets of copies that are equal, going by their hashes. */
  async #equal(group: readonly FoundFile[]): Promise<Copy[][]> {
    const places = new Map<string, Copy>();
    const heads = new Map<bigint, Copy[]>();
    for (const file of group) {
      await this.#opened(file, async (fd) => {
        const place = placeOfData(fd);
        if (place === "") return;
        const there = place === undefined ? undefined : places.get(place);
        if (there !== undefined) {
          there.files.push(file);
          this.#counts.alreadyFiles++;
          return;
        }
        const copy = { files: [file] };
        if (place !== undefined) places.set(place, copy);
        add(heads, await this.#hashOf(fd, HEAD), copy);
        if (file.size <= HEAD) this.#progress(file.size);
      });
    }
    const wholes: Copy[][] = [];
    for (const copies of heads.values()) {
      if (copies.length < 2) continue;
      if (group[0]!.size <= HEAD) {
        wholes.push(copies);
        continue;
      }
      const byHash = new Map<bigint, Copy[]>();
      for (const copy of copies) await this.#opened(copy.files[0]!, async (fd) => add(byHash, await this.#hashOf(fd, Number.POSITIVE_INFINITY), copy));
      wholes.push(...[...byHash.values()].filter(({ length }) => length > 1));
    }
    return wholes;
  }

  async #hashOf(fd: number, end: number): Promise<bigint> {
    const hash = this.#hash.pieces();
    for (let position = 0; position < end; ) {
      this.#signal?.throwIfAborted();
      const { bytesRead } = await read(fd, this.#buffer, 0, Math.min(PIECE, end - position), position);
      if (bytesRead === 0) break;
      hash.update(this.#buffer.subarray(0, bytesRead));
      position += bytesRead;
      if (end > HEAD) this.#progress(bytesRead);
    }
    return hash.digest();
  }

  /** All that equal the first share with it; what does not is tried among itself. */
  async #share(copies: readonly Copy[]): Promise<void> {
    let rest = [...copies].sort((a, b) => b.files.length - a.files.length);
    for (let round = 0; round < ROUNDS && rest.length > 1; round++) {
      const [source, ...others] = rest as [Copy, ...Copy[]];
      const differing: Copy[] = [];
      const opened = await this.#opened(source.files[0]!, async (from) => {
        for (const copy of others) if (!(await this.#shareCopy(source.files[0]!, from, copy))) differing.push(copy);
      });
      rest = opened ? differing : others;
    }
  }

  /** False when the bytes differ. */
  async #shareCopy(source: FoundFile, from: number, copy: Copy): Promise<boolean> {
    let equal = true;
    for (const file of copy.files) {
      await this.#opened(file, async (to) => {
        if (!this.#dryRun) equal = await this.#shareFile(from, to, file);
        // On btrfs a small file turns out to be kept in its inode when it is written.
        if (!equal || placeOfData(to) === "") return;
        this.#counts.sharedFiles++;
        this.#counts.sharedBytes += file.diskBytes;
        this.#tell({ type: "shared", path: pathOf(file), with: pathOf(source), bytes: file.diskBytes });
      });
      if (!equal) return false;
    }
    return true;
  }

  async #shareFile(from: number, to: number, file: FoundFile): Promise<boolean> {
    for (let position = 0; position < file.size; ) {
      this.#signal?.throwIfAborted();
      const shared = await dedupeJob(from, to, position, Math.min(SHARE, file.size - position));
      if (shared === 0) return false;
      position += shared;
    }
    return true;
  }

  /** Calls `use` with a descriptor of the file; false when that could not be had, or `use` failed for the file's sake. */
  async #opened(file: FoundFile, use: (fd: number) => Promise<unknown>): Promise<boolean> {
    this.#signal?.throwIfAborted();
    let fd: number | undefined;
    try {
      fd = file.directory.open(file);
      if (fd === undefined) return false;
      await use(fd);
      return true;
    } catch (error) {
      if (!isAboutTheFile(error)) throw error;
      this.#left(pathOf(file), error);
      return false;
    } finally {
      if (fd !== undefined) native.close(fd);
    }
  }

  #left(path: string, error: unknown): void {
    this.#counts.leftFiles++;
    this.#tell({ type: "left", path, code: errnoName(errnoFrom(error)) });
  }

  #progress(bytes: number): void {
    this.#done += bytes;
    this.#tell({ type: "progress", bytes: this.#done });
  }
}

function add(map: Map<bigint, Copy[]>, hash: bigint, copy: Copy): void {
  const copies = map.get(hash);
  if (copies === undefined) map.set(hash, [copy]);
  else copies.push(copy);
}

/**
 * Asks the file's filesystem: the file is to share with itself, which is EINVAL where it could with others. False where that was no
 * answer, because of this file. Throws EOPNOTSUPP, EROFS.
 */
async function mayShare(file: FoundFile): Promise<boolean> {
  const { path, type } = file.directory;
  let fd: number | undefined;
  try {
    fd = file.directory.open(file);
    if (fd === undefined) return false;
    await dedupeJob(fd, fd, 0, Math.min(file.size, SHARE));
  } catch (error) {
    if (hasCode(error, "EROFS")) throw new FsError("EROFS", "dedup", `of ${textOf(path)}: its ${type} filesystem is mounted read-only`, { cause: error });
    if (hasCode(error, "EOPNOTSUPP") || hasCode(error, "ENOTTY") || hasCode(error, "ENOSYS")) {
      throw new FsError("EOPNOTSUPP", "dedup", `of ${textOf(path)}: its ${type} filesystem cannot share data among files (btrfs can, and xfs with reflink=1)`, { cause: error });
    }
    return hasCode(error, "EINVAL");
  } finally {
    if (fd !== undefined) native.close(fd);
  }
  return true;
}

const pathOf = ({ directory, path }: FoundFile): string => `${directory.path}/${path}`;

/** An errno, but for those that any file would give. */
function isAboutTheFile(error: unknown): boolean {
  const { code, syscall } = error as { code?: unknown; syscall?: unknown };
  return typeof code === "string" && syscall !== undefined && code !== "EMFILE" && code !== "ENFILE" && code !== "ENOMEM";
}
