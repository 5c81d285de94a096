/**
 * A tree whose changes of names happen once for each request, whatever dies in between: each is announced to the recorder before it is made,
 * and one that the process before has made already is taken for made.
 * Always true: what is announced is made in the same turn, without waiting, so that at a death the disk shows either all of it or nothing.
 */
import type { Attr, AttrChanges, Caller, DirEntry, FileSystem, LastingFileSystem, Name, NewNode, OpenFile, RenameMode, StatFs } from "../vfs.js";
import type { MountRecorder } from "./recorder.js";

export class OnceTree implements FileSystem {
  readonly #tree: LastingFileSystem;
  readonly #recorder: MountRecorder;

  constructor(tree: LastingFileSystem, recorder: MountRecorder) {
    this.#tree = tree;
    this.#recorder = recorder;
  }

  get root(): object {
    return this.#tree.root;
  }

  set asker(asker: number) {
    this.#tree.asker = asker;
  }

  /** What is announced is made in the same turn, so whoever waits has announced nothing. */
  giveUp(asker: number): boolean {
    return this.#tree.giveUp(asker);
  }

  create(parent: object, name: Name, what: NewNode, caller: Caller): object {
    const made = this.#made(parent, name);
    if (made !== undefined) return made;
    this.#willMake(this.#recorder.unique, parent, name);
    return this.#tree.create(parent, name, what, caller);
  }

