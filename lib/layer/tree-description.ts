/**
 * Trees written down as plain objects, for memory layers: what a name maps to says what it is.
 *
 *   "text" or bytes      a regular file              { ... }                  a directory
 *   entry({ ... })       anything, with attributes   whiteout                 hides the name below
 *
 * Always true: a description survives structuredClone (a worker gets it whole). The tag of entry() is the key "/", which no name can be.
 */
import type { Time } from "../base/attr.js";

export type EntryType = "file" | "directory" | "symlink" | "fifo" | "socket" | "char" | "block";

export interface EntryOptions {
  /** Found from `target`, `entries` and `rdev` where it is left out; else a file. */
  readonly type?: EntryType;
  /** Permission bits: 0644 for files and 0755 for directories by default. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds, or with nanoseconds; 0 by default. */
  readonly mtime?: number | Time;
  /** A file's bytes. */
  readonly content?: string | Uint8Array;
  /** A symbolic link's target, as text. */
  readonly target?: string;
  /** A device's number, as base/mode.ts packs it. */
  readonly rdev?: number;
  /** A directory's entries. */
  readonly entries?: TreeDescription;
  readonly xattrs?: Readonly<Record<string, string | Uint8Array>>;
  /** Another path of this tree: one more name for the file there. Nothing else counts then. */
  readonly link?: string;
  readonly whiteout?: boolean;
  readonly opaque?: boolean;
  readonly redirect?: string;
  readonly metacopy?: boolean;
  readonly origin?: number;
}

export interface TaggedEntry {
  readonly "/": EntryOptions;
}
export type EntryDescription = string | Uint8Array | TaggedEntry | TreeDescription;
export interface TreeDescription {
  readonly [name: string]: EntryDescription;
}

export function entry(options: EntryOptions): TaggedEntry {
  return { "/": options };
}

/** Hides a name of the layers below. */
export const whiteout: TaggedEntry = entry({ whiteout: true });

/** Every form as the most explicit one. */
export function optionsOf(description: EntryDescription): EntryOptions {
  if (typeof description === "string" || description instanceof Uint8Array) return { type: "file", content: description };
  if (isTagged(description)) return { ...description["/"], type: typeOf(description["/"]) };
  return { type: "directory", entries: description };
}

function isTagged(description: TaggedEntry | TreeDescription): description is TaggedEntry {
  return Object.hasOwn(description, "/");
}

function typeOf(options: EntryOptions): EntryType {
  if (options.type !== undefined) return options.type;
  if (options.target !== undefined) return "symlink";
  return options.entries !== undefined || options.opaque === true ? "directory" : "file";
}
