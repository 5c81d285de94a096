/**
 * Dialect: how whiteouts, opaque directories, redirects and metadata-only files are spelt on disk. Pure; no file is touched here.
 * Always true: every spelling is read, whatever the layer was written with; what is written is the choice of the upper.
 * Sources: kernel Documentation/filesystems/overlayfs.rst, OCI image-spec layer.md (AUFS names), fuse-overlayfs(1).
 */
import { FsError } from "../base/errors.js";
import { NAME_MAX } from "../base/name.js";

/** Names beginning so are reserved: `.wh.NAME` hides NAME. */
export const WHITEOUT_PREFIX = ".wh.";
/** Names beginning so belong to AUFS itself and are never shown. */
export const AUFS_PREFIX = ".wh..wh.";
/** A file of this name makes its directory opaque. */
export const OPAQUE_SENTINEL = ".wh..wh..opq";
/** Opaque mark of fuse-overlayfs where trusted.* is not to be had. */
export const FUSE_OVERLAYFS_OPAQUE = "user.fuseoverlayfs.opaque";

/** Which namespace of extended attributes the marks live in. */
export type XattrPrefix = "trusted" | "user";
/** How an upper writes a whiteout: a 0:0 character device, an empty file with an xattr, a file `.wh.NAME`. */
export type WhiteoutSpelling = "device" | "xattr" | "dotwh";

/** The last part of a mark's key, after `trusted.overlay.` or `user.overlay.`. */
export type MarkName = "opaque" | "redirect" | "metacopy" | "whiteout" | "impure" | "stratafs.origin";

export function markKey(prefix: XattrPrefix, mark: MarkName): string {
  return prefix === "trusted" ? `trusted.overlay.${mark}` : `user.overlay.${mark}`;
}

/** Both spellings of a mark, the one that counts first. */
export const MARK_KEYS = {
  opaque: [markKey("trusted", "opaque"), markKey("user", "opaque")],
  redirect: [markKey("trusted", "redirect"), markKey("user", "redirect")],
  metacopy: [markKey("trusted", "metacopy"), markKey("user", "metacopy")],
  whiteout: [markKey("trusted", "whiteout"), markKey("user", "whiteout")],
  impure: [markKey("trusted", "impure"), markKey("user", "impure")],
  origin: [markKey("trusted", "stratafs.origin"), markKey("user", "stratafs.origin")],
} as const;

/** Marks as they stand in xattrs, before anybody asked whether they are honoured or make sense. */
export interface RawMarks {
  /** "y" hides what is below; "x" says that empty files in here may be whiteouts. */
  readonly opaque: "" | "x" | "y";
  readonly redirect: string | undefined;
  readonly metacopy: boolean;
  readonly origin: number | undefined;
  /** Entries of this directory may carry marks themselves. */
  readonly impure: boolean;
}

export const NO_RAW_MARKS: RawMarks = { opaque: "", redirect: undefined, metacopy: false, origin: undefined, impure: false };

/**
 * Picks the marks from a node's keys; `read` gives a key's value as latin1 and is called only for marks that are there. Without `userXattrs`
 * marks in user.*, which whoever owns a file may set, hide things and lead nowhere: they are no redirect, no metadata-only file, no number.
 */
export function readMarks(keys: readonly string[], read: (key: string) => string | undefined, userXattrs = true): RawMarks {
  let some = false;
  for (const key of keys) if (key.includes("overlay")) some = true;
  if (!some) return NO_RAW_MARKS;
  const valueOf = (spellings: readonly string[]): string | undefined => {
    for (const key of spellings) {
      const value = keys.includes(key) ? read(key) : undefined;
      if (value !== undefined) return value;
    }
    return undefined;
  };
  const trusted = (spellings: readonly string[]): string | undefined => valueOf(userXattrs ? spellings : spellings.slice(0, 1));
  const opaque = valueOf(MARK_KEYS.opaque);
  const ours = opaque === "y" || opaque === "x" ? opaque : "";
  const theirs = keys.includes(FUSE_OVERLAYFS_OPAQUE) && read(FUSE_OVERLAYFS_OPAQUE) === "y";
  return {
    opaque: theirs ? "y" : ours,
    redirect: trusted(MARK_KEYS.redirect),
    metacopy: trusted(MARK_KEYS.metacopy) !== undefined,
    origin: parseOrigin(trusted(MARK_KEYS.origin)),
    impure: valueOf(MARK_KEYS.impure) === "y",
  };
}

/** What `.wh.NAME` hides; undefined for names that are no whiteout and for AUFS's own. */
export function hiddenBy(name: string): string | undefined {
  if (!name.startsWith(WHITEOUT_PREFIX) || name.startsWith(AUFS_PREFIX)) return undefined;
  const hidden = name.slice(WHITEOUT_PREFIX.length);
  return hidden === "" || hidden === "." || hidden === ".." ? undefined : hidden;
}

/**
 * A redirect as the overlay may follow it: "name", or "/" and components joined by "/".
 * Throws EIO for anything else ("..", empty components, NUL), as the kernel refuses it.
 */
export function checkRedirect(redirect: string): string {
  const absolute = redirect.startsWith("/");
  const components = absolute ? redirect.slice(1).split("/") : [redirect];
  for (const part of components) {
    if (part === "" || part === "." || part === ".." || part.length > NAME_MAX || part.includes("/") || part.includes("\0")) {
      throw new FsError("EIO", "redirect", `${JSON.stringify(redirect)} is neither a name nor a path from the root`);
    }
  }
  return redirect;
}

function parseOrigin(value: string | undefined): number | undefined {
  if (value === undefined || !/^[1-9]\d{0,15}$/.test(value)) return undefined;
  const ino = Number(value);
  return Number.isSafeInteger(ino) ? ino : undefined;
}
