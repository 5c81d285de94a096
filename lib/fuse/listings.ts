/**
 * Directory snapshots for READDIR. There is no directory handle (OPENDIR is answered ENOSYS), so snapshots are kept by nodeid.
 * Always true: an entry that stays in the directory keeps its position while its snapshot is kept, so that one reader starting
 * again from the beginning does not make another skip or repeat names; vanished names leave holes, new ones come at the end.
 */
import { LRUCache } from "lru-cache";
import type { DirEntry, FileSystem } from "../vfs.js";
import type { NodeEntry } from "./nodes.js";

/** Directories whose position is remembered; deeper nesting of half-read directories falls back to positions in a fresh listing. */
const KEPT = 512;
/** Holes worth keeping for readers in the middle of a listing. */
const MAX_HOLES = 1024;

export interface Listing {
  readonly version: number;
  /** undefined where a name has gone. */
  readonly entries: readonly (DirEntry | undefined)[];
}

export class Listings {
  readonly #tree: FileSystem;
  readonly #kept = new LRUCache<NodeEntry, Listing>({ max: KEPT });

  constructor(tree: FileSystem) {
    this.#tree = tree;
  }

  /** The snapshot to go on with from `position`; at 0 one that is up to date. */
  at(entry: NodeEntry, position: number): Listing {
    const kept = this.#kept.get(entry);
    if (kept !== undefined && position > 0) return kept;
    const version = this.#tree.dirVersion(entry.node);
    if (kept !== undefined && kept.version === version) return kept;
    const fresh = this.#tree.openDir(entry.node);
    const listing = { version, entries: kept === undefined ? fresh : inOldPlaces(kept.entries, fresh) };
    this.#kept.set(entry, listing);
    return listing;
  }

  drop(entry: NodeEntry): void {
    this.#kept.delete(entry);
  }
}

function inOldPlaces(old: readonly (DirEntry | undefined)[], fresh: readonly DirEntry[]): readonly (DirEntry | undefined)[] {
  const unplaced = new Map<string, DirEntry>();
  for (const entry of fresh) unplaced.set(entry.name, entry);
  const placed: (DirEntry | undefined)[] = [];
  let holes = 0;
  for (const before of old) {
    const now = before === undefined ? undefined : unplaced.get(before.name);
    if (now === undefined) holes++;
    else unplaced.delete(now.name);
    placed.push(now);
  }
  if (holes > Math.max(MAX_HOLES, fresh.length)) return fresh;
  for (const entry of unplaced.values()) placed.push(entry);
  return placed;
}
