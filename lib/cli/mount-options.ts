/**
 * Every option that `-o` knows, read into one MountOptionSet. Pure: nothing is opened, nothing printed.
 * Always true: an unknown option is a warning and changes nothing; a known option with a value that makes no sense is a UsageError.
 * When an option is given twice the last one counts, except lowerdir+= and datadir+=, which add.
 */
import type { MountFlag } from "../index.js";
import { type RawOption, splitUnescaped, unescape } from "./option-string.js";
import { UsageError } from "./usage.js";

/** `length` ids that are `inside` in the layer's files and `outside` to the users of the mount. */
export interface IdRange {
  /** On disk. */
  readonly onDisk: number;
  /** As presented through the mount. */
  readonly presented: number;
  readonly length: number;
}

export interface MountOptionSet {
  /** Topmost first; paths as given, so possibly relative to the cwd. */
  lowers: string[];
  /** Lowers that only give data to metadata-only copies above them. */
  dataLowers: string[];
  /** An image of a store, below all lowers. */
  image: string | undefined;
  /** The store's folder, where it is not the default one. */
  store: string | undefined;
  /** The content of the image's files is checked when they are first opened. */
  verify: boolean;
  upper: string | undefined;
  work: string | undefined;
  data: "auto" | "passthrough" | "cached";
  host: "device" | "fuse-native";
  channel: "auto" | "device" | "uring";
  /** The mount outlives the process that serves it; with "auto" where nothing else that is asked for stands against it. */
  supervised: "auto" | "on" | "off";
  redirect: "on" | "follow" | "nofollow" | "off" | undefined;
  metacopy: boolean | undefined;
  /** Marks are kept in user.overlay.* whatever the privileges. */
  userXattr: boolean;
  uidMap: IdRange[];
  gidMap: IdRange[];
  /** Every object is presented with this owner, or group. */
  squashUid: number | undefined;
  squashGid: number | undefined;
  staticNlink: boolean;
  acl: boolean;
  /**
   * How kernel overlayfs tells apart inode numbers of layers on several filesystems. Here every value means the same: a FUSE mount has one
   * device number, so numbers are always unique across layers and the same after a remount ("on"), unless ino32 asks for short ones.
   */
  xino: "auto" | "on" | "off";
  ino32: boolean;
  /** Nothing of the upper is synced, not even on fsync. */
  volatile: boolean;
  /** False: fsync is answered at once. */
  fsync: boolean;
  /** Seconds that the kernel may keep names and attributes; undefined for ever. */
  timeoutSec: number | undefined;
  /** Where owners and modes are kept: 0 in the files, 1 security.*, 2 user.containers.* */
  xattrPermissions: 0 | 1 | 2;
  /** SELinux contexts of the mount, its objects and its root. */
  contexts: { context?: string; fscontext?: string; defcontext?: string; rootcontext?: string };
  allowOther: boolean | undefined;
  defaultPermissions: boolean | undefined;
  fsname: string | undefined;
  subtype: string | undefined;
  logFile: string | undefined;
  readOnly: boolean;
  /** Change the flags of a mount that is there; its stack stays. mount(8) hands it to its helper with the rest of the fstab line. */
  remount: boolean;
  /** Generic mount flags as given, the last of each contradicting pair ("nodev", "suid", "noatime"). */
  flags: MountFlag[];
  /** One line each. */
  warnings: string[];
}

export function noOptions(): MountOptionSet {
  return {
    lowers: [], dataLowers: [], image: undefined, store: undefined, verify: false, upper: undefined, work: undefined, data: "auto", host: "device", channel: "auto", supervised: "auto", redirect: undefined, metacopy: undefined,
    userXattr: false, uidMap: [], gidMap: [], squashUid: undefined, squashGid: undefined, staticNlink: false, acl: true, xino: "auto",
    ino32: false, volatile: false, fsync: true, timeoutSec: undefined, xattrPermissions: 0, contexts: {}, allowOther: undefined,
    defaultPermissions: undefined, fsname: undefined, subtype: undefined, logFile: undefined, readOnly: false, remount: false, flags: [], warnings: [],
  };
}

/** Applies one option to `set`. Throws UsageError. */
export function applyOption(set: MountOptionSet, option: RawOption): void {
  const reader = Object.hasOwn(readers, option.key) ? readers[option.key] : undefined;
  if (reader !== undefined) reader(set, option);
  else if (addFlag(set, option)) return;
  else if (!isSilent(option)) set.warnings.push(`unknown option ${shown(option)} ignored`);
}

