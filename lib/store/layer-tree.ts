/**
 * LayerTree: one layer while it is put together, entry by entry and in any order; then the bytes of its index.
 *
 * - A later entry of a name replaces an earlier one; a directory put over a directory changes its attributes and keeps its entries.
 * - A whiteout hides what lower layers have under its name, never an entry of this layer, whichever of the two came first: a
 *   directory that has both becomes opaque (OCI image-spec, layer.md, "Whiteouts").
 * - Directories that no entry describes are implied by what is in them.
 *
 * Paths are lists of names that the caller has checked (base/name's checkName).
 */
import type { FastHash } from "../base/fast-hash.js";
import { isDirectory, S_IFDIR, S_IFREG } from "../base/mode.js";
import type { Digest } from "./digest.js";
import { StoreError } from "./errors.js";
import { WHITEOUT_NODE, type IndexKind } from "./index-format.js";
import { IndexWriter, type IndexNode } from "./index-writer.js";

/** What a caller says of an object; marks and links have their own calls. */
export type TreeObject = IndexNode;

interface TreeNode {
  object: TreeObject;
  opaque: boolean;
  implicit: boolean;
  lowerLink: string | undefined;
  /** Directories only. */
  children: Map<string, TreeNode> | undefined;
  /** Names hidden below; made when first needed. */
  whiteouts: Set<string> | undefined;
  /** Row in the index, once written; -1 before. */
  row: number;
}

const noXattrs: ReadonlyMap<string, Uint8Array> = new Map();
/** Attributes of a directory that nothing describes, as tar programs make it. */
export const implicitDirectory: TreeObject = {
  mode: S_IFDIR | 0o755, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: noXattrs, content: undefined, target: "", rdev: 0,
};
const noObject: TreeObject = { ...implicitDirectory, mode: S_IFREG };

export class LayerTree {
  readonly #root = newNode(implicitDirectory, true);

  /** Puts an object at `path`; the empty path is the root, which must be a directory. Throws ERR_STORE_TREE. */
  put(path: readonly string[], object: TreeObject): void {
    if (path.length === 0) {
      if (!isDirectory(object.mode)) throw new StoreError("ERR_STORE_TREE", "expected a directory as root");
      this.#root.object = object;
      this.#root.implicit = false;
      return;
    }
    const parent = this.#directory(path, path.length - 1);
    const name = path[path.length - 1] as string;
    const old = childrenOf(parent).get(name);
    if (old?.children !== undefined && isDirectory(object.mode)) {
      old.object = object;
      old.implicit = false;
    } else {
      this.#place(parent, name, newNode(object, false));
    }
  }

  /**
   * Makes `path` another name of the object at `target`. Where this layer has no such object, the link is to one of the lower
   * layers, to be found when layers are merged. Throws ERR_STORE_TREE for a directory or the root.
   */
  link(path: readonly string[], target: readonly string[]): void {
    if (path.length === 0 || target.length === 0) throw new StoreError("ERR_STORE_TREE", "expected a hard link between files, found the root");
    const found = this.#find(target);
    if (found?.children !== undefined && !found.implicit) throw new StoreError("ERR_STORE_TREE", `expected a hard link to a file, found the directory ${JSON.stringify(target.join("/"))}`);
    if (found?.implicit === true) throw new StoreError("ERR_STORE_TREE", `expected a hard link to a file, found entries in ${JSON.stringify(target.join("/"))}`);
    const parent = this.#directory(path, path.length - 1);
    const name = path[path.length - 1] as string;
    let node = found;
    if (node === undefined) {
      node = newNode(noObject, false);
      node.lowerLink = target.join("/");
    }
    if (childrenOf(parent).get(name) !== node) this.#place(parent, name, node);
  }

