/**
 * Merges the indexes of a chain of layers into the index of one tree: whiteouts and opaque directories applied, hard links to
 * lower layers found, implied directories given the attributes of the directory below.
 *
 * One pass over the directories, each with the list of those that make it up, topmost first. The work is proportional to the
 * entries of all layers. Does not yield: a million entries take some seconds.
 *
 * Rules, as a lower layer is seen through an upper one (OCI image-spec, layer.md):
 *   - a directory over a directory: entries of both, attributes of the upper;
 *   - anything else over anything: the upper alone;
 *   - a whiteout: nothing; an opaque directory: the upper alone, down to the bottom, but for the attributes of one that is only implied.
 */
import type { FastHash } from "../base/fast-hash.js";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../base/mode.js";
import type { Digest } from "./digest.js";
import { StoreError } from "./errors.js";
import { damaged, WHITEOUT_NODE } from "./index-format.js";
import { ROOT_ROW, type IndexReader } from "./index-reader.js";
import { IndexWriter, type IndexNode } from "./index-writer.js";
import { byBytes } from "./layer-tree.js";

/** One object of one layer. */
interface Part {
  readonly layer: number;
  readonly row: number;
}

/** What a name stands for: the parts of a directory, or one other object. */
interface Merged {
  readonly parts: Part[];
  /** Lower layers cannot add to it. */
  closed: boolean;
  /** The topmost directory that an entry describes. It may lie below an opaque one that is only implied: what is hidden is its content. */
  described: Part | undefined;
  /** No lower layer can describe it. */
  settled: boolean;
}

const NOT_WRITTEN = 0xffffffff;

/**
 * `layers` bottom-up, each the index of a layer. Gives the parts of the chain's index file.
 * Throws ERR_STORE_TREE for a hard link whose file no lower layer has, ERR_STORE_LIMIT; for a damaged layer ERR_STORE_DAMAGED, EIO.
 */
export function mergeChain(layers: readonly IndexReader[], id: Digest, hash: FastHash): Uint8Array[] {
  return new ChainMerge(layers, hash).write(id);
}

class ChainMerge {
  readonly #layers: readonly IndexReader[];
  readonly #writer: IndexWriter;
  /** Row in the result of every object already written, so that all names of a hard-linked file get one. */
  readonly #written: readonly Uint32Array[];

  constructor(layers: readonly IndexReader[], hash: FastHash) {
    this.#layers = layers;
    this.#writer = new IndexWriter(hash);
    this.#written = layers.map((layer) => new Uint32Array(layer.rows).fill(NOT_WRITTEN));
    for (const layer of layers) layer.loadDigests();
  }

