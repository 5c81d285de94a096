/**
 * A layer in memory: for tests, secrets and generated files.
 * Always true: behaves as a directory layer with the same tree would; there is no descriptor, so bytes go through read().
 */
import type { Attr } from "../base/attr.js";
import { FsError } from "../base/errors.js";
import { S_IFDIR, S_IFLNK, S_IFREG } from "../base/mode.js";
import { NAME_MAX } from "../base/name.js";
import type { Name } from "../base/name.js";
import type { StatFs } from "../vfs.js";
import { unlimited } from "./chunked-bytes.js";
import type { Budget, ChunkedBytes } from "./chunked-bytes.js";
import { checkRedirect } from "./dialect.js";
import type { Backing, Layer, LayerEntry, LayerNode, Marks } from "./layer.js";
import { MemoryNode, WHITEOUT, buildTree } from "./memory-node.js";
import type { TreeDescription } from "./tree-description.js";

export interface MemoryLayerOptions {
  /** Unique in the stack; by default the layer's number in this process. */
  readonly id?: string;
}

let made = 0;
const BLOCK = 4096;
/** What statfs says of a layer without a bound: a terabyte. */
const NO_BOUND = 2 ** 40;

export class MemoryLayer implements Layer {
  readonly id: string;
  readonly inodeSpace: string;
  readonly root: MemoryNode;
  protected readonly budget: Budget;
  protected nextIno: number;

  constructor(description: TreeDescription, options: MemoryLayerOptions = {}, budget: Budget = unlimited()) {
    this.inodeSpace = `memory:${++made}`;
    this.id = options.id ?? this.inodeSpace;
    this.budget = budget;
    const { root, nextIno } = buildTree(description, budget);
    this.root = root;
    this.nextIno = nextIno;
  }

  lookup(parent: LayerNode, name: Name): MemoryNode | undefined {
    return entriesOf(parent, "lookup").get(name) ?? undefined;
  }

  list(parent: LayerNode): readonly LayerEntry[] {
    const entries: LayerEntry[] = [];
    for (const [name, node] of entriesOf(parent, "readdir")) {
      entries.push(node === WHITEOUT ? { name, ino: 0, type: 0, whiteout: true } : { name, ino: node.ino, type: node.type, whiteout: false });
    }
    return entries;
  }

  hides(parent: LayerNode, name: Name): boolean {
    return entriesOf(parent, "lookup").get(name) === WHITEOUT;
  }

  attr(node: LayerNode): Attr {
    return asMemoryNode(node).attr();
  }

  marks(node: LayerNode): Marks {
    const { opaque, redirect, metacopy, origin } = asMemoryNode(node);
    return { opaque, redirect: redirect === undefined ? undefined : checkRedirect(redirect), metacopy, origin };
  }

  readlink(link: LayerNode): string {
    const node = asMemoryNode(link);
    if (node.type !== S_IFLNK) throw new FsError("EINVAL", "readlink");
    return node.target;
  }

  listXattr(node: LayerNode): readonly string[] {
    return [...asMemoryNode(node).xattrs.keys()];
  }

  getXattr(node: LayerNode, key: string): Uint8Array | undefined {
    const value = asMemoryNode(node).xattrs.get(key);
    return value === undefined ? undefined : new Uint8Array(value);
  }

  open(file: LayerNode): Backing {
    return new MemoryBacking(dataOf(file));
  }

  statfs(): StatFs {
    const bound = Math.min(this.budget.maxBytes, NO_BOUND);
    const blocks = Math.floor(bound / BLOCK);
    const free = Math.max(0, Math.floor((bound - this.budget.usedBytes) / BLOCK));
    return { blockSize: BLOCK, fragmentSize: BLOCK, blocks, free, available: free, files: 2 ** 32, filesFree: 2 ** 32 - this.nextIno, nameMax: NAME_MAX };
  }

  release(_node: LayerNode): void {
    return;
  }

  close(): void {
    return;
  }
}

export class MemoryBacking implements Backing {
  readonly fd = -1;
  protected readonly data: ChunkedBytes;

  constructor(data: ChunkedBytes) {
    this.data = data;
  }

  read(into: Uint8Array, position: number): number {
    return this.data.read(into, position);
  }

  seek(position: number, whence: 3 | 4): number {
    return this.data.seek(position, whence);
  }

  close(): void {
    return;
  }
}

/** The layer's own node behind the opaque one. Throws ESTALE for a stranger. */
export function asMemoryNode(node: LayerNode): MemoryNode {
  if (node instanceof MemoryNode) return node;
  throw new FsError("ESTALE", "layer", "a node of another layer");
}

/** Throws ENOTDIR. */
export function entriesOf(dir: LayerNode, syscall: string): Map<Name, MemoryNode | typeof WHITEOUT> {
  const { entries } = asMemoryNode(dir);
  if (entries === undefined) throw new FsError("ENOTDIR", syscall);
  return entries;
}

/** Throws EISDIR, EINVAL. */
export function dataOf(file: LayerNode): ChunkedBytes {
  const node = asMemoryNode(file);
  if (node.type === S_IFREG) return node.data!;
  throw new FsError(node.type === S_IFDIR ? "EISDIR" : "EINVAL", "open");
}
