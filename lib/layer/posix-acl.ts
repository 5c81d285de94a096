/**
 * POSIX ACL arithmetic on the value of system.posix_acl_access and system.posix_acl_default. Pure.
 *
 *   u32 version = 2, then 8 bytes per entry, little-endian:   u16 tag | u16 permissions | u32 id
 *   tags: owner 1, user 2, owning group 4, group 8, mask 16, other 32; id counts for 2 and 8 only
 *
 * Sources: linux/posix_acl_xattr.h; acl(5), "Object creation and default ACLs" and "Correspondence".
 */
import { FsError } from "../base/errors.js";

export const ACCESS_ACL = "system.posix_acl_access";
export const DEFAULT_ACL = "system.posix_acl_default";

const OWNER = 1;
const USER = 2;
const GROUP_OWNER = 4;
const GROUP = 8;
const MASK = 16;
const OTHER = 32;
const HEAD = 4;
const ENTRY = 8;

/** What an object made below a default ACL gets. */
export interface Inherited {
  /** Permission bits; special bits pass through. */
  readonly mode: number;
  /** Its access ACL; undefined where the mode says it all. */
  readonly access: Uint8Array | undefined;
}

/** `mode` as the caller asked for it, the umask not applied: a default ACL stands in for it. */
export function inheritAcl(defaultAcl: Uint8Array, mode: number): Inherited {
  const view = viewOf(defaultAcl);
  const access = new Uint8Array(defaultAcl);
  const out = viewOf(access);
  const hasMask = findTag(view, MASK) >= 0;
  let result = mode;
  let extended = false;
  for (let at = HEAD; at < view.byteLength; at += ENTRY) {
    const tag = view.getUint16(at, true);
    const shift = tag === OWNER ? 6 : tag === OTHER ? 0 : tag === MASK || (tag === GROUP_OWNER && !hasMask) ? 3 : -1;
    if (tag === USER || tag === GROUP || tag === MASK) extended = true;
    if (shift < 0) continue;
    const kept = view.getUint16(at + 2, true) & (mode >>> shift) & 7;
    out.setUint16(at + 2, kept, true);
    result = (result & ~(7 << shift)) | (kept << shift);
  }
  return { mode: result, access: extended ? access : undefined };
}

/** The access ACL after chmod(2): owner, mask (or owning group) and other follow the mode. */
export function chmodAcl(access: Uint8Array, mode: number): Uint8Array {
  const result = new Uint8Array(access);
  const view = viewOf(result);
  const hasMask = findTag(view, MASK) >= 0;
  for (let at = HEAD; at < view.byteLength; at += ENTRY) {
    const tag = view.getUint16(at, true);
    const shift = tag === OWNER ? 6 : tag === OTHER ? 0 : tag === MASK || (tag === GROUP_OWNER && !hasMask) ? 3 : -1;
    if (shift >= 0) view.setUint16(at + 2, (mode >>> shift) & 7, true);
  }
  return result;
}

/** The permission bits an access ACL stands for; `plain` when the mode alone says as much and the ACL need not be kept. Throws EINVAL. */
export function modeOfAcl(access: Uint8Array): { readonly permissions: number; readonly plain: boolean } {
  const view = viewOf(access);
  const permissionsOf = (tag: number): number => {
    const at = findTag(view, tag);
    if (at < 0) throw new FsError("EINVAL", "setxattr", "an ACL without owner, group or other");
    return view.getUint16(at + 2, true) & 7;
  };
  const mask = findTag(view, MASK);
  const group = permissionsOf(GROUP_OWNER);
  const plain = view.byteLength === HEAD + 3 * ENTRY;
  if (mask < 0 && !plain) throw new FsError("EINVAL", "setxattr", "an ACL with named entries and no mask");
  const middle = mask < 0 ? group : view.getUint16(mask + 2, true) & 7;
  return { permissions: (permissionsOf(OWNER) << 6) | (middle << 3) | permissionsOf(OTHER), plain };
}

/** The same ACL with every named user's and group's id replaced. */
export function mapAclIds(acl: Uint8Array, uid: (id: number) => number, gid: (id: number) => number): Uint8Array {
  const result = new Uint8Array(acl);
  const view = viewOf(result);
  for (let at = HEAD; at < view.byteLength; at += ENTRY) {
    const tag = view.getUint16(at, true);
    const id = view.getUint32(at + 4, true);
    if (tag === USER) view.setUint32(at + 4, uid(id), true);
    else if (tag === GROUP) view.setUint32(at + 4, gid(id), true);
  }
  return result;
}

/** Throws EINVAL for what is no ACL: wrong version or length. */
function viewOf(acl: Uint8Array): DataView {
  const view = new DataView(acl.buffer, acl.byteOffset, acl.byteLength);
  if (acl.byteLength < HEAD || (acl.byteLength - HEAD) % ENTRY !== 0) throw new FsError("EINVAL", "acl", `of ${acl.byteLength} bytes`);
  if (view.getUint32(0, true) !== 2) throw new FsError("EOPNOTSUPP", "acl", `version ${view.getUint32(0, true)}, expected 2`);
  return view;
}

function findTag(view: DataView, tag: number): number {
  for (let at = HEAD; at < view.byteLength; at += ENTRY) if (view.getUint16(at, true) === tag) return at;
  return -1;
}
