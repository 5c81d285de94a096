/**
 * READ, WRITE, FSYNC, FALLOCATE, LSEEK, COPY_FILE_RANGE: bytes of a node, with or without an open of the kernel's.
 * Order: where a file comes late, what the request carries has been copied before.
 */
import { errnoOf, FsError } from "../../base/errors.js";
import type { Caller, OpenFile } from "../../vfs.js";
import type { NodeEntry } from "../nodes.js";
import { changed, NO_REPLY, thenOn, usePinned, whenOpen, withFile, type Operation, type Outcome, type Serving } from "../serving.js";
import {
  COPY_FILE_RANGE_IN, FALLOCATE_IN, FSYNC_IN, FUSE_FSYNC_FDATASYNC, FUSE_WRITE_KILL_SUIDGID, LSEEK_IN, MAX_WRITE, OUT_HEADER, READ_IN,
  SEEK_DATA, SEEK_HOLE, SIZE_OUT_SIZE, WRITE_IN,
} from "../wire/abi.js";

/** Bytes copied for one COPY_FILE_RANGE; the caller asks again for the rest, and other requests get their turn. */
const COPY_SLICE = 16 * 1024 * 1024;

export const read: Operation = (s) => {
  const { request } = s;
  const entry = s.nodes.get(s.request.nodeid);
  const position = request.u64(READ_IN.offset);
  const size = Math.min(request.u32(READ_IN.size), MAX_WRITE);
  const file = s.files.get(entry, "read");
  if (!(file instanceof Promise)) return readFrom(s, file, position, size, request.uniqueLo, request.uniqueHi);
  const { uniqueLo, uniqueHi } = request;
  return whenOpen(s, file, (late) => readFrom(s, late, position, size, uniqueLo, uniqueHi));
};

/** The file's descriptor goes straight to the channel, so that the bytes do not pass through here. */
function readFrom(s: Serving, file: OpenFile, position: number, size: number, uniqueLo: number, uniqueHi: number): Outcome {
  const { reply } = s;
  if (file.fd >= 0) {
    reply.seal(uniqueLo, uniqueHi, 0, 0);
    const sent = s.channel.sendFile(reply.bytes, file.fd, position, size);
    return sent >= 0 || sent === -errnoOf("ENOENT") ? NO_REPLY : -errnoOf("EIO");
  }
  const count = file.read(reply.body(size), position);
  if (!(count instanceof Promise)) return count;
  const filled = reply.surrender();
  return thenOn(s, file, count, (late) => {
    filled.copy(s.reply.bytes, OUT_HEADER.SIZE, OUT_HEADER.SIZE, OUT_HEADER.SIZE + late);
    return late;
  });
}

export const write: Operation = (s) => {
  const { request } = s;
  const entry = s.nodes.get(request.nodeid);
  const position = request.u64(WRITE_IN.offset);
  const data = request.bytes(WRITE_IN.SIZE, request.u32(WRITE_IN.size));
  const kill = (request.u32(WRITE_IN.writeFlags) & FUSE_WRITE_KILL_SUIDGID) !== 0;
  const file = s.files.get(entry, "write");
  if (!(file instanceof Promise) && !kill) return writeTo(s, entry, file, data, position);
  const copy = Buffer.from(data);
  const { uid, gid, pid, umask } = request.caller;
  const caller: Caller = { uid, gid, pid, umask };
  const slowly = (late: OpenFile): Outcome => {
    if (!kill) return writeTo(s, entry, late, copy, position);
    const { mode } = s.tree.getAttr(entry.node);
    const killed = s.tree.setAttr(entry.node, { killPrivileges: true }, caller);
    return thenOn(s, late, killed, (attr) => {
      // A direct write does not make the kernel ask for the mode again, and who has written may look at once.
      if (attr.mode !== mode) s.invalidate(entry);
      return writeTo(s, entry, late, copy, position);
    });
  };
  return file instanceof Promise ? whenOpen(s, file, slowly) : slowly(file);
};

