/**
 * Merged nodes and the tables of merged directories.
 * Always true: a node that exists is in its parent's table under each of its known names, and its parent exists;
 * a node with an upper part has every known name in the upper layer.
 */
import { S_IFDIR } from "../base/mode.js";
import type { Name } from "../base/name.js";
import type { LayerNode } from "../layer/layer.js";
import type { Stop } from "../layer/stop.js";
import type { MergedFile } from "./merged-file.js";

/** The number of the upper layer in a stack; lowers are 1…n, topmost first. */
export const UPPER = 0;

/** One layer's share of a merged object. */
export interface Part {
  /** Index in the stack: 1…n. */
  readonly layer: number;
  readonly node: LayerNode;
}

/** One name of a node, and its further ones: a list in itself, because nearly every node has one name and there are many nodes. */
export interface Place {
  readonly dir: Node;
  readonly name: Name;
  readonly next: Place | undefined;
}

/**
 * What a directory's table holds for a name: the node when somebody uses it, else what is needed to make it:
 * layer * 16 + type / 4096 for an object of one layer, or the layers (topmost first) of a directory that several have.
 */
export type Slot = Node | number | readonly number[];

export const slotOf = (layer: number, type: number): number => layer * 16 + (type >>> 12);
export const slotLayer = (slot: number): number => slot >>> 4;
export const slotType = (slot: Slot): number =>
  typeof slot === "number" ? (slot & 15) << 12 : slot instanceof Node ? slot.type : S_IFDIR;

/** A copy-up that waits. */
export interface Copying {
  /** Resolves when it has ended, well or not. */
  ended: Promise<void>;
  readonly stop: Stop;
  /** Calls that wait for it and have not been given up. */
  wanted: number;
}

export class Node {
  /** S_IF* bits. */
  readonly type: number;
  /** As the mount numbers it; the same after copy-up, rename and remount. */
  ino: number;
  /** All known names; none for the root, and once the last was removed. A directory has at most one. */
  place: Place | undefined;
  upper: LayerNode | undefined;
  /** A directory's lower parts, topmost first. At most one for others: attributes and data, or the data alone when there is an upper. */
  lowers: readonly Part[];
  /** Layers that may hold further lower parts and were not looked at yet; only while `table` is undefined. */
  unread: readonly number[] = [];
  /** Where the lower part lives, from the stack's root, when that is not this directory's own place (or, for a file, its data). */
  redirect: string | undefined;
  /** The upper has the attributes, lowers[0] the data. */
  metacopy = false;
  /** The merged directory, once read. */
  table: Table | undefined;
  /** Open files, told when a copy-up changes where the bytes are. */
  files: Set<MergedFile> | undefined;
  /** Set while a copy-up of this node waits. */
  busy: Copying | undefined;
  /** True from lookup to forget: somebody outside holds it. */
  held = false;
  /** Children that exist as nodes. */
  children = 0;
  /** Removed from the tree; only its user's reference keeps it. */
  removed = false;

  constructor(type: number, ino: number, upper: LayerNode | undefined, lowers: readonly Part[]) {
    this.type = type;
    this.ino = ino;
    this.upper = upper;
    this.lowers = lowers;
  }

  get isDirectory(): boolean {
    return this.type === S_IFDIR;
  }

  get parent(): Node | undefined {
    return this.place?.dir;
  }

  /** Its known names, the first found first. */
  places(): Place[] {
    const places: Place[] = [];
    for (let at = this.place; at !== undefined; at = at.next) places.push(at);
    return places;
  }

  setPlaces(places: readonly { readonly dir: Node; readonly name: Name }[]): void {
    this.place = undefined;
    for (let i = places.length - 1; i >= 0; i--) this.place = { dir: places[i]!.dir, name: places[i]!.name, next: this.place };
  }
}

/** A merged directory's names. */
export class Table {
  readonly slots = new Map<Name, Slot>();
  /** Names that the upper hides with a whiteout. */
  readonly whiteouts = new Set<Name>();
  /** Names that the lower layers show, and that the upper has too (an object or a whiteout). */
  readonly covered = new Set<Name>();
  /** Changes whenever the listing changes; never repeats within a mount. */
  version: number;

  constructor(version: number) {
    this.version = version;
  }
}
