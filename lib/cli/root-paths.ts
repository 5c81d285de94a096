/**
 * Paths inside a tree that is about to become somebody's root: where they lead when the tree itself is "/", and which of the
 * mountpoints that a container needs are missing there.
 * Always true: a symbolic link of the tree never leads out of the tree.
 */
import { constants } from "node:fs";
import type { FileSystem, Name } from "../index.js";

/** As for path resolution in the kernel. */
const MAX_LINKS = 40;

export interface Resolved {
  /** Without symbolic links; latin1. */
  readonly path: string;
  /** S_IF* bits; undefined when nothing is there. */
  readonly type: number | undefined;
  /** The object, when it is there. */
  readonly node: object | undefined;
}

/** Follows `path` (latin1, absolute). What is missing stays in the path as it was written. Throws ELOOP as an Error. */
export function resolveInTree(tree: FileSystem, path: string): Resolved {
  const pending = path.split("/").reverse();
  const nodes: object[] = [tree.root];
  const names: string[] = [];
  let links = 0;
  for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
    if (part === "" || part === ".") continue;
    if (part === "..") {
      names.pop();
      if (nodes.length > names.length + 1) nodes.length = names.length + 1;
      continue;
    }
    const parent = nodes.length === names.length + 1 ? nodes[nodes.length - 1] : undefined;
    const node = parent === undefined || typeOf(tree, parent) !== S_IFDIR ? undefined : tree.lookup(parent, part as Name);
    if (node !== undefined && typeOf(tree, node) === S_IFLNK) {
      if (++links > MAX_LINKS) throw new Error(`${path} in the root: too many symbolic links`);
      const target = tree.readlink(node);
      if (target.startsWith("/")) nodes.length = 1 + (names.length = 0);
      pending.push(...target.split("/").reverse());
      continue;
    }
    names.push(part);
    if (node !== undefined) nodes.push(node);
  }
  const node = nodes.length === names.length + 1 ? nodes[nodes.length - 1] : undefined;
  return { path: `/${names.join("/")}`, type: node === undefined ? undefined : typeOf(tree, node), node };
}

export interface Wanted {
  /** Absolute in the root; latin1. */
  readonly path: string;
  readonly kind: "directory" | "file";
}

/** A tree for memoryLayer(): directories as objects, empty files as "". */
export interface Mountpoints {
  [name: string]: Mountpoints | "";
}

/** The mountpoints among `wanted` that the root lacks, as a layer to put below all others, so that the upper need not be written. */
export function missingMountpoints(tree: FileSystem, wanted: readonly Wanted[]): Mountpoints {
  const missing: Mountpoints = {};
  for (const { path, kind } of wanted) {
    const found = resolveInTree(tree, path);
    if (found.type === undefined) addMountpoint(missing, found.path, kind);
    else if ((found.type === S_IFDIR) !== (kind === "directory")) throw new Error(`${path} in the root is ${kind === "directory" ? "not a directory" : "a directory"}`);
  }
  return missing;
}

function addMountpoint(tree: Mountpoints, path: string, kind: "directory" | "file"): void {
  const parts = path.split("/").filter((part) => part !== "");
  let at = tree;
  for (const [i, part] of parts.entries()) {
    // Names are bytes in a tree, and text in a description.
    const key = Buffer.from(part, "latin1").toString("utf8");
    if (i === parts.length - 1 && kind === "file") {
      at[key] = "";
      return;
    }
    const next = at[key];
    at = at[key] = typeof next === "object" ? next : {};
  }
}

const { S_IFDIR, S_IFLNK, S_IFMT } = constants;

function typeOf(tree: FileSystem, node: object): number {
  return tree.getAttr(node).mode & S_IFMT;
}
