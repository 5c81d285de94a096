/** TarError: everything that can be wrong with an archive, or with an entry given to the writer. */

/**
 * - `ERR_TAR_TRUNCATED`: the stream ended inside a header, a body or its padding, or after a header that announces another.
 * - `ERR_TAR_CHECKSUM`: neither the unsigned nor the signed sum of a header matches the sum it states.
 * - `ERR_TAR_NUMBER`: a numeric field holds no number, a negative one where none may be, or one beyond 2^53.
 * - `ERR_TAR_HEADER`: header blocks in an order no writer produces (a lone zero block, two long names for one entry).
 * - `ERR_TAR_TYPE`: a member type that has no meaning as a filesystem object.
 * - `ERR_TAR_NAME`: an empty name or link target, or one with a NUL byte.
 * - `ERR_TAR_PAX`: a malformed pax record, or a global one that would rename or resize every entry.
 * - `ERR_TAR_SPARSE`: a sparse map that is malformed, out of order, or does not agree with the sizes.
 * - `ERR_TAR_SIZE`: a body longer or shorter than its entry says (writer).
 * - `ERR_TAR_LIMIT`: one of the reader's limits was reached.
 * - `ERR_TAR_STALE`: a body was read after the reader had moved on to a later entry.
 */
export type TarCode =
  | "ERR_TAR_TRUNCATED" | "ERR_TAR_CHECKSUM" | "ERR_TAR_NUMBER" | "ERR_TAR_HEADER" | "ERR_TAR_TYPE" | "ERR_TAR_NAME"
  | "ERR_TAR_PAX" | "ERR_TAR_SPARSE" | "ERR_TAR_SIZE" | "ERR_TAR_LIMIT" | "ERR_TAR_STALE";

export class TarError extends Error {
  readonly code: TarCode;
  /** Byte of the archive where the faulty header, record or body begins. */
  readonly offset: number;

  constructor(code: TarCode, offset: number, message: string) {
    super(`${code}: ${message} (at byte ${offset} of the archive)`);
    this.name = "TarError";
    this.code = code;
    this.offset = offset;
  }
}
