/**
 * The merged tree: which nodes exist, what they are called, and how a merged directory comes from its parts.
 * Always true: a table holds exactly what the merged directory shows; whoever changes the upper changes the table in the same turn.
 * Nothing here waits and nothing here writes.
 */
import { FsError } from "../base/errors.js";
import { S_IFDIR, S_IFREG } from "../base/mode.js";
import type { Name } from "../base/name.js";
import type { LayerNode } from "../layer/layer.js";
import { Node, Table, UPPER, slotLayer, slotOf, slotType } from "./node.js";
import type { Part, Slot } from "./node.js";
import type { Stack } from "./stack.js";

/** An asker who cannot give up. */
const NOBODY = 0;

export class Tree {
  readonly stack: Stack;
  readonly root: Node;
  /** Nodes of files that have, or had, more than one link: by the layer node they were found as. */
  private readonly linked = new Map<LayerNode, Node>();
  /** Links of lower files that are hidden by now: "layer ino" -> count. Known for this mount only. */
  private readonly hiddenLinks = new Map<string, number>();
  private clock = 0;
  /** Who calls just now, as FileSystem.asker says. */
  asker = NOBODY;
  /** What each asker waits for: how to give it up. */
  private readonly waits = new Map<number, () => void>();
  /** Changes of `hiddenLinks` for the next process that serves this mount; undefined while nobody asks. */
  notes: string[] | undefined;

  constructor(stack: Stack) {
    this.stack = stack;
    const { upper } = stack;
    let lowers: Part[] = stack.lowerRoots();
    if (upper !== undefined && upper.marks(upper.root).opaque) lowers = [];
    const first = lowers[0];
    const ino = first !== undefined ? stack.ino(first.layer, first.node) : stack.ino(UPPER, upper!.root);
    this.root = new Node(S_IFDIR, ino, upper?.root, lowers);
    this.root.held = true;
  }

  /** `result`, or EINTR in its place once the asker has given up; `giveUp` is called when he does. */
  givenUp(result: Promise<void>, giveUp: () => void): Promise<void> {
    const { asker, waits } = this;
    if (asker === NOBODY) return result;
    let gaveUp = false;
    waits.set(asker, () => {
      gaveUp = true;
      giveUp();
    });
    return result.finally(() => {
      waits.delete(asker);
      if (gaveUp) throw new FsError("EINTR", "copy-up", "that nobody waits for any more");
    });
  }

  /** Goes on after a wait, for the same asker. */
  after<T>(wait: Promise<void>, goOn: () => T | Promise<T>): Promise<T> {
    const { asker } = this;
    return wait.then(() => {
      this.asker = asker;
      try {
        return goOn();
      } finally {
        this.asker = NOBODY;
      }
    });
  }

  /** False when he waits for nothing, or has given up already. */
  giveUp(asker: number): boolean {
    const wait = this.waits.get(asker);
    this.waits.delete(asker);
    wait?.();
    return wait !== undefined;
  }

  /** The child called `name`; made a node if it was not one. Throws ENOTDIR, EIO. */
  child(dir: Node, name: Name): Node | undefined {
    const table = this.table(dir);
    const slot = table.slots.get(name);
    if (slot === undefined || slot instanceof Node) return slot;
    const node = this.instantiate(dir, name, slot);
    if (node === undefined) table.slots.delete(name);
    else table.slots.set(name, node);
    return node;
  }

  /** The merged directory, read on first use. Throws ENOTDIR, EIO. */
  table(dir: Node): Table {
    if (dir.table !== undefined) return dir.table;
    if (!dir.isDirectory) throw new FsError("ENOTDIR", "lookup");
    this.findParts(dir);
    const table = new Table(++this.clock);
    const closed = new Set<Name>();
    for (let i = 0; i < dir.lowers.length; i++) {
      if (this.mergeLower(table, closed, dir, i)) break;
    }
    if (dir.upper !== undefined) this.mergeUpper(table, dir.upper);
    dir.table = table;
    return table;
  }

