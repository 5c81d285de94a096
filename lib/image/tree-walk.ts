/**
 * From trees into a LayerBuilder: what an upper layer changes, a whole merged chain, a whole directory.
 *
 * An upper is told against the chain's index alone: attributes and digests of what was renamed or copied up without its data come from
 * there, and no lower file is looked at. The work is proportional to the change, but for a file with several names of which only some
 * were renamed: then the index, in memory, is gone through for the others.
 */
import { FsError } from "../base/errors.js";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from "../base/mode.js";
import type { Name } from "../base/name.js";
import type { Layer, LayerNode } from "../layer/layer.js";
import { nodeOf } from "../store/chain-merge.js";
import { INLINE_MAX, WHITEOUT_NODE } from "../store/index-format.js";
import { ROOT_ROW, type IndexReader } from "../store/index-reader.js";
import type { FileContent } from "../store/index-writer.js";
import { byBytes, type TreeObject } from "../store/layer-tree.js";
import type { StoreWriter } from "../store/store-writer.js";
import type { LayerBuilder } from "./layer-build.js";

const NONE = -1;
/** Files up to this size are read before they are put: their object is most often there already, or is small. */
const IN_MEMORY = 1 << 20;

type Path = readonly string[];

export interface TreeWalkResult {
  /** Bytes of objects that the store did not have before. */
  readonly addedBytes: number;
  /** Sockets, which no archive holds; latin1. */
  readonly skipped: readonly string[];
}

/** Adds what `upper` says over the chain of `below`; all that it has when there is no chain. */
export async function addUpper(builder: LayerBuilder, writer: StoreWriter, upper: Layer, below: IndexReader | undefined): Promise<TreeWalkResult> {
  const walk = new TreeWalk(builder, writer, upper, below);
  return await walk.run();
}

/** Adds everything that a chain holds. */
export async function addChain(builder: LayerBuilder, chain: IndexReader): Promise<void> {
  chain.loadDigests();
  const rows = new IndexRows(builder, chain);
  await builder.put([], nodeOf(chain, ROOT_ROW));
  await rows.children([], ROOT_ROW);
}

/** Objects of the chain's index on their way into the layer. */
class IndexRows {
  /** The first name, in the layer, of each file with several. */
  readonly linked = new Map<number, { readonly path: Path; names: number }>();
  readonly index: IndexReader;
  readonly #builder: LayerBuilder;

  constructor(builder: LayerBuilder, index: IndexReader) {
    this.#builder = builder;
    this.index = index;
  }

  async add(path: Path, row: number): Promise<void> {
    const object = nodeOf(this.index, row);
    const isDirectory = (object.mode & S_IFMT) === S_IFDIR;
    const first = this.linked.get(row);
    if (first !== undefined) {
      first.names++;
      return await this.#builder.link(path, first.path, object);
    }
    if (!isDirectory && this.index.nlink(row) > 1) this.linked.set(row, { path, names: 1 });
    await this.#builder.put(path, object);
    if (isDirectory) await this.children(path, row);
  }

  async children(path: Path, directory: number): Promise<void> {
    const end = this.index.firstEntry(directory) + this.index.entryCount(directory);
    for (let entry = this.index.firstEntry(directory); entry < end; entry++) await this.add([...path, this.index.entryName(entry)], this.index.entryNode(entry));
  }
}

interface Directory {
  readonly node: LayerNode;
  readonly path: Path;
  /** The lower directory that this one is merged with; NONE when it shows the upper alone. */
  readonly merged: number;
  /** What the layers below have at the same path, as far as this layer lets it through: NONE, or a directory. */
  readonly place: number;
}

class TreeWalk {
  readonly #builder: LayerBuilder;
  readonly #writer: StoreWriter;
  readonly #upper: Layer;
  readonly #below: IndexReader | undefined;
  readonly #rows: IndexRows | undefined;
  /** The first name of each file of the upper with several, by inode number. */
  readonly #linked = new Map<number, Path>();
  readonly #skipped: string[] = [];
  #addedBytes = 0;

  constructor(builder: LayerBuilder, writer: StoreWriter, upper: Layer, below: IndexReader | undefined) {
    this.#builder = builder;
    this.#writer = writer;
    this.#upper = upper;
    this.#below = below;
    this.#rows = below === undefined ? undefined : new IndexRows(builder, below);
  }