function writeTo(s: Serving, entry: NodeEntry, file: OpenFile, data: Uint8Array, position: number): Outcome {
  const written = file.write(data, position);
  changed(s, entry);
  if (written instanceof Promise) return thenOn(s, file, written, (count) => s.reply.size(count));
  return s.reply.size(written);
}

export const fsync: Operation = (s) => {
  // The kernel takes it for success, and does not ask again.
  if (s.policyOptions.fsync === false) return -errnoOf("ENOSYS");
  const entry = s.nodes.get(s.request.nodeid);
  const dataOnly = (s.request.u32(FSYNC_IN.fsyncFlags) & FUSE_FSYNC_FDATASYNC) !== 0;
  return withFile(s, entry, "read", (file) => thenOn(s, file, file.sync(dataOnly), () => 0));
};

export const fallocate: Operation = (s) => {
  const { request } = s;
  const entry = s.nodes.get(request.nodeid);
  const position = request.u64(FALLOCATE_IN.offset);
  const length = request.u64(FALLOCATE_IN.length);
  const mode = request.u32(FALLOCATE_IN.mode);
  const { uid, gid, pid, umask } = request.caller;
  const caller: Caller = { uid, gid, pid, umask };
  return withFile(s, entry, "write", (file) => {
    changed(s, entry);
    // The kernel has no word for it here, as it has for a write: who is not root ends the file's privileges.
    const killed = uid === 0 ? undefined : s.tree.setAttr(entry.node, { killPrivileges: true }, caller);
    return thenOn<unknown>(s, file, killed, () => thenOn(s, file, file.allocate(mode, position, length), () => 0));
  });
};

/**
 * With the writeback cache the kernel holds data that we have not seen, and does not write it out before it asks; a hole reported
 * there would lose that data in a copy. ENOSYS makes the kernel answer for itself, from its own size, that all is data.
 */
export const lseek: Operation = (s) => {
  if (s.policy.writeback) return -errnoOf("ENOSYS");
  const { request } = s;
  const entry = s.nodes.get(request.nodeid);
  const position = request.u64(LSEEK_IN.offset);
  const whence = request.u32(LSEEK_IN.whence);
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) throw new FsError("EINVAL", "lseek", `whence ${whence}`);
  return withFile(s, entry, "read", (file) => {
    s.reply.u64(0, file.seek(position, whence));
    return SIZE_OUT_SIZE;
  });
};

/** The kernel has written out what it holds of both ranges. Answers with what was copied in one slice. */
export const copyFileRange: Operation = (s) => copyRange(s, (count) => s.reply.size(count));

export const copyFileRange64: Operation = (s) => copyRange(s, (count) => {
  s.reply.u64(0, count);
  return SIZE_OUT_SIZE;
});

/** EOPNOTSUPP, where the bytes are in no descriptor, makes the kernel copy through its page cache. */
function copyRange(s: Serving, answer: (count: number) => number): Outcome {
  const { request } = s;
  const source = s.nodes.get(request.nodeid);
  const target = s.nodes.get(request.u64(COPY_FILE_RANGE_IN.nodeidOut));
  const offIn = request.u64(COPY_FILE_RANGE_IN.offIn);
  const offOut = request.u64(COPY_FILE_RANGE_IN.offOut);
  const length = Math.min(request.u64(COPY_FILE_RANGE_IN.len), COPY_SLICE);
  if (request.u64(COPY_FILE_RANGE_IN.flags) !== 0) throw new FsError("EINVAL", "copy_file_range", "with flags");
  const copy = (from: OpenFile, to: OpenFile): Outcome => {
    if (from.fd < 0 || to.fd < 0) return -errnoOf("EOPNOTSUPP");
    const count = s.native.copyRange(from.fd, offIn, to.fd, offOut, length);
    changed(s, target);
    return count < 0 ? count : answer(count);
  };
  return withFile(s, target, "write", (to) => {
    const from = s.files.get(source, "read");
    return thenOn(s, to, from, (ready) => (from instanceof Promise ? usePinned(s, ready, () => copy(ready, to)) : copy(ready, to)));
  });
}
