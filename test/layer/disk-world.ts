/**
 * Trees on disk for tests: written from a description, thrown away afterwards.
 * Always true: everything is below folders made by mkdtemp, and gone when the process ends.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { check } from "../../lib/base/errors.js";
import { O_CREAT, O_RDONLY, O_WRONLY, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK } from "../../lib/base/mode.js";
import { name as nameOf, pathBytes } from "../../lib/base/name.js";
import type { Name } from "../../lib/base/name.js";
import type { Layer, LayerNode } from "../../lib/layer/layer.js";
import { optionsOf } from "../../lib/layer/tree-description.js";
import type { EntryOptions, TreeDescription } from "../../lib/layer/tree-description.js";
import { native } from "../../lib/sys/binding.js";
import { AT_FDCWD, O_DIRECTORY } from "../../lib/sys/flags.js";

const folders = new Set<string>();
process.on("exit", () => folders.forEach(removeFolder));

/** A new empty folder; gone when the process ends, if nobody has removed it before. */
export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "stratafs-layer-"));
  folders.add(path);
  return path;
}

export function removeFolder(path: string): void {
  folders.delete(path);
  rmSync(path, { recursive: true, force: true });
}

/** For suites whose trees only root can write (devices, trusted.* xattrs, owners); titles say why. */
export const describeAsRoot = process.geteuid!() === 0 ? describe : describe.skip;

export type WhiteoutOnDisk = "device" | "dotwh" | "xattr";

const typeBits: Readonly<Record<string, number>> = {
  file: S_IFREG, directory: S_IFDIR, symlink: S_IFLNK, fifo: S_IFIFO, socket: S_IFSOCK, char: S_IFCHR, block: S_IFBLK,
};
const bytesOf = (content: string | Uint8Array): Uint8Array => (typeof content === "string" ? Buffer.from(content) : content);

/** Writes a description below an existing directory. Links lead to what was described before. */
export function writeTree(path: string, tree: TreeDescription, whiteouts: WhiteoutOnDisk = "device", prefix = "trusted"): void {
  const fd = check(native.open(AT_FDCWD, pathBytes(path), O_RDONLY | O_DIRECTORY, 0, 0), "open");
  const before = native.umask(0);
  try {
    const options = optionsOf(tree);
    fill(fd, "", options, { root: fd, whiteouts, prefix });
  } finally {
    native.umask(before);
    native.close(fd);
  }
}

interface Writing {
  readonly root: number;
  readonly whiteouts: WhiteoutOnDisk;
  readonly prefix: string;
}

