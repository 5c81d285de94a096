/**
 * The merged view of a stack as a FileSystem: every call finds its nodes, copies up what it must, and changes the upper.
 * Calls are atomic unless they return a promise; see copy-up.ts for what may wait.
 */
import type { Attr, AttrChanges } from "../base/attr.js";
import { FsError } from "../base/errors.js";
import { O_ACCMODE, O_RDONLY, O_TRUNC, S_IFREG } from "../base/mode.js";
import type { Name } from "../base/name.js";
import type { Layer } from "../layer/layer.js";
import { keeps } from "../layer/upper.js";
import type { KeepingUpper, UpperLayer } from "../layer/upper.js";
import type { Caller, DirEntry, LastingFileSystem, Named, Nameless, NewNode, OpenFile, RenameMode, StatFs } from "../vfs.js";
import { ALL, bornMode, copyUp, redirectOf, writableUpper } from "./copy-up.js";
import { MergedFile } from "./merged-file.js";
import * as namespace from "./namespace.js";
import { Node, Table, UPPER, slotType } from "./node.js";
import { Stack } from "./stack.js";
import type { StackOptions } from "./stack.js";
import { Tree } from "./tree.js";

export interface OverlayOptions extends StackOptions {
  /** A directory's and a lower file's link count is reported as 1 or as the layer has it, without correction. */
  readonly staticNlink?: boolean;
}

export type { Node as OverlayNode };

export class Overlay implements LastingFileSystem<Node> {
  private readonly tree: Tree;
  private readonly stack: Stack;
  private readonly staticNlink: boolean;
  private closed = false;

  /** `lowers` topmost first. The overlay owns the layers from here on and closes them. */
  constructor(upper: UpperLayer | undefined, lowers: readonly Layer[], options: OverlayOptions = {}) {
    if (upper === undefined && lowers.length === 0) throw new FsError("EINVAL", "overlay", "needs at least one layer");
    this.stack = new Stack(upper, lowers, options);
    this.tree = new Tree(this.stack);
    this.staticNlink = options.staticNlink ?? false;
  }

  get root(): Node {
    return this.tree.root;
  }

  get asker(): number {
    return this.tree.asker;
  }

  set asker(asker: number) {
    this.tree.asker = asker;
  }

  giveUp(asker: number): boolean {
    return this.tree.giveUp(asker);
  }

  after<T>(wait: Promise<void>, goOn: () => T | Promise<T>): Promise<T> {
    return this.tree.after(wait, goOn);
  }

  lookup(parent: Node, name: Name): Node | undefined {
    const node = this.tree.child(parent, name);
    if (node !== undefined) node.held = true;
    return node;
  }

  parentOf(dir: Node): Node | undefined {
    if (dir === this.root) return dir;
    return dir.parent;
  }

  getAttr(node: Node): Attr {
    const { upper } = this.stack;
    if (node.upper !== undefined) {
      const attr = upper!.attr(node.upper);
      const nlink = node.isDirectory && (node.lowers.length > 0 || this.staticNlink) ? 1 : attr.nlink;
      let { blocks } = attr;
      if (node.metacopy) {
        const data = node.lowers[0]!;
        blocks = this.stack.layer(data.layer).attr(data.node).blocks;
      }
      return numbered(attr, node.ino, node.isDirectory && node.removed ? 0 : nlink, blocks);
    }
    const part = node.lowers[0]!;
    const attr = this.stack.layer(part.layer).attr(part.node);
    return numbered(attr, node.ino, this.lowerNlink(node, attr), attr.blocks);
  }

  private lowerNlink(node: Node, attr: Attr): number {
    if (node.removed) return 0;
    if (node.isDirectory) return node.lowers.length > 1 || node.unread.length > 0 || this.staticNlink ? 1 : attr.nlink;
    if (this.staticNlink || attr.nlink <= 1) return attr.nlink;
    return Math.max(1, attr.nlink - this.tree.hiddenLinksOf(node));
  }

  setAttr(node: Node, changes: AttrChanges, caller: Caller): Attr | Promise<Attr> {
    const upper = writableUpper(this.tree, "setattr");
    if (changes.size !== undefined && node.type !== S_IFREG) {
      throw new FsError(node.isDirectory ? "EISDIR" : "EINVAL", "truncate", "of something that is no regular file");
    }
    const mode = bornMode(this.tree, node, changes);
    const wait = copyUp(this.tree, node, changes.size, mode);
    if (wait !== undefined) return this.tree.after(wait, () => this.setAttr(node, changes, caller));
    if (mode === undefined) upper.setAttr(node.upper!, changes);
    return this.getAttr(node);
  }

