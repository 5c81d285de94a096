/**
 * Directory snapshots for READDIR. There is no directory handle (OPENDIR is answered ENOSYS), so snapshots are kept by nodeid.
 * Always true: an entry that stays in the directory keeps its position while its snapshot is kept, so that one reader starting
 * again from the beginning does not make another skip or repeat names; vanished names leave holes, to which they come back, new ones come at the end.
 */
import { LRUCache } from "lru-cache";
import type { DirEntry, FileSystem } from "../vfs.js";
import type { NodeEntry } from "./nodes.js";

/** Directories whose position is remembered; deeper nesting of half-read directories falls back to positions in a fresh listing. */
const KEPT = 512;
/** Holes worth keeping for readers in the middle of a listing. */
const MAX_HOLES = 1024;
const NONE: ReadonlyMap<number, string> = new Map();

export interface Listing {
  readonly version: number;
  /** undefined where a name has gone. */
  readonly entries: readonly (DirEntry | undefined)[];
  /** The names that have gone, by index: one that is made again is no second name to who has passed it. */
  readonly gone: ReadonlyMap<number, string>;
  /** The position of each entry, ascending; undefined when that is its index. */
  readonly cookies: Float64Array | undefined;
}

/** The first index that comes after `position`, which is 0 or what positionOf() said. */
export function indexAfter({ cookies }: Listing, position: number): number {
  if (cookies === undefined) return position;
  let low = 0;
  let high = cookies.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (cookies[middle]! > position) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Where a reader goes on after the entry at `index`. */
export function positionOf({ cookies }: Listing, index: number): number {
  return cookies === undefined ? index + 1 : cookies[index]!;
}

export class Listings {
  readonly #tree: FileSystem;
  readonly #kept = new LRUCache<NodeEntry, Listing>({ max: KEPT });

  readonly #byName: boolean;

  /** `byName`: positions come from the names alone, so that they mean the same to another process. */
  constructor(tree: FileSystem, byName = false) {
    this.#tree = tree;
    this.#byName = byName;
  }

  /** The snapshot to go on with from `position`; at 0 one that is up to date. */
  at(entry: NodeEntry, position: number): Listing {
    const kept = this.#kept.get(entry);
    if (kept !== undefined && position > 0) return kept;
    const version = this.#tree.dirVersion(entry.node);
    if (kept !== undefined && kept.version === version) return kept;
    const fresh = this.#tree.openDir(entry.node);
    const listing = this.#byName ? inOrderOfNames(version, fresh)
      : kept === undefined ? inGivenOrder(version, fresh) : inOldPlaces(kept, version, fresh);
    this.#kept.set(entry, listing);
    return listing;
  }

  drop(entry: NodeEntry): void {
    this.#kept.delete(entry);
  }

  clear(): void {
    this.#kept.clear();
  }
}

const inGivenOrder = (version: number, entries: readonly DirEntry[]): Listing => ({ version, entries, gone: NONE, cookies: undefined });

/**
 * Ordered by a hash of 48 bits. Two names with one hash get neighbouring positions; only a reader between the two, when one of them
 * goes, could then miss the other.
 */
function inOrderOfNames(version: number, fresh: readonly DirEntry[]): Listing {
  const hashed = fresh.map((entry) => ({ entry, cookie: hashOf(entry.name) }));
  hashed.sort((a, b) => a.cookie - b.cookie || (a.entry.name < b.entry.name ? -1 : 1));
  const cookies = new Float64Array(hashed.length);
  let last = 0;
  hashed.forEach(({ cookie }, i) => (cookies[i] = last = Math.max(cookie, last + 1)));
  return { version, entries: hashed.map(({ entry }) => entry), gone: NONE, cookies };
}

/** FNV-1a twice, with different beginnings: 1…2^48. The same in every release, for mounts outlive upgrades. */
function hashOf(name: string): number {
  let low = 0x811c9dc5;
  let high = 0x1b873593;
  for (let i = 0; i < name.length; i++) {
    low = Math.imul(low ^ name.charCodeAt(i), 0x01000193);
    high = Math.imul(high ^ name.charCodeAt(i), 0x01000193);
    high ^= high >>> 15;
  }
  return (high >>> 16) * 2 ** 32 + (low >>> 0) + 1;
}

function inOldPlaces(old: Listing, version: number, fresh: readonly DirEntry[]): Listing {
  const unplaced = new Map<string, DirEntry>();
  for (const entry of fresh) unplaced.set(entry.name, entry);
  const entries: (DirEntry | undefined)[] = [];
  const gone = new Map<number, string>();
  old.entries.forEach((before, index) => {
    const name = before === undefined ? old.gone.get(index)! : before.name;
    const now = unplaced.get(name);
    if (now === undefined) gone.set(index, name);
    else unplaced.delete(name);
    entries.push(now);
  });
  if (gone.size > Math.max(MAX_HOLES, fresh.length)) return inGivenOrder(version, fresh);
  for (const entry of unplaced.values()) entries.push(entry);
  return { version, entries, gone, cookies: undefined };
}
