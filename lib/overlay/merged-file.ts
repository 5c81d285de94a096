/**
 * The bytes of a merged file, following its node: a copy-up switches every open file to the upper in the same turn.
 * Always true: `writable` means that the backing is the upper's.
 */
import { FsError } from "../base/errors.js";
import type { Backing } from "../layer/layer.js";
import type { UpperLayer, WritableBacking } from "../layer/upper.js";
import type { OpenFile } from "../vfs.js";
import type { Node } from "./node.js";
import type { Tree } from "./tree.js";

export class MergedFile implements OpenFile {
  private readonly tree: Tree;
  private readonly node: Node;
  private backing: Backing;
  private upper: WritableBacking | undefined;
  private closed = false;

  /** Opens the node where its data is now; for writing only when that is the upper. */
  constructor(tree: Tree, node: Node, forWriting: boolean) {
    this.tree = tree;
    this.node = node;
    if (forWriting) this.backing = this.upper = tree.stack.upper!.openWritable(node.upper!);
    else this.backing = openData(tree, node);
    (node.files ??= new Set()).add(this);
  }

  get writable(): boolean {
    return this.upper !== undefined;
  }

  get fd(): number {
    return this.backing.fd;
  }

  read(into: Uint8Array, position: number): number {
    return this.backing.read(into, position);
  }

  write(from: Uint8Array, position: number): number {
    return this.toWrite("write").write(from, position);
  }

  allocate(mode: number, position: number, length: number): void {
    this.toWrite("fallocate").allocate(mode, position, length);
  }

  seek(position: number, whence: 3 | 4): number {
    return this.backing.seek(position, whence);
  }

  /** What was only read has nothing to sync; but fsync(2) on a reader's descriptor makes others' writes durable too. */
  sync(dataOnly: boolean): void | Promise<void> {
    if (this.upper !== undefined) return this.upper.sync(dataOnly);
    const { upper } = this.tree.stack;
    if (upper === undefined || this.node.upper === undefined || this.node.metacopy) return;
    const writer = upper.openWritable(this.node.upper);
    const done = writer.sync(dataOnly);
    if (done === undefined) writer.close();
    return done?.finally(() => writer.close());
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    const { node } = this;
    node.files?.delete(this);
    if (node.files?.size === 0) node.files = undefined;
    this.backing.close();
    this.tree.dropUnused(node);
  }

  /** Called by a copy-up once the upper has the data. A failure leaves the old bytes, which are the same. */
  follow(upper: UpperLayer): void {
    if (this.upper !== undefined) return;
    const next = upper.open(this.node.upper!);
    this.backing.close();
    this.backing = next;
  }

  private toWrite(syscall: string): WritableBacking {
    if (this.upper === undefined) throw new FsError("EBADF", syscall, "on a file that is not open for writing");
    return this.upper;
  }
}

/** The layer's own open file that has a merged file's bytes. A lower copy may itself be metadata only. */
export function openData(tree: Tree, node: Node): Backing {
  const { stack } = tree;
  if (node.upper !== undefined && !node.metacopy) return stack.upper!.open(node.upper);
  const part = node.lowers[0]!;
  const layer = stack.layer(part.layer);
  const marks = layer.marks(part.node);
  if (!marks.metacopy) return layer.open(part.node);
  const { place } = node;
  if (place === undefined) throw new FsError("EIO", "open", "the data of a removed metadata-only file can no longer be found");
  const data = stack.dataOf(place.dir.lowers, place.name, marks.redirect, part.layer);
  if (data === undefined) {
    throw new FsError(stack.isLate(marks.redirect) ? "ENOENT" : "EIO", "open", "the data of a metadata-only file is in no layer below");
  }
  return stack.layer(data.layer).open(data.node);
}
