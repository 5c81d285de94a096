/**
 * The open files of the tree, one per nodeid, in a bounded LRU: requests name a node, and 50,000 files open in the kernel need
 * not be 50,000 descriptors here.
 * Always true: a file in the LRU is open; one that leaves is closed at once, or when the last wait that uses it ends (a pin).
 * Waiting: what comes in a promise comes pinned, because another turn may push it out before its user runs.
 */
import { LRUCache } from "lru-cache";
import { O_RDONLY, O_RDWR, O_TRUNC } from "../base/mode.js";
import type { FileSystem, OpenFile } from "../vfs.js";
import type { NodeEntry } from "./nodes.js";

/** "truncate" is to write after O_TRUNC. */
export type Access = "read" | "write" | "truncate";

const flagsOf = { read: O_RDONLY, write: O_RDWR, truncate: O_RDWR | O_TRUNC } as const;

export class OpenFiles {
  readonly #tree: FileSystem;
  readonly #open: LRUCache<NodeEntry, OpenFile>;
  readonly #pins = new Map<OpenFile, number>();
  /** Left the LRU while pinned. */
  readonly #leaving = new Set<OpenFile>();
  #closed = false;

  /** `capacity` is the number of files that stay open; one more may be open for a moment. */
  constructor(tree: FileSystem, capacity: number) {
    this.#tree = tree;
    this.#open = new LRUCache({ max: capacity, dispose: (file) => this.#close(file) });
  }

  get size(): number {
    return this.#open.size;
  }

  /**
   * The file of `entry`, writable unless access is "read". A file that comes at once is good until the caller yields; one that comes
   * in a promise is pinned, and the caller unpins it. Throws or rejects what the tree's open() does.
   */
  get(entry: NodeEntry, access: Access): OpenFile | Promise<OpenFile> {
    const file = this.#open.get(entry);
    if (file !== undefined && (access === "read" || (access === "write" && file.writable))) return file;
    const opened = this.#tree.open(entry.node, flagsOf[access]);
    if (opened instanceof Promise) return opened.then((late) => this.#arrived(entry, late));
    this.#open.set(entry, opened);
    return opened;
  }

  /** Keeps `file` open until unpin(). */
  pin(file: OpenFile): void {
    this.#pins.set(file, (this.#pins.get(file) ?? 0) + 1);
  }

  unpin(file: OpenFile): void {
    const left = (this.#pins.get(file) ?? 0) - 1;
    if (left > 0) {
      this.#pins.set(file, left);
      return;
    }
    this.#pins.delete(file);
    if (this.#leaving.delete(file)) file.close();
  }

  drop(entry: NodeEntry): void {
    this.#open.delete(entry);
  }

  /** Closes everything, now and whatever still arrives. */
  close(): void {
    this.#closed = true;
    this.#open.clear();
  }

  #arrived(entry: NodeEntry, file: OpenFile): OpenFile {
    const present = this.#open.get(entry);
    this.pin(file);
    // A read that waited must not push out the writable file that another request has opened meanwhile.
    if (this.#closed || (present !== undefined && present.writable && !file.writable)) this.#leaving.add(file);
    else this.#open.set(entry, file);
    return file;
  }

  #close(file: OpenFile): void {
    if (this.#pins.has(file)) this.#leaving.add(file);
    else file.close();
  }
}
