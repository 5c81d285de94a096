/** Helpers of the image tests: layers, OCI layouts and docker archives made by hand, so that every byte of them can be wrong. */
import * as fs from "node:fs";
import * as path from "node:path";
import { gzipSync } from "node:zlib";
import { digestOf } from "../../lib/store/digest.js";
import { writeTar, type NewTarEntry, type TarItem } from "../../lib/tar/writer.js";

export type Entry = Partial<NewTarEntry> & { readonly name: string; readonly body?: string };

/** A tar of entries: files unless they say otherwise. */
export async function tarOf(...entries: readonly Entry[]): Promise<Buffer> {
  const items = entries.map(({ body, ...fields }): TarItem => {
    const bytes = Buffer.from(body ?? "", "latin1");
    const entry: NewTarEntry = { kind: "file", mode: 0o644, uid: 0, gid: 0, mtime: { sec: 1, nsec: 0 }, size: bytes.length, ...fields };
    return { entry, body: bytes.length > 0 ? [bytes] : undefined };
  });
  const parts: Uint8Array[] = [];
  for await (const part of writeTar(items)) parts.push(part);
  return Buffer.concat(parts);
}

/** A zstd frame of raw blocks, or of one repeated byte. Source: RFC 8878, 3.1.1. */
export function zstdOf(bytes: Uint8Array, windowByte = 0x58): Buffer {
  const parts = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, windowByte])];
  const size = 100_000;
  for (let at = 0; at === 0 || at < bytes.length; at += size) {
    const part = bytes.subarray(at, at + size);
    const last = at + size >= bytes.length ? 1 : 0;
    const header = Buffer.alloc(3);
    header.writeUIntLE(last | (part.length << 3), 0, 3);
    parts.push(header, Buffer.from(part));
  }
  return Buffer.concat(parts);
}

/** A zstd frame that stands for `count` times 128 KiB of zeros, four bytes each. */
export function zstdOfZeros(count: number): Buffer {
  const block = (last: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUIntLE(last | (1 << 1) | (131_072 << 3), 0, 3);
    return bytes;
  };
  return Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0x58]), ...Array.from({ length: count }, (_, i) => block(i === count - 1 ? 1 : 0))]);
}

export type Packing = "none" | "gzip" | "zstd";
const pack: Readonly<Record<Packing, (tar: Buffer) => Buffer>> = { none: (tar) => tar, gzip: (tar) => gzipSync(tar), zstd: (tar) => zstdOf(tar) };
const mediaType = (packing: Packing): string => `application/vnd.oci.image.layer.v1.tar${packing === "none" ? "" : `+${packing}`}`;
const spelt = (bytes: Uint8Array): string => `sha256:${digestOf(bytes)}`;
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

export interface Layout {
  /** Path in the layout to bytes. */
  readonly files: Map<string, Buffer>;
  readonly index: { manifests: Record<string, unknown>[] };
}

export interface MadeImage {
  readonly config: Buffer;
  readonly manifest: Buffer;
  /** For an index. */
  readonly descriptor: Record<string, unknown>;
}

export function emptyLayout(): Layout {
  return { files: new Map([["oci-layout", json({ imageLayoutVersion: "1.0.0" })]]), index: { manifests: [] } };
}

/** Adds an image's blobs; `change` may spoil the documents before they are hashed. */
export function addImage(layout: Layout, layers: readonly (readonly [tar: Buffer, packing: Packing])[], extra: Record<string, unknown> = {}, change: (documents: { config: any; manifest: any }) => void = () => undefined): MadeImage {
  const put = (bytes: Buffer): { digest: string; size: number } => {
    layout.files.set(`blobs/sha256/${digestOf(bytes)}`, bytes);
    return { digest: spelt(bytes), size: bytes.length };
  };
  const config = { architecture: "amd64", os: "linux", config: { Env: ["A=b"] }, rootfs: { type: "layers", diff_ids: layers.map(([tar]) => spelt(tar)) } };
  const manifest = { schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json", config: {}, layers: layers.map(([tar, packing]) => ({ mediaType: mediaType(packing), ...put(pack[packing](tar)) })) };
  change({ config, manifest });
  const configBytes = json(config);
  manifest.config = { mediaType: "application/vnd.oci.image.config.v1+json", ...put(configBytes), ...manifest.config };
  const bytes = json(manifest);
  return { config: configBytes, manifest: bytes, descriptor: { mediaType: "application/vnd.oci.image.manifest.v1+json", ...put(bytes), ...extra } };
}

/** An index blob's descriptor. */
export function addIndex(layout: Layout, manifests: readonly unknown[], extra: Record<string, unknown> = {}): Record<string, unknown> {
  const bytes = json({ schemaVersion: 2, manifests });
  layout.files.set(`blobs/sha256/${digestOf(bytes)}`, bytes);
  return { mediaType: "application/vnd.oci.image.index.v1+json", digest: spelt(bytes), size: bytes.length, ...extra };
}

export const named = (name: string): Record<string, unknown> => ({ annotations: { "org.opencontainers.image.ref.name": name } });

function filesOf({ files, index }: Layout): Map<string, Buffer> {
  return new Map([...files, ["index.json", json({ schemaVersion: 2, ...index })]]);
}

export function writeLayout(folder: string, layout: Layout): string {
  for (const [name, bytes] of filesOf(layout)) {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    fs.writeFileSync(path.join(folder, name), bytes);
  }
  return folder;
}

export async function layoutTar(layout: Layout): Promise<Buffer> {
  return await tarOf(...[...filesOf(layout)].map(([name, bytes]) => ({ name, body: bytes.toString("latin1") })));
}

/** A docker archive whose manifest comes last, as docker writes it. */
export async function dockerArchive(tags: readonly string[], layers: readonly Buffer[], extra: readonly Entry[] = []): Promise<Buffer> {
  const config = json({ architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: layers.map(spelt) } });
  const paths = layers.map((tar) => `${digestOf(tar)}/layer.tar`);
  const seen = new Set<string>();
  const entries: Entry[] = [];
  for (const [i, tar] of layers.entries()) {
    const name = paths[i] as string;
    if (seen.has(name)) {
      paths[i] = `${i}/layer.tar`;
      entries.push({ name: `${i}/layer.tar`, kind: "symlink", linkName: `../${name}` });
    } else {
      entries.push({ name, body: tar.toString("latin1") });
    }
    seen.add(name);
  }
  const manifest = json([{ Config: `${digestOf(config)}.json`, RepoTags: tags, Layers: paths }]);
  return await tarOf(...entries, { name: `${digestOf(config)}.json`, body: config.toString() }, ...extra, { name: "manifest.json", body: manifest.toString() });
}
