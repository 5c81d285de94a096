/**
 * What an operation works with, and what it may answer. An operation reads `request`, writes the body of its answer into `reply`, and returns.
 * Waiting: `request` and `reply` belong to the operation until it returns; one that waits copies what it needs before, and encodes its
 * answer in the function its promise resolves to, which runs when `reply` is its own again.
 */
import type { FileSystem, OpenFile } from "../vfs.js";
import type { Channel } from "./channel.js";
import type { Access, OpenFiles } from "./files.js";
import type { Listings } from "./listings.js";
import type { NodeEntry, NodeTable } from "./nodes.js";
import type { Backings } from "./passthrough.js";
import type { Policy, PolicyOptions } from "./policy.js";
import type { ServerStatus } from "./status.js";
import type { NativeBinding } from "../../types/native.js";
import type { Reply } from "./wire/reply.js";
import type { Request } from "./wire/request.js";

/** The body's length in bytes, 0 or more; a negative errno; NO_REPLY; or a promise of the function that goes on. */
export type Outcome = number | Promise<() => Outcome>;

/** Nothing is to be sent: the request has no answer, or has been answered. */
export const NO_REPLY = Number.MAX_SAFE_INTEGER;

export interface Serving {
  readonly tree: FileSystem;
  readonly nodes: NodeTable;
  readonly files: OpenFiles;
  readonly listings: Listings;
  readonly backings: Backings;
  readonly channel: Channel;
  readonly native: Pick<NativeBinding, "copyRange">;
  readonly request: Request;
  readonly reply: Reply;
  readonly policy: Policy;
  /** Makes `policy` what was agreed in INIT. */
  agree(policy: Policy): void;
  /** Ends the session's hopes: this kernel cannot be served, `message` says why. */
  refuse(message: string): void;
  readonly policyOptions: PolicyOptions;
  /** The caller of this request has had a signal. */
  interrupted(uniqueLo: number, uniqueHi: number): void;
  /** What this server says of itself to its owner. */
  status(): ServerStatus;
  /** Tells the kernel at once that the attributes of `entry` are out of date. Before the answer's body is encoded, and for an inode that the kernel knows. */
  invalidate(entry: NodeEntry): void;
  /** Something of this entry has changed that is not NodeTable's or Backings's to change. */
  touched(entry: NodeEntry): void;
  /** After the answer to this request is sent, tells the kernel that the attributes of `entry` are out of date. */
  invalidateAfter(entry: NodeEntry): void;
}

export type Operation = (s: Serving) => Outcome;

/** Goes on with a value that may have to be waited for. */
export function then<T>(value: T | Promise<T>, use: (value: T) => Outcome): Outcome {
  if (value instanceof Promise) return value.then((late) => () => use(late));
  return use(value);
}

/** Goes on with the open file of `entry`, which stays open while `use` runs. */
export function withFile(s: Serving, entry: NodeEntry, access: Access, use: (file: OpenFile) => Outcome): Outcome {
  const file = s.files.get(entry, access);
  return file instanceof Promise ? whenOpen(s, file, use) : use(file);
}

/** withFile() for a file that OpenFiles.get() has promised. */
export function whenOpen(s: Serving, file: Promise<OpenFile>, use: (file: OpenFile) => Outcome): Outcome {
  return file.then((late) => () => usePinned(s, late, use));
}

/** As then(), for work on `file`, which stays open meanwhile and while `use` runs. */
export function thenOn<T>(s: Serving, file: OpenFile, value: T | Promise<T>, use: (value: T) => Outcome): Outcome {
  if (!(value instanceof Promise)) return use(value);
  s.files.pin(file);
  return value.then(
    (late) => () => usePinned(s, file, () => use(late)),
    (error: unknown) => {
      s.files.unpin(file);
      throw error;
    },
  );
}

/**
 * Lifetime to promise for the attributes of `entry`: none for a detached nodeid, which is not told of changes made through the current one,
 * and none where a mapping may change the times unseen.
 */
export function attrSec(s: Serving, entry: NodeEntry): number {
  return entry.detached || entry.mappedUnseen ? 0 : s.policy.attrSec;
}

/** Encodes a looked-up node as fuse_entry_out and counts the lookup; returns its entry. Throws what getAttr() does, having counted nothing. */
export function replyEntry(s: Serving, offset: number, node: object): NodeEntry {
  const attr = s.tree.getAttr(node);
  const entry = s.nodes.enter(node);
  s.reply.entry(offset, entry.nodeid, attr, s.policy.entrySec, attrSec(s, entry));
  return entry;
}

/** A change was made through `entry`; where that is a detached nodeid, the current one's inode must ask again. */
export function changed(s: Serving, entry: NodeEntry): void {
  if (!entry.detached) return;
  const current = s.nodes.currentOf(entry.node);
  if (current !== undefined) s.invalidateAfter(current);
}

/** Runs `use` and ends a pin; what `use` still waits for has its own. */
export function usePinned(s: Serving, file: OpenFile, use: (file: OpenFile) => Outcome): Outcome {
  try {
    return use(file);
  } finally {
    s.files.unpin(file);
  }
}
