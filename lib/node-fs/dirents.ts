/** Directory entries and open directories as node:fs gives them. A Dir shows the directory as it was when it was opened. */
import type { DirEntry } from "../vfs.js";
import { decoded } from "./arguments.js";
import { nodeError } from "./errors.js";
import { TypedObject } from "./stats.js";

export class Dirent extends TypedObject {
  readonly name: string | Buffer;
  readonly parentPath: string;
  /** The older spelling of parentPath. */
  readonly path: string;
  readonly #type: number;

  constructor(name: string | Buffer, type: number, parentPath: string) {
    super();
    this.name = name;
    this.parentPath = parentPath;
    this.path = parentPath;
    this.#type = type;
  }

  override typeBits(): number {
    return this.#type;
  }
}

/** In the order of their bytes, as Node sorts them. */
export function sorted(entries: readonly DirEntry[]): DirEntry[] {
  return [...entries].sort((a, b) => (a.name < b.name ? -1 : 1));
}

type DirentCallback = (error: Error | null, entry?: Dirent | null) => void;
type CloseCallback = (error: Error | null) => void;

export class Dir implements AsyncIterable<Dirent> {
  readonly path: string;
  readonly #entries: readonly DirEntry[];
  readonly #encoding: BufferEncoding | "buffer";
  #next = 0;
  #closed = false;

  constructor(path: string, entries: readonly DirEntry[], encoding: BufferEncoding | "buffer") {
    this.path = path;
    this.#entries = entries;
    this.#encoding = encoding;
  }

  /** Null at the end. */
  readSync(): Dirent | null {
    this.#mustBeOpen();
    const entry = this.#entries[this.#next];
    if (entry === undefined) return null;
    this.#next++;
    return new Dirent(decoded(entry.name, this.#encoding), entry.type, this.path);
  }

  closeSync(): void {
    this.#mustBeOpen();
    this.#closed = true;
  }

  read(callback?: DirentCallback): Promise<Dirent | null> | undefined {
    const result = (async () => this.readSync())();
    if (callback === undefined) return result;
    result.then((entry) => setImmediate(callback, null, entry), (error: unknown) => setImmediate(callback, error as Error));
    return undefined;
  }

  close(callback?: CloseCallback): Promise<void> | undefined {
    const result = (async () => this.closeSync())();
    if (callback === undefined) return result;
    result.then(() => setImmediate(callback, null), (error: unknown) => setImmediate(callback, error as Error));
    return undefined;
  }

  /** Closes the directory when the loop ends, in whatever way. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Dirent, void> {
    try {
      for (let entry = this.readSync(); entry !== null; entry = this.readSync()) yield entry;
    } finally {
      if (!this.#closed) this.closeSync();
    }
  }

  #mustBeOpen(): void {
    if (this.#closed) throw Object.assign(nodeError("EBADF", "readdir", this.path), { code: "ERR_DIR_CLOSED", message: "Directory handle was closed" });
  }
}
