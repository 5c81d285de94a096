/**
 * From the paths of a path-based host to nodes, with a cache. Paths are absolute, without "." and "..", in UTF-8 text.
 * Invariant: a cached path names what a walk would find; whoever changes names says so here in the same step.
 */
import { FsError } from "../base/errors.js";
import { KeptNodes } from "../base/kept-nodes.js";
import { isDirectory } from "../base/mode.js";
import { NAME_MAX, type Name } from "../base/name.js";
import type { FileSystem } from "../vfs.js";

export class PathNodes {
  readonly kept: KeptNodes;
  readonly #tree: FileSystem;
  readonly #cache = new Map<string, object>();

  /** `limit`: nodes remembered besides those in use. */
  constructor(tree: FileSystem, limit: number) {
    this.#tree = tree;
    this.kept = new KeptNodes((node) => tree.forget(node), limit);
  }

  /** Between two requests: makes room. */
  begin(): void {
    if (this.kept.trim()) this.#cache.clear();
  }

  /** Throws ENOENT, ENOTDIR, EINVAL for a name that was no UTF-8. */
  find(path: string): object {
    const node = this.lookup(path);
    if (node === undefined) throw new FsError("ENOENT", "lookup", path);
    return node;
  }

  lookup(path: string): object | undefined {
    if (path === "/") return this.#tree.root;
    const cached = this.#cache.get(path);
    if (cached !== undefined) return cached;
    const { dir, name } = this.place(path);
    const node = this.#tree.lookup(dir, name);
    if (node !== undefined) {
      this.kept.saw(node);
      this.#cache.set(path, node);
    }
    return node;
  }

  /** The directory that a path's last name is in. */
  place(path: string): { dir: object; name: Name } {
    const slash = path.lastIndexOf("/");
    const dir = this.find(slash === 0 ? "/" : path.slice(0, slash));
    if (!isDirectory(this.#tree.getAttr(dir).mode)) throw new FsError("ENOTDIR", "lookup", path);
    const name = bytesOf(path.slice(slash + 1));
    if (name.length > NAME_MAX) throw new FsError("ENAMETOOLONG", "lookup", path);
    return { dir, name: name as Name };
  }

  /** The directories on the way to a path that was just found, the nearest first, without the root. */
  above(path: string): object[] {
    const dirs: object[] = [];
    for (let slash = path.lastIndexOf("/"); slash > 0; slash = path.lastIndexOf("/", slash - 1)) dirs.push(this.find(path.slice(0, slash)));
    return dirs;
  }

  /** A name is gone or stands for something else now; of a directory, so do all paths below it. */
  changed(path: string, directory: boolean): void {
    if (directory) this.#cache.clear();
    else this.#cache.delete(path);
  }
}

/**
 * Text as the host hands it over, back to bytes in latin1. What was not UTF-8 arrives with U+FFFD in it and its bytes are lost, so
 * such a name is refused (EINVAL) rather than taken for another one.
 */
export function bytesOf(text: string): string {
  if (text.includes("\ufffd")) throw new FsError("EINVAL", "lookup", "of a name that is not UTF-8: the fuse-native host cannot carry it");
  return Buffer.from(text, "utf8").toString("latin1");
}

/** Bytes in latin1 as text, or undefined when they are not UTF-8. */
export function utf8Of(latin1: string): string | undefined {
  const bytes = Buffer.from(latin1, "latin1");
  const text = bytes.toString("utf8");
  return !text.includes("\ufffd") && Buffer.from(text, "utf8").equals(bytes) ? text : undefined;
}
