/**
 * GETXATTR, SETXATTR, LISTXATTR, REMOVEXATTR. A size of 0 asks how long the answer would be.
 * With POSIX_ACL the kernel checks ACLs and asks for them under their system.* names; the tree stores them and keeps the mode in step.
 */
import { errnoOf, FsError } from "../../base/errors.js";
import { S_ISGID } from "../../base/mode.js";
import type { Caller } from "../../vfs.js";
import { changed, then, type Operation, type Outcome, type Serving } from "../serving.js";
import { STATUS_KEY } from "../status.js";
import { FUSE_ROOT_ID, FUSE_SETXATTR_ACL_KILL_SGID, GETXATTR_IN, SETXATTR_IN, XATTR_CREATE, XATTR_REPLACE } from "../wire/abi.js";

/** XATTR_SIZE_MAX and XATTR_LIST_MAX of linux/limits.h. */
const XATTR_MAX = 65536;
const XATTR_NAME_MAX = 255;

export const getxattr: Operation = (s) => {
  const { node } = s.nodes.get(s.request.nodeid);
  const size = s.request.u32(GETXATTR_IN.size);
  const key = keyAt(s.request.string(GETXATTR_IN.SIZE));
  const value = asksForStatus(s, key) ? Buffer.from(JSON.stringify(s.status())) : s.tree.getXattr(node, key);
  if (value === undefined) return -errnoOf("ENODATA");
  if (value.length > XATTR_MAX) return -errnoOf("E2BIG");
  if (size === 0) return s.reply.size(value.length);
  if (value.length > size) return -errnoOf("ERANGE");
  s.reply.body(value.length).set(value);
  return value.length;
};

export const listxattr: Operation = (s) => {
  let keys = s.tree.listXattr(s.nodes.get(s.request.nodeid).node);
  // As disk filesystems do; that others may not read them the kernel sees to.
  if (s.request.caller.uid !== 0) keys = keys.filter((key) => !key.startsWith("trusted."));
  const size = s.request.u32(GETXATTR_IN.size);
  let length = 0;
  for (const key of keys) length += key.length + 1;
  if (length > XATTR_MAX) return -errnoOf("E2BIG");
  if (size === 0) return s.reply.size(length);
  if (length > size) return -errnoOf("ERANGE");
  let at = 0;
  for (const key of keys) at += s.reply.latin1(at, `${key}\0`);
  return at;
};

export const setxattr: Operation = (s) => {
  const { request, policy } = s;
  const entry = s.nodes.get(request.nodeid);
  const header = policy.setxattrExt ? SETXATTR_IN.SIZE : SETXATTR_IN.COMPAT_SIZE;
  const size = request.u32(SETXATTR_IN.size);
  const flags = request.u32(SETXATTR_IN.flags);
  const killSgid = policy.setxattrExt && (request.u32(SETXATTR_IN.setxattrFlags) & FUSE_SETXATTR_ACL_KILL_SGID) !== 0;
  const key = keyAt(request.string(header));
  if (size > XATTR_MAX) return -errnoOf("E2BIG");
  // The tree may keep the value it is given, and these bytes are overwritten by the next request.
  const value = Uint8Array.prototype.slice.call(request.bytes(request.after(header), size));
  const only = flags === XATTR_CREATE ? "create" : flags === XATTR_REPLACE ? "replace" : undefined;
  if (only === undefined && flags !== 0) return -errnoOf("EINVAL");
  const { uid, gid, pid, umask } = request.caller;
  const caller: Caller = { uid, gid, pid, umask };
  return then(s.tree.setXattr(entry.node, key, value, only), (): Outcome => {
    changed(s, entry);
    if (!killSgid) return 0;
    const { mode } = s.tree.getAttr(entry.node);
    if ((mode & S_ISGID) === 0) return 0;
    return then(s.tree.setAttr(entry.node, { mode: mode & 0o7777 & ~S_ISGID }, caller), () => 0);
  });
};

export const removexattr: Operation = (s) => {
  const entry = s.nodes.get(s.request.nodeid);
  return then(s.tree.setXattr(entry.node, keyAt(s.request.string(0)), undefined), () => {
    changed(s, entry);
    return 0;
  });
};

/** The server's own user and root; to others it is a name without a value. It holds nothing that a process in the mount could use: no path, no id. */
function asksForStatus(s: Serving, key: string): boolean {
  if (key !== STATUS_KEY || s.request.nodeid !== FUSE_ROOT_ID) return false;
  const { uid } = s.request.caller;
  return uid === 0 || uid === process.geteuid?.();
}

function keyAt(key: string): string {
  if (key.length === 0 || key.length > XATTR_NAME_MAX) throw new FsError("ERANGE", "xattr", `name of ${key.length} bytes`);
  return key;
}
