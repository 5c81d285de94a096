/**
 * OPEN, CREATE, TMPFILE and RELEASE. In cached mode the kernel opens files by itself: OPEN and CREATE are answered ENOSYS once, and it goes
 * on with MKNOD. Elsewhere every open is counted, because the kernel reads and writes an inode in one way for all its opens (passthrough.ts).
 */
import { errnoOf } from "../../base/errors.js";
import { O_ACCMODE, O_RDONLY, O_RDWR, O_TRUNC, S_IFREG, S_ISGID, S_ISUID } from "../../base/mode.js";
import type { Caller, OpenFile } from "../../vfs.js";
import type { Access } from "../files.js";
import type { NodeEntry } from "../nodes.js";
import { CACHED, CONFLICT } from "../passthrough.js";
import { attrSec, thenOn, withFile, type Operation, type Outcome, type Serving } from "../serving.js";
import { CREATE_IN, ENTRY_OUT, FOPEN_KEEP_CACHE, FOPEN_PASSTHROUGH, FUSE_OPEN_KILL_SUIDGID, OPEN_IN } from "../wire/abi.js";

const S_IXGRP = 0o010;

export const open: Operation = (s) => {
  if (s.policy.zeroOpen) return -errnoOf("ENOSYS");
  const { request } = s;
  const entry = s.nodes.get(request.nodeid);
  if (entry.detached) return -errnoOf("ESTALE");
  const flags = request.u32(OPEN_IN.flags);
  const access = accessOf(flags);
  noteMappable(s, entry, flags);
  const kill = (request.u32(OPEN_IN.openFlags) & FUSE_OPEN_KILL_SUIDGID) !== 0;
  if (!kill) return withFile(s, entry, access, (file) => replyOpen(s, 0, entry, file, access));
  const { uid, gid, pid, umask } = request.caller;
  const caller: Caller = { uid, gid, pid, umask };
  return withFile(s, entry, access, (file) =>
    thenOn(s, file, s.tree.setAttr(entry.node, { killPrivileges: true }, caller), () => replyOpen(s, 0, entry, file, access)));
};

export const create: Operation = (s) => {
  if (s.policy.zeroOpen) return -errnoOf("ENOSYS");
  const { request } = s;
  const parent = s.nodes.get(request.nodeid).node;
  request.caller.umask = request.u32(CREATE_IN.umask);
  const mode = S_IFREG | (request.u32(CREATE_IN.mode) & 0o7777);
  const access = accessOf(request.u32(CREATE_IN.flags) & ~O_TRUNC);
  return openNew(s, s.tree.create(parent, request.name(CREATE_IN.SIZE), { mode }, request.caller), access, request.u32(CREATE_IN.flags));
};

/** The name in the request means nothing. */
export const tmpfile: Operation = (s) => {
  const { request } = s;
  const parent = s.nodes.get(request.nodeid).node;
  request.caller.umask = request.u32(CREATE_IN.umask);
  const mode = S_IFREG | (request.u32(CREATE_IN.mode) & 0o7777);
  return openNew(s, s.tree.createUnnamed(parent, mode, request.caller), "write", request.u32(CREATE_IN.flags));
};

/** Never sent where OPEN was answered ENOSYS. */
export const release: Operation = (s) => {
  s.backings.close(s.nodes.get(s.request.nodeid));
  return 0;
};

/** Opens a node that the kernel does not know yet, and answers with both; the lookup is taken back if that fails. */
function openNew(s: Serving, node: object, access: Access, flags: number): Outcome {
  const entry = s.nodes.enter(node);
  if (s.policy.passthrough && mappable(flags)) {
    entry.mappedUnseen = true;
    s.touched(entry);
  }
  const failed = (error: unknown): never => {
    s.nodes.forget(entry.nodeid, 1);
    throw error;
  };
  try {
    const outcome = withFile(s, entry, access, (file) => {
      const attr = s.tree.getAttr(node);
      s.reply.entry(0, entry.nodeid, attr, s.policy.entrySec, attrSec(s, entry));
      return replyOpen(s, ENTRY_OUT.SIZE, entry, file, access, attr.mode);
    });
    return outcome instanceof Promise ? outcome.catch(failed) : outcome;
  } catch (error) {
    return failed(error);
  }
}

/** Encodes fuse_open_out at `offset`; returns the body's length, or -ESTALE after detaching the entry. `mode` where it is known. */
function replyOpen(s: Serving, offset: number, entry: NodeEntry, file: OpenFile, access: Access, mode?: number): number {
  if (s.policy.zeroOpen) return offset + s.reply.open(offset, FOPEN_KEEP_CACHE, 0);
  const privileged = s.policy.passthrough && access !== "read" && hasPrivileges(mode ?? s.tree.getAttr(entry.node).mode);
  const id = s.policy.passthrough ? s.backings.open(entry, file, privileged) : CACHED;
  if (id === CONFLICT) {
    s.nodes.detach(entry);
    s.invalidateAfter(entry);
    return -errnoOf("ESTALE");
  }
  if (id !== CACHED) return offset + s.reply.open(offset, FOPEN_PASSTHROUGH, id);
  return offset + s.reply.open(offset, entry.wasPassthrough ? 0 : FOPEN_KEEP_CACHE, 0);
}

/** From the first such open on the kernel asks for the attributes; those it has are ended now. */
function noteMappable(s: Serving, entry: NodeEntry, flags: number): void {
  if (entry.mappedUnseen || !s.policy.passthrough || !mappable(flags)) return;
  entry.mappedUnseen = true;
  s.touched(entry);
  s.invalidateAfter(entry);
}

/** A shared mapping that is written to takes both (mmap(2)). */
function mappable(flags: number): boolean {
  return (flags & O_ACCMODE) === O_RDWR;
}

/**
 * A write must end these bits, and in passthrough nobody would: the kernel leaves it to us (HANDLE_KILLPRIV_V2), and the backing file is
 * written with our credentials. Capabilities need no such care, the kernel removes them itself.
 */
function hasPrivileges(mode: number): boolean {
  return (mode & S_ISUID) !== 0 || (mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP);
}

function accessOf(flags: number): Access {
  if ((flags & O_TRUNC) !== 0) return "truncate";
  return (flags & O_ACCMODE) === O_RDONLY ? "read" : "write";
}