  async run(): Promise<TreeWalkResult> {
    const root = this.#object(this.#upper.root, undefined);
    const below = this.#below === undefined ? undefined : nodeOf(this.#below, ROOT_ROW);
    if (below === undefined || !sameObject(root, below)) await this.#builder.put([], root);
    const lower = this.#below === undefined ? NONE : ROOT_ROW;
    const opaque = this.#upper.marks(this.#upper.root).opaque;
    await this.#directory({ node: this.#upper.root, path: [], merged: opaque ? NONE : lower, place: lower });
    await this.#otherNames();
    return { addedBytes: this.#addedBytes, skipped: this.#skipped };
  }

  /** What is in a directory that has been put. */
  async #directory(dir: Directory): Promise<void> {
    const renamed = dir.merged !== dir.place;
    if (renamed && dir.place !== NONE) await this.#builder.opaque(dir.path);
    const place = renamed ? NONE : dir.place;
    const entries = new Map(this.#upper.list(dir.node).map((entry) => [entry.name as string, entry]));
    const names = [...entries.keys()];
    if (renamed && dir.merged !== NONE) for (const name of this.#namesOf(dir.merged)) if (!entries.has(name)) names.push(name);
    for (const name of names.sort(byBytes)) {
      const path = [...dir.path, name];
      const entry = entries.get(name);
      const node = entry === undefined || entry.whiteout ? undefined : this.#upper.lookup(dir.node, name as Name);
      if (node === undefined) {
        if (entry === undefined) await this.#rows!.add(path, this.#find(dir.merged, name));
        else if (this.#find(place, name) !== NONE) await this.#builder.whiteout(path);
      } else if (node.type === S_IFDIR) {
        await this.#subdirectory(dir, place, path, node);
      } else {
        await this.#leaf(dir, path, node);
        this.#upper.release(node);
      }
    }
    if (dir.path.length > 0) this.#upper.release(dir.node);
  }

  async #subdirectory(dir: Directory, place: number, path: Path, node: LayerNode): Promise<void> {
    const name = path.at(-1) as string;
    const marks = this.#upper.marks(node);
    const below = marks.opaque ? NONE : marks.redirect === undefined ? this.#find(dir.merged, name) : this.#redirected(dir.merged, marks.redirect);
    await this.#builder.put(path, this.#object(node, undefined));
    await this.#directory({ node, path, merged: this.#onlyDirectory(below), place: this.#onlyDirectory(this.#find(place, name)) });
  }

  async #leaf(dir: Directory, path: Path, node: LayerNode): Promise<void> {
    if (node.type === S_IFSOCK) {
      this.#skipped.push(path.join("/"));
      return;
    }
    const attr = this.#upper.attr(node);
    const first = attr.nlink > 1 ? this.#linked.get(attr.ino) : undefined;
    if (first !== undefined) return await this.#builder.link(path, first, this.#object(node, undefined));
    const content = node.type === S_IFREG ? await this.#content(dir, path, node, attr.size) : undefined;
    await this.#builder.put(path, this.#object(node, content));
    if (attr.nlink > 1) this.#linked.set(attr.ino, path);
  }

  async #content(dir: Directory, path: Path, node: LayerNode, size: number): Promise<FileContent> {
    const { metacopy, redirect } = this.#upper.marks(node);
    if (metacopy) {
      const row = this.#redirected(dir.merged, redirect ?? (path.at(-1) as string));
      const content = row === NONE || this.#below === undefined ? undefined : nodeOf(this.#below, row).content;
      if (content !== undefined) return content;
      // An empty file of a layer that is in no image: a mountpoint.
      if (size > 0) throw new FsError("EIO", "commit", `the data of the metadata-only file ${JSON.stringify(path.join("/"))} is not in the image`);
      return { kind: "inline", bytes: new Uint8Array(0) };
    }
    const backing = this.#upper.open(node);
    try {
      if (size > IN_MEMORY && backing.fd >= 0) return this.#kept(await this.#writer.putFile(backing.fd, size));
      const bytes = new Uint8Array(size);
      const whole = bytes.subarray(0, backing.read(bytes, 0));
      return whole.length <= INLINE_MAX ? { kind: "inline", bytes: whole } : this.#kept(await this.#writer.putBytes(whole));
    } finally {
      backing.close();
    }
  }