  /**
   * Hides what lower layers have at `path`. Behind a file or symbolic link of this layer there is nothing to hide: umoci writes such
   * whiteouts where a directory has become something else. Throws ERR_STORE_TREE for the root.
   */
  whiteout(path: readonly string[]): void {
    if (path.length === 0) throw new StoreError("ERR_STORE_TREE", "expected a whiteout of a name, found the root");
    if (this.#isBehindFile(path)) return;
    const parent = this.#directory(path, path.length - 1);
    const name = path[path.length - 1] as string;
    const same = childrenOf(parent).get(name);
    if (same?.children !== undefined) hideBelow(same);
    (parent.whiteouts ??= new Set()).add(name);
  }

  /** The directory at `path` hides everything that lower layers have in it. Throws ERR_STORE_TREE. */
  opaque(path: readonly string[]): void {
    this.#directory(path, path.length).opaque = true;
  }

  /** The object put at `path`, if it is one; for hard links the object they share. */
  get(path: readonly string[]): TreeObject | undefined {
    const node = this.#find(path);
    return node === undefined || node.implicit || node.lowerLink !== undefined ? undefined : node.object;
  }

  /**
   * The parts of the index file. The tree must not be changed afterwards. `alsoNeeded`: objects that no entry has and that are to be
   * kept with the layer all the same (what an entry had that a later one replaced). Throws ERR_STORE_LIMIT.
   */
  write(hash: FastHash, id: Digest, kind: IndexKind = "layer", alsoNeeded: Iterable<Digest> = []): Uint8Array[] {
    const writer = new IndexWriter(hash);
    const add = (node: TreeNode): number => {
      if (node.row < 0) {
        node.row = node.lowerLink === undefined ? writer.addNode(node.object, node.opaque, node.implicit) : writer.addLowerLink(node.lowerLink);
      }
      return node.row;
    };
    add(this.#root);
    const open: TreeNode[] = [this.#root];
    for (let directory = open.pop(); directory !== undefined; directory = open.pop()) {
      const children = childrenOf(directory);
      const names = [...children.keys()];
      for (const name of directory.whiteouts ?? []) if (!children.has(name)) names.push(name);
      names.sort(byBytes);
      const rows = names.map((name) => {
        const child = children.get(name);
        if (child === undefined) return WHITEOUT_NODE;
        if (child.children !== undefined) open.push(child);
        return add(child);
      });
      writer.setDirectory(directory.row, names, rows);
    }
    for (const digest of alsoNeeded) writer.addDigest(digest);
    return writer.finish(kind, id);
  }

  #place(parent: TreeNode, name: string, node: TreeNode): void {
    if (node.children !== undefined && parent.whiteouts?.has(name) === true) hideBelow(node);
    childrenOf(parent).set(name, node);
  }

  /** The directory named by the first `depth` names, made where it is missing. */
  #directory(path: readonly string[], depth: number): TreeNode {
    let node = this.#root;
    for (let i = 0; i < depth; i++) {
      const name = path[i] as string;
      let next = childrenOf(node).get(name);
      if (next === undefined) {
        next = newNode(implicitDirectory, true);
        this.#place(node, name, next);
      } else if (next.children === undefined) {
        // Following a link here is how hostile layers write outside of their tree.
        throw new StoreError("ERR_STORE_TREE", `expected a directory at ${JSON.stringify(path.slice(0, i + 1).join("/"))}, found something else`);
      }
      node = next;
    }
    return node;
  }

  #isBehindFile(path: readonly string[]): boolean {
    let node: TreeNode | undefined = this.#root;
    for (let i = 0; i < path.length - 1 && node !== undefined; i++) {
      node = node.children?.get(path[i] as string);
      if (node !== undefined && node.children === undefined) return true;
    }
    return false;
  }

  #find(path: readonly string[]): TreeNode | undefined {
    let node: TreeNode | undefined = this.#root;
    for (const name of path) node = node?.children?.get(name);
    return node;
  }
}

/** Latin1 strings in the order of their bytes. */
export const byBytes = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** A directory whose own name is hidden below is a new one, attributes included; an opaque mark hides the content alone. */
function hideBelow(directory: TreeNode): void {
  directory.opaque = true;
  directory.implicit = false;
}

function newNode(object: TreeObject, implicit: boolean): TreeNode {
  return {
    object, opaque: false, implicit, lowerLink: undefined,
    children: isDirectory(object.mode) ? new Map() : undefined, whiteouts: undefined, row: -1,
  };
}

function childrenOf(node: TreeNode): Map<string, TreeNode> {
  return node.children as Map<string, TreeNode>;
}