  /** Every lower part of a directory that nobody has read yet, before opaque marks below the first are known. */
  private findParts(dir: Node): void {
    const { place } = dir;
    if (place === undefined || dir.unread.length === 0) return;
    const parts = [...dir.lowers];
    for (const layer of dir.unread) {
      const node = this.lookupIn(place.dir, layer, place.name);
      if (node?.type === S_IFDIR) parts.push({ layer, node });
    }
    dir.lowers = parts;
    dir.unread = [];
  }

  /** Adds the names of one lower part; true when nothing below it counts. May replace the parts that follow (redirect). */
  private mergeLower(table: Table, closed: Set<Name>, dir: Node, index: number): boolean {
    const part = dir.lowers[index]!;
    const layer = this.stack.layer(part.layer);
    const { slots } = table;
    for (const entry of layer.list(part.node)) {
      if (closed.has(entry.name)) continue;
      const above = slots.get(entry.name);
      if (entry.whiteout) {
        closed.add(entry.name);
      } else if (above === undefined) {
        slots.set(entry.name, slotOf(part.layer, entry.type));
        if (entry.type !== S_IFDIR) closed.add(entry.name);
      } else if (entry.type !== S_IFDIR) {
        closed.add(entry.name);
      } else {
        slots.set(entry.name, typeof above === "number" ? [slotLayer(above), part.layer] : [...(above as readonly number[]), part.layer]);
      }
    }
    const marks = layer.marks(part.node);
    if (marks.opaque) {
      dir.lowers = dir.lowers.slice(0, index + 1);
      return true;
    }
    if (marks.redirect !== undefined && dir.place !== undefined) {
      const siblings = dir.place.dir.lowers.filter((other) => other.layer > part.layer);
      const further = this.stack.redirected(siblings, marks.redirect, part.layer).filter((other) => other.node.type === S_IFDIR);
      dir.lowers = [...dir.lowers.slice(0, index + 1), ...further];
    }
    return false;
  }

  private mergeUpper(table: Table, dir: LayerNode): void {
    const { slots, covered, whiteouts } = table;
    for (const entry of this.stack.upper!.list(dir)) {
      const below = slots.get(entry.name);
      if (below !== undefined) covered.add(entry.name);
      if (entry.whiteout) {
        whiteouts.add(entry.name);
        slots.delete(entry.name);
      } else if (entry.type === S_IFDIR && below !== undefined && slotType(below) === S_IFDIR) {
        slots.set(entry.name, typeof below === "number" ? [UPPER, slotLayer(below)] : [UPPER, ...(below as readonly number[])]);
      } else {
        slots.set(entry.name, slotOf(UPPER, entry.type));
      }
    }
  }

  private lookupIn(dir: Node, layer: number, name: Name): LayerNode | undefined {
    if (layer === UPPER) return this.stack.upper!.lookup(dir.upper!, name);
    const part = dir.lowers.find((candidate) => candidate.layer === layer);
    return part === undefined ? undefined : this.stack.layer(layer).lookup(part.node, name);
  }

  /** Undefined when the layer no longer has it: somebody changed a layer under the mount. */
  private instantiate(dir: Node, name: Name, slot: number | readonly number[]): Node | undefined {
    const layers = typeof slot === "number" ? [slotLayer(slot)] : slot;
    const top = layers[0]!;
    const found = this.lookupIn(dir, top, name);
    if (found === undefined) return undefined;
    const known = this.linked.get(found);
    if (known !== undefined && (known.upper === undefined || top === UPPER)) {
      this.addPlace(known, dir, name);
      return known;
    }
    const node =
      found.type === S_IFDIR ? this.directory(dir, name, layers, found) : top === UPPER ? this.upperFile(dir, name, found) : this.lowerFile(dir, name, top, found);
    this.addPlace(node, dir, name);
    return node;
  }