type Reader = (set: MountOptionSet, option: RawOption) => void;

const readers: Readonly<Record<string, Reader>> = {
  lowerdir: (set, option) => readLowerdir(set, text(option)),
  "lowerdir+": (set, option) => void set.lowers.push(path(option)),
  "datadir+": (set, option) => void set.dataLowers.push(path(option)),
  image: (set, option) => void (set.image = path(option)),
  store: (set, option) => void (set.store = path(option)),
  verify: (set, option) => void (set.verify = bare(option)),
  upperdir: (set, option) => void (set.upper = path(option)),
  workdir: (set, option) => void (set.work = path(option)),
  data: (set, option) => void (set.data = oneOf(option, ["auto", "passthrough", "cached"])),
  host: (set, option) => void (set.host = oneOf(option, ["device", "fuse-native"])),
  channel: (set, option) => void (set.channel = oneOf(option, ["auto", "device", "uring"])),
  supervised: (set, option) => void (set.supervised = option.value === undefined ? "on" : oneOf(option, ["auto", "on", "off"])),
  redirect_dir: (set, option) => void (set.redirect = oneOf(option, ["on", "follow", "nofollow", "off"])),
  metacopy: (set, option) => void (set.metacopy = oneOf(option, ["on", "off"]) === "on"),
  userxattr: (set, option) => void (set.userXattr = bare(option)),
  uidmapping: (set, option) => void (set.uidMap = idMap(option)),
  gidmapping: (set, option) => void (set.gidMap = idMap(option)),
  squash_to_root: (set, option) => {
    if (bare(option)) set.squashUid = set.squashGid = 0;
  },
  squash_to_uid: (set, option) => void (set.squashUid = id(option)),
  squash_to_gid: (set, option) => void (set.squashGid = id(option)),
  static_nlink: (set, option) => void (set.staticNlink = bare(option)),
  noacl: (set, option) => void (set.acl = !bare(option)),
  acl: (set, option) => void (set.acl = bare(option)),
  xino: (set, option) => void (set.xino = oneOf(option, ["auto", "on", "off"])),
  ino32_t: (set, option) => void (set.ino32 = bare(option)),
  volatile: (set, option) => void (set.volatile = bare(option)),
  fsync: (set, option) => void (set.fsync = oneOf(option, ["0", "1"]) === "1"),
  timeout: (set, option) => void (set.timeoutSec = seconds(option)),
  threaded: (_set, option) => void oneOf(option, ["0", "1"]),
  max_idle_threads: (_set, option) => void count(option),
  xattr_permissions: (set, option) => void (set.xattrPermissions = Number(oneOf(option, ["0", "1", "2"])) as 0 | 1 | 2),
  context: (set, option) => void (set.contexts.context = unescape(text(option))),
  fscontext: (set, option) => void (set.contexts.fscontext = unescape(text(option))),
  defcontext: (set, option) => void (set.contexts.defcontext = unescape(text(option))),
  rootcontext: (set, option) => void (set.contexts.rootcontext = unescape(text(option))),
  allow_other: (set, option) => void (set.allowOther = bare(option)),
  default_permissions: (set, option) => void (set.defaultPermissions = bare(option)),
  fsname: (set, option) => void (set.fsname = unescape(text(option))),
  subtype: (set, option) => void (set.subtype = unescape(text(option))),
  log: (set, option) => void (set.logFile = path(option)),
  ro: (set, option) => void (set.readOnly = bare(option)),
  rw: (set, option) => void (set.readOnly = !bare(option)),
  remount: (set, option) => void (set.remount = bare(option)),
};

/** `A:B::D::E`: lowers A and B, then data-only lowers D and E. As kernel overlayfs, a plain lower cannot follow a data-only one. */
function readLowerdir(set: MountOptionSet, value: string): void {
  const lowers: string[] = [];
  const dataLowers: string[] = [];
  const parts = splitUnescaped(value, ":");
  for (let i = 0; i < parts.length; i++) {
    const part = unescape(parts[i] ?? "");
    if (part !== "") {
      if (dataLowers.length > 0) throw new UsageError(`lowerdir: "${part}" follows a data-only layer, so it needs "::" before it`);
      lowers.push(part);
      continue;
    }
    const next = unescape(parts[++i] ?? "");
    if (next === "" || lowers.length === 0) throw new UsageError(`lowerdir: empty path in "${value}"`);
    dataLowers.push(next);
  }
  set.lowers = lowers;
  set.dataLowers = dataLowers;
}

