/**
 * Copy-up: makes a lower object appear in the upper layer.
 * Always true: the merged name shows the old object or the whole new one, never a part; a failure leaves the old state.
 * Order: ancestors before children; data, then xattrs, then (inside publish) owner, mode and times; publish; other hard links.
 * Waiting: only the copy of a file's data waits, one at a time per node (`busy`). After it, the node's places are read again:
 * the file may have been unlinked or been given another name meanwhile. It is stopped when every call that waited for it has been given up.
 */
import type { AttrChanges } from "../base/attr.js";
import { FsError } from "../base/errors.js";
import { S_IFLNK, S_IFMT, S_IFREG } from "../base/mode.js";
import type { LayerNode } from "../layer/layer.js";
import { Stop } from "../layer/stop.js";
import type { StagedNode, UpperLayer } from "../layer/upper.js";
import { openData } from "./merged-file.js";
import { findLinks } from "./links.js";
import type { Copying, Node, Place } from "./node.js";
import type { Tree } from "./tree.js";

/** A file's whole data is wanted in the upper. */
export const ALL = Number.MAX_SAFE_INTEGER;

/** The upper, or EROFS. */
export function writableUpper(tree: Tree, syscall: string): UpperLayer {
  if (tree.stack.upper === undefined) throw new FsError("EROFS", syscall, "without an upper layer");
  return tree.stack.upper;
}

/** Makes a directory exist in the upper, itself with `mode`'s permissions if given, ancestors first. Throws ENOENT once it was removed. */
export function copyUpDirectory(tree: Tree, dir: Node, mode?: number): LayerNode {
  if (dir.upper !== undefined) return dir.upper;
  if (dir.removed) throw new FsError("ENOENT", "copy-up", "of a removed directory");
  const missing: Node[] = [];
  for (let at: Node | undefined = dir; at !== undefined && at.upper === undefined; at = at.parent) missing.push(at);
  for (const node of missing.reverse()) publishDirectory(tree, node, node === dir ? mode : undefined);
  return dir.upper!;
}

/** The parent is in the upper. */
function publishDirectory(tree: Tree, node: Node, mode?: number): void {
  const place = node.place!;
  const staged = stageLike(tree, node, false, mode);
  publish(tree, node, staged, () => staged.publish(place.dir.upper!, place.name));
}

/**
 * Makes any object exist in the upper, a regular file at least with its attributes. `dataSize` asks for its data too:
 * that many bytes of it at the most (0 before a truncation); `mode`, what bornMode() gave, for other permissions than its own. Returns a promise
 * only when copying data has to wait, or when another copy-up of the node is under way. After waiting, call again: the state may have changed.
 * Rejects EINTR, once the copy has ended, when the call is given up.
 */
export function copyUp(tree: Tree, node: Node, dataSize?: number, mode?: number): void | Promise<void> {
  if (node.isDirectory) return void copyUpDirectory(tree, node, mode);
  if (node.busy !== undefined) return waitFor(tree, node.busy, node.busy.ended);
  if (node.upper !== undefined) {
    if (!node.metacopy || dataSize === undefined) return;
    return fill(tree, node, dataSize);
  }
  const upper = writableUpper(tree, "copy-up");
  for (const place of node.places()) copyUpDirectory(tree, place.dir);
  const metacopy = dataSize === undefined && node.type === S_IFREG && upper.can.metacopy && sizeOf(tree, node) > 0;
  const staged = stageLike(tree, node, metacopy, mode);
  if (metacopy || node.type !== S_IFREG) return publishFile(tree, node, staged, metacopy);
  return withData(
    tree,
    node,
    (stop) => {
      const source = openData(tree, node);
      return settle(staged.copyFrom(source, Math.min(sizeOf(tree, node), dataSize ?? ALL), stop), () => source.close());
    },
    () => publishFile(tree, node, staged, false),
    () => staged.discard(),
  );
}

/**
 * The mode with which a copy-up of the node does what `changes` asks for, which saves making them afterwards. Undefined where that is not the
 * same: it is in the upper, or more than permissions would change, or privileges or an ACL have rules of their own.
 */
export function bornMode(tree: Tree, node: Node, changes: AttrChanges): number | undefined {
  const part = node.lowers[0];
  if (node.upper !== undefined || part === undefined || node.busy !== undefined || node.type === S_IFLNK) return undefined;
  const { mode, uid, gid, size, killPrivileges, atime, mtime } = changes;
  if (mode === undefined || (mode & 0o7000) !== 0 || uid !== undefined || gid !== undefined || size !== undefined) return undefined;
  if (killPrivileges === true || atime !== undefined || mtime !== undefined) return undefined;
  return tree.stack.layer(part.layer).listXattr(part.node).length > 0 ? undefined : mode;
}

/** The data of a file that has only its attributes in the upper. */
function fill(tree: Tree, node: Node, dataSize: number): void | Promise<void> {
  const upper = writableUpper(tree, "copy-up");
  return withData(
    tree,
    node,
    (stop) => {
      const source = openData(tree, node);
      return settle(upper.fill(node.upper!, source, Math.min(sizeOf(tree, node), dataSize), stop), () => source.close());
    },
    () => {
      node.metacopy = false;
      node.redirect = undefined;
      leaveLower(tree, node);
      for (const file of node.files ?? []) file.follow(upper);
    },
    () => {},
  );
}

