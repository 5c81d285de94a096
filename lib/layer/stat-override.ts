/**
 * Stat override: owner, mode and type kept in an extended attribute where the real ones cannot be set (rootless, network disks).
 * Value: `uid:gid:0mode[:file|dir|symlink|pipe|socket|block-MAJ-MIN|char-MAJ-MIN]`, as fuse-overlayfs and containers/storage write it.
 * Always true: without a type in the value the real type stands.
 */
import { FsError } from "../base/errors.js";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, majorOf, makedev, minorOf } from "../base/mode.js";

/** Looked for on a layer's root in this order; the first one there is used for the whole layer. */
export const OVERRIDE_KEYS = ["security.fuseoverlayfs.override_stat", "user.containers.override_stat", "user.fuseoverlayfs.override_stat"] as const;

export interface StatOverride {
  readonly uid: number;
  readonly gid: number;
  /** 07777 bits. */
  readonly permissions: number;
  /** S_IF* bits, 0 when the value names no type. */
  readonly type: number;
  readonly rdev: number;
}

const typeWords: Readonly<Record<string, number>> = {
  file: S_IFREG, dir: S_IFDIR, symlink: S_IFLNK, pipe: S_IFIFO, socket: S_IFSOCK, block: S_IFBLK, char: S_IFCHR,
};
/** 2^32-1 means "no id" to the kernel. */
const MAX_ID = 0xffff_fffe;
const syntax = /^(\d{1,10}):(\d{1,10}):([0-7]{1,8})(?::(?:(file|dir|symlink|pipe|socket)|(block|char)-(\d{1,7})-(\d{1,7})))?\0?$/;

/** Throws EIO for a malformed value: guessing an owner would be worse. */
export function parseOverride(value: string): StatOverride {
  const match = syntax.exec(value);
  if (match === null) throw new FsError("EIO", "stat", `malformed override ${JSON.stringify(value)}, expected uid:gid:0mode[:type]`);
  const [, uid, gid, mode, plain, device, major, minor] = match;
  if (Number(uid) > MAX_ID || Number(gid) > MAX_ID || Number(major ?? 0) > 0xfff || Number(minor ?? 0) > 0xfffff) {
    throw new FsError("EIO", "stat", `override ${JSON.stringify(value)} of numbers that no object can have`);
  }
  const word = plain ?? device;
  return {
    uid: Number(uid),
    gid: Number(gid),
    permissions: parseInt(mode!, 8) & 0o7777,
    type: word === undefined ? 0 : typeWords[word]!,
    rdev: device === undefined ? 0 : makedev(Number(major), Number(minor)),
  };
}

/** `mode` has type and permission bits. A type is written only for what the real object cannot be (`realType` differs). */
export function formatOverride(uid: number, gid: number, mode: number, rdev: number, realType: number): string {
  const text = `${uid}:${gid}:0${(mode & 0o7777).toString(8)}`;
  const type = mode & S_IFMT;
  if (type === realType) return text;
  const word = Object.keys(typeWords).find((candidate) => typeWords[candidate] === type)!;
  return type === S_IFBLK || type === S_IFCHR ? `${text}:${word}-${majorOf(rdev)}-${minorOf(rdev)}` : `${text}:${word}`;
}