  readlink(node: Node): string {
    if (node.upper !== undefined) return this.stack.upper!.readlink(node.upper);
    const part = node.lowers[0]!;
    return this.stack.layer(part.layer).readlink(part.node);
  }

  create(parent: Node, name: Name, what: NewNode, caller: Caller): Node {
    return namespace.create(this.tree, parent, name, what, caller);
  }

  createUnnamed(parent: Node, mode: number, caller: Caller): Node {
    return namespace.createUnnamed(this.tree, parent, mode, caller);
  }

  link(node: Node, parent: Node, name: Name): Node | Promise<Node> {
    const wait = namespace.link(this.tree, node, parent, name);
    node.held = true;
    return wait === undefined ? node : wait.then(() => node);
  }

  unlink(parent: Node, name: Name): void {
    namespace.unlink(this.tree, parent, name);
  }

  rmdir(parent: Node, name: Name): void {
    namespace.rmdir(this.tree, parent, name);
  }

  rename(from: Node, oldName: Name, to: Node, newName: Name, mode: RenameMode): void | Promise<void> {
    return namespace.rename(this.tree, from, oldName, to, newName, mode);
  }

  getXattr(node: Node, key: string): Uint8Array | undefined {
    if (node.upper !== undefined) return this.stack.upper!.getXattr(node.upper, key);
    const part = node.lowers[0]!;
    return this.stack.layer(part.layer).getXattr(part.node, key);
  }

  setXattr(node: Node, key: string, value: Uint8Array | undefined, only?: "create" | "replace"): void | Promise<void> {
    const upper = writableUpper(this.tree, "setxattr");
    // A removal that fails must not copy anything up.
    if (value === undefined && this.getXattr(node, key) === undefined) throw new FsError("ENODATA", "removexattr", key);
    const wait = copyUp(this.tree, node);
    if (wait !== undefined) return this.tree.after(wait, () => this.setXattr(node, key, value, only));
    upper.setXattr(node.upper!, key, value, only);
  }

  listXattr(node: Node): readonly string[] {
    if (node.upper !== undefined) return this.stack.upper!.listXattr(node.upper);
    const part = node.lowers[0]!;
    return this.stack.layer(part.layer).listXattr(part.node);
  }

  open(node: Node, flags: number): OpenFile | Promise<OpenFile> {
    if (node.type !== S_IFREG) throw new FsError(node.isDirectory ? "EISDIR" : "ENXIO", "open", "of something that is no regular file");
    const writing = (flags & O_ACCMODE) !== O_RDONLY || (flags & O_TRUNC) !== 0;
    if (!writing) return new MergedFile(this.tree, node, false);
    const upper = writableUpper(this.tree, "open");
    const wait = copyUp(this.tree, node, (flags & O_TRUNC) !== 0 ? 0 : ALL);
    if (wait !== undefined) return this.tree.after(wait, () => this.open(node, flags));
    if ((flags & O_TRUNC) !== 0) upper.setAttr(node.upper!, { size: 0 });
    return new MergedFile(this.tree, node, true);
  }

  openDir(node: Node): readonly DirEntry[] {
    const entries: DirEntry[] = [];
    for (const [name, slot] of this.tree.table(node).slots) entries.push(new Entry(this, node, name, slotType(slot)));
    return entries;
  }

  dirVersion(node: Node): number {
    return this.tree.table(node).version;
  }

  syncDir(node: Node): void | Promise<void> {
    if (node.upper !== undefined) return this.stack.upper!.syncDir(node.upper);
  }

  statfs(): StatFs {
    return (this.stack.upper ?? this.stack.layer(1)).statfs();
  }

  forget(node: Node): void {
    node.held = node === this.root;
    this.tree.dropUnused(node);
  }

  /** The inode number of a child without taking hold of it; 0 when it is gone. */
  inoOf(parent: Node, name: Name): number {
    const node = this.tree.child(parent, name);
    if (node === undefined) return 0;
    this.tree.dropUnused(node);
    return node.ino;
  }

  // ── for the next process that serves this tree ──

  has(dir: Node, name: Name): boolean {
    return this.tree.table(dir).slots.has(name);
  }

  peek(dir: Node, name: Name): Node | undefined {
    const slot = this.tree.table(dir).slots.get(name);
    return slot instanceof Node ? slot : undefined;
  }

  namesOf(node: Node): readonly Named<Node>[] {
    return node.places();
  }

  identity(node: Node): number {
    return node.upper === undefined ? node.ino : this.stack.upper!.attr(node.upper).ino;
  }

