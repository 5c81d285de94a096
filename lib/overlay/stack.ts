/**
 * The layers of one merged view, and what can be asked of the lower ones without the view: where a path leads in them.
 * Always true: parts come topmost first, each layer at most once.
 */
import { S_IFDIR } from "../base/mode.js";
import { FsError } from "../base/errors.js";
import { checkName } from "../base/name.js";
import type { Name } from "../base/name.js";
import type { Layer, LayerNode } from "../layer/layer.js";
import type { UpperLayer } from "../layer/upper.js";
import { Inodes } from "./inodes.js";
import type { Part } from "./node.js";

/** Metadata-only files whose data is another's, at most (as for symbolic links). */
const MAX_REDIRECTS = 40;
/**
 * Names looked up in layers for one answer. A redirect leads to lower layers only, so none goes in circles; but a path whose every directory has
 * one, in each of a few layers, would take as many steps as its length to the power of their number.
 */
const MAX_LOOKUPS = 1 << 16;

/** What is left of them. */
interface Budget {
  lookups: number;
}

const fullBudget = (): Budget => ({ lookups: MAX_LOOKUPS });

export interface StackOptions {
  /** Layers that hold only data, reached through absolute redirects of metadata-only files. */
  readonly dataLayers?: readonly Layer[];
  /** Inode numbers of at most 32 bits. */
  readonly ino32?: boolean;
}

export class Stack {
  readonly upper: UpperLayer | undefined;
  /** Index 1…n; index 0 stands for the upper and is never read as a lower. */
  private readonly byIndex: readonly (Layer | undefined)[];
  private readonly dataFrom: number;
  readonly inodes: Inodes;

  constructor(upper: UpperLayer | undefined, lowers: readonly Layer[], options: StackOptions = {}) {
    this.upper = upper;
    const data = options.dataLayers ?? [];
    this.byIndex = [upper, ...lowers, ...data];
    this.dataFrom = 1 + lowers.length;
    const all = this.byIndex.filter((layer) => layer !== undefined);
    this.inodes = new Inodes(all.map((layer) => layer.inodeSpace), options.ino32 ?? false);
  }

  layer(index: number): Layer {
    return this.byIndex[index]!;
  }

  /** The roots of the lowers, without layers that hold only data. */
  lowerRoots(): Part[] {
    const roots: Part[] = [];
    for (let i = 1; i < this.dataFrom; i++) roots.push({ layer: i, node: this.byIndex[i]!.root });
    return roots;
  }

  /** The merged view's inode number of one layer's object. */
  ino(index: number, node: LayerNode): number {
    const layer = this.layer(index);
    return this.inodes.of(layer.inodeSpace, layer.inoOf?.(node) ?? layer.attr(node).ino);
  }

  /**
   * What `name` is in a merged lower directory given by its parts: nothing (empty), a directory's parts, or the one part
   * of something else. Reads whiteouts, opaque marks and redirects as overlayfs does. Throws ELOOP when that takes too many steps.
   */
  child(parts: readonly Part[], name: Name, budget = fullBudget()): Part[] {
    const found: Part[] = [];
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i]!;
      const layer = this.layer(part.layer);
      if (part.node.type !== S_IFDIR) break;
      if (--budget.lookups < 0) throw new FsError("ELOOP", "redirect", name);
      const node = layer.lookup(part.node, name);
      if (node === undefined) {
        if (hides(layer, part.node, name) || layer.marks(part.node).opaque) break;
        continue;
      }
      if (node.type !== S_IFDIR) {
        if (found.length === 0) found.push({ layer: part.layer, node });
        break;
      }
      found.push({ layer: part.layer, node });
      const marks = layer.marks(node);
      if (marks.opaque || layer.marks(part.node).opaque) break;
      if (marks.redirect !== undefined) {
        found.push(...this.redirected(parts.slice(i + 1), marks.redirect, part.layer, budget).filter((p) => p.node.type === S_IFDIR));
        break;
      }
    }
    return found;
  }

  /**
   * Where a redirect leads: "/path" from the roots of the lowers below layer `above`, or a name in the same directory,
   * given by its parts below that layer. Throws ELOOP, EIO for a path that is none.
   */
  redirected(siblings: readonly Part[], redirect: string, above: number, budget = fullBudget()): Part[] {
    if (!redirect.startsWith("/")) return this.child(siblings, checkRedirect(redirect), budget);
    const roots = this.lowerRoots().filter((root) => root.layer > above);
    return this.walk(roots, redirect, budget);
  }

  /** What one layer has at a path from the stack's roots; undefined when that is nothing. */
  partAt(layer: number, path: string): Part | undefined {
    if (layer >= this.dataFrom) return this.walk([{ layer, node: this.layer(layer).root }], path, fullBudget())[0];
    return this.redirected([], path, layer - 1).find((part) => part.layer === layer);
  }

  /** True for a metadata-only file whose data may be in a data layer: as in the kernel it is looked for when it is opened, not before. */
  isLate(redirect: string | undefined): boolean {
    return this.hasDataLayers && redirect?.startsWith("/") === true;
  }

  get hasDataLayers(): boolean {
    return this.dataFrom < this.byIndex.length;
  }

  /** The data of a file whose upper or lower copy has only metadata; undefined when no layer below has it. */
  dataOf(siblings: readonly Part[], name: Name, redirect: string | undefined, above: number): Part | undefined {
    let path = redirect ?? name;
    const budget = fullBudget();
    for (let left = MAX_REDIRECTS; left > 0; left--) {
      let found = this.redirected(siblings.filter((part) => part.layer > above), path, above, budget);
      if (found.length === 0 && path.startsWith("/")) found = this.inDataLayers(path, above, budget);
      const part = found[0];
      if (part === undefined || part.node.type === S_IFDIR) return undefined;
      const marks = this.layer(part.layer).marks(part.node);
      if (!marks.metacopy) return part;
      path = marks.redirect ?? path;
      above = part.layer;
    }
    throw new FsError("ELOOP", "redirect", path);
  }

  private inDataLayers(path: string, above: number, budget: Budget): Part[] {
    for (let i = Math.max(this.dataFrom, above + 1); i < this.byIndex.length; i++) {
      const found = this.walk([{ layer: i, node: this.byIndex[i]!.root }], path, budget);
      if (found.length > 0) return found;
    }
    return [];
  }

  private walk(roots: readonly Part[], path: string, budget: Budget): Part[] {
    let parts = [...roots];
    for (const component of path.split("/").filter((text) => text !== "")) parts = this.child(parts, checkRedirect(component), budget);
    return parts;
  }

  close(): void {
    for (const layer of this.byIndex) layer?.close();
  }
}

function hides(layer: Layer, dir: LayerNode, name: Name): boolean {
  return layer.hides?.(dir, name) ?? layer.list(dir).some((entry) => entry.whiteout && entry.name === name);
}

function checkRedirect(component: string): Name {
  try {
    return checkName(component);
  } catch (error) {
    throw new FsError("EIO", "redirect", JSON.stringify(component), { cause: error });
  }
}
