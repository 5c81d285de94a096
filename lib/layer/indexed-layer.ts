/**
 * A layer of the store, or a whole chain merged into one: attributes, names, link targets, xattrs and small bodies come from an
 * index in memory, without a system call; a larger file is an object of the store, whose descriptor is the file's own.
 *
 * Always true: nothing below changes. What an index says of its objects is believed, except their size, which is compared when one
 * is opened; with `verify` the whole content is, once for each object.
 * An index holds extended attributes as users see them: none in it is a mark of ours, whatever its key.
 */
import type { Attr } from "../base/attr.js";
import { FsError, check, errnoOf } from "../base/errors.js";
import { O_NOATIME, O_RDONLY, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../base/mode.js";
import { pathBytes } from "../base/name.js";
import type { Name } from "../base/name.js";
import { WHITEOUT_NODE } from "../store/index-format.js";
import { ROOT_ROW } from "../store/index-reader.js";
import type { IndexReader } from "../store/index-reader.js";
import { hashOfFile } from "../store/objects.js";
import { native } from "../sys/binding.js";
import { AT_FDCWD, O_DIRECTORY, O_NOFOLLOW, O_PATH } from "../sys/flags.js";
import { STATX_SLOTS } from "../sys/statx.js";
import type { StatFs } from "../vfs.js";
import { FileBacking } from "./file-backing.js";
import { idMap } from "./ids.js";
import type { IdMap, IdMapOptions } from "./ids.js";
import type { Backing, Layer, LayerEntry, LayerNode, Marks } from "./layer.js";
import { ACCESS_ACL, DEFAULT_ACL, mapAclIds } from "./posix-acl.js";

export interface IndexedLayerOptions {
  readonly ids?: IdMapOptions;
  /** Compare the content of each object with its digest when it is first opened: EIO when it differs. Reads all of it, on the calling thread. */
  readonly verify?: boolean;
  /** Called when an object is missing, of the wrong size or, with `verify`, of the wrong content; the caller gets EIO all the same. */
  readonly onDamage?: (message: string) => void;
}

const NO_KEYS: readonly string[] = [];
const NO_MARKS: Marks = { opaque: false, redirect: undefined, metacopy: false, origin: undefined };
const OPAQUE_MARKS: Marks = { opaque: true, redirect: undefined, metacopy: false, origin: undefined };
/** What a directory's size is said to be: programs that divide by it, or take 0 for empty, expect a block. */
const DIRECTORY_BYTES = 4096;
const EPERM = -errnoOf("EPERM");
const ENOENT = -errnoOf("ENOENT");
const slots = new Float64Array(STATX_SLOTS);

export class IndexedNode implements LayerNode {
  readonly type: number;
  readonly row: number;
  readonly owner: IndexedLayer;

  constructor(owner: IndexedLayer, row: number, type: number) {
    this.owner = owner;
    this.row = row;
    this.type = type;
  }
}

export class IndexedLayer implements Layer {
  readonly id: string;
  readonly inodeSpace: string;
  readonly root: IndexedNode;
  readonly #index: IndexReader;
  readonly #onClose: () => void;
  readonly #objects: number;
  readonly #ids: IdMap;
  readonly #onDamage: (message: string) => void;
  /** With `verify`: 1 for each row of the digest table whose object was found right. */
  readonly #verified: Uint8Array | undefined;
  /** Files with several names, by row, while they are not released. */
  readonly #linked = new Map<number, IndexedNode>();
  /** The attributes that were asked for last: a node's are asked for several times while it is made. */
  #lastRow = -1;
  #lastAttr: Attr | undefined;
  /** O_NOATIME while the process may say so. */
  #noatime = O_NOATIME;
  #closed = false;

  /** `objects`: the folder of the index's objects. `onClose` is called once, by close(), and is where the index is closed. Throws ENOENT, EACCES. */
  constructor(index: IndexReader, objects: string, onClose: () => void, options: IndexedLayerOptions = {}) {
    this.#index = index;
    this.#onClose = onClose;
    this.#objects = check(native.open(AT_FDCWD, pathBytes(objects), O_PATH | O_DIRECTORY, 0, 0), "open", objects);
    this.#ids = idMap(options.ids);
    this.#onDamage = options.onDamage ?? (() => undefined);
    this.#verified = options.verify === true ? new Uint8Array(index.digestCount) : undefined;
    this.id = index.id;
    this.inodeSpace = `index:${index.id}`;
    this.root = new IndexedNode(this, ROOT_ROW, S_IFDIR);
  }

  lookup(dir: LayerNode, name: Name): IndexedNode | undefined {
    const row = this.#index.find(this.#row(dir), name);
    if (row < 0 || row === WHITEOUT_NODE) return undefined;
    const type = this.#type(row);
    // A link whose file is in another layer is found when the chain is merged; alone, this layer does not have it.
    if (type === 0) return undefined;
    if (type === S_IFDIR || this.#index.nlink(row) < 2) return new IndexedNode(this, row, type);
    let node = this.#linked.get(row);
    if (node === undefined) this.#linked.set(row, (node = new IndexedNode(this, row, type)));
    return node;
  }

  list(dir: LayerNode): readonly LayerEntry[] {
    const index = this.#index;
    const row = this.#row(dir);
    const count = index.entryCount(row);
    const first = index.firstEntry(row);
    const entries: LayerEntry[] = [];
    for (let entry = first; entry < first + count; entry++) {
      const child = index.entryNode(entry);
      const name = index.entryName(entry) as Name;
      if (child === WHITEOUT_NODE) {
        entries.push({ name, ino: 0, type: 0, whiteout: true });
        continue;
      }
      const type = this.#type(child);
      if (type !== 0) entries.push({ name, ino: inodeOf(child), type, whiteout: false });
    }
    return entries;
  }

  hides(dir: LayerNode, name: Name): boolean {
    return this.#index.find(this.#row(dir), name) === WHITEOUT_NODE;
  }

  attr(node: LayerNode): Attr {
    const row = this.#row(node);
    if (row !== this.#lastRow || this.#lastAttr === undefined) {
      this.#lastAttr = this.#attrOf(row);
      this.#lastRow = row;
    }
    return this.#lastAttr;
  }

  #attrOf(row: number): Attr {
    const index = this.#index;
    const mode = index.mode(row);
    const size = (mode & S_IFMT) === S_IFDIR ? DIRECTORY_BYTES : index.size(row);
    const mtimeSec = index.mtimeSec(row);
    const mtimeNsec = index.mtimeNsec(row);
    return {
      ino: inodeOf(row), mode, nlink: index.nlink(row), uid: this.#ids.uid.presented(index.uid(row)), gid: this.#ids.gid.presented(index.gid(row)),
      rdev: index.rdev(row), size, blocks: (mode & S_IFMT) === S_IFLNK ? 0 : Math.ceil(size / 4096) * 8,
      atimeSec: mtimeSec, atimeNsec: mtimeNsec, mtimeSec, mtimeNsec, ctimeSec: mtimeSec, ctimeNsec: mtimeNsec, btimeSec: 0, btimeNsec: -1,
    };
  }

  marks(node: LayerNode): Marks {
    return this.#index.opaque(this.#row(node)) ? OPAQUE_MARKS : NO_MARKS;
  }

  readlink(link: LayerNode): string {
    return this.#index.readlink(this.#row(link));
  }

  listXattr(node: LayerNode): readonly string[] {
    const row = this.#row(node);
    return this.#index.hasXattrs(row) ? [...this.#index.xattrs(row).keys()] : NO_KEYS;
  }

  getXattr(node: LayerNode, key: string): Uint8Array | undefined {
    const row = this.#row(node);
    if (!this.#index.hasXattrs(row)) return undefined;
    const value = this.#index.xattrs(row).get(key);
    if (value === undefined) return undefined;
    // A copy: the index's own bytes must not reach anybody who may change them.
    // Nobody has checked that an imported ACL is one: what is not is shown as it is, and the kernel refuses it.
    const isAcl = (key === ACCESS_ACL || key === DEFAULT_ACL) && value.length % 8 === 4;
    if (!this.#ids.identity && isAcl) return mapAclIds(value, (id) => this.#ids.uid.presented(id), (id) => this.#ids.gid.presented(id));
    return new Uint8Array(value);
  }

  open(file: LayerNode): Backing {
    const row = this.#row(file);
    if (file.type !== S_IFREG) throw new FsError(file.type === S_IFDIR ? "EISDIR" : "EINVAL", "open");
    const inline = this.#index.inlineBody(row);
    return inline !== undefined ? new InlineBacking(inline) : new FileBacking(this.#openObject(row));
  }

  statfs(): StatFs {
    const out = new Float64Array(10);
    check(native.statfs(this.#objects, out), "statfs");
    return {
      blockSize: out[1]!, fragmentSize: out[2]! || out[1]!, blocks: out[3]!, free: out[4]!, available: out[5]!,
      files: out[6]!, filesFree: out[7]!, nameMax: 255,
    };
  }

  release(node: LayerNode): void {
    const row = this.#row(node);
    if (this.#linked.get(row) === node) this.#linked.delete(row);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#linked.clear();
    native.close(this.#objects);
    this.#onClose();
  }

  #openObject(row: number): number {
    const digest = this.#index.digest(row);
    const path = `${digest.slice(0, 2)}/${digest.slice(2)}`;
    let fd = native.open(this.#objects, path, O_RDONLY | O_NOFOLLOW | this.#noatime, 0, 0);
    if (fd === EPERM && this.#noatime !== 0) {
      // The store belongs to somebody else, who lets us read it.
      this.#noatime = 0;
      fd = native.open(this.#objects, path, O_RDONLY | O_NOFOLLOW, 0, 0);
    }
    if (fd === ENOENT) throw this.#damage(`object ${digest} is missing`);
    check(fd, "open", path);
    try {
      check(native.statx(fd, "", 0, slots), "statx", path);
      const size = slots[6]!;
      if (size !== this.#index.size(row)) throw this.#damage(`expected object ${digest} to be of ${this.#index.size(row)} bytes, found ${size}`);
      const digestRow = this.#index.digestRow(row);
      if (this.#verified !== undefined && this.#verified[digestRow] === 0) {
        const found = hashOfFile(fd);
        if (found !== digest) throw this.#damage(`object ${digest} holds content with digest ${found}`);
        this.#verified[digestRow] = 1;
      }
    } catch (error) {
      native.close(fd);
      throw error;
    }
    return fd;
  }

  #damage(message: string): FsError {
    this.#onDamage(message);
    return new FsError("EIO", "open", message);
  }

  #row(node: LayerNode): number {
    if (node instanceof IndexedNode && node.owner === this) return node.row;
    throw new FsError("ESTALE", "layer", "a node of another layer");
  }

  #type(row: number): number {
    return this.#index.mode(row) & S_IFMT;
  }
}

/** Small bodies, which are in the index. */
class InlineBacking implements Backing {
  readonly fd = -1;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  read(into: Uint8Array, position: number): number {
    const part = this.#bytes.subarray(position, position + into.length);
    into.set(part);
    return part.length;
  }

  seek(position: number, whence: 3 | 4): number {
    if (position >= this.#bytes.length) throw new FsError("ENXIO", "lseek");
    return whence === 3 ? position : this.#bytes.length;
  }

  close(): void {
    return;
  }
}

/** Inode 0 means "none" to many programs, and the root is 1 by custom. */
const inodeOf = (row: number): number => row + 1;
