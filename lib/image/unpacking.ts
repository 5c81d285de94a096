/**
 * From a layer's blob to its tar: counted, hashed, decompressed, hashed again. The tar is read once, to its end; the result is what
 * the blob and the tar turned out to be. In the caller's own thread here; unpacking-thread.ts does the same in another one.
 */
import type { Digest } from "../store/digest.js";
import { GzipTrial, type BlobRecipe } from "./blob-recipe.js";
import { decompressed, type Compression } from "./decompress.js";
import { HashedStream } from "./hashed.js";

export interface Unpacked {
  /** Chunks are good until the next one is asked for. */
  readonly tar: AsyncIterable<Uint8Array>;
  /** To be asked for once, after the tar's end. */
  result(): Promise<UnpackedResult>;
}

export interface UnpackedResult {
  readonly compression: Compression;
  readonly blobDigest: Digest;
  readonly blobBytes: number;
  readonly diffId: Digest;
  readonly tarBytes: number;
  /** How the blob can be made of the tar again; undefined for plain tars and where nobody knows. */
  readonly how: BlobRecipe["how"] | undefined;
}

/** `onBytes` is told of bytes of the blob as they are read. The tar throws what decompressed() throws. */
export function unpack(source: AsyncIterable<Uint8Array>, onBytes?: (count: number) => void): Unpacked {
  const trial = new GzipTrial();
  const blob = new HashedStream(source, (count, chunk) => {
    trial.blob(chunk);
    onBytes?.(count);
  });
  let compression: Compression = "none";
  const unpacked = decompressed(blob, (found) => {
    compression = found;
    // A plain tar is its own blob: one digest is both.
    tar.hashing = found !== "none";
  });
  const tar: HashedStream = new HashedStream(unpacked, (_, chunk) => trial.tar(chunk));
  return {
    tar,
    async result() {
      const blobDigest = blob.digest();
      const diffId = tar.hashing ? tar.digest() : blobDigest;
      const how = compression === "gzip" ? await trial.find() : undefined;
      return { compression, blobDigest, blobBytes: blob.size, diffId, tarBytes: tar.size, how };
    },
  };
}