function write(dir: number, name: string, options: EntryOptions, writing: Writing): void {
  if (options.whiteout === true) return writeWhiteout(dir, name, writing);
  if (options.link !== undefined) {
    check(native.link(writing.root, pathBytes(options.link.replace(/^\//, "")), dir, name, 0), "link");
    return;
  }
  const type = typeBits[options.type!]!;
  if (type === S_IFLNK) check(native.symlink(pathBytes(options.target!), dir, name), "symlink");
  else if (type === S_IFDIR) check(native.mkdir(dir, name, 0o755), "mkdir");
  else check(native.mknod(dir, name, type | 0o644, options.rdev ?? 0), "mknod");
  if (type === S_IFDIR) {
    const fd = check(native.open(dir, name, O_RDONLY | O_DIRECTORY, 0, 0), "open");
    fill(fd, "", options, writing);
    native.close(fd);
    return;
  }
  if (type === S_IFREG && options.content !== undefined) {
    const bytes = bytesOf(options.content);
    const fd = check(native.open(dir, name, O_WRONLY | O_CREAT, 0o644, 0), "open");
    if (bytes.length > 0) check(native.pwrite(fd, bytes, 0, bytes.length, 0), "write");
    native.close(fd);
  }
  attributes(dir, name, options, writing);
}

function fill(fd: number, name: string, options: EntryOptions, writing: Writing): void {
  for (const [text, child] of Object.entries(options.entries ?? {})) write(fd, nameOf(text), optionsOf(child), writing);
  attributes(fd, name, options, writing);
}

function attributes(dir: number, name: string, options: EntryOptions, { prefix }: Writing): void {
  const put = (key: string, value: string | Uint8Array): void => {
    check(native.setxattr(dir, name, key, bytesOf(value), 0), "setxattr", key);
  };
  if (options.uid !== undefined || options.gid !== undefined) check(native.chown(dir, name, options.uid ?? -1, options.gid ?? -1), "chown");
  if (options.mode !== undefined) check(native.chmod(dir, name, options.mode), "chmod");
  for (const [key, value] of Object.entries(options.xattrs ?? {})) put(key, value);
  if (options.opaque === true) put(`${prefix}.overlay.opaque`, "y");
  if (options.redirect !== undefined) put(`${prefix}.overlay.redirect`, options.redirect);
  if (options.metacopy === true) put(`${prefix}.overlay.metacopy`, "");
  if (options.origin !== undefined) put(`${prefix}.overlay.stratafs.origin`, String(options.origin));
  const time = options.mtime;
  const sec = typeof time === "object" ? time.sec : (time ?? 0);
  const nsec = typeof time === "object" ? time.nsec : 0;
  check(native.utimens(dir, name, sec, nsec, sec, nsec), "utimens");
}

function writeWhiteout(dir: number, name: string, { whiteouts, prefix }: Writing): void {
  if (whiteouts === "device") {
    check(native.mknod(dir, name, S_IFCHR, 0), "mknod");
  } else if (whiteouts === "dotwh") {
    check(native.mknod(dir, `.wh.${name}`, S_IFREG | 0o644, 0), "mknod");
  } else {
    check(native.mknod(dir, name, S_IFREG | 0o644, 0), "mknod");
    check(native.setxattr(dir, name, `${prefix}.overlay.whiteout`, Buffer.from("y"), 0), "setxattr");
    check(native.setxattr(dir, "", `${prefix}.overlay.opaque`, Buffer.from("x"), 0), "setxattr");
  }
}

/** What a layer shows, as a plain object to compare: contents, { } for directories, " -> target", and words for the rest. */
export type Shown = string | { [name: string]: Shown };

export function treeOf(layer: Layer, dir: LayerNode = layer.root): { [name: string]: Shown } {
  const shown: { [name: string]: Shown } = {};
  for (const { name, whiteout } of [...layer.list(dir)].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    shown[name] = whiteout ? "(whiteout)" : showNode(layer, layer.lookup(dir, name)!);
  }
  return shown;
}

function showNode(layer: Layer, node: LayerNode): Shown {
  if (node.type === S_IFDIR) return layer.marks(node).opaque ? { "(opaque)": "", ...treeOf(layer, node) } : treeOf(layer, node);
  if (node.type === S_IFLNK) return `-> ${layer.readlink(node)}`;
  if (node.type === S_IFREG) return contentOf(layer, node);
  return `(type ${(node.type >>> 12).toString(8)})`;
}

export function contentOf(layer: Layer, file: LayerNode): string {
  const backing = layer.open(file);
  const bytes = Buffer.alloc(layer.attr(file).size);
  const count = backing.read(bytes, 0);
  backing.close();
  return bytes.toString("latin1", 0, count);
}

/** The node at a path of names joined by "/"; undefined as soon as one is missing. */
export function at(layer: Layer, path: string): LayerNode | undefined {
  let node: LayerNode | undefined = layer.root;
  for (const part of path.split("/").filter((text) => text !== "")) {
    if (node === undefined) return undefined;
    node = layer.lookup(node, nameOf(part));
  }
  return node;
}

/** As at(), for what must be there. */
export function nodeAt(layer: Layer, path: string): LayerNode {
  const node = at(layer, path);
  if (node === undefined) throw new Error(`no ${path} in the layer`);
  return node;
}

export const n = (text: string): Name => nameOf(text);

/** The code of what `act` throws; "nothing" when it does not. */
export function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    return String((error as { code?: unknown }).code);
  }
  return "nothing";
}