  /** The object that the process before made for this request. */
  #made(parent: object, name: Name): object | undefined {
    return this.#recorder.isPerformed ? this.#tree.lookup(parent, name) : undefined;
  }

  /** A name that is there already will be an error, and no change. */
  #willMake(unique: string, parent: object, name: Name): void {
    if (this.#tree.has(parent, name)) return;
    this.#recorder.intend(unique, (numberOf) => ({ op: "make", dir: numberOf(parent), name }));
  }

  createUnnamed(parent: object, mode: number, caller: Caller): object {
    return this.#tree.createUnnamed(parent, mode, caller);
  }

  link(node: object, parent: object, name: Name): object | Promise<object> {
    return this.#made(parent, name) ?? this.#link(this.#recorder.unique, node, parent, name);
  }

  #link(unique: string, node: object, parent: object, name: Name): object | Promise<object> {
    const wait = this.#tree.readyToLink(node, parent, name);
    if (wait !== undefined) return this.#tree.after(wait, () => this.#link(unique, node, parent, name));
    this.#willMake(unique, parent, name);
    const linked = this.#tree.link(node, parent, name);
    this.#recorder.renamed(node);
    return linked;
  }

  unlink(parent: object, name: Name): void {
    this.#remove(parent, name, () => this.#tree.unlink(parent, name));
  }

  rmdir(parent: object, name: Name): void {
    this.#remove(parent, name, () => this.#tree.rmdir(parent, name));
  }

  #remove(parent: object, name: Name, remove: () => void): void {
    const recorder = this.#recorder;
    if (recorder.isPerformed) return;
    if (!this.#tree.has(parent, name)) return remove();
    const node = this.#victim(parent, name);
    const lost = node === undefined ? undefined : this.#loss(node);
    recorder.intend(recorder.unique, (numberOf) => ({ op: "remove", dir: numberOf(parent), name, node: node === undefined ? 0 : numberOf(node), lost }));
    remove();
    if (node !== undefined) this.#lost(node, lost);
  }

  rename(from: object, oldName: Name, to: object, newName: Name, mode: RenameMode): void | Promise<void> {
    if (this.#recorder.isPerformed) return;
    return this.#rename(this.#recorder.unique, from, oldName, to, newName, mode);
  }

  #rename(unique: string, from: object, oldName: Name, to: object, newName: Name, mode: RenameMode): void | Promise<void> {
    const tree = this.#tree;
    const recorder = this.#recorder;
    const wait = tree.readyToRename(from, oldName, to, newName, mode);
    if (wait !== undefined) return this.#tree.after(wait, () => this.#rename(unique, from, oldName, to, newName, mode));
    const exchange = mode === "exchange";
    const source = tree.peek(from, oldName);
    const target = tree.peek(to, newName);
    if (source !== target) {
      const known = this.#victim(to, newName);
      const lost = exchange || known === undefined ? undefined : this.#loss(known);
      recorder.intend(unique, (numberOf) => ({
        op: "rename", dir: numberOf(from), name: oldName, toDir: numberOf(to), toName: newName, exchange,
        node: source === undefined ? 0 : numberOf(source), target: known === undefined ? 0 : numberOf(known),
        targetIdentity: exchange ? tree.identity(target!) : 0, lost,
      }));
      void tree.rename(from, oldName, to, newName, mode);
      if (source !== undefined) recorder.renamed(source);
      if (known !== undefined) this.#lost(known, lost);
    }
  }

  /** The object that a name is about to be taken from, if the kernel knows it. */
  #victim(dir: object, name: Name): object | undefined {
    const node = this.#tree.peek(dir, name);
    return node !== undefined && this.#recorder.knows(node) ? node : undefined;
  }

  #loss(node: object): ReturnType<MountRecorder["hold"]> | undefined {
    return this.#tree.namesOf(node).length === 1 ? this.#recorder.hold(node) : undefined;
  }

  #lost(node: object, lost: ReturnType<MountRecorder["hold"]> | undefined): void {
    if (lost !== undefined && this.#tree.namesOf(node).length === 0) this.#recorder.losing(node, lost);
    this.#recorder.renamed(node);
  }

  setXattr(node: object, key: string, value: Uint8Array | undefined, only?: "create" | "replace"): void | Promise<void> {
    const recorder = this.#recorder;
    if (value !== undefined && only !== "create") return this.#settled(node, this.#tree.setXattr(node, key, value, only));
    if (recorder.isPerformed) return;
    // Only where it will change something; a copy-up that goes before it may wait, and shows nothing.
    if ((this.#tree.getXattr(node, key) === undefined) !== (value === undefined)) {
      recorder.intend(recorder.unique, (numberOf) => ({ op: "setXattr", node: numberOf(node), key, removes: value === undefined }));
    }
    return this.#settled(node, this.#tree.setXattr(node, key, value, only));
  }

  /** After what may have copied `node` up. */
  #settled<T>(node: object, value: T | Promise<T>): T | Promise<T> {
    if (!(value instanceof Promise)) {
      this.#recorder.changedNameless(node);
      return value;
    }
    return value.finally(() => this.#recorder.changedNameless(node));
  }

  // ── what may be done twice ──

  lookup(parent: object, name: Name): object | undefined {
    return this.#tree.lookup(parent, name);
  }
  parentOf(dir: object): object | undefined {
    return this.#tree.parentOf(dir);
  }
  getAttr(node: object): Attr {
    return this.#tree.getAttr(node);
  }
  setAttr(node: object, changes: AttrChanges, caller: Caller): Attr | Promise<Attr> {
    return this.#settled(node, this.#tree.setAttr(node, changes, caller));
  }
  readlink(node: object): string {
    return this.#tree.readlink(node);
  }
  getXattr(node: object, key: string): Uint8Array | undefined {
    return this.#tree.getXattr(node, key);
  }
  listXattr(node: object): readonly string[] {
    return this.#tree.listXattr(node);
  }
  open(node: object, flags: number): OpenFile | Promise<OpenFile> {
    return this.#settled(node, this.#tree.open(node, flags));
  }
  openDir(node: object): readonly DirEntry[] {
    return this.#tree.openDir(node);
  }
  dirVersion(node: object): number {
    return this.#tree.dirVersion(node);
  }
  syncDir(node: object): void | Promise<void> {
    return this.#tree.syncDir(node);
  }
  statfs(): StatFs {
    return this.#tree.statfs();
  }
  forget(node: object): void {
    this.#tree.forget(node);
  }
  sync(): void | Promise<void> {
    return this.#tree.sync();
  }
  close(): void | Promise<void> {
    return this.#tree.close();
  }
}
