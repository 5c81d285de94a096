/**
 * One object of a directory on disk, known by its parent and name and never by a path: depth is not bounded by PATH_MAX, and a
 * rename of an ancestor changes nothing here.
 * Always true: `parent` and `name` are a name the object has now, unless `held` is a descriptor of it (root, removed or unnamed objects).
 */
import type { Attr } from "../base/attr.js";
import type { Name } from "../base/name.js";
import { FsError } from "../base/errors.js";
import type { LayerNode } from "./layer.js";
import type { RawMarks } from "./dialect.js";

export interface DiskPlace {
  readonly dir: DiskNode;
  readonly name: Name;
}

export class DiskNode implements LayerNode {
  readonly type: number;
  /** Key in the layer's table of nodes: the inode number, or "dev ino" on a second device (btrfs subvolumes). */
  readonly key: number | string;
  parent: DiskNode | undefined;
  name: Name;
  /** Further names it was looked up under. */
  more: DiskPlace[] | undefined = undefined;
  /** A descriptor (O_PATH for all but some directories) that belongs to this node; -1 while a name is enough. */
  held = -1;
  /** Lowers only: they do not change. */
  attr: Attr | undefined = undefined;
  marks: RawMarks | undefined = undefined;
  /** Directories: the AUFS opaque file is there. Undefined until somebody looked. */
  sentinel: boolean | undefined = undefined;
  /** Directories of an upper: default ACL as on disk; null when there is none, undefined until somebody looked. */
  defaultAcl: Uint8Array | null | undefined = undefined;
  /** Another filesystem is mounted here; what it covers cannot be seen and what it shows is not ours. */
  foreign = false;

  constructor(type: number, key: number | string, parent: DiskNode | undefined, name: Name) {
    this.type = type;
    this.key = key;
    this.parent = parent;
    this.name = name;
  }

  addPlace(dir: DiskNode, name: Name): void {
    if (this.parent === undefined) {
      this.parent = dir;
      this.name = name;
      return;
    }
    if (this.isAt(dir, name)) return;
    (this.more ??= []).push({ dir, name });
  }

  /** False when that was the last name known. */
  dropPlace(dir: DiskNode, name: Name): boolean {
    if (this.parent?.key === dir.key && this.name === name) {
      const next = this.more?.pop();
      this.parent = next?.dir;
      if (next !== undefined) this.name = next.name;
    } else {
      this.more = this.more?.filter((place) => place.dir.key !== dir.key || place.name !== name);
    }
    return this.parent !== undefined;
  }

  isAt(dir: DiskNode, name: Name): boolean {
    if (this.parent?.key === dir.key && this.name === name) return true;
    return this.more !== undefined && this.more.some((place) => place.dir.key === dir.key && place.name === name);
  }
}

/** The layer's own node behind the opaque one. Throws ESTALE for a stranger. */
export function asDiskNode(node: LayerNode): DiskNode {
  if (node instanceof DiskNode) return node;
  throw new FsError("ESTALE", "layer", "a node of another layer");
}
