/** GETATTR, STATX, SETATTR. */
import type { Attr, AttrChanges, Time } from "../../base/attr.js";
import { isDirectory } from "../../base/mode.js";
import { attrSec, changed, type Operation, type Serving } from "../serving.js";
import type { NodeEntry } from "../nodes.js";
import type { Request } from "../wire/request.js";
import {
  FATTR_ATIME, FATTR_ATIME_NOW, FATTR_CTIME, FATTR_FH, FATTR_GID, FATTR_KILL_SUIDGID, FATTR_MODE, FATTR_MTIME, FATTR_MTIME_NOW, FATTR_SIZE, FATTR_UID, SETATTR_IN,
} from "../wire/abi.js";

export const getattr: Operation = (s) => {
  const entry = s.nodes.get(s.request.nodeid);
  return s.reply.attributes(s.tree.getAttr(entry.node), attrSec(s, entry));
};

export const statx: Operation = (s) => {
  const entry = s.nodes.get(s.request.nodeid);
  return s.reply.statx(s.tree.getAttr(entry.node), attrSec(s, entry));
};

export const setattr: Operation = (s) => {
  const entry = s.nodes.get(s.request.nodeid);
  if (s.policy.writeback && isIdleFlush(s, entry)) return s.reply.attributes(s.tree.getAttr(entry.node), attrSec(s, entry));
  const attr = s.tree.setAttr(entry.node, changesOf(s, entry), s.request.caller);
  if (attr instanceof Promise) return attr.then((late) => () => replyChanged(s, entry, late));
  return replyChanged(s, entry, attr);
};

/**
 * With the writeback cache the kernel keeps times and flushes them as mtime and ctime, also after an unlink, a link or a rename, which
 * change ctime alone. An mtime that is so already is then nothing to do; doing it would copy up a lower file that was just removed.
 */
function isIdleFlush(s: Serving, entry: NodeEntry): boolean {
  const { request } = s;
  if ((request.u32(SETATTR_IN.valid) & ~FATTR_FH) !== (FATTR_MTIME | FATTR_CTIME)) return false;
  const attr = s.tree.getAttr(entry.node);
  return attr.mtimeSec === request.s64(SETATTR_IN.mtime) && attr.mtimeNsec === request.u32(SETATTR_IN.mtimensec);
}

function replyChanged(s: Serving, entry: NodeEntry, attr: Attr): number {
  changed(s, entry);
  return s.reply.attributes(attr, attrSec(s, entry));
}

/** ctime is never set: the tree's clock does that. */
function changesOf(s: Serving, entry: NodeEntry): AttrChanges {
  const { request } = s;
  const valid = request.u32(SETATTR_IN.valid);
  const changes: { -readonly [K in keyof AttrChanges]: AttrChanges[K] } = {};
  if ((valid & FATTR_MODE) !== 0) changes.mode = request.u32(SETATTR_IN.mode) & 0o7777;
  if ((valid & FATTR_UID) !== 0) changes.uid = request.u32(SETATTR_IN.uid);
  if ((valid & FATTR_GID) !== 0) changes.gid = request.u32(SETATTR_IN.gid);
  if ((valid & FATTR_SIZE) !== 0) changes.size = request.u64(SETATTR_IN.size);
  if ((valid & FATTR_ATIME) !== 0) {
    changes.atime = (valid & FATTR_ATIME_NOW) !== 0 ? "now" : timeAt(request, SETATTR_IN.atime, SETATTR_IN.atimensec);
  }
  if ((valid & FATTR_MTIME) !== 0) {
    changes.mtime = (valid & FATTR_MTIME_NOW) !== 0 ? "now" : timeAt(request, SETATTR_IN.mtime, SETATTR_IN.mtimensec);
  }
  // With HANDLE_KILLPRIV_V2 the kernel leaves it to us that chown of anything but a directory ends its privileges, whoever asks.
  const chown = (valid & (FATTR_UID | FATTR_GID)) !== 0 && (valid & FATTR_MODE) === 0;
  if ((valid & FATTR_KILL_SUIDGID) !== 0 || (chown && !isDirectory(s.tree.getAttr(entry.node).mode))) changes.killPrivileges = true;
  return changes;
}

function timeAt(request: Request, sec: number, nsec: number): Time {
  return { sec: request.s64(sec), nsec: request.u32(nsec) };
}