/** Runs the copy, then `done` in the same turn in which it ends; `undo` on failure of either. */
function withData(tree: Tree, node: Node, copy: (stop: Stop) => void | Promise<void>, done: () => void, undo: () => void): void | Promise<void> {
  const finish = (): void => {
    try {
      done();
    } catch (error) {
      undo();
      throw error;
    }
  };
  const stop = new Stop();
  let settled: void | Promise<void>;
  try {
    settled = copy(stop);
  } catch (error) {
    undo();
    throw error;
  }
  if (settled === undefined) return finish();
  const whole = settled.then(
    () => {
      node.busy = undefined;
      finish();
    },
    (error: unknown) => {
      node.busy = undefined;
      undo();
      throw error;
    },
  );
  const copying: Copying = { ended: whole.catch(() => {}), stop, wanted: 0 };
  node.busy = copying;
  // Those who have given it up may have let go of the node meanwhile.
  void copying.ended.then(() => {
    if (copying.wanted === 0) tree.dropUnused(node);
  });
  return waitFor(tree, copying, whole);
}

/** `result`, for as long as the caller waits for it. */
function waitFor(tree: Tree, copying: Copying, result: Promise<void>): Promise<void> {
  copying.wanted++;
  return tree.givenUp(result, () => {
    if (--copying.wanted === 0) copying.stop.ask();
  });
}

function settle(result: void | Promise<void>, close: () => void): void | Promise<void> {
  if (result === undefined) return close();
  return result.finally(close);
}

function sizeOf(tree: Tree, node: Node): number {
  if (node.upper !== undefined) return tree.stack.upper!.attr(node.upper).size;
  const part = node.lowers[0]!;
  return tree.stack.layer(part.layer).attr(part.node).size;
}

/** A staged object with the node's attributes (`mode`: other permission bits) and xattrs, and what the dialect must remember of where it came from. */
function stageLike(tree: Tree, node: Node, metacopy = false, mode?: number): StagedNode {
  const { stack } = tree;
  const upper = writableUpper(tree, "copy-up");
  const part = node.lowers[0]!;
  const layer = stack.layer(part.layer);
  const attr = layer.attr(part.node);
  const complete = node.isDirectory || attr.nlink <= 1 || findLinks(tree, node);
  const staged = upper.stage(mode === undefined ? attr : { ...attr, mode: (attr.mode & S_IFMT) | mode }, node.type === S_IFLNK ? layer.readlink(part.node) : undefined);
  try {
    for (const key of layer.listXattr(part.node)) {
      const value = layer.getXattr(part.node, key);
      if (value !== undefined) staged.setXattr(key, value);
    }
    if (complete) staged.setOrigin(node.ino);
    if (metacopy) {
      node.redirect = undefined;
      staged.setMetacopy(undefined);
    }
  } catch (error) {
    staged.discard();
    throw error;
  }
  return staged;
}

function publishFile(tree: Tree, node: Node, staged: StagedNode, metacopy: boolean): void {
  const upper = writableUpper(tree, "copy-up");
  const [first, ...others] = node.places();
  if (first === undefined) {
    publish(tree, node, staged, () => staged.publishUnnamed());
  } else {
    const linked: Place[] = [];
    publish(tree, node, staged, () => {
      const made = staged.publish(copyUpDirectory(tree, first.dir), first.name);
      try {
        linked.push(first);
        for (const place of others) {
          const dir = copyUpDirectory(tree, place.dir);
          const { atimeSec, atimeNsec, mtimeSec, mtimeNsec } = upper.attr(dir);
          upper.link(made, dir, place.name, { overWhiteout: false, hidesLower: true });
          linked.push(place);
          upper.setAttr(dir, { atime: { sec: atimeSec, nsec: atimeNsec }, mtime: { sec: mtimeSec, nsec: mtimeNsec } });
        }
        if (metacopy && others.length > 0) upper.setRedirect(made, redirectOf(tree, node));
      } catch (error) {
        for (const place of linked.reverse()) upper.remove(place.dir.upper!, place.name, false);
        throw error;
      }
      return made;
    });
  }
  node.metacopy = metacopy;
  if (!metacopy) leaveLower(tree, node);
  if (others.length > 0) tree.remember(node, node.upper!);
  if (!metacopy) for (const file of node.files ?? []) file.follow(upper);
}

function publish(tree: Tree, node: Node, staged: StagedNode, how: () => LayerNode): void {
  try {
    node.upper = how();
  } catch (error) {
    staged.discard();
    throw error;
  }
  for (const place of node.places()) tree.table(place.dir).covered.add(place.name);
}

/** Where the data of a metadata-only file is found once its name is not the lower's any more. */
export function redirectOf(tree: Tree, node: Node): string {
  const place = node.place!;
  const dir = tree.lowerPath(place.dir);
  return `${dir === "/" ? "" : dir}/${place.name}`;
}

function leaveLower(tree: Tree, node: Node): void {
  for (const part of node.lowers) {
    tree.forgetLink(part.node);
    tree.stack.layer(part.layer).release(part.node);
  }
  node.lowers = [];
}
