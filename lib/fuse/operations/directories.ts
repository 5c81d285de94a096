/**
 * READDIR, READDIRPLUS, FSYNCDIR. Offsets: 0 is before ".", 1 before "..", then 2 + position in the listing (listings.ts).
 * Always true: after the first entry of an answer there is no error, because the lookups of that entry are counted already.
 */
import { errnoOf } from "../../base/errors.js";
import { S_IFDIR } from "../../base/mode.js";
import type { DirEntry } from "../../vfs.js";
import { indexAfter, positionOf } from "../listings.js";
import type { NodeEntry } from "../nodes.js";
import { replyEntry, then, type Operation, type Serving } from "../serving.js";
import { direntSize } from "../wire/reply.js";
import { ENTRY_OUT, MAX_WRITE, READ_IN } from "../wire/abi.js";

/** What "." and ".." cost, entry included. */
const DOT_ROOM = ENTRY_OUT.SIZE + direntSize(2);

/** A name that has left the directory since the snapshot: not listed. */
const GONE = 0;
/** For an entry whose number cannot be read; 0 would mean a removed one to some readers. */
const UNKNOWN = 0xffff_ffff;

export const readdir: Operation = (s) => list(s, false);

export const readdirplus: Operation = (s) => list(s, true);

function list(s: Serving, plus: boolean): number {
  const { request } = s;
  const dir = s.nodes.get(request.nodeid);
  const offset = request.u64(READ_IN.offset);
  const room = Math.min(request.u32(READ_IN.size), MAX_WRITE);
  const listing = s.listings.at(dir, offset);
  const { entries } = listing;
  let used = 0;
  if (offset === 0 && used + DOT_ROOM <= room) used = dot(s, used, ".", dir.node, 1, plus);
  if (offset <= 1 && used + DOT_ROOM <= room) used = dot(s, used, "..", s.tree.parentOf(dir.node) ?? dir.node, 2, plus);
  const head = plus ? ENTRY_OUT.SIZE : 0;
  for (let i = indexAfter(listing, Math.max(0, offset - 2)); i < entries.length; i++) {
    const entry = entries[i];
    if (entry === undefined) continue;
    if (used + head + direntSize(entry.name.length) > room) break;
    const ino = plus ? lookupInto(s, used, dir, entry) : inoOf(entry);
    if (ino === GONE) continue;
    used += head;
    used += s.reply.dirent(used, entry.name, ino, entry.type, positionOf(listing, i) + 2);
  }
  return used;
}

/** The kernel makes nothing of these two, so they carry no attributes and count no lookup. */
function dot(s: Serving, used: number, name: string, node: object, next: number, plus: boolean): number {
  let at = used;
  if (plus) {
    s.reply.zero(at, ENTRY_OUT.SIZE);
    at += ENTRY_OUT.SIZE;
  }
  return at + s.reply.dirent(at, name, s.tree.getAttr(node).ino, S_IFDIR, next);
}

/** The number of an entry whose attributes are sent with it. One that cannot be looked up goes with nodeid 0: the kernel asks when it is used. */
function lookupInto(s: Serving, at: number, dir: NodeEntry, entry: DirEntry): number {
  try {
    const node = s.tree.lookup(dir.node, entry.name);
    if (node === undefined) return GONE;
    replyEntry(s, at, node);
    return entry.ino;
  } catch {
    // The error belongs to whoever uses the name, and will be met again there.
    s.reply.zero(at, ENTRY_OUT.SIZE);
    return UNKNOWN;
  }
}

function inoOf(entry: DirEntry): number {
  try {
    return entry.ino;
  } catch {
    return UNKNOWN;
  }
}

export const fsyncdir: Operation = (s) => {
  if (s.policyOptions.fsync === false) return -errnoOf("ENOSYS");
  return then(s.tree.syncDir(s.nodes.get(s.request.nodeid).node), () => 0);
};
