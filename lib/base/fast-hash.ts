/**
 * xxHash, for tables and checksums. It proves nothing: anybody can make two inputs with one hash, so whoever finds something by
 * a hash compares the bytes as well.
 */
import xxhash from "xxhash-wasm";

export interface FastHash {
  /** XXH32 (seed 0) of a name's bytes, one character per byte: 0…2^32-1. */
  name(latin1: string): number;
  /** XXH64 (seed 0). */
  bytes(bytes: Uint8Array): bigint;
  /** XXH64 (seed 0) of bytes that come in pieces. */
  pieces(): { update(bytes: Uint8Array): void; digest(): bigint };
}

let loading: Promise<FastHash> | undefined;
let loaded: FastHash | undefined;

/** Compiled at the first call, the same object afterwards. */
export function loadFastHash(): Promise<FastHash> {
  loading ??= xxhash().then(({ h32, h32Raw, h64Raw, create64 }) => (loaded = {
    // The library encodes strings as UTF-8, which is the name's own bytes only below 0x80.
    name: (latin1) => (isAscii(latin1) ? h32(latin1) : h32Raw(Buffer.from(latin1, "latin1"))),
    bytes: (bytes) => h64Raw(bytes),
    pieces: () => create64(),
  }));
  return loading;
}

/** The same object once loadFastHash() has resolved; undefined before. */
export function fastHashIfLoaded(): FastHash | undefined {
  return loaded;
}

function isAscii(latin1: string): boolean {
  for (let i = 0; i < latin1.length; i++) if (latin1.charCodeAt(i) > 127) return false;
  return true;
}
