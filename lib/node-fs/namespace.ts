/**
 * Calls that change or show names: mkdir, unlink, rmdir, rename, link, symlink, readdir, readlink, realpath, rm.
 * The checks that the kernel makes before it asks a filesystem (".", "..", trailing slashes, a directory moved into
 * itself, two names of one file) are made here, in the kernel's order.
 */
import { FsError, hasCode } from "../base/errors.js";
import { S_IFDIR, S_IFLNK, isDirectory } from "../base/mode.js";
import type { Name } from "../base/name.js";
import type { DirEntry } from "../vfs.js";
import { holding, type Context } from "./context.js";
import { sorted } from "./dirents.js";
import { then, type Maybe } from "./maybe.js";
import { isName, type Place } from "./walk.js";

const isDir = (context: Context, node: object): boolean => isDirectory(context.tree.getAttr(node).mode);

/** mkdir(2), which ignores setuid and setgid. Paths are latin1 in this file. */
export function makeDirectory(context: Context, path: string, mode: number): void {
  const place = context.walker.walk(path, "no", "mkdir");
  if (place.node !== undefined) throw new FsError("EEXIST", "mkdir");
  context.kept.saw(context.tree.create(place.dir, place.name as Name, { mode: S_IFDIR | (mode & 0o1777) }, context.caller));
}

/**
 * mkdir -p; the first directory it made, spelt as a prefix of `path`, or undefined when all were there.
 * Works its way up while parents are missing and down again, as Node does, so that "a/../b" makes both.
 */
export function makeDirectories(context: Context, path: string, mode: number): string | undefined {
  const waiting = [path];
  let first: string | undefined;
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    try {
      makeDirectory(context, next, mode);
      first ??= next;
    } catch (error) {
      if (hasCode(error, "ENOENT")) {
        const slash = next.lastIndexOf("/");
        if (slash <= 0) throw error;
        waiting.push(next, next.slice(0, slash));
        continue;
      }
      if (!hasCode(error, "EEXIST")) throw error;
      // A link that leads nowhere is ENOENT here: the name is taken and yet there is nothing.
      if (isDir(context, context.walker.find(next, "yes", "mkdir"))) continue;
      throw new FsError(waiting.length > 0 ? "ENOTDIR" : "EEXIST", "mkdir");
    }
  }
  return first;
}

export function symlink(context: Context, target: string, path: string): void {
  if (target === "") throw new FsError("ENOENT", "symlink");
  const place = context.walker.walk(path, "no", "symlink");
  if (place.node !== undefined) throw new FsError("EEXIST", "symlink");
  if (place.slash) throw new FsError("ENOENT", "symlink");
  context.kept.saw(context.tree.create(place.dir, place.name as Name, { mode: S_IFLNK | 0o777, target }, context.caller));
}

export function link(context: Context, oldPath: string, newPath: string): Maybe<void> {
  const from = context.walker.find(oldPath, "slash", "link");
  const to = context.walker.walk(newPath, "no", "link");
  if (to.node !== undefined) throw new FsError("EEXIST", "link");
  if (to.slash) throw new FsError("ENOENT", "link");
  if (isDir(context, from)) throw new FsError("EPERM", "link");
  return holding(context.kept, [from, to.dir], () => then(context.tree.link(from, to.dir, to.name as Name), () => undefined));
}

export function unlink(context: Context, path: string): void {
  const place = context.walker.walk(path, "no", "unlink");
  if (!isName(place)) throw new FsError("EISDIR", "unlink");
  if (place.node === undefined) throw new FsError("ENOENT", "unlink");
  if (isDir(context, place.node)) throw new FsError("EISDIR", "unlink");
  if (place.slash) throw new FsError("ENOTDIR", "unlink");
  context.tree.unlink(place.dir, place.name as Name);
  dropIfGone(context, place.node);
}

export function rmdir(context: Context, path: string): void {
  const place = context.walker.walk(path, "no", "rmdir");
  if (place.name === ".") throw new FsError("EINVAL", "rmdir");
  if (place.name === "..") throw new FsError("ENOTEMPTY", "rmdir");
  if (place.name === "/") throw new FsError("EBUSY", "rmdir");
  if (place.node === undefined) throw new FsError("ENOENT", "rmdir");
  if (!isDir(context, place.node)) throw new FsError("ENOTDIR", "rmdir");
  context.tree.rmdir(place.dir, place.name as Name);
  context.kept.drop(place.node);
}

