/**
 * Objects of a tree in memory, and how a description becomes one.
 * Always true: `nlink` counts names (for directories: 2 and one per subdirectory); a directory's `parent` is where it stands.
 */
import type { Attr, Time } from "../base/attr.js";
import { FsError } from "../base/errors.js";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK } from "../base/mode.js";
import { name as nameOf, pathBytes } from "../base/name.js";
import type { Name } from "../base/name.js";
import { ChunkedBytes } from "./chunked-bytes.js";
import type { Budget } from "./chunked-bytes.js";
import type { LayerNode } from "./layer.js";
import { optionsOf } from "./tree-description.js";
import type { EntryOptions, EntryType, TreeDescription } from "./tree-description.js";

/** Stands in a directory's entries for a name that is hidden below. */
export const WHITEOUT = null;

export class MemoryNode implements LayerNode {
  readonly type: number;
  readonly ino: number;
  /** 07777 bits. */
  permissions = 0;
  uid = 0;
  gid = 0;
  rdev = 0;
  nlink = 0;
  atime: Time;
  mtime: Time;
  ctime: Time;
  readonly btime: Time;
  /** Latin1. */
  target = "";
  parent: MemoryNode | undefined = undefined;
  readonly entries: Map<Name, MemoryNode | typeof WHITEOUT> | undefined;
  readonly data: ChunkedBytes | undefined;
  readonly xattrs = new Map<string, Uint8Array>();
  opaque = false;
  redirect: string | undefined = undefined;
  metacopy = false;
  origin: number | undefined = undefined;

  constructor(type: number, ino: number, budget: Budget, now: Time) {
    this.type = type;
    this.ino = ino;
    this.atime = this.mtime = this.ctime = this.btime = now;
    this.entries = type === S_IFDIR ? new Map() : undefined;
    this.data = type === S_IFREG ? new ChunkedBytes(budget) : undefined;
  }

  attr(): Attr {
    const size = this.data?.size ?? this.entries?.size ?? this.target.length;
    return {
      ino: this.ino, mode: this.type | this.permissions, nlink: this.nlink, uid: this.uid, gid: this.gid, rdev: this.rdev,
      size, blocks: this.data?.blocks512 ?? 0,
      atimeSec: this.atime.sec, atimeNsec: this.atime.nsec, mtimeSec: this.mtime.sec, mtimeNsec: this.mtime.nsec,
      ctimeSec: this.ctime.sec, ctimeNsec: this.ctime.nsec, btimeSec: this.btime.sec, btimeNsec: this.btime.nsec,
    };
  }

  /** Gives the node a name here; what stood there must be gone. */
  enter(name: Name, node: MemoryNode): void {
    this.entries!.set(name, node);
    if (node.type === S_IFDIR) {
      node.parent = this;
      node.nlink = 2 + subdirectories(node);
      this.nlink++;
    } else {
      node.nlink++;
    }
  }

  /** Takes the name from whatever it stands for. */
  leave(name: Name): void {
    const node = this.entries!.get(name);
    this.entries!.delete(name);
    if (node === undefined || node === WHITEOUT) return;
    if (node.type === S_IFDIR) {
      node.parent = undefined;
      node.nlink = 0;
      this.nlink--;
    } else {
      node.nlink--;
    }
  }
}

const types: Readonly<Record<EntryType, number>> = {
  file: S_IFREG, directory: S_IFDIR, symlink: S_IFLNK, fifo: S_IFIFO, socket: S_IFSOCK, char: S_IFCHR, block: S_IFBLK,
};
const zero: Time = { sec: 0, nsec: 0 };

/** Makes the nodes of a description; inode numbers follow its order. Throws EINVAL, ENOENT (a link to nowhere). */
export function buildTree(description: TreeDescription, budget: Budget): { readonly root: MemoryNode; readonly nextIno: number } {
  let nextIno = 1;
  const links: { dir: MemoryNode; name: Name; to: string }[] = [];
  const make = (options: EntryOptions): MemoryNode => {
    const type = types[options.type!];
    if (type === undefined) throw new FsError("EINVAL", "layer", `unknown type ${JSON.stringify(options.type)} in a tree description`);
    const node = new MemoryNode(type, nextIno++, budget, zero);
    describe(node, options);
    for (const [text, child] of Object.entries(options.entries ?? {})) {
      const name = nameOf(text);
      const childOptions = optionsOf(child);
      if (childOptions.whiteout === true) node.entries!.set(name, WHITEOUT);
      else if (childOptions.link !== undefined) links.push({ dir: node, name, to: childOptions.link });
      else node.enter(name, make(childOptions));
    }
    return node;
  };
  const root = make(rootOptions(description));
  root.nlink += 2;
  root.parent = root;
  for (const { dir, name, to } of links) dir.enter(name, fileAt(root, to));
  return { root, nextIno };
}

/** A whole description may itself be tagged, to give the root attributes. */
function rootOptions(description: TreeDescription): EntryOptions {
  const options = optionsOf(description);
  if (options.type !== "directory") throw new FsError("EINVAL", "layer", "the root of a tree description must be a directory");
  return options;
}

function describe(node: MemoryNode, options: EntryOptions): void {
  node.permissions = options.mode ?? (node.type === S_IFDIR ? 0o755 : node.type === S_IFLNK ? 0o777 : 0o644);
  node.uid = options.uid ?? 0;
  node.gid = options.gid ?? 0;
  node.rdev = options.rdev ?? 0;
  const { mtime } = options;
  node.mtime = node.atime = node.ctime = mtime === undefined ? zero : typeof mtime === "number" ? { sec: mtime, nsec: 0 } : mtime;
  if (options.target !== undefined) node.target = pathBytes(options.target);
  if (options.content !== undefined && node.data !== undefined) node.data.write(bytesOf(options.content), 0);
  for (const [key, value] of Object.entries(options.xattrs ?? {})) node.xattrs.set(key, bytesOf(value));
  node.opaque = options.opaque ?? false;
  node.redirect = options.redirect;
  node.metacopy = options.metacopy ?? false;
  node.origin = options.origin;
}

const bytesOf = (content: string | Uint8Array): Uint8Array => (typeof content === "string" ? Buffer.from(content, "utf8") : new Uint8Array(content));

function fileAt(root: MemoryNode, path: string): MemoryNode {
  let at: MemoryNode | null | undefined = root;
  for (const component of path.split("/").filter((text) => text !== "")) at = at?.entries?.get(nameOf(component));
  if (at === undefined || at === WHITEOUT || at.type === S_IFDIR) throw new FsError("ENOENT", "layer", `link to ${path}, where the description has no file`);
  return at;
}

export function subdirectories(dir: MemoryNode): number {
  let count = 0;
  for (const child of dir.entries!.values()) if (child !== WHITEOUT && child.type === S_IFDIR) count++;
  return count;
}
