/**
 * From a path to a place in the tree, as the kernel's path walk does it: "." and "..", symbolic links, trailing slashes.
 * Invariant: one walk is one synchronous step, so no part of the path changes under it. It checks no search permission.
 */
import { FsError } from "../base/errors.js";
import type { KeptNodes } from "../base/kept-nodes.js";
import { isDirectory, isSymlink } from "../base/mode.js";
import { NAME_MAX, type Name } from "../base/name.js";
import type { FileSystem } from "../vfs.js";

/** As Linux: more links than this in one walk are ELOOP. */
const linksMax = 40;
/** Bytes without the final NUL. */
const pathMax = 4095;

/**
 * What happens to a symbolic link in the last place: "no" for calls about the name itself (even with a trailing slash),
 * "slash" only when a slash follows it (lstat), "yes" always.
 */
export type Follow = "no" | "slash" | "yes";

export interface Place {
  readonly dir: object;
  /** Last component; "." , ".." or "/" when the path ends in one of these, and `dir` is then the directory itself. */
  readonly name: string;
  readonly node: object | undefined;
  /** A slash stood behind the last component. */
  readonly slash: boolean;
  /** Directories gone through, root first, and the names that lead to them and to `node`: the canonical path. */
  readonly trail: readonly object[];
  readonly names: readonly string[];
}

export class Walker {
  readonly #tree: FileSystem;
  readonly #kept: KeptNodes;
  /** Latin1, absolute. */
  readonly #cwd: string;

  constructor(tree: FileSystem, kept: KeptNodes, cwd: string) {
    this.#tree = tree;
    this.#kept = kept;
    this.#cwd = cwd;
  }

  /**
   * `path` in latin1. Throws ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG; a missing last component is `node: undefined`.
   * `creating` a file (O_CREAT), a slash behind the last component is EISDIR whatever is there.
   */
  walk(path: string, follow: Follow, syscall: string, creating = false): Place {
    if (path === "") throw new FsError("ENOENT", syscall);
    if (path.length > pathMax) throw new FsError("ENAMETOOLONG", syscall);
    const tree = this.#tree;
    const trail: object[] = [tree.root];
    const names: string[] = [];
    let dir = tree.root;
    let rest = path.startsWith("/") ? path : `${this.#cwd}/${path}`;
    let links = 0;
    let last = "/";

    for (;;) {
      rest = withoutLeadingSlashes(rest);
      if (rest === "") return { dir, name: last, node: dir, slash: true, trail, names };
      const end = rest.indexOf("/");
      const name = end < 0 ? rest : rest.slice(0, end);
      const slash = end >= 0;
      const behind = slash ? withoutLeadingSlashes(rest.slice(end)) : "";

      if (name === "." || name === "..") {
        if (name === ".." && trail.length > 1) {
          // A directory moved elsewhere meanwhile cannot happen within one walk: the trail is the parent.
          trail.pop();
          names.pop();
          dir = trail[trail.length - 1]!;
        }
        last = name;
        rest = behind;
        continue;
      }
      if (name.length > NAME_MAX) throw new FsError("ENAMETOOLONG", syscall);

      const isLast = behind === "";
      if (creating && isLast && slash) throw new FsError("EISDIR", syscall);

      const node = tree.lookup(dir, name as Name);
      if (node === undefined) {
        if (!isLast) throw new FsError("ENOENT", syscall);
        return { dir, name, node, slash, trail, names };
      }
      this.#kept.saw(node);
      const { mode } = tree.getAttr(node);
      if (isSymlink(mode) && (!isLast || follow === "yes" || (slash && follow === "slash"))) {
        if (++links > linksMax) throw new FsError("ELOOP", syscall);
        const target = tree.readlink(node);
        if (target === "") throw new FsError("ENOENT", syscall);
        rest = slash ? `${target}/${behind}` : target;
        if (target.startsWith("/")) {
          trail.length = 1;
          names.length = 0;
          dir = tree.root;
        }
        last = "/";
        continue;
      }
      if (isLast) {
        if (slash && follow !== "no" && !isDirectory(mode)) throw new FsError("ENOTDIR", syscall);
        names.push(name);
        return { dir, name, node, slash, trail, names };
      }
      if (!isDirectory(mode)) throw new FsError("ENOTDIR", syscall);
      dir = node;
      rest = behind;
      trail.push(node);
      names.push(name);
    }
  }

  /** The node at a path. Throws ENOENT when there is none. */
  find(path: string, follow: Follow, syscall: string): object {
    const { node } = this.walk(path, follow, syscall);
    if (node === undefined) throw new FsError("ENOENT", syscall);
    return node;
  }
}

/** True when the place is a name that can be created, moved or removed, rather than ".", ".." or "/". */
export function isName(place: Place): boolean {
  return place.name !== "." && place.name !== ".." && place.name !== "/";
}

function withoutLeadingSlashes(path: string): string {
  let start = 0;
  while (path.charCodeAt(start) === 0x2f) start++;
  return start === 0 ? path : path.slice(start);
}
