/**
 * The nodeid table: which tree node each nodeid of the kernel stands for, and how often the kernel has been told.
 * Always true: a nodeid is given once and never again; a tree node has at most one *current* entry, the one lookups answer with;
 * further entries of the same node are *detached* (passthrough.ts says why); the tree hears forget() when its last entry goes.
 */
import { FsError } from "../base/errors.js";
import { FUSE_ROOT_ID } from "./wire/abi.js";

/** How the kernel reads and writes an inode while it has opens: one way for all of them. */
export type IoMode = "closed" | "cached" | "passthrough";

/** A backing id registered with the kernel, and which file it is. */
export interface Backing {
  readonly id: number;
  readonly ino: number;
  readonly inoHigh: number;
  readonly dev: number;
}

export class NodeEntry {
  readonly nodeid: number;
  /** The tree's own; only handed back to it. */
  readonly node: object;
  /** What FORGET counts down. */
  lookups = 0;
  /** A newer nodeid stands for the node: attributes are still answered, but never to be cached, and opens are not. */
  detached = false;
  /** Opens that have not been released; counted only where OPEN is sent. */
  opens = 0;
  ioMode: IoMode = "closed";
  /** Once true, pages in the kernel's cache may be older than the file. */
  wasPassthrough = false;
  /** Opened for reading and writing in passthrough: a mapping, which outlives the open, may write to it without the kernel's fuse knowing. */
  mappedUnseen = false;
  backing: Backing | undefined = undefined;
  /** A recorder's own. */
  recorded = false;

  constructor(nodeid: number, node: object) {
    this.nodeid = nodeid;
    this.node = node;
  }
}

export class NodeTable {
  readonly root: NodeEntry;
  #next = FUSE_ROOT_ID + 1;
  readonly #byId = new Map<number, NodeEntry>();
  readonly #current = new Map<object, NodeEntry>();
  /** Nodes with detached entries; nearly always empty. */
  readonly #detached = new Map<object, Set<NodeEntry>>();
  readonly #dropped: (entry: NodeEntry, lastOfNode: boolean) => void;
  readonly #touched: ((entry: NodeEntry) => void) | undefined;

  /** `dropped` is called for each entry that goes, with true when no other entry stands for its node; `touched` for each that changes. */
  constructor(root: object, dropped: (entry: NodeEntry, lastOfNode: boolean) => void, touched?: (entry: NodeEntry) => void) {
    this.#dropped = dropped;
    this.#touched = touched;
    this.root = new NodeEntry(FUSE_ROOT_ID, root);
    this.root.lookups = 1;
    this.#byId.set(FUSE_ROOT_ID, this.root);
    this.#current.set(root, this.root);
  }

  get size(): number {
    return this.#byId.size;
  }

  /** Throws ESTALE for a nodeid that was never given or has been forgotten. */
  get(nodeid: number): NodeEntry {
    const entry = this.#byId.get(nodeid);
    if (entry === undefined) throw new FsError("ESTALE", "nodeid", String(nodeid));
    return entry;
  }

  /** The entry to answer a lookup of `node` with, counted as one more lookup. */
  enter(node: object): NodeEntry {
    let entry = this.#current.get(node);
    if (entry === undefined) {
      entry = new NodeEntry(this.#next++, node);
      this.#byId.set(entry.nodeid, entry);
      this.#current.set(node, entry);
    }
    entry.lookups++;
    this.#touched?.(entry);
    return entry;
  }

  /** An entry of the process before, which no later one may be given the nodeid of. */
  restore(nodeid: number, node: object, lookups: number, detached: boolean): NodeEntry {
    if (nodeid === FUSE_ROOT_ID) return this.root;
    const entry = new NodeEntry(nodeid, node);
    entry.lookups = lookups;
    this.#byId.set(nodeid, entry);
    if (detached) this.detach(entry);
    else this.#current.set(node, entry);
    this.reserve(nodeid + 1);
    return entry;
  }

  /** The nodeid that the next new entry gets. */
  get next(): number {
    return this.#next;
  }

  /** Nodeids below `next` have been given already. */
  reserve(next: number): void {
    this.#next = Math.max(this.#next, next);
  }

  /** Takes `lookups` back. A count that the kernel never got, or an unknown nodeid, is ignored: there is nobody to tell. */
  forget(nodeid: number, lookups: number): void {
    const entry = this.#byId.get(nodeid);
    if (entry === undefined || entry === this.root) return;
    entry.lookups -= lookups;
    this.#touched?.(entry);
    if (entry.lookups > 0) return;
    this.#byId.delete(nodeid);
    const { node } = entry;
    if (this.#current.get(node) === entry) this.#current.delete(node);
    const others = this.#detached.get(node);
    if (others?.delete(entry) === true && others.size === 0) this.#detached.delete(node);
    this.#dropped(entry, !this.#current.has(node) && !this.#detached.has(node));
  }

  /** From now on the next lookup of the node gets a new nodeid; `entry` lives on until it is forgotten. */
  detach(entry: NodeEntry): void {
    if (entry.detached) return;
    entry.detached = true;
    this.#touched?.(entry);
    if (this.#current.get(entry.node) === entry) this.#current.delete(entry.node);
    const set = this.#detached.get(entry.node);
    if (set === undefined) this.#detached.set(entry.node, new Set([entry]));
    else set.add(entry);
  }

  /** The current entry of a node, if the kernel knows one. */
  currentOf(node: object): NodeEntry | undefined {
    return this.#current.get(node);
  }

  /** Every entry, in no order; used when the session ends. */
  entries(): IterableIterator<NodeEntry> {
    return this.#byId.values();
  }
}
