/**
 * One read-only tree of a stack. A layer reports whiteouts and marks; the overlay gives them their meaning.
 * Calls return without yielding; only data may wait.
 */
import type { Attr } from "../base/attr.js";
import type { Name } from "../base/name.js";
import type { StatFs } from "../vfs.js";

/** One object in one layer; meaningful only to the layer that made it. Its fields belong to that layer. */
export interface LayerNode {
  /** S_IF* bits. */
  readonly type: number;
}

export interface LayerEntry {
  readonly name: Name;
  /** As the layer's own stat reports it. */
  readonly ino: number;
  /** S_IF* bits; 0 for a whiteout. */
  readonly type: number;
  /** Hides `name` in the layers below; the name itself is not there. */
  readonly whiteout: boolean;
}

/** What a layer says about one of its nodes to the overlay; all false or undefined for most. */
export interface Marks {
  /** The directory hides everything below it. */
  readonly opaque: boolean;
  /** Where the lower part of a renamed directory, or the data of a renamed metadata-only copy, lives: "/path" or "name" (latin1). */
  readonly redirect: string | undefined;
  /** A regular file whose data is still in a lower layer. */
  readonly metacopy: boolean;
  /** The inode number (as the overlay numbers them) that the object had before it was copied up. */
  readonly origin: number | undefined;
}

/** The bytes of one regular file of one layer. */
export interface Backing {
  /** Descriptor whose offset 0 is the file's offset 0; -1 when the bytes sit in memory or inside something larger. */
  readonly fd: number;
  /** Fills `into` from byte `position`; returns the count, short only at end of file. */
  read(into: Uint8Array, position: number): number;
  /** lseek(2) with SEEK_DATA (3) or SEEK_HOLE (4). Throws ENXIO. */
  seek(position: number, whence: 3 | 4): number;
  close(): void;
}

export interface Layer {
  /** The diffID of a committed layer, else any string unique in the stack. */
  readonly id: string;
  /** Layers with the same value share one space of inode numbers ("dev:2049"). */
  readonly inodeSpace: string;
  readonly root: LayerNode;
  /**
   * The node called `name`, the same object for all hard links of one file while it is not released.
   * Undefined when this layer has no such object; a whiteout is not an object. Throws ENOTDIR, EIO.
   */
  lookup(dir: LayerNode, name: Name): LayerNode | undefined;
  /** All names, whiteouts included, "." and ".." and marks' own files left out, in the layer's own order. */
  list(dir: LayerNode): readonly LayerEntry[];
  /** Whether list() has a whiteout of `name`, found without listing. Without this, the overlay lists. */
  hides?(dir: LayerNode, name: Name): boolean;
  /** Fresh for an upper layer. Ids are as presented to users (after any id map). */
  attr(node: LayerNode): Attr;
  /** attr(node).ino, where that is known without a system call. */
  inoOf?(node: LayerNode): number | undefined;
  marks(node: LayerNode): Marks;
  /** Target as latin1. Throws EINVAL on anything but a symbolic link. */
  readlink(link: LayerNode): string;
  /** User-visible keys: the overlay's private ones are left out and escaped ones unescaped. Latin1. */
  listXattr(node: LayerNode): readonly string[];
  /** Undefined for a missing or private key. */
  getXattr(node: LayerNode, key: string): Uint8Array | undefined;
  open(file: LayerNode): Backing;
  statfs(): StatFs;
  /** The overlay will not use this node object again until it looks it up anew: descriptors held for it can go. */
  release(node: LayerNode): void;
  /** Idempotent. */
  close(): void;
}
