/** Small worlds for tests of the merged view: a tree in plain objects in, a tree in plain objects out. */
import { checkName } from "../../lib/base/name.js";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../../lib/base/mode.js";
import type { Layer, LayerNode } from "../../lib/layer/layer.js";
import type { FileSystem, Name } from "../../lib/vfs.js";

/** File content, a directory, or "whiteout" and the like in the trees of layers. */
export type Shown = string | { readonly [name: string]: Shown };
export const whiteout = "(whiteout)";

/** What a FileSystem shows: files as text, symbolic links as "-> target", other types as "(type)". */
export function treeOf<N extends object>(fs: FileSystem<N>, node: N = fs.root): Shown {
  const shown: { [name: string]: Shown } = {};
  for (const entry of [...fs.openDir(node)].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const child = fs.lookup(node, entry.name);
    if (child === undefined) throw new Error(`${entry.name} is listed and not found`);
    const type = fs.getAttr(child).mode & S_IFMT;
    if (type !== entry.type) throw new Error(`${entry.name} is listed with type ${entry.type} and has ${type}`);
    if (entry.ino !== fs.getAttr(child).ino) throw new Error(`${entry.name} is listed with another inode number than it has`);
    shown[entry.name] = type === S_IFDIR ? treeOf(fs, child) : type === S_IFREG ? contentOf(fs, child) : type === S_IFLNK ? `-> ${fs.readlink(child)}` : `(${type.toString(8)})`;
  }
  return shown;
}

/** What one layer holds, whiteouts included; an opaque directory has the key "(opaque)". */
export function layerTree(layer: Layer, node: LayerNode = layer.root): Shown {
  const shown: { [name: string]: Shown } = {};
  if (layer.marks(node).opaque) shown["(opaque)"] = "";
  for (const entry of [...layer.list(node)].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.whiteout) {
      shown[entry.name] = whiteout;
      continue;
    }
    const child = layer.lookup(node, entry.name)!;
    if (child.type === S_IFDIR) shown[entry.name] = layerTree(layer, child);
    else if (child.type === S_IFLNK) shown[entry.name] = `-> ${layer.readlink(child)}`;
    else if (child.type !== S_IFREG) shown[entry.name] = `(${child.type.toString(8)})`;
    else if (layer.marks(child).metacopy) shown[entry.name] = "(metadata only)";
    else {
      const file = layer.open(child);
      const bytes = Buffer.alloc(layer.attr(child).size);
      file.read(bytes, 0);
      file.close();
      shown[entry.name] = bytes.toString("latin1");
    }
  }
  return shown;
}

export function contentOf<N extends object>(fs: FileSystem<N>, node: N): string {
  const file = now(fs.open(node, 0));
  try {
    const bytes = Buffer.alloc(fs.getAttr(node).size);
    const count = now(file.read(bytes, 0));
    return bytes.toString("latin1", 0, count);
  } finally {
    file.close();
  }
}

/** Writes the whole content of an existing file. */
export function overwrite<N extends object>(fs: FileSystem<N>, node: N, content: string): void {
  const file = now(fs.open(node, 0o1001));
  now(file.write(Buffer.from(content, "latin1"), 0));
  file.close();
}

/** The node at "a/b/c"; throws when a component is missing. */
export function at<N extends object>(fs: FileSystem<N>, path: string): N {
  let node = fs.root;
  for (const part of path.split("/").filter((text) => text !== "")) {
    const next = fs.lookup(node, n(part));
    if (next === undefined) throw new Error(`${path} is not there (at ${part})`);
    node = next;
  }
  return node;
}

export const n = (text: string): Name => checkName(text);
export const root = { uid: 0, gid: 0, pid: 1, umask: 0o022 } as const;

/** A value that must be here without waiting. */
export function now<T>(value: T | Promise<T>): T {
  if (value instanceof Promise) throw new Error("it waits");
  return value;
}
