/** Helpers of the tar tests: archives in memory, cut into chunks, read into plain values, and rebuilt from what the reader gives. */
import { execFileSync } from "node:child_process";
import type { TarEntry } from "../../lib/tar/entry.js";
import { checksum } from "../../lib/tar/header.js";
import { writeOctal } from "../../lib/tar/numbers.js";
import { formatPax } from "../../lib/tar/pax.js";
import { readTar, type TarReadOptions } from "../../lib/tar/reader.js";

export type Plain = Omit<TarEntry, "body" | "bodyOffset" | "offset" | "pax" | "xattrs"> & { readonly content: string; readonly xattrs: Readonly<Record<string, string>> };

/** `bytes` in chunks of `size`; each chunk's memory is its own. */
export async function* chunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield Uint8Array.from(bytes.subarray(at, at + size));
}

/** All entries with their stored bytes (latin1), and the archive put together again from raw parts and bodies. */
export async function readAll(archive: Uint8Array, options: TarReadOptions = {}, chunkSize = 65_536): Promise<{ entries: Plain[]; rebuilt: Buffer }> {
  const parts: Uint8Array[] = [];
  const entries: Plain[] = [];
  const reader = readTar(chunks(archive, chunkSize), { ...options, onRaw: (bytes) => parts.push(Uint8Array.from(bytes)) });
  for await (const entry of reader) {
    const body: Uint8Array[] = [];
    for await (const chunk of entry.body) body.push(Uint8Array.from(chunk));
    parts.push(...body);
    const found = Buffer.concat(body);
    if (!archive.subarray(entry.bodyOffset, entry.bodyOffset + entry.storedSize).every((byte, i) => byte === found[i])) throw new Error("the body is not at its offset");
    const { body: _body, bodyOffset: _bodyOffset, offset: _offset, pax: _pax, xattrs, ...fields } = entry;
    entries.push({
      ...fields,
      xattrs: Object.fromEntries([...xattrs].map(([key, value]) => [key, Buffer.from(value).toString("latin1")])),
      content: Buffer.concat(body).toString("latin1"),
    });
  }
  return { entries, rebuilt: Buffer.concat(parts) };
}

/** The file with its holes filled. */
export function expanded(entry: Plain): Buffer {
  const stored = Buffer.from(entry.content, "latin1");
  if (entry.extents === undefined) return stored;
  const whole = Buffer.alloc(entry.size);
  let at = 0;
  for (const { offset, length } of entry.extents) {
    stored.copy(whole, offset, at, at + length);
    at += length;
  }
  return whole;
}

export interface RawHeader {
  readonly name?: string;
  readonly type?: string;
  readonly size?: number;
  readonly linkName?: string;
  readonly magic?: string;
  /** Bytes put over the block before the checksum: [offset, latin1]. */
  readonly put?: readonly (readonly [number, string])[];
}

/** A header block made by hand, with a right checksum. */
export function block(fields: RawHeader = {}): Buffer {
  const header = Buffer.alloc(512);
  header.write(fields.name ?? "name", 0, "latin1");
  writeOctal(header, 100, 8, 0o644);
  writeOctal(header, 108, 8, 0);
  writeOctal(header, 116, 8, 0);
  writeOctal(header, 124, 12, fields.size ?? 0);
  writeOctal(header, 136, 12, 0);
  header.write(fields.type ?? "0", 156, "latin1");
  header.write(fields.linkName ?? "", 157, "latin1");
  header.write(fields.magic ?? "ustar\x0000", 257, "latin1");
  for (const [at, text] of fields.put ?? []) header.write(text, at, "latin1");
  return sealed(header);
}

/** Sets the checksum. */
export function sealed(header: Buffer): Buffer {
  writeOctal(header, 148, 7, checksum(header));
  header[155] = 0x20;
  return header;
}

/** `text` padded to whole blocks. */
export function padded(text: string | Buffer): Buffer {
  const bytes = typeof text === "string" ? Buffer.from(text, "latin1") : text;
  return Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

/** A pax member of type x (or g) with these records, values latin1. */
export function pax(records: readonly (readonly [string, string])[], type = "x"): Buffer {
  const body = Buffer.concat(records.map(([key, value]) => formatPax(key, Buffer.from(value, "latin1"))));
  return Buffer.concat([block({ type, size: body.length }), padded(body)]);
}

/** A GNU long name (L) or long link (K) member. */
export function long(type: "L" | "K", text: string): Buffer {
  return Buffer.concat([block({ name: "././@LongLink", type, size: text.length + 1, magic: "ustar  \0" }), padded(`${text}\0`)]);
}

/** 32-bit xorshift: the same numbers for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** GNU tar, its output; throws with its complaint. */
export function gnuTar(cwd: string, ...args: string[]): Buffer {
  return execFileSync("tar", args, { cwd, maxBuffer: 2 ** 26, env: { ...process.env, LC_ALL: "C", TZ: "UTC" } });
}

export const end = Buffer.alloc(1024);