/** Triples disk:presented:length. containers/storage writes a stray colon in front. */
function idMap(option: RawOption): IdRange[] {
  const numbers = text(option).replace(/^:+/, "").split(":").map((word) => (/^\d+$/.test(word) ? Number(word) : Number.NaN));
  const ranges: IdRange[] = [];
  for (let i = 0; i < numbers.length; i += 3) {
    const [onDisk, presented, length] = numbers.slice(i, i + 3);
    const whole = onDisk !== undefined && presented !== undefined && length !== undefined;
    if (!whole || !(length > 0) || !(onDisk + length <= 2 ** 32) || !(presented + length <= 2 ** 32)) {
      throw new UsageError(`${option.key}: expected disk:presented:length, three numbers for each range, found "${option.value}"`);
    }
    ranges.push({ onDisk, presented, length });
  }
  for (const [i, a] of ranges.entries()) {
    for (const b of ranges.slice(i + 1)) {
      if (overlap(a.onDisk, b.onDisk, a, b) || overlap(a.presented, b.presented, a, b)) throw new UsageError(`${option.key}: two ranges overlap in "${option.value}"`);
    }
  }
  return ranges;
}

function overlap(startA: number, startB: number, a: IdRange, b: IdRange): boolean {
  return startA < startB + b.length && startB < startA + a.length;
}

/** Each row: words of which the last one given counts. */
const flagGroups: readonly (readonly MountFlag[])[] = [
  ["nosuid", "suid"], ["nodev", "dev"], ["noexec", "exec"], ["sync", "async"], ["dirsync"], ["nodiratime", "diratime"], ["lazytime", "nolazytime"],
  ["noatime", "atime", "relatime", "strictatime", "nostrictatime"], ["nosymfollow", "symfollow"],
];

/** False when the option is not a generic flag. */
function addFlag(set: MountOptionSet, option: RawOption): boolean {
  for (const group of flagGroups) {
    const word = option.value === undefined ? group.find((flag) => flag === option.key) : undefined;
    if (word === undefined) continue;
    set.flags = [...set.flags.filter((flag) => !group.includes(flag)), word];
    return true;
  }
  return false;
}

/** Words that fstab and mount(8) keep for themselves, and flags without a meaning for FUSE: passed down by some callers, meant for nobody here. */
const fstabWords = new Set([
  "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev", "norelatime", "silent", "loud", "mand", "nomand",
]);

/** Features of kernel overlayfs that are not here, with the words that do without them. */
const doneWithout: Readonly<Record<string, readonly string[]>> = { index: ["off"], nfs_export: ["off"], verity: ["off"], uuid: ["off", "null", "auto"] };

function isSilent(option: RawOption): boolean {
  if (Object.hasOwn(doneWithout, option.key)) return doneWithout[option.key]!.includes(option.value ?? "");
  return fstabWords.has(option.key) || option.key === "comment" || /^x-/i.test(option.key);
}

function shown(option: RawOption): string {
  return JSON.stringify(option.value === undefined ? option.key : `${option.key}=${option.value}`);
}

// ── values ──

function text(option: RawOption): string {
  if (option.value === undefined || option.value === "") throw new UsageError(`option ${option.key} needs a value: ${option.key}=…`);
  return option.value;
}

function path(option: RawOption): string {
  return unescape(text(option));
}

/** True; throws when a value was given to a word that takes none. */
function bare(option: RawOption): true {
  if (option.value !== undefined) throw new UsageError(`option ${option.key} takes no value, found ${shown(option)}`);
  return true;
}

function oneOf<const T extends string>(option: RawOption, allowed: readonly T[]): T {
  const found = allowed.find((word) => word === option.value);
  if (found === undefined) throw new UsageError(`option ${option.key} is one of ${allowed.join(", ")}; found ${JSON.stringify(option.value ?? "")}`);
  return found;
}

function id(option: RawOption): number {
  const value = count(option);
  // 2^32-1 means "no id" to the kernel.
  if (value >= 2 ** 32 - 1) throw new UsageError(`option ${option.key}: ${value} is not an id`);
  return value;
}

function count(option: RawOption): number {
  if (!/^\d{1,15}$/.test(text(option))) throw new UsageError(`option ${option.key} needs a number, found ${JSON.stringify(option.value)}`);
  return Number(option.value);
}

function seconds(option: RawOption): number {
  if (!/^(\d{1,15}(\.\d*)?|\.\d+)$/.test(text(option))) throw new UsageError(`option timeout needs a number of seconds, found ${JSON.stringify(option.value)}`);
  return Number(option.value);
}