  private directory(dir: Node, name: Name, layers: readonly number[], top: LayerNode): Node {
    if (layers[0] !== UPPER) {
      const part = { layer: layers[0]!, node: top };
      const node = new Node(S_IFDIR, this.stack.ino(part.layer, top), undefined, [part]);
      node.unread = layers.slice(1);
      return node;
    }
    const marks = this.stack.upper!.marks(top);
    let lowers: Part[] = [];
    let unread: readonly number[] = [];
    if (marks.redirect !== undefined && !marks.opaque) {
      lowers = this.stack.redirected(dir.lowers, marks.redirect, UPPER).filter((part) => part.node.type === S_IFDIR);
    } else if (!marks.opaque && layers.length > 1) {
      const first = this.lookupIn(dir, layers[1]!, name);
      if (first !== undefined) lowers = [{ layer: layers[1]!, node: first }];
      unread = layers.slice(2);
    }
    const lowest = lowers[0];
    const ino = lowest === undefined ? this.upperIno(this.stack.ino(UPPER, top), marks.origin) : this.stack.ino(lowest.layer, lowest.node);
    // Only a redirect can give two directories the same lower part.
    const node = new Node(S_IFDIR, marks.redirect === undefined ? ino : this.upperIno(this.stack.ino(UPPER, top), ino), top, lowers);
    node.unread = unread;
    if (marks.redirect?.startsWith("/") === true) node.redirect = marks.redirect;
    else if (marks.redirect !== undefined) node.redirect = `${this.lowerPath(dir)}/${marks.redirect}`;
    return node;
  }

  private upperFile(dir: Node, name: Name, found: LayerNode): Node {
    const upper = this.stack.upper!;
    const marks = upper.marks(found);
    const metacopy = marks.metacopy && found.type === S_IFREG;
    const lowers = metacopy ? [this.dataOf(dir, name, marks.redirect, UPPER)] : [];
    const attr = upper.attr(found);
    const node = new Node(found.type, this.upperIno(this.stack.inodes.of(upper.inodeSpace, attr.ino), marks.origin), found, lowers);
    node.metacopy = metacopy;
    if (metacopy) node.redirect = marks.redirect;
    if (attr.nlink > 1) this.linked.set(found, node);
    return node;
  }

  /** A lower file's marks are read when it is opened; only in a stack with data layers every lookup pays for looking at them. */
  private lowerFile(dir: Node, name: Name, layer: number, found: LayerNode): Node {
    if (this.stack.hasDataLayers && found.type === S_IFREG) {
      const { metacopy, redirect } = this.stack.layer(layer).marks(found);
      if (metacopy && !this.stack.isLate(redirect)) this.dataOf(dir, name, redirect, layer);
    }
    const node = new Node(found.type, this.stack.ino(layer, found), undefined, [{ layer, node: found }]);
    if (this.stack.layer(layer).attr(found).nlink > 1) this.linked.set(found, node);
    return node;
  }

  private upperIno(own: number, lower: number | undefined): number {
    return lower === undefined ? own : this.stack.inodes.inherit(lower, own);
  }

  private dataOf(dir: Node, name: Name, redirect: string | undefined, above: number): Part {
    const data = this.stack.dataOf(dir.lowers, name, redirect, above);
    if (data === undefined) throw new FsError("EIO", "lookup", "the data of a metadata-only file is in no layer below");
    return data;
  }

  /**
   * The path of a directory's lower part from the stack's root: what a redirect to it must say.
   * A directory whose ancestor was renamed has its lower part under the ancestor's old path.
   */
  lowerPath(dir: Node): string {
    const components: string[] = [];
    for (let at: Node | undefined = dir; at !== undefined; at = at.parent) {
      if (at.redirect !== undefined) {
        components.push(at.redirect.slice(1));
        break;
      }
      const { place } = at;
      if (place !== undefined) components.push(place.name);
    }
    return `/${components.reverse().join("/")}`;
  }

