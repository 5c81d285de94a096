/**
 * Changes of names: create, link, unlink, rmdir, rename.
 * Always true: the upper is changed first and whole, then the tables, in the same turn; a throw leaves both as they were
 * (a copy-up that went before it may stay: it shows nothing new).
 * Whoever calls gets a promise only from link and rename of a lower file whose data must be copied; they start again after it.
 */
import { FsError } from "../base/errors.js";
import { S_IFMT } from "../base/mode.js";
import type { Name } from "../base/name.js";
import type { Caller, NewNode, RenameMode } from "../vfs.js";
import { ALL, copyUp, copyUpDirectory, redirectOf, writableUpper } from "./copy-up.js";
import { Node, Table } from "./node.js";
import type { Tree } from "./tree.js";

export function create(tree: Tree, parent: Node, name: Name, what: NewNode, caller: Caller): Node {
  const upper = writableUpper(tree, "create");
  const table = livingTable(tree, parent, "create");
  if (table.slots.has(name)) throw new FsError("EEXIST", "create", name);
  const dir = copyUpDirectory(tree, parent);
  const hidesLower = table.covered.has(name);
  const made = upper.create(dir, name, what, caller, { overWhiteout: table.whiteouts.has(name), hidesLower });
  const node = newNode(tree, what.mode & S_IFMT, made);
  if (node.isDirectory) node.table = new Table(tree.tick());
  tree.enter(parent, name, node);
  return node;
}

export function createUnnamed(tree: Tree, parent: Node, mode: number, caller: Caller): Node {
  const upper = writableUpper(tree, "create");
  livingTable(tree, parent, "create");
  const made = upper.createUnnamed(copyUpDirectory(tree, parent), mode, caller);
  const node = newNode(tree, mode & S_IFMT, made);
  node.removed = true;
  return node;
}

function newNode(tree: Tree, type: number, made: Node["upper"] & object): Node {
  const node = new Node(type, tree.stack.ino(0, made), made, []);
  node.held = true;
  return node;
}

/** The checks of a link, and what it may have to wait for. */
export function readyToLink(tree: Tree, node: Node, parent: Node, name: Name): void | Promise<void> {
  writableUpper(tree, "link");
  if (node.isDirectory) throw new FsError("EPERM", "link", "of a directory");
  const table = livingTable(tree, parent, "link");
  if (table.slots.has(name)) throw new FsError("EEXIST", "link", name);
  return copyUp(tree, node);
}

export function link(tree: Tree, node: Node, parent: Node, name: Name): void | Promise<void> {
  const wait = readyToLink(tree, node, parent, name);
  if (wait !== undefined) return tree.after(wait, () => link(tree, node, parent, name));
  const upper = writableUpper(tree, "link");
  const table = tree.table(parent);
  const dir = copyUpDirectory(tree, parent);
  keepDataFound(tree, node);
  upper.link(node.upper!, dir, name, { overWhiteout: table.whiteouts.has(name), hidesLower: table.covered.has(name) });
  tree.enter(parent, name, node);
  tree.remember(node, node.upper!);
  node.removed = false;
}

export function unlink(tree: Tree, parent: Node, name: Name): void {
  const node = existing(tree, parent, name, "unlink");
  if (node.isDirectory) throw new FsError("EISDIR", "unlink", name);
  remove(tree, parent, name, node);
}

export function rmdir(tree: Tree, parent: Node, name: Name): void {
  const node = existing(tree, parent, name, "rmdir");
  if (!node.isDirectory) throw new FsError("ENOTDIR", "rmdir", name);
  if (tree.table(node).slots.size > 0) throw new FsError("ENOTEMPTY", "rmdir", name);
  remove(tree, parent, name, node);
}

function remove(tree: Tree, parent: Node, name: Name, node: Node): void {
  const upper = writableUpper(tree, "unlink");
  const { covered } = tree.table(parent);
  const dir = copyUpDirectory(tree, parent);
  keepOtherLinks(tree, node);
  if (node.upper !== undefined) {
    upper.remove(dir, name, covered.has(name));
  } else {
    upper.whiteout(dir, name);
    covered.add(name);
    tree.hideLink(node);
  }
  tree.leave(parent, name, node, covered.has(name));
  tree.dropUnused(node);
}

/**
 * The links that stay should count one less, for every reader of the upper: so the group goes up first, as metadata alone, as
 * overlayfs does with its index. Where there is no room for that the count is kept for this mount only: a removal must work.
 */
function keepOtherLinks(tree: Tree, node: Node): void {
  const part = node.lowers[0];
  const upper = tree.stack.upper!;
  if (node.upper !== undefined || part === undefined || node.isDirectory || !upper.can.metacopy) return;
  if (tree.stack.layer(part.layer).attr(part.node).nlink - tree.hiddenLinksOf(node) <= 1) return;
  try {
    // Metadata alone never waits; an empty file, which has no data to leave behind, does not either.
    void copyUp(tree, node);
  } catch (error) {
    if (!(error instanceof FsError)) throw error;
  }
}

/** The checks of a rename; then everything that moves is brought into the upper, findable from its new place. */
export function readyToRename(tree: Tree, from: Node, oldName: Name, to: Node, newName: Name, mode: RenameMode): void | Promise<void> {
  writableUpper(tree, "rename");
  const source = existing(tree, from, oldName, "rename");
  livingTable(tree, to, "rename");
  const target = tree.child(to, newName);
  if (source === target) return;
  checkRename(tree, source, target, newName, mode);
  for (const moving of mode === "exchange" ? [source, target!] : [source]) {
    const wait = prepareMove(tree, moving);
    if (wait !== undefined) return wait;
  }
}