  write(id: Digest): Uint8Array[] {
    const root = this.#rootBelow(this.#layers.length);
    const open: { readonly row: number; readonly parts: readonly Part[] }[] = [{ row: this.#add(root), parts: root.parts }];
    for (let directory = open.pop(); directory !== undefined; directory = open.pop()) {
      const names: string[] = [];
      const rows: number[] = [];
      const each = (name: string, merged: Pick<Merged, "parts" | "described">): void => {
        const row = this.#add(merged);
        names.push(name);
        rows.push(row);
        if (this.#isDirectory(merged.parts[0] as Part)) open.push({ row, parts: merged.parts });
      };
      if (directory.parts.length === 1) this.#single(directory.parts[0] as Part, each);
      else this.#several(directory.parts, each);
      this.#writer.setDirectory(directory.row, names, rows);
    }
    return this.#writer.finish("chain", id);
  }

  /** A directory that one layer makes up: its entries are in order already. */
  #single({ layer, row }: Part, each: (name: string, merged: Pick<Merged, "parts" | "described">) => void): void {
    const index = this.#layers[layer] as IndexReader;
    const end = index.firstEntry(row) + index.entryCount(row);
    for (let entry = index.firstEntry(row); entry < end; entry++) {
      const child = index.entryNode(entry);
      if (child !== WHITEOUT_NODE) each(index.entryName(entry), { parts: [this.#target({ layer, row: child })], described: undefined });
    }
  }

  #several(parts: readonly Part[], each: (name: string, merged: Merged) => void): void {
    const merged = new Map<string, Merged>();
    for (const { layer, row } of parts) {
      const index = this.#layers[layer] as IndexReader;
      const end = index.firstEntry(row) + index.entryCount(row);
      for (let entry = index.firstEntry(row); entry < end; entry++) {
        const name = index.entryName(entry);
        const child = index.entryNode(entry);
        const known = merged.get(name);
        if (known === undefined) {
          const fresh = nothingYet();
          this.#append(fresh, layer, child);
          merged.set(name, fresh);
        } else {
          this.#append(known, layer, child);
        }
      }
    }
    for (const name of [...merged.keys()].sort(byBytes)) {
      const found = merged.get(name) as Merged;
      if (found.parts.length > 0) each(name, found);
    }
  }

  /** Adds what the next lower layer has under the same name. */
  #append(merged: Merged, layer: number, row: number): void {
    if (merged.closed && merged.settled) return;
    const part: Part = { layer, row };
    if (row === WHITEOUT_NODE || !this.#isDirectory(part)) {
      if (row !== WHITEOUT_NODE && merged.parts.length === 0) merged.parts.push(this.#target(part));
      merged.closed = merged.settled = true;
      return;
    }
    const index = this.#layers[layer] as IndexReader;
    if (!merged.settled && !index.implicit(row)) {
      merged.described = part;
      merged.settled = true;
    }
    if (merged.closed) return;
    merged.parts.push(part);
    if (index.opaque(row)) merged.closed = true;
  }

  #isDirectory({ layer, row }: Part): boolean {
    return ((this.#layers[layer] as IndexReader).mode(row) & S_IFMT) === S_IFDIR;
  }

  /** The file itself, for a hard link to a lower layer. */
  #target(part: Part): Part {
    let target = part;
    for (;;) {
      const path = (this.#layers[target.layer] as IndexReader).lowerLink(target.row);
      if (path === undefined) return target;
      const found = this.#resolve(target.layer, path);
      if (found === undefined || this.#isDirectory(found)) {
        throw new StoreError("ERR_STORE_TREE", `expected a file at ${JSON.stringify(path)} in the layers below, as target of a hard link, found ${found === undefined ? "nothing" : "a directory"}`);
      }
      target = found;
    }
  }

  /** What `path` stands for in the layers below `layer`. No symbolic link is followed. */
  #resolve(layer: number, path: string): Part | undefined {
    let merged = this.#rootBelow(layer);
    for (const name of path.split("/")) {
      const next = nothingYet();
      for (const part of merged.parts) {
        if (!this.#isDirectory(part)) return undefined;
        const row = (this.#layers[part.layer] as IndexReader).find(part.row, name);
        if (row >= 0) this.#append(next, part.layer, row);
      }
      merged = next;
    }
    return merged.parts[0];
  }

  #rootBelow(layer: number): Merged {
    const root = nothingYet();
    for (let i = layer - 1; i >= 0; i--) this.#append(root, i, ROOT_ROW);
    return root;
  }

  /** Writes the object that parts make up, once; its row. */
  #add({ parts, described }: Pick<Merged, "parts" | "described">): number {
    const top = parts[0] as Part;
    const written = this.#written[top.layer] as Uint32Array;
    const known = written[top.row] as number;
    if (known !== NOT_WRITTEN) {
      // A directory of two names, as no writer makes one, could hold itself.
      if (this.#isDirectory(top)) throw damaged(`layer ${(this.#layers[top.layer] as IndexReader).id}`, "found a directory a second time");
      return known;
    }
    const from = described ?? top;
    const row = this.#writer.addNode(nodeOf(this.#layers[from.layer] as IndexReader, from.row));
    written[top.row] = row;
    return row;
  }
}

const nothingYet = (): Merged => ({ parts: [], closed: false, described: undefined, settled: false });

/** Everything an index says of a row but its place and its marks. */
export function nodeOf(index: IndexReader, row: number): IndexNode {
  const mode = index.mode(row);
  const digestRow = index.digestRow(row);
  const inline = digestRow < 0 && (mode & S_IFMT) === S_IFREG ? index.inlineBody(row) : undefined;
  return {
    mode, uid: index.uid(row), gid: index.gid(row), mtimeSec: index.mtimeSec(row), mtimeNsec: index.mtimeNsec(row),
    xattrs: index.xattrs(row),
    content: inline !== undefined ? { kind: "inline", bytes: inline } : digestRow >= 0 ? { kind: "object", digest: index.digestAt(digestRow), size: index.size(row) } : undefined,
    target: (mode & S_IFMT) === S_IFLNK ? index.readlink(row) : "",
    rdev: index.rdev(row),
  };
}