  #kept({ digest, size, added }: Awaited<ReturnType<StoreWriter["putBytes"]>>): FileContent {
    if (added) this.#addedBytes += size;
    return { kind: "object", digest, size };
  }

  #object(node: LayerNode, content: FileContent | undefined): TreeObject {
    const { mode, uid, gid, mtimeSec, mtimeNsec, rdev } = this.#upper.attr(node);
    const xattrs = new Map<string, Uint8Array>();
    for (const key of [...this.#upper.listXattr(node)].sort(byBytes)) {
      const value = this.#upper.getXattr(node, key);
      if (value !== undefined) xattrs.set(key, value);
    }
    return { mode, uid, gid, mtimeSec, mtimeNsec, rdev, xattrs, content, target: node.type === S_IFLNK ? this.#upper.readlink(node) : "" };
  }

  // ── the layers below ──

  #namesOf(directory: number): string[] {
    const index = this.#below as IndexReader;
    const first = index.firstEntry(directory);
    return Array.from({ length: index.entryCount(directory) }, (_, i) => index.entryName(first + i));
  }

  /** NONE in what is no directory. */
  #find(directory: number, name: string): number {
    if (directory === NONE || this.#below === undefined || this.#onlyDirectory(directory) === NONE) return NONE;
    const row = this.#below.find(directory, name);
    return row === WHITEOUT_NODE ? NONE : row;
  }

  #onlyDirectory(row: number): number {
    return row !== NONE && ((this.#below as IndexReader).mode(row) & S_IFMT) === S_IFDIR ? row : NONE;
  }

  #redirected(siblings: number, redirect: string): number {
    if (!redirect.startsWith("/")) return this.#find(siblings, redirect);
    let row = ROOT_ROW;
    for (const name of redirect.slice(1).split("/")) row = this.#find(row, name);
    return row;
  }

  /** Names outside of renamed directories that files in them have as well: they become names of the file in this layer. */
  async #otherNames(): Promise<void> {
    const rows = this.#rows;
    if (rows === undefined || ![...rows.linked].some(([row, { names }]) => names < rows.index.nlink(row))) return;
    const known = new Set([...rows.linked.values()].map(({ path }) => path.join("/")));
    const seek = async (row: number, path: Path, node: LayerNode | undefined, parents: readonly number[]): Promise<void> => {
      const whiteouts = new Set<string>(node === undefined ? [] : this.#upper.list(node).filter(({ whiteout }) => whiteout).map(({ name }) => name));
      for (const name of this.#namesOf(row)) {
        const child = this.#find(row, name);
        const inner = [...path, name];
        const above = node === undefined ? undefined : this.#upper.lookup(node, name as Name);
        if (whiteouts.has(name)) continue;
        const linked = rows.linked.get(child);
        if (linked !== undefined && above === undefined && !known.has(inner.join("/"))) {
          // Every unpacker must find the directories, with their attributes, in this layer; those of the upper are there.
          for (const [depth, parent] of parents.entries()) {
            const directory = path.slice(0, path.length - parents.length + depth + 1).join("/");
            if (!known.has(directory)) await this.#builder.put(directory.split("/"), nodeOf(rows.index, parent));
            known.add(directory);
          }
          await rows.add(inner, child);
        }
        if (this.#onlyDirectory(child) === NONE) continue;
        if (above === undefined) await seek(child, inner, undefined, [...parents, child]);
        else if (above.type === S_IFDIR && !this.#upper.marks(above).opaque && this.#upper.marks(above).redirect === undefined) await seek(child, inner, above, []);
      }
    };
    await seek(ROOT_ROW, [], this.#upper.root, []);
  }
}

function sameObject(a: TreeObject, b: TreeObject): boolean {
  const same = a.mode === b.mode && a.uid === b.uid && a.gid === b.gid && a.mtimeSec === b.mtimeSec && a.mtimeNsec === b.mtimeNsec && a.xattrs.size === b.xattrs.size;
  return same && [...a.xattrs].every(([key, value]) => Buffer.compare(value, b.xattrs.get(key) ?? Buffer.alloc(0)) === 0 && b.xattrs.has(key));
}
