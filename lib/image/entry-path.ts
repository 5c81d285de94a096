/**
 * Names of layer entries, and what they mean: a path beneath the root, a whiteout, an opaque mark. Pure.
 * Whatever could be understood to lie outside of the layer, or differently by different programs, is refused.
 * Source: OCI image-spec, layer.md.
 */
import { NAME_MAX, textOf } from "../base/name.js";
import { ImageError } from "./errors.js";

export type EntryMeaning =
  | { readonly kind: "object"; readonly path: readonly string[] }
  | { readonly kind: "whiteout"; readonly path: readonly string[] }
  | { readonly kind: "opaque"; readonly path: readonly string[] }
  /** A file of AUFS's own. */
  | { readonly kind: "ignored" };

const WHITEOUT = ".wh.";
const AUFS = ".wh..wh.";
const OPAQUE = ".wh..wh..opq";
/** Components of a path. Deeper ones are a way to exhaust readers. */
const MAX_DEPTH = 4096;

/** What to do with names that begin with a slash: "strip" takes them from the layer's root, as tar programs do. */
export type AbsoluteNames = "strip" | "refuse";

/** Latin1 in, latin1 out. "./" in front, "." and empty components and slashes at the end say nothing. Throws ERR_IMAGE_ENTRY. */
function entryPath(name: string, what: string, absolute: AbsoluteNames): string[] {
  if (absolute === "refuse" && name.startsWith("/")) throw refused(what, name, "an absolute name");
  const path = name.split("/").filter((part) => part !== "" && part !== ".");
  if (path.includes("..")) throw refused(what, name, 'a name with ".."');
  if (path.length > MAX_DEPTH) throw refused(what, name, `a name of more than ${MAX_DEPTH} components`);
  for (const part of path) if (part.length > NAME_MAX) throw refused(what, name, `a component of more than ${NAME_MAX} bytes`);
  return path;
}

/** Throws ERR_IMAGE_ENTRY. */
export function meaningOf(name: string, absolute: AbsoluteNames): EntryMeaning {
  const path = entryPath(name, "entry", absolute);
  const last = path.at(-1);
  for (const part of path.slice(0, -1)) if (part.startsWith(WHITEOUT)) throw refused("entry", name, "something inside of a whiteout");
  if (last === undefined || !last.startsWith(WHITEOUT)) return { kind: "object", path };
  const parent = path.slice(0, -1);
  if (last === OPAQUE) return { kind: "opaque", path: parent };
  if (last.startsWith(AUFS)) return { kind: "ignored" };
  const hidden = last.slice(WHITEOUT.length);
  if (hidden === "" || hidden === "." || hidden === "..") throw refused("entry", name, "a whiteout of no name");
  return { kind: "whiteout", path: [...parent, hidden] };
}

/** The earlier entry that a hard link names. Throws ERR_IMAGE_ENTRY. */
export function linkPath(linkName: string, absolute: AbsoluteNames): string[] {
  const path = entryPath(linkName, "hard link to", absolute);
  if (path.length === 0) throw refused("hard link to", linkName, "the root");
  if (path.some((part) => part.startsWith(WHITEOUT))) throw refused("hard link to", linkName, "a whiteout");
  return path;
}

function refused(what: string, name: string, why: string): ImageError {
  return new ImageError("ERR_IMAGE_ENTRY", `${what} ${JSON.stringify(textOf(name.slice(0, 300)))}: found ${why}`);
}
