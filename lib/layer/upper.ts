/**
 * The one layer that changes. A call that returns has happened whole; one that throws has left no trace.
 * The overlay decides what happens (what is hidden, what is copied up); the upper knows how its dialect writes it down.
 * Parents named in a call are nodes of this layer.
 */
import type { Attr, AttrChanges } from "../base/attr.js";
import type { Name } from "../base/name.js";
import type { Caller, NewNode } from "../vfs.js";
import type { Backing, Layer, LayerNode } from "./layer.js";
import type { Stop } from "./stop.js";

export interface WritableBacking extends Backing {
  /** Writes all of `from`; throws ENOSPC, EDQUOT, EIO, EFBIG. */
  write(from: Uint8Array, position: number): number;
  /** fallocate(2). */
  allocate(mode: number, position: number, length: number): void;
  sync(dataOnly: boolean): void | Promise<void>;
}

/** What stands, in this layer, in the place where a new name goes. */
export interface Place {
  /** A whiteout of this layer is there and is replaced in one step. */
  readonly overWhiteout: boolean;
  /** Lower layers have something under this name: a directory put here must be opaque (unless it is redirected). */
  readonly hidesLower: boolean;
}

export interface RenameHow {
  /** Both names exist here and swap places. */
  readonly exchange: boolean;
  /** A whiteout takes the place of the old name, in the same step. */
  readonly leaveWhiteout: boolean;
  /** A whiteout stands at the new name. */
  readonly overWhiteout: boolean;
}

export interface UpperLayer extends Layer {
  /** What this dialect can write down. Without redirect, directories with a lower part are not renamed (EXDEV). */
  readonly can: { readonly redirect: boolean; readonly metacopy: boolean };

  /**
   * Makes an object with the caller's ids, umask or the directory's default ACL, and a setgid directory's group.
   * A directory is made opaque when place.hidesLower. Throws EEXIST, ENOSPC, EPERM (a 0:0 character device), EINVAL (reserved name).
   */
  create(dir: LayerNode, name: Name, what: NewNode, caller: Caller, place: Place): LayerNode;
  /** A regular file without a name, made as if in `dir`. */
  createUnnamed(dir: LayerNode, mode: number, caller: Caller): LayerNode;
  /** Begins a copy-up: an object like `attr` that nobody sees until publish(). `target` for a symbolic link. */
  stage(attr: Attr, target?: string): StagedNode;
  /**
   * Completes a metadata-only copy: data in, synced, then the mark and redirect are removed. On failure it stays metadata-only. Where it waits it
   * may be stopped (ECANCELED).
   */
  fill(file: LayerNode, source: Backing, size: number, stop?: Stop): void | Promise<void>;

  setAttr(node: LayerNode, changes: AttrChanges): void;
  /** `undefined` removes the key. Throws ENODATA, EEXIST, ENOSPC, EOPNOTSUPP. */
  setXattr(node: LayerNode, key: string, value: Uint8Array | undefined, only?: "create" | "replace"): void;
  /** One more name for the same node. */
  link(node: LayerNode, dir: LayerNode, name: Name, place: Place): void;
  /** As rename(2) within this layer. A directory at the new name holds at most whiteouts. */
  rename(from: LayerNode, oldName: Name, to: LayerNode, newName: Name, how: RenameHow): void;
  /** Removes a name; a directory holds at most whiteouts. The node stays usable until release(). Works on a full disk. */
  remove(dir: LayerNode, name: Name, leaveWhiteout: boolean): void;
  /** Creates a whiteout where this layer has nothing. */
  whiteout(dir: LayerNode, name: Name): void;
  setOpaque(dir: LayerNode): void;
  /** `undefined` removes the mark. */
  setRedirect(node: LayerNode, path: string | undefined): void;

  open(file: LayerNode): Backing;
  /** For reading and writing, without truncation. */
  openWritable(file: LayerNode): WritableBacking;
  /** Resolves once the directory's names would outlive a power cut. */
  syncDir(dir: LayerNode): void | Promise<void>;
  /** Resolves once everything published so far would outlive a power cut. */
  sync(): void | Promise<void>;
}

/** An upper whose objects outlive the process: another one that inherits its descriptors goes on with it. */
export interface KeepingUpper extends UpperLayer {
  /** What makes this process the only one that changes the upper; whoever has it may open the upper by it. */
  readonly locks: readonly number[];
  /** A descriptor of a node's object, open until release(): with it the node needs no name. */
  keepOpen(node: LayerNode): number;
  /** The node of such a descriptor, which it takes over. Throws EBADF. */
  fromOpen(fd: number, type: number): LayerNode;
}

export function keeps(upper: UpperLayer): upper is KeepingUpper {
  return "keepOpen" in upper;
}

/** A copy-up in progress. Order: data, then xattrs, then (inside publish) owner, mode and times. */
export interface StagedNode {
  /**
   * By reflink, else in the kernel, holes kept; through memory where there is no descriptor. Synced before publish unless volatile. Where it waits
   * it may be stopped (ECANCELED).
   */
  copyFrom(source: Backing, size: number, stop?: Stop): void | Promise<void>;
  /** User-visible key. A key this layer cannot hold is an error only where dropping it would change behaviour (EOPNOTSUPP is skipped). */
  setXattr(key: string, value: Uint8Array): void;
  /** Remember the inode number the object had. */
  setOrigin(ino: number): void;
  /** Data stays below, found by name or at `redirect`. */
  setMetacopy(redirect: string | undefined): void;
  /** Lower part found at `redirect` (directories). */
  setRedirect(path: string): void;
  /** Gives it its first name; the parent's times are kept. Throws EEXIST when this layer has the name. */
  publish(dir: LayerNode, name: Name): LayerNode;
  /** A node without a name: for a file that was unlinked while open. */
  publishUnnamed(): LayerNode;
  discard(): void;
}