export function rename(context: Context, oldPath: string, newPath: string): Maybe<void> {
  const { tree, kept, walker } = context;
  const from = walker.walk(oldPath, "no", "rename");
  const to = walker.walk(newPath, "no", "rename");
  if (!isName(from) || !isName(to)) throw new FsError("EBUSY", "rename");
  const { node } = from;
  const over = to.node;
  if (node === undefined) throw new FsError("ENOENT", "rename");
  const directory = isDir(context, node);
  if (!directory && (from.slash || to.slash)) throw new FsError("ENOTDIR", "rename");
  if (to.trail.includes(node)) throw new FsError("EINVAL", "rename");
  if (over !== undefined) {
    if (from.trail.includes(over)) throw new FsError("ENOTEMPTY", "rename");
    if (over === node) return undefined;
    if (directory !== isDir(context, over)) throw new FsError(directory ? "ENOTDIR" : "EISDIR", "rename");
  }
  const held = over === undefined ? [node, from.dir, to.dir] : [node, from.dir, to.dir, over];
  const done = holding(kept, held, () => tree.rename(from.dir, from.name as Name, to.dir, to.name as Name, "replace"));
  return then(done, () => {
    if (over !== undefined) dropIfGone(context, over);
  });
}

/** Entries in the order of their bytes. */
export function entriesOf(context: Context, path: string, syscall: string): { node: object; entries: DirEntry[] } {
  const node = context.walker.find(path, "yes", syscall);
  if (!isDir(context, node)) throw new FsError("ENOTDIR", syscall);
  return { node, entries: sorted(context.tree.openDir(node)) };
}

/** Every entry below `path`, a level at a time, with the path from there to its directory ("" for the first level). */
export function entriesBelow(context: Context, path: string): { below: string; entry: DirEntry }[] {
  const first = entriesOf(context, path, "scandir");
  const found: { below: string; entry: DirEntry }[] = [];
  const waiting: { below: string; node: object; entries: DirEntry[] }[] = [{ below: "", ...first }];
  for (const { below, node, entries } of waiting) {
    for (const entry of entries) {
      found.push({ below, entry });
      if (entry.type !== S_IFDIR) continue;
      const child = context.tree.lookup(node, entry.name);
      if (child === undefined) continue;
      context.kept.saw(child);
      waiting.push({ below: below === "" ? entry.name : `${below}/${entry.name}`, node: child, entries: sorted(context.tree.openDir(child)) });
    }
  }
  return found;
}

export function readlink(context: Context, path: string): string {
  return context.tree.readlink(context.walker.find(path, "slash", "readlink"));
}

export function realpath(context: Context, path: string): string {
  const { node, names } = context.walker.walk(path, "yes", "realpath");
  if (node === undefined) throw new FsError("ENOENT", "realpath");
  return `/${names.join("/")}`;
}

/** Removes a name and, when it is a directory, all that is below it. Links are removed, never followed. */
export function removeTree(context: Context, path: string): void {
  const place = context.walker.walk(path, "no", "rm");
  if (place.node === undefined) throw new FsError("ENOENT", "rm");
  if (!isName(place)) throw new FsError(place.name === "/" ? "EBUSY" : "EINVAL", "rm");
  if (!isDir(context, place.node)) {
    if (place.slash) throw new FsError("ENOTDIR", "rm");
    context.tree.unlink(place.dir, place.name as Name);
    dropIfGone(context, place.node);
    return;
  }
  removeDirectory(context, place as Place & { node: object });
}

/** Depth first with a stack of its own, as deep as the tree is. */
function removeDirectory(context: Context, place: Place & { node: object }): void {
  const { tree, kept } = context;
  const stack = [{ parent: place.dir, name: place.name as Name, node: place.node, entries: tree.openDir(place.node), next: 0 }];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const entry = top.entries[top.next++];
    if (entry === undefined) {
      tree.rmdir(top.parent, top.name);
      kept.drop(top.node);
      stack.pop();
      continue;
    }
    const child = tree.lookup(top.node, entry.name);
    if (child === undefined) continue;
    kept.saw(child);
    if (isDir(context, child)) {
      stack.push({ parent: top.node, name: entry.name, node: child, entries: tree.openDir(child), next: 0 });
    } else {
      tree.unlink(top.node, entry.name);
      dropIfGone(context, child);
    }
  }
}

function dropIfGone(context: Context, node: object): void {
  const { nlink, mode } = context.tree.getAttr(node);
  if (nlink === 0 || isDirectory(mode)) context.kept.drop(node);
}
