/** StoreError: what can be wrong with a store, or with what is asked of it. */

/**
 * - `ERR_STORE_FORMAT`: no store, or written in a version or with features this program does not know.
 * - `ERR_STORE_DAMAGED`: an index, reference or object that does not agree with itself; `fsck` tells more.
 * - `ERR_STORE_MISSING`: an object, layer, chain or image that the store does not have.
 * - `ERR_STORE_BUSY`: another process holds the lock, and went on holding it for as long as we wait.
 * - `ERR_STORE_FULL`: no space or quota left; nothing of what was being put is visible.
 * - `ERR_STORE_DIGEST`: content that does not have the digest it was announced with.
 * - `ERR_STORE_NAME`: an image name that is none.
 * - `ERR_STORE_TREE`: entries that make no tree (a child of a file, a hard link to nothing or to a directory).
 * - `ERR_STORE_LIMIT`: more than the format can number.
 */
export type StoreCode =
  | "ERR_STORE_FORMAT" | "ERR_STORE_DAMAGED" | "ERR_STORE_MISSING" | "ERR_STORE_BUSY" | "ERR_STORE_FULL" | "ERR_STORE_DIGEST"
  | "ERR_STORE_NAME" | "ERR_STORE_TREE" | "ERR_STORE_LIMIT";

export class StoreError extends Error {
  readonly code: StoreCode;

  constructor(code: StoreCode, message: string, options?: { cause?: unknown }) {
    super(`${code}: ${message}`, options);
    this.name = "StoreError";
    this.code = code;
  }
}
