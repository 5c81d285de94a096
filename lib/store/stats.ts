/** What a store holds and saves: sizes before and after equal files are stored once, and on disk; for each image, what is its own. */
import { join } from "node:path";
import type { Digest } from "./digest.js";
import type { IndexReader } from "./index-reader.js";
import { namesIn } from "./files.js";
import { diskBytes } from "./sweep.js";
import type { Store } from "./store.js";

export interface ImageStats {
  readonly name: string;
  /** Bytes of all files of all its layers, equal files as often as they occur. */
  readonly logicalBytes: number;
  /** Bytes of objects that no other image has, and of those that others have too. */
  readonly uniqueBytes: number;
  readonly sharedBytes: number;
}

export interface StoreStats {
  /** Bytes of all files of all layers that images have, each layer once. */
  readonly logicalBytes: number;
  readonly files: number;
  /** The same with equal files once. Small files, which live in the indexes, are in the first number and not in this. */
  readonly dedupedBytes: number;
  /** Objects that images refer to. */
  readonly objects: number;
  /** Disk space of objects, and of indexes with all else that layers keep, whether an image refers to them or not. */
  readonly objectDiskBytes: number;
  readonly indexDiskBytes: number;
  readonly images: readonly ImageStats[];
}

interface LayerSums {
  readonly files: number;
  readonly bytes: number;
  /** Bytes of each object. */
  readonly objects: ReadonlyMap<Digest, number>;
}

/** Reads every index. Throws ERR_STORE_DAMAGED, ERR_STORE_MISSING. */
export function storeStats(store: Store): StoreStats {
  const layers = new Map<Digest, LayerSums>();
  const images = store.images();
  for (const { layers: ids } of images) for (const id of ids) if (!layers.has(id)) layers.set(id, sumsOf(store, id));

  const sizes = new Map<Digest, number>();
  /** How many images refer to an object. */
  const users = new Map<Digest, number>();
  const objectsOf = images.map((image) => {
    const own = new Map<Digest, number>();
    for (const id of image.layers) for (const [digest, size] of (layers.get(id) as LayerSums).objects) own.set(digest, size);
    for (const [digest, size] of own) {
      sizes.set(digest, size);
      users.set(digest, (users.get(digest) ?? 0) + 1);
    }
    return own;
  });
  let objectDiskBytes = 0;
  for (const found of store.objects.list()) if ("digest" in found) objectDiskBytes += (store.objects.stat(found.digest)?.blocks ?? 0) * 512;
  let indexDiskBytes = 0;
  for (const folder of ["layers", "chains"] as const) for (const name of namesIn(store.folder(folder))) indexDiskBytes += diskBytes(join(store.folder(folder), name));
  return {
    logicalBytes: sum(layers.values(), ({ bytes }) => bytes),
    files: sum(layers.values(), ({ files }) => files),
    dedupedBytes: sum(sizes.values(), (size) => size),
    objects: sizes.size,
    objectDiskBytes,
    indexDiskBytes,
    images: images.map((image, i) => {
      const own = [...(objectsOf[i] as Map<Digest, number>)];
      return {
        name: image.name,
        logicalBytes: sum(image.layers, (id) => (layers.get(id) as LayerSums).bytes),
        uniqueBytes: sum(own, ([digest, size]) => (users.get(digest) === 1 ? size : 0)),
        sharedBytes: sum(own, ([digest, size]) => (users.get(digest) === 1 ? 0 : size)),
      };
    }),
  };
}

function sumsOf(store: Store, id: Digest): LayerSums {
  const index = store.openLayer(id);
  try {
    index.loadDigests();
    let files = 0;
    let bytes = 0;
    const objects = new Map<Digest, number>();
    for (let row = 0; row < index.rows; row++) {
      if (!isFile(index, row)) continue;
      files++;
      bytes += index.size(row);
      const digestRow = index.digestRow(row);
      if (digestRow >= 0) objects.set(index.digestAt(digestRow), index.size(row));
    }
    return { files, bytes, objects };
  } finally {
    index.close();
  }
}

const isFile = (index: IndexReader, row: number): boolean => (index.mode(row) & 0o170000) === 0o100000;

function sum<T>(values: Iterable<T>, of: (value: T) => number): number {
  let total = 0;
  for (const value of values) total += of(value);
  return total;
}
