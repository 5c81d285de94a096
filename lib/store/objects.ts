/**
 * Objects: file contents, plain files named by their SHA-256. An object never changes; one that is visible is whole and durable.
 * Its modification time says when somebody last put it, which is what keeps it from the sweep until something refers to it.
 */
import { createHash } from "node:crypto";
import { closeSync, lstatSync, openSync, readSync, type Stats } from "node:fs";
import { join } from "node:path";
import { hasCode } from "../base/errors.js";
import type { Digest } from "./digest.js";
import { StoreError } from "./errors.js";
import { namesIn } from "./files.js";

const READ_BYTES = 1 << 20;

export class Objects {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Where an object is, if it is there. */
  path(digest: Digest): string {
    return join(this.#folder, digest.slice(0, 2), digest.slice(2));
  }
  folderOf(digest: Digest): string {
    return join(this.#folder, digest.slice(0, 2));
  }

  /** Undefined when it is missing. */
  stat(digest: Digest): Stats | undefined {
    return lstatSync(this.path(digest), { throwIfNoEntry: false });
  }

  /** A descriptor for reading, the caller's to close. Throws ERR_STORE_MISSING. */
  open(digest: Digest): number {
    try {
      return openSync(this.path(digest), "r");
    } catch (error) {
      if (hasCode(error, "ENOENT")) throw new StoreError("ERR_STORE_MISSING", `no object ${digest}`, { cause: error });
      throw error;
    }
  }

  /** All bytes of a small object. Throws ERR_STORE_MISSING, ERR_STORE_DAMAGED when they are not what they should be, ERR_STORE_LIMIT. */
  read(digest: Digest, maxBytes = 16 << 20): Buffer {
    const fd = this.open(digest);
    try {
      const size = lstatSync(this.path(digest)).size;
      if (size > maxBytes) throw new StoreError("ERR_STORE_LIMIT", `expected an object of at most ${maxBytes} bytes, found ${size} in ${digest}`);
      const bytes = Buffer.alloc(size);
      for (let done = 0; done < size; ) {
        const count = readSync(fd, bytes, done, size - done, done);
        if (count === 0) break;
        done += count;
      }
      if (createHash("sha256").update(bytes).digest("hex") !== digest) throw new StoreError("ERR_STORE_DAMAGED", `the bytes of object ${digest} have another digest`);
      return bytes;
    } finally {
      closeSync(fd);
    }
  }

  /** True when the bytes have the digest. Undefined when there is no such object. Reads all of it. */
  verify(digest: Digest): boolean | undefined {
    let fd: number;
    try {
      fd = this.open(digest);
    } catch (error) {
      if (error instanceof StoreError && error.code === "ERR_STORE_MISSING") return undefined;
      throw error;
    }
    try {
      return hashOfFile(fd) === digest;
    } finally {
      closeSync(fd);
    }
  }

  /** Every name in the folder, in order: digests of objects, and paths of whatever else lies there. */
  *list(): Generator<{ readonly digest: Digest } | { readonly stray: string }> {
    for (const folder of namesIn(this.#folder)) {
      const isFolder = /^[0-9a-f]{2}$/.test(folder);
      if (!isFolder) yield { stray: join(this.#folder, folder) };
      else for (const name of namesIn(join(this.#folder, folder))) {
        yield /^[0-9a-f]{62}$/.test(name) ? { digest: (folder + name) as Digest } : { stray: join(this.#folder, folder, name) };
      }
    }
  }
}

/** SHA-256 of all bytes of a descriptor, from its start. */
export function hashOfFile(fd: number): Digest {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  for (let position = 0; ; ) {
    const count = readSync(fd, buffer, 0, buffer.length, position);
    if (count === 0) return hash.digest("hex") as Digest;
    hash.update(buffer.subarray(0, count));
    position += count;
  }
}