  readyToLink(node: Node, parent: Node, name: Name): void | Promise<void> {
    return namespace.readyToLink(this.tree, node, parent, name);
  }

  readyToRename(from: Node, oldName: Name, to: Node, newName: Name, mode: RenameMode): void | Promise<void> {
    return namespace.readyToRename(this.tree, from, oldName, to, newName, mode);
  }

  /** Throws EOPNOTSUPP for an upper that keeps no descriptors. */
  hold(node: Node, before?: Nameless): Nameless {
    const { type, ino, metacopy } = node;
    const fd = node.upper === undefined ? -1 : this.keeper("hold").keepOpen(node.upper);
    const part = node.upper === undefined || metacopy ? node.lowers[0] : undefined;
    if (part === undefined) return { type, ino, fd, layer: 0, path: "", metacopy: false };
    return { type, ino, fd, layer: part.layer, path: node.place === undefined && before !== undefined ? before.path : this.pathBelow(node), metacopy };
  }

  /** From the stack's root to a lower part, as a redirect to it would say. */
  private pathBelow(node: Node): string {
    if (node.isDirectory) return this.tree.lowerPath(node);
    if (node.redirect === undefined) return redirectOf(this.tree, node);
    return node.redirect.startsWith("/") ? node.redirect : `${this.tree.lowerPath(node.place!.dir)}/${node.redirect}`;
  }

  adopt(nameless: Nameless): Node | undefined {
    const { type, ino, fd, layer, path, metacopy } = nameless;
    const upper = fd < 0 ? undefined : this.keeper("adopt").fromOpen(fd, type);
    const part = metacopy ? this.stack.dataOf([], "" as Name, path, UPPER) : layer > 0 ? this.stack.partAt(layer, path) : undefined;
    if (part === undefined && (upper === undefined || metacopy)) return undefined;
    const node = new Node(type, ino, upper, part === undefined ? [] : [part]);
    node.removed = true;
    node.held = true;
    node.metacopy = metacopy;
    if (metacopy) node.redirect = path;
    if (node.isDirectory) node.table = new Table(this.tree.tick());
    // Other names of it are to be found as this node.
    else if (upper !== undefined && this.stack.upper!.attr(upper).nlink > 0) this.tree.remember(node, upper);
    else if (upper === undefined && this.stack.layer(part!.layer).attr(part!.node).nlink > 1) this.tree.remember(node, part!.node);
    return node;
  }

  /** See KeepingUpper; none without an upper. */
  locks(): readonly number[] {
    return this.stack.upper === undefined ? [] : this.keeper("mount").locks;
  }

  private keeper(syscall: string): KeepingUpper {
    const { upper } = this.stack;
    if (upper === undefined || !keeps(upper)) throw new FsError("EOPNOTSUPP", syscall, "in an upper that lives and dies with its process");
    return upper;
  }

  numberOf(node: Node): number {
    return node.ino;
  }

  renumber(node: Node, ino: number): void {
    this.stack.inodes.taken(ino);
    node.ino = ino;
  }

  takeNotes(): readonly string[] {
    const { notes } = this.tree;
    if (notes !== undefined && notes.length === 0) return notes;
    this.tree.notes = [];
    return notes ?? [];
  }

  recall(note: string): void {
    this.tree.recall(note);
  }

  sync(): void | Promise<void> {
    return this.stack.upper?.sync();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.stack.close();
  }
}

/** A listing's entry. Its number is looked up when asked for: a listing with attributes never asks. */
class Entry implements DirEntry {
  readonly name: Name;
  readonly type: number;
  private readonly overlay: Overlay;
  private readonly parent: Node;

  constructor(overlay: Overlay, parent: Node, name: Name, type: number) {
    this.overlay = overlay;
    this.parent = parent;
    this.name = name;
    this.type = type;
  }

  get ino(): number {
    return this.overlay.inoOf(this.parent, this.name);
  }
}

/** A layer's attributes with the merged view's own numbers: mostly the same, and then no copy. One shape for all. */
function numbered(attr: Attr, ino: number, nlink: number, blocks: number): Attr {
  if (attr.ino === ino && attr.nlink === nlink && attr.blocks === blocks) return attr;
  return {
    ino, mode: attr.mode, nlink, uid: attr.uid, gid: attr.gid, rdev: attr.rdev, size: attr.size, blocks,
    atimeSec: attr.atimeSec, atimeNsec: attr.atimeNsec, mtimeSec: attr.mtimeSec, mtimeNsec: attr.mtimeNsec,
    ctimeSec: attr.ctimeSec, ctimeNsec: attr.ctimeNsec, btimeSec: attr.btimeSec, btimeNsec: attr.btimeNsec,
  };
}