export function rename(tree: Tree, from: Node, oldName: Name, to: Node, newName: Name, mode: RenameMode): void | Promise<void> {
  const wait = readyToRename(tree, from, oldName, to, newName, mode);
  if (wait !== undefined) return tree.after(wait, () => rename(tree, from, oldName, to, newName, mode));
  const upper = writableUpper(tree, "rename");
  const source = existing(tree, from, oldName, "rename");
  const targetTable = tree.table(to);
  const target = tree.child(to, newName);
  if (source === target) return;

  const exchange = mode === "exchange";
  const fromDir = copyUpDirectory(tree, from);
  const toDir = copyUpDirectory(tree, to);
  const sourceTable = tree.table(from);

  if (!exchange && target !== undefined) keepOtherLinks(tree, target);

  // From here on the lower layers' view of a name is final: hidden by the upper, or not there.
  const oldCovered = sourceTable.covered.has(oldName);
  const newCovered = targetTable.covered.has(newName) || (target !== undefined && target.upper === undefined);
  if (source.isDirectory && newCovered) hideBelow(tree, source);
  if (exchange && target!.isDirectory && oldCovered) hideBelow(tree, target!);
  const leaveWhiteout = !exchange && oldCovered;
  upper.rename(fromDir, oldName, toDir, newName, { exchange, leaveWhiteout, overWhiteout: targetTable.whiteouts.has(newName) });

  if (newCovered) targetTable.covered.add(newName);
  if (target !== undefined) {
    if (!exchange && target.upper === undefined) tree.hideLink(target);
    tree.leave(to, newName, target, false);
  }
  tree.leave(from, oldName, source, leaveWhiteout);
  source.removed = false;
  tree.enter(to, newName, source);
  if (exchange) {
    target!.removed = false;
    tree.enter(from, oldName, target!);
  } else if (target !== undefined) {
    tree.dropUnused(target);
  }
}

function checkRename(tree: Tree, source: Node, target: Node | undefined, newName: Name, mode: RenameMode): void {
  if (mode === "exchange") {
    if (target === undefined) throw new FsError("ENOENT", "rename", newName);
    return;
  }
  if (target === undefined) return;
  if (mode === "noreplace") throw new FsError("EEXIST", "rename", newName);
  if (source.isDirectory && !target.isDirectory) throw new FsError("ENOTDIR", "rename", newName);
  if (!source.isDirectory && target.isDirectory) throw new FsError("EISDIR", "rename", newName);
  if (target.isDirectory && tree.table(target).slots.size > 0) throw new FsError("ENOTEMPTY", "rename", newName);
}

/** Copies up what is going to move; a directory with a lower part, and a file with its data below, get a redirect. */
function prepareMove(tree: Tree, node: Node): void | Promise<void> {
  const upper = writableUpper(tree, "rename");
  if (!node.isDirectory) {
    const wait = copyUp(tree, node);
    if (wait !== undefined) return wait;
    if (node.metacopy && !upper.can.redirect) return copyUp(tree, node, ALL);
    keepDataFound(tree, node);
    return;
  }
  if (node.lowers.length > 0 && !upper.can.redirect) throw new FsError("EXDEV", "rename", "of a directory with a lower part, without redirects");
  const made = copyUpDirectory(tree, node);
  if (node.lowers.length > 0 && node.redirect === undefined) {
    const path = tree.lowerPath(node);
    tree.table(node);
    setRedirect(tree, made, path);
    node.redirect = path;
  }
}

/** A metadata-only copy remembers where its data is before it gets another name. */
function keepDataFound(tree: Tree, node: Node): void {
  if (!node.metacopy || node.redirect?.startsWith("/") === true) return;
  const path = redirectOf(tree, node);
  setRedirect(tree, node.upper!, path);
  node.redirect = path;
}

/** A path too long for the mark cannot be followed later: the mover must copy instead, as across filesystems. */
function setRedirect(tree: Tree, upper: Node["upper"] & object, path: string): void {
  try {
    tree.stack.upper!.setRedirect(upper, path);
  } catch (error) {
    if (error instanceof FsError && (error.code === "E2BIG" || error.code === "ERANGE" || error.code === "ENAMETOOLONG")) {
      throw new FsError("EXDEV", "rename", "whose old path is too long to remember", { cause: error });
    }
    throw error;
  }
}

/** A directory made in the upper alone must not merge with what the lower layers have where it goes. */
function hideBelow(tree: Tree, dir: Node): void {
  if (dir.lowers.length === 0 && dir.redirect === undefined) tree.stack.upper!.setOpaque(dir.upper!);
}

function existing(tree: Tree, parent: Node, name: Name, syscall: string): Node {
  if (!tree.stack.upper) throw new FsError("EROFS", syscall, "without an upper layer");
  const node = tree.child(parent, name);
  if (node === undefined) throw new FsError("ENOENT", syscall, name);
  return node;
}

function livingTable(tree: Tree, dir: Node, syscall: string): Table {
  if (dir.removed) throw new FsError("ENOENT", syscall, "in a removed directory");
  return tree.table(dir);
}
