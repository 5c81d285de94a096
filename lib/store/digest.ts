/** Digests: SHA-256, which names content. 64 lower-case hex digits. */
import { hash } from "node:crypto";
import { StoreError } from "./errors.js";

declare const brand: unique symbol;
export type Digest = string & { readonly [brand]: "digest" };

export const DIGEST_BYTES = 32;

export function digestOf(bytes: Uint8Array): Digest {
  return hash("sha256", bytes, "hex") as Digest;
}

/** Accepts the hex digits with or without "sha256:". Throws ERR_STORE_DIGEST. */
export function parseDigest(text: string): Digest {
  const hex = text.startsWith("sha256:") ? text.slice(7) : text;
  if (/^[0-9a-f]{64}$/.test(hex)) return hex as Digest;
  throw new StoreError("ERR_STORE_DIGEST", `expected sha256: and 64 lower-case hex digits, found ${JSON.stringify(text.slice(0, 100))}`);
}

/** chainID of layers given bottom-up (OCI image-spec, config.md): the diffID of one, then the hash of "chainID diffID". */
export function chainIdOf(diffIds: readonly Digest[]): Digest {
  let chain: Digest | undefined;
  for (const diffId of diffIds) chain = chain === undefined ? diffId : digestOf(Buffer.from(`sha256:${chain} sha256:${diffId}`));
  if (chain === undefined) throw new StoreError("ERR_STORE_MISSING", "a chain needs at least one layer");
  return chain;
}
