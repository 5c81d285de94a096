/**
 * Errors: FsError, the only error that may travel from a tree to a mount, and the errno table.
 * A name maps to one number and back; `EWOULDBLOCK` and `ENOTSUP` are spelt EAGAIN and EOPNOTSUPP.
 */
import { constants } from "node:os";

const named = constants.errno as Readonly<Record<string, number>>;

/** Linux errno names that a tree may answer with. Source: asm-generic/errno.h. */
const linuxErrno = {
  EPERM: 1, ENOENT: 2, EINTR: 4, EIO: 5, ENXIO: 6, E2BIG: 7, EBADF: 9, EAGAIN: 11, ENOMEM: 12, EACCES: 13,
  EFAULT: 14, EBUSY: 16, EEXIST: 17, EXDEV: 18, ENODEV: 19, ENOTDIR: 20, EISDIR: 21, EINVAL: 22, ENFILE: 23,
  EMFILE: 24, ENOTTY: 25, ETXTBSY: 26, EFBIG: 27, ENOSPC: 28, ESPIPE: 29, EROFS: 30, EMLINK: 31, EPIPE: 32,
  ERANGE: 34, EDEADLK: 35, ENAMETOOLONG: 36, ENOSYS: 38, ENOTEMPTY: 39, ELOOP: 40, ENODATA: 61, EOVERFLOW: 75,
  EUSERS: 87, EOPNOTSUPP: 95, ENOTCONN: 107, ETIMEDOUT: 110, ESTALE: 116, EDQUOT: 122, ECANCELED: 125,
} as const;

export type ErrnoName = keyof typeof linuxErrno;

const nameOf = new Map<number, ErrnoName>();
for (const [name, number] of Object.entries(linuxErrno)) nameOf.set(number, name as ErrnoName);

/** The positive number of an errno name. */
export function errnoOf(code: ErrnoName): number {
  return linuxErrno[code];
}

/** The name of a positive or negative errno; EIO for one this table does not have. */
export function errnoName(errno: number): ErrnoName {
  return nameOf.get(Math.abs(errno)) ?? "EIO";
}

/** A failure with a POSIX name; the only error that may travel from a tree to a mount. */
export class FsError extends Error {
  /** "ENOENT". Callers match on this, never on the message or the class. */
  readonly code: ErrnoName;
  /** Negative, as in Node's own errors and in the header of a FUSE reply. */
  readonly errno: number;
  /** What failed, in syscall spelling: "rename", "setxattr". */
  readonly syscall: string;

  constructor(code: ErrnoName, syscall: string, detail?: string, options?: { cause?: unknown }) {
    super(`${code}: ${syscall}${detail === undefined ? "" : ` ${detail}`}`, options);
    this.name = "FsError";
    this.code = code;
    this.errno = -linuxErrno[code];
    this.syscall = syscall;
  }
}

/** Turns the result of a native call into itself, or into the FsError it stands for when negative. */
export function check(result: number, syscall: string, detail?: string): number {
  if (result < 0) throw new FsError(errnoName(result), syscall, detail);
  return result;
}

/** The negative errno of any thrown value: an FsError's or Node's own; -EIO for everything else. */
export function errnoFrom(error: unknown): number {
  if (error instanceof FsError) return error.errno;
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code === "string" && named[code] !== undefined) return -named[code];
  return -linuxErrno.EIO;
}

/** True when `error` is an FsError, or one of Node's own, with this code. */
export function hasCode(error: unknown, code: ErrnoName): boolean {
  return (error as { code?: unknown } | null)?.code === code;
}
