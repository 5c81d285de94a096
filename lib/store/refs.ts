/**
 * References: image names, each a small document. Source: FORMAT.md, "refs".
 * Invariant: what a reference names was in the store when it was written; a reference is replaced whole or not at all.
 */
import { join } from "node:path";
import { chainIdOf, parseDigest, type Digest } from "./digest.js";
import { StoreError } from "./errors.js";
import { fieldsOf, namesIn, readText } from "./files.js";

/** An image: its layers bottom-up, and the documents it came with. */
export interface ImageRef {
  readonly name: string;
  /** diffIDs, at least one. */
  readonly layers: readonly Digest[];
  /** Object with the image's configuration (OCI image-spec, config.md). */
  readonly config: Digest | undefined;
  /** Object with the manifest it was imported from. */
  readonly manifest: Digest | undefined;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._\-/:@+]*$/;
const NAME_MAX_LENGTH = 180;

/** Throws ERR_STORE_NAME. Names look like those of registries: letters, digits and . _ - / : @ +. */
export function checkImageName(name: string): string {
  if (NAME.test(name) && name.length <= NAME_MAX_LENGTH) return name;
  throw new StoreError("ERR_STORE_NAME", `expected an image name of up to ${NAME_MAX_LENGTH} letters, digits and ._-/:@+, found ${JSON.stringify(name.slice(0, 200))}`);
}

/** The reference's file name: the image's, with / : @ + and % as %XX. */
export const refFile = (name: string): string => checkImageName(name).replace(/[/:@+]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);

export function encodeRef(ref: ImageRef): Buffer {
  return Buffer.from(`${JSON.stringify({
    version: 1, name: ref.name, layers: ref.layers.map(spelt), chain: spelt(chainIdOf(ref.layers)),
    config: ref.config === undefined ? null : spelt(ref.config), manifest: ref.manifest === undefined ? null : spelt(ref.manifest),
  }, undefined, 2)}\n`);
}

/** Throws ERR_STORE_FORMAT for another version, ERR_STORE_DAMAGED for what no version writes. */
export function decodeRef(text: string, path: string): ImageRef {
  const { version, name, layers, config, manifest } = fieldsOf(text, path);
  if (version !== 1) throw new StoreError("ERR_STORE_FORMAT", `${path}: expected reference version 1, found ${JSON.stringify(version)}`);
  try {
    if (!Array.isArray(layers) || layers.length === 0 || typeof name !== "string") throw new TypeError("expected a name and a list of layers");
    return {
      name: checkImageName(name),
      layers: layers.map((layer) => parseDigest(String(layer))),
      config: config === null ? undefined : parseDigest(String(config)),
      manifest: manifest === null ? undefined : parseDigest(String(manifest)),
    };
  } catch (error) {
    throw new StoreError("ERR_STORE_DAMAGED", `${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** Undefined when no image has the name. */
export function readRef(folder: string, name: string): ImageRef | undefined {
  const path = join(folder, refFile(name));
  const text = readText(path);
  return text === undefined ? undefined : decodeRef(text, path);
}

/** File names of references; those that begin with a dot are being written, or were when their writer died. */
export const refFiles = (folder: string): string[] => namesIn(folder).filter((file) => !file.startsWith("."));

/** All references, by name. Throws for the first that cannot be read. */
export function listRefs(folder: string): ImageRef[] {
  const refs: ImageRef[] = [];
  for (const file of refFiles(folder)) {
    const text = readText(join(folder, file));
    if (text !== undefined) refs.push(decodeRef(text, join(folder, file)));
  }
  return refs;
}

const spelt = (digest: Digest): string => `sha256:${digest}`;