  /** Enters a node under a name in a table that has been read. */
  addPlace(node: Node, dir: Node, name: Name): void {
    if (node.place === undefined) node.place = { dir, name, next: undefined };
    else node.setPlaces([...node.places(), { dir, name }]);
    dir.children++;
  }

  /** A name appears, or stands for something else. */
  enter(dir: Node, name: Name, node: Node): void {
    const table = this.table(dir);
    table.slots.set(name, node);
    table.whiteouts.delete(name);
    table.version = ++this.clock;
    this.addPlace(node, dir, name);
  }

  /** A name goes. `whiteout` says whether the upper hides it with one now. The node may have other names. */
  leave(dir: Node, name: Name, node: Node, whiteout: boolean): void {
    const table = this.table(dir);
    table.slots.delete(name);
    if (whiteout) table.whiteouts.add(name);
    table.version = ++this.clock;
    node.setPlaces(node.places().filter((place) => place.dir !== dir || place.name !== name));
    dir.children--;
    if (node.place === undefined) node.removed = true;
    this.dropUnused(dir);
  }

  /** A version no listing had before. */
  tick(): number {
    return ++this.clock;
  }

  /** The node has more than one link, or may get more through names not seen yet: found again by its layer node. */
  remember(node: Node, as: LayerNode): void {
    this.linked.set(as, node);
  }

  /** The layer node stands for the node no more. */
  forgetLink(as: LayerNode): void {
    this.linked.delete(as);
  }

  /** One link of a lower file is not to be seen any more. */
  hideLink(node: Node): void {
    const key = linkKey(node);
    const part = node.lowers[0];
    if (key === undefined || part === undefined || this.stack.layer(part.layer).attr(part.node).nlink <= 1) return;
    const count = (this.hiddenLinks.get(key) ?? 0) + 1;
    this.hiddenLinks.set(key, count);
    this.notes?.push(`${key}=${count}`);
  }

  recall(note: string): void {
    const [key = "", count] = note.split("=");
    if (!/^\d+$/.test(count ?? "")) throw new FsError("EIO", "recall", "of what is no note");
    this.hiddenLinks.set(key, Number(count));
  }

  hiddenLinksOf(node: Node): number {
    const key = linkKey(node);
    return key === undefined ? 0 : (this.hiddenLinks.get(key) ?? 0);
  }

  /** Frees a node that nobody uses; its name goes back to being a slot. Goes up as far as that makes parents unused. */
  dropUnused(start: Node): void {
    let node: Node | undefined = start;
    while (node !== undefined && node !== this.root && !node.held && node.children === 0 && node.busy === undefined && node.files === undefined) {
      const parent: Node | undefined = node.parent;
      const slot = this.slotFor(node);
      for (const { dir, name } of node.places()) {
        dir.table!.slots.set(name, slot);
        dir.children--;
        if (dir !== parent) this.dropUnused(dir);
      }
      node.place = undefined;
      this.release(node);
      node = parent;
    }
  }

  private slotFor(node: Node): Slot {
    if (!node.isDirectory) return slotOf(node.upper !== undefined ? UPPER : node.lowers[0]!.layer, node.type);
    const lowers = node.redirect !== undefined ? [] : [...node.lowers.map((part) => part.layer), ...node.unread];
    const layers = node.upper !== undefined ? [UPPER, ...lowers] : lowers;
    return layers.length === 1 ? slotOf(layers[0]!, S_IFDIR) : layers;
  }

  private release(node: Node): void {
    if (node.upper !== undefined) {
      this.linked.delete(node.upper);
      this.stack.upper!.release(node.upper);
    }
    for (const part of node.lowers) {
      this.linked.delete(part.node);
      this.stack.layer(part.layer).release(part.node);
    }
  }
}

function linkKey(node: Node): string | undefined {
  const part = node.lowers[0];
  return part === undefined || node.isDirectory ? undefined : `${part.layer} ${node.ino}`;
}
