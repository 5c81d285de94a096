/**
 * What differs between two merged chains, from their indexes alone: contents are compared by digest, nothing is read.
 * Differences come in the order of a walk: a directory before what is in it, names in the order of their bytes.
 */
import { S_IFDIR, S_IFMT, S_IFREG } from "../base/mode.js";
import { nodeOf } from "../store/chain-merge.js";
import type { Digest } from "../store/digest.js";
import { ROOT_ROW, type IndexReader } from "../store/index-reader.js";
import type { IndexNode } from "../store/index-writer.js";
import type { OpenChain, Store } from "../store/store.js";
import { imageOf } from "./commit.js";

/** What changed of an object that both have. "type": it is another kind of object, and nothing else is compared. */
export type DifferentPart = "type" | "mode" | "owner" | "content" | "target" | "device" | "xattrs" | "mtime" | "links";

export type Difference =
  /** `path`: latin1, beginning with a slash. `mode`: type and permission bits, as st_mode. */
  | { readonly kind: "added" | "removed"; readonly path: string; readonly mode: number }
  | { readonly kind: "changed"; readonly path: string; readonly mode: number; readonly parts: readonly DifferentPart[] };

export interface DiffOptions {
  /** Compare modification times as well. Default true. */
  readonly times?: boolean;
  readonly signal?: AbortSignal;
}

/** Objects between two looks at the signal, and two chances for others to run. */
const BATCH = 10_000;

/** What `to` has that `from` has not, and the other way round. Throws ERR_STORE_MISSING for an image that is not there; the signal's reason. */
export async function* diffImages(store: Store, from: string, to: string, options: DiffOptions = {}): AsyncGenerator<Difference, undefined> {
  yield* diffChains(store, imageOf(store, from).layers, imageOf(store, to).layers, options);
  return undefined;
}

/** The same of two lists of layers, bottom-up. */
export async function* diffChains(store: Store, from: readonly Digest[], to: readonly Digest[], options: DiffOptions = {}): AsyncGenerator<Difference, undefined> {
  for (const key of Object.keys(options)) if (key !== "times" && key !== "signal") throw new TypeError(`unknown option ${key} of a diff`);
  const open: OpenChain[] = [];
  try {
    for (const layers of [from, to]) open.push(await store.openChain(layers, "diff"));
    const [a, b] = open as [OpenChain, OpenChain];
    let count = 0;
    for (const difference of diffIndexes(a.index, b.index, options.times ?? true)) {
      if (difference !== undefined) yield difference;
      if (++count % BATCH !== 0) continue;
      options.signal?.throwIfAborted();
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    for (const chain of open) chain.close();
  }
  return undefined;
}

/** Undefined for every object that both have alike. Does not yield to others. */
function* diffIndexes(from: IndexReader, to: IndexReader, times: boolean): Generator<Difference | undefined, undefined> {
  from.loadDigests();
  to.loadDigests();
  /** Directories to be compared, those of one path together; the next one last. A row of -1: this side has none. */
  const open: { readonly a: number; readonly b: number; readonly path: string }[] = [{ a: ROOT_ROW, b: ROOT_ROW, path: "" }];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const { a, b, path } = at;
    if (a < 0) yield { kind: "added", path, mode: to.mode(b) };
    else if (b < 0) yield { kind: "removed", path, mode: from.mode(a) };
    else yield changed(from, a, to, b, path === "" ? "/" : path, times);
    const inside = pairs(from, a, to, b);
    for (let i = inside.length - 1; i >= 0; i--) {
      const pair = inside[i] as Pair;
      open.push({ a: pair.a, b: pair.b, path: `${path}/${pair.name}` });
    }
  }
  return undefined;
}

interface Pair {
  readonly name: string;
  readonly a: number;
  readonly b: number;
}

/** The names in both directories, in order; none for what is no directory. */
function pairs(from: IndexReader, a: number, to: IndexReader, b: number): Pair[] {
  const found: Pair[] = [];
  const isA = a >= 0 && (from.mode(a) & S_IFMT) === S_IFDIR;
  const isB = b >= 0 && (to.mode(b) & S_IFMT) === S_IFDIR;
  let i = isA ? from.firstEntry(a) : 0;
  let j = isB ? to.firstEntry(b) : 0;
  const endA = isA ? i + from.entryCount(a) : 0;
  const endB = isB ? j + to.entryCount(b) : 0;
  while (i < endA || j < endB) {
    const nameA = i < endA ? from.entryName(i) : undefined;
    const nameB = j < endB ? to.entryName(j) : undefined;
    if (nameB === undefined || (nameA !== undefined && nameA < nameB)) found.push({ name: nameA as string, a: from.entryNode(i++), b: -1 });
    else if (nameA === undefined || nameB < nameA) found.push({ name: nameB, a: -1, b: to.entryNode(j++) });
    else found.push({ name: nameA, a: from.entryNode(i++), b: to.entryNode(j++) });
  }
  return found;
}

function changed(from: IndexReader, a: number, to: IndexReader, b: number, path: string, times: boolean): Difference | undefined {
  const before = nodeOf(from, a);
  const after = nodeOf(to, b);
  const parts: DifferentPart[] = [];
  const type = after.mode & S_IFMT;
  if ((before.mode & S_IFMT) !== type) {
    parts.push("type");
  } else {
    if (before.mode !== after.mode) parts.push("mode");
    if (before.uid !== after.uid || before.gid !== after.gid) parts.push("owner");
    if (type === S_IFREG && !sameContent(before, after)) parts.push("content");
    if (before.target !== after.target) parts.push("target");
    if (before.rdev !== after.rdev) parts.push("device");
    if (!sameXattrs(before.xattrs, after.xattrs)) parts.push("xattrs");
    if (times && (before.mtimeSec !== after.mtimeSec || before.mtimeNsec !== after.mtimeNsec)) parts.push("mtime");
    // A directory's link count says how many are in it, which shows by itself.
    if (type !== S_IFDIR && from.nlink(a) !== to.nlink(b)) parts.push("links");
  }
  return parts.length === 0 ? undefined : { kind: "changed", path, mode: after.mode, parts };
}

function sameContent({ content: a }: IndexNode, { content: b }: IndexNode): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (a.kind === "object") return b.kind === "object" && a.digest === b.digest;
  return b.kind === "inline" && Buffer.compare(a.bytes, b.bytes) === 0;
}

function sameXattrs(a: ReadonlyMap<string, Uint8Array>, b: ReadonlyMap<string, Uint8Array>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) {
    const other = b.get(key);
    if (other === undefined || Buffer.compare(value, other) !== 0) return false;
  }
  return true;
}
