/**
 * Backing ids: files that the kernel reads and writes by itself. The kernel's rules, from fs/fuse/iomode.c and passthrough.c:
 * one backing file per inode while it has opens, no mixture of cached and passthrough opens on one inode; the wrong one is EIO.
 * Always true: an entry with passthrough opens has a backing; an idle backing (no opens) is in the LRU and closed when it leaves.
 *
 * The conflict: an inode is open through the backing of a lower file, and by now the node's bytes are in another file, because it was
 * copied up. The kernel would refuse that backing, so the entry is *detached*: this open is answered ESTALE, upon which the kernel
 * looks the whole path up again and meets a new nodeid, an inode of its own. Who had the old one open keeps the old bytes.
 */
import { LRUCache } from "lru-cache";
import { errnoName } from "../base/errors.js";
import type { OpenFile } from "../vfs.js";
import type { Channel } from "./channel.js";
import type { Backing, NodeEntry } from "./nodes.js";

/** Tells which file a descriptor is and how long: statx(2), of which slots 0, 6, 16 and 20 are used (types/native.d.ts). Returns a negative errno on failure. */
export type Identify = (fd: number, out: Float64Array) => number;

/** How an open is to be served: a backing id (> 0), CACHED, or CONFLICT. */
export const CACHED = 0;
export const CONFLICT = -1;

export class Backings {
  readonly #channel: Channel;
  readonly #identify: Identify;
  readonly #log: (message: string) => void;
  readonly #idle: LRUCache<NodeEntry, Backing>;
  readonly #slots = new Float64Array(32);
  readonly #reasons = new Set<number>();
  readonly #touched: ((entry: NodeEntry) => void) | undefined;
  #enabled = true;

  constructor(channel: Channel, identify: Identify, idleCapacity: number, log: (message: string) => void, touched?: (entry: NodeEntry) => void) {
    this.#touched = touched;
    this.#channel = channel;
    this.#identify = identify;
    this.#log = log;
    this.#idle = new LRUCache({
      max: idleCapacity,
      dispose: (backing, entry, reason) => {
        if (reason === "evict") this.#release(entry, backing);
      },
    });
  }

  /**
   * Decides how one more open of `entry` on `file` is served, and counts it unless the answer is CONFLICT.
   * `mustCache` asks for ordinary I/O, in which the kernel tells us of every write.
   */
  open(entry: NodeEntry, file: OpenFile, mustCache: boolean): number {
    this.#touched?.(entry);
    if (entry.opens > 0 && entry.ioMode === "cached") {
      entry.opens++;
      return CACHED;
    }
    const id = this.#enabled && !mustCache && file.fd >= 0 ? this.#backingOf(entry, file) : CACHED;
    if (id === CONFLICT || (id === CACHED && entry.opens > 0)) return CONFLICT;
    if (id === CACHED) {
      entry.ioMode = "cached";
    } else {
      entry.ioMode = "passthrough";
      entry.wasPassthrough = true;
      this.#idle.delete(entry);
    }
    entry.opens++;
    return id;
  }

  /** One open less. A count that the kernel never made is ignored. */
  close(entry: NodeEntry): void {
    if (entry.opens === 0) return;
    this.#touched?.(entry);
    entry.opens--;
    if (entry.opens > 0) return;
    entry.ioMode = "closed";
    if (entry.backing !== undefined) this.#idle.set(entry, entry.backing);
  }

  /** An entry of the process before, which has told the kernel of its backing. */
  restore(entry: NodeEntry): void {
    if (entry.backing !== undefined && entry.opens === 0) this.#idle.set(entry, entry.backing);
  }

  /** Closes the backing of an entry that is forgotten. */
  drop(entry: NodeEntry): void {
    this.#idle.delete(entry);
    if (entry.backing !== undefined) this.#release(entry, entry.backing);
  }

  /**
   * The id for the file's descriptor: the one at hand when it is the same file, else a new one; CACHED where the kernel refuses, and for an empty
   * file that is only read: there is nothing to pass through, and it may be a lock file, which must stay one inode when somebody writes to it.
   */
  #backingOf(entry: NodeEntry, file: OpenFile): number {
    const slots = this.#slots;
    const { fd } = file;
    if (this.#identify(fd, slots) < 0) return CACHED;
    if (slots[6] === 0 && !file.writable && entry.opens === 0) return CACHED;
    const ino = slots[0] ?? 0;
    const dev = slots[16] ?? 0;
    const inoHigh = slots[20] ?? 0;
    const known = entry.backing;
    if (known !== undefined) {
      if (known.ino === ino && known.dev === dev && known.inoHigh === inoHigh) return known.id;
      if (entry.opens > 0) return CONFLICT;
      this.drop(entry);
    }
    const id = this.#channel.backingOpen(fd);
    if (id > 0) {
      entry.backing = { id, ino, dev, inoHigh };
      return id;
    }
    this.#refused(id);
    return CACHED;
  }

  /** Says each reason once: it is the same for most files. */
  #refused(errno: number): void {
    if (this.#reasons.has(errno)) return;
    this.#reasons.add(errno);
    const code = errnoName(errno);
    if (code === "EPERM") this.#enabled = false;
    const why = code === "EPERM" ? "files cannot be passed through here (EPERM)"
      : code === "ELOOP" ? "files on a stacked filesystem need a greater stacking depth to be passed through (ELOOP)"
      : `the kernel refuses to pass some files through (${code})`;
    this.#log(`${why}; they are served through the page cache`);
  }

  #release(entry: NodeEntry, backing: Backing): void {
    this.#touched?.(entry);
    entry.backing = undefined;
    this.#channel.backingClose(backing.id);
  }
}
