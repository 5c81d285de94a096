/**
 * The files of an image, by path: in a directory, or inside a tar file, which is looked through once and then read at offsets.
 * Paths are those inside the image, with "/" between names and none in front.
 */
import { closeSync, constants, createReadStream, fstatSync, openSync, readSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import { hasCode } from "../base/errors.js";
import { readTar } from "../tar/reader.js";
import { ImageError } from "./errors.js";

/** Where its bytes lie. */
export interface Blob {
  readonly file: string;
  readonly offset: number;
  readonly size: number;
}

export interface Blobs {
  has(path: string): boolean;
  /** Undefined when there is no such file. */
  open(path: string): Blob | undefined;
}

const READ_CHUNK = 1 << 20;
/** A tar with more members is no image but a root filesystem: nothing in an image comes near. */
const MAX_MEMBERS = 20_000;
const MAX_LINKS = 8;

export class DirectoryBlobs implements Blobs {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  has(path: string): boolean {
    return statSync(join(this.#root, path), { throwIfNoEntry: false })?.isFile() === true;
  }

  open(path: string): Blob | undefined {
    const file = join(this.#root, path);
    try {
      const fd = openFile(file);
      const { size } = fstatSync(fd);
      closeSync(fd);
      return { file, offset: 0, size };
    } catch (error) {
      if (hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR")) return undefined;
      throw error;
    }
  }
}

/** Throws ERR_IMAGE_FORMAT for a pipe, which would be waited for, a device, which may not end, and everything else that is no file. */
function openFile(file: string): number {
  const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw new ImageError("ERR_IMAGE_FORMAT", `expected a file at ${file}`);
}

interface Member {
  readonly offset: number;
  readonly size: number;
  /** The path of another member that stands for this one. */
  readonly link: string | undefined;
}

export class TarBlobs implements Blobs {
  readonly #file: string;
  readonly #members = new Map<string, Member>();

  /** Reads the headers of a tar file, or of as much of it as shows that it is no image. Throws TarError. */
  static async open(file: string, signal?: AbortSignal): Promise<TarBlobs> {
    const blobs = new TarBlobs(file);
    for await (const entry of readTar(createReadStream(file, { highWaterMark: READ_CHUNK, signal }))) {
      if (blobs.#members.size >= MAX_MEMBERS) return new TarBlobs(file);
      const path = cleaned(entry.name);
      if (entry.kind === "file" && entry.extents === undefined) blobs.#members.set(path, { offset: entry.bodyOffset, size: entry.size, link: undefined });
      // Older docker versions wrote a layer that occurs twice once, and a link for the other.
      if (entry.kind === "symlink") blobs.#members.set(path, { offset: 0, size: 0, link: posix.join(posix.dirname(path), entry.linkName) });
      if (entry.kind === "hardlink") blobs.#members.set(path, { offset: 0, size: 0, link: cleaned(entry.linkName) });
    }
    return blobs;
  }

  private constructor(file: string) {
    this.#file = file;
  }

  has(path: string): boolean {
    return this.#find(path) !== undefined;
  }

  open(path: string): Blob | undefined {
    const member = this.#find(path);
    if (member === undefined) return undefined;
    return { file: this.#file, offset: member.offset, size: member.size };
  }

  #find(path: string): Member | undefined {
    let member = this.#members.get(cleaned(path));
    for (let links = 0; member?.link !== undefined; links++) member = links < MAX_LINKS ? this.#members.get(cleaned(member.link)) : undefined;
    return member;
  }
}

/** Whether a file begins as a tar does, or as a compressed one may. Reads 512 bytes. */
export function startOf(file: string): Buffer {
  const fd = openSync(file, "r");
  try {
    const start = Buffer.alloc(512);
    return start.subarray(0, readSync(fd, start, 0, 512, 0));
  } finally {
    closeSync(fd);
  }
}

/**
 * All bytes of a blob and no more, in chunks that stay as they are. The file is opened when it is first read, and looked at again then:
 * a layout is somebody else's, who may change it. Throws ERR_IMAGE_FORMAT for what is no file.
 */
export async function* bytesOf({ file, offset, size }: Blob): AsyncGenerator<Uint8Array, undefined> {
  if (size > 0) yield* createReadStream("", { fd: openFile(file), start: offset, end: offset + size - 1, highWaterMark: READ_CHUNK });
  return undefined;
}

/** A small file whole. Throws ERR_IMAGE_MISSING, ERR_IMAGE_LIMIT. */
export async function readBlob(blobs: Blobs, path: string, maxBytes: number): Promise<Buffer> {
  const blob = blobs.open(path);
  if (blob === undefined) throw new ImageError("ERR_IMAGE_MISSING", `expected ${path} in the image, found no such file`);
  if (blob.size > maxBytes) throw new ImageError("ERR_IMAGE_LIMIT", `expected ${path} to have at most ${maxBytes} bytes, found ${blob.size}`);
  const parts: Uint8Array[] = [];
  for await (const part of bytesOf(blob)) parts.push(part);
  return Buffer.concat(parts);
}

/** Names inside a tar are bytes; paths in documents are text. */
function cleaned(path: string): string {
  return posix.normalize(`/${path}`).slice(1).replace(/\/$/, "");
}
