/** Names made, moved and removed: MKNOD, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME, RENAME2; and READLINK. */
import { FsError } from "../../base/errors.js";
import { isDirectory, S_IFDIR, S_IFLNK } from "../../base/mode.js";
import type { RenameMode } from "../../vfs.js";
import { changed, replyEntry, then, type Operation, type Outcome, type Serving } from "../serving.js";
import {
  ENTRY_OUT, LINK_IN, MKDIR_IN, MKNOD_IN, RENAME2_IN, RENAME_EXCHANGE, RENAME_IN, RENAME_NOREPLACE,
} from "../wire/abi.js";

export const mknod: Operation = (s) => {
  const { request } = s;
  const mode = request.u32(MKNOD_IN.mode);
  if (isDirectory(mode)) throw new FsError("EINVAL", "mknod", "of a directory");
  request.caller.umask = request.u32(MKNOD_IN.umask);
  const parent = s.nodes.get(request.nodeid).node;
  const node = s.tree.create(parent, request.name(MKNOD_IN.SIZE), { mode, rdev: request.u32(MKNOD_IN.rdev) }, request.caller);
  replyEntry(s, 0, node);
  return ENTRY_OUT.SIZE;
};

export const mkdir: Operation = (s) => {
  const { request } = s;
  const mode = S_IFDIR | (request.u32(MKDIR_IN.mode) & 0o7777);
  request.caller.umask = request.u32(MKDIR_IN.umask);
  const parent = s.nodes.get(request.nodeid).node;
  replyEntry(s, 0, s.tree.create(parent, request.name(MKDIR_IN.SIZE), { mode }, request.caller));
  return ENTRY_OUT.SIZE;
};

export const symlink: Operation = (s) => {
  const { request } = s;
  const parent = s.nodes.get(request.nodeid).node;
  const target = request.string(request.after(0));
  replyEntry(s, 0, s.tree.create(parent, request.name(0), { mode: S_IFLNK | 0o777, target }, request.caller));
  return ENTRY_OUT.SIZE;
};

export const readlink: Operation = (s) => s.reply.latin1(0, s.tree.readlink(s.nodes.get(s.request.nodeid).node));

export const link: Operation = (s) => {
  const { request } = s;
  const entry = s.nodes.get(request.u64(LINK_IN.oldnodeid));
  const parent = s.nodes.get(request.nodeid).node;
  return then(s.tree.link(entry.node, parent, request.name(LINK_IN.SIZE)), (node) => {
    changed(s, entry);
    replyEntry(s, 0, node);
    return ENTRY_OUT.SIZE;
  });
};

export const unlink: Operation = (s) => {
  s.tree.unlink(s.nodes.get(s.request.nodeid).node, s.request.name(0));
  return 0;
};

export const rmdir: Operation = (s) => {
  s.tree.rmdir(s.nodes.get(s.request.nodeid).node, s.request.name(0));
  return 0;
};

export const rename: Operation = (s) => move(s, s.request.u64(RENAME_IN.newdir), RENAME_IN.SIZE, "replace");

export const rename2: Operation = (s) => {
  const flags = s.request.u32(RENAME2_IN.flags);
  const mode = renameModes[flags];
  if (mode === undefined) throw new FsError("EINVAL", "rename", `with flags ${flags}`);
  return move(s, s.request.u64(RENAME2_IN.newdir), RENAME2_IN.SIZE, mode);
};

/** Indexed by flags; the rest is EINVAL, RENAME_WHITEOUT too, as overlayfs answers: the whiteout could not be seen through the mount. */
const renameModes: readonly (RenameMode | undefined)[] = (() => {
  const modes: (RenameMode | undefined)[] = [];
  modes[0] = "replace";
  modes[RENAME_NOREPLACE] = "noreplace";
  modes[RENAME_EXCHANGE] = "exchange";
  return modes;
})();

function move(s: Serving, newdir: number, names: number, mode: RenameMode): Outcome {
  const { request } = s;
  const from = s.nodes.get(request.nodeid).node;
  const to = s.nodes.get(newdir).node;
  return then(s.tree.rename(from, request.name(names), to, request.name(request.after(names)), mode), () => 0);
}
