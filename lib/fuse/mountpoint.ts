/**
 * Puts a FUSE mount in its place and takes it away: mount(2) where the process may, else the setuid helper fusermount3.
 * Always true: after a mount nothing here looks at the mountpoint again; the thread that serves it would wait for itself.
 */
import { execFile } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { release } from "node:os";
import { errnoName, FsError } from "../base/errors.js";
import { O_NONBLOCK, O_RDWR } from "../base/mode.js";
import { pathBytes } from "../base/name.js";
import { native } from "../sys/binding.js";
import { AT_FDCWD } from "../sys/flags.js";
import { Plan } from "../sys/plan.js";
import { startPlan } from "../sys/process.js";

export interface MountRequest {
  /** An existing directory; "" with `detached`. */
  readonly mountpoint: string;
  /** Shown as the source in /proc/mounts; default the subtype. */
  readonly source?: string;
  /** The type is shown as fuse.<subtype>. Letters, digits, "-" and "_". */
  readonly subtype: string;
  /** Generic mount options by name, see isMountFlag(); of two that contradict each other the later counts. Unknown ones are refused. */
  readonly flags?: readonly string[];
  /** Users other than the one who mounts may use the mount. */
  readonly allowOther?: boolean;
  /** The kernel checks permission bits; default true, because no tree does. */
  readonly defaultPermissions?: boolean;
  /** Largest READ in bytes; default what the session allows (1 MiB). */
  readonly maxRead?: number;
  /** SELinux contexts; refused where the kernel has no SELinux, see kernelHasSelinux(), and where fusermount mounts for us. */
  readonly contexts?: SecurityContexts;
  /** Makes a mount that is nowhere yet; `mountFd` is to be attached by move_mount(2). Needs CAP_SYS_ADMIN. */
  readonly detached?: boolean;
}

/** Labels of the mount, its objects and its root, as mount(8) names them. */
export interface SecurityContexts {
  readonly context?: string;
  readonly fscontext?: string;
  readonly defcontext?: string;
  readonly rootcontext?: string;
}

export interface Mounted {
  /** The connection, O_NONBLOCK and close-on-exec, for a DeviceChannel. */
  readonly fd: number;
  /** The detached mount, the caller's to attach and close; -1 when it is in its place. */
  readonly mountFd: number;
  readonly via: "mount" | "fsmount" | "fusermount";
}

/** What an option sets: a bit for mount(2), a bit for fsmount(2), and whether it is the superblock's. */
interface FlagBits {
  readonly ms: number;
  readonly attr: number;
  readonly superblock?: boolean;
}

// linux/mount.h: MS_* and MOUNT_ATTR_*.
const mountFlags = {
  ro: { ms: 1, attr: 0x1, superblock: true },
  nosuid: { ms: 2, attr: 0x2 },
  nodev: { ms: 4, attr: 0x4 },
  noexec: { ms: 8, attr: 0x8 },
  sync: { ms: 16, attr: 0, superblock: true },
  dirsync: { ms: 128, attr: 0, superblock: true },
  nosymfollow: { ms: 256, attr: 0x200000 },
  noatime: { ms: 1024, attr: 0x10 },
  nodiratime: { ms: 2048, attr: 0x80 },
  strictatime: { ms: 1 << 24, attr: 0x20 },
  lazytime: { ms: 1 << 25, attr: 0, superblock: true },
} as const satisfies Record<string, FlagBits>;
type SetFlag = keyof typeof mountFlags;
const MS_REMOUNT = 32;

/** The defaults, said aloud; each takes back the flag it names. */
const opposites = {
  rw: "ro", suid: "nosuid", dev: "nodev", exec: "noexec", async: "sync", symfollow: "nosymfollow", atime: "noatime", diratime: "nodiratime",
  relatime: "strictatime", nostrictatime: "strictatime", nolazytime: "lazytime",
} as const satisfies Record<string, SetFlag>;

/** A generic mount option. */
export type MountFlag = SetFlag | keyof typeof opposites;

/** Whether `name` is a generic mount option: "ro", "nosuid", "nodev", "noexec", "noatime", "dirsync", …, or the opposite of one. */
export function isMountFlag(name: string): name is MountFlag {
  return isSetFlag(name) || isOpposite(name);
}

/** Mounts, or throws one Error (FsError where the kernel refused) that says what is missing. Blocks; nothing serves yet. */
export function mountFuse(request: MountRequest): Mounted {
  const flags = effectiveFlags(request.flags ?? []);
  if (!/^[\w-]+$/.test(request.subtype)) throw new Error(`subtype ${JSON.stringify(request.subtype)} is not made of letters, digits, "-" and "_"`);
  if (request.detached !== true) checkMountpoint(request.mountpoint);
  if (native.hasSysAdmin() === 1) {
    const fd = openDevice();
    const result = request.detached === true ? mountDetached(fd, request, flags) : mountHere(fd, request, flags);
    if (typeof result !== "number") return result;
    native.close(fd);
    // Root of a user namespace may lack the right to this mount namespace; the helper may have it.
    if (result !== -1 || request.detached === true) {
      throw new FsError(errnoName(result), "mount", `of fuse.${request.subtype} on ${request.detached === true ? "no directory" : request.mountpoint}`);
    }
  } else if (request.detached === true) {
    throw new FsError("EPERM", "fsmount", "needs CAP_SYS_ADMIN, as in a user namespace of one's own");
  }
  return mountByHelper(request, flags);
}

/**
 * Gives a mount other generic options than it has: all of them, those not named are taken back. Throws EPERM without CAP_SYS_ADMIN, EINVAL where nothing
 * is mounted, EBUSY when it is to become read-only and files are open for writing.
 */
export function remountFuse(mountpoint: string, flags: readonly string[]): void {
  let bits = MS_REMOUNT;
  for (const name of effectiveFlags(flags)) bits |= mountFlags[name].ms;
  const result = native.mount("none", pathBytes(mountpoint), "fuse", bits, "");
  if (result < 0) throw new FsError(errnoName(result), "mount", `again of ${mountpoint}`);
}

export interface UnmountOptions {
  /** Detach now, end when the last user has gone. */
  readonly lazy?: boolean;
  /** Abort the connection; whoever waits for an answer gets ENOTCONN. */
  readonly force?: boolean;
}

/**
 * Unmounts from a child process, so that the thread which serves the mount may ask for it: what the kernel still has to write is
 * served meanwhile. Rejects with EBUSY, EINVAL (not a mountpoint), EPERM.
 */
export async function unmount(mountpoint: string, options: UnmountOptions = {}): Promise<void> {
  if (native.hasSysAdmin() === 1) {
    const child = startPlan(new Plan().umount(pathBytes(mountpoint), umountFlags(options)));
    const [started] = await Promise.allSettled([child.started, child.exited]);
    if (started.status === "fulfilled") return;
    if (!(started.reason instanceof FsError) || started.reason.code !== "EPERM") throw started.reason;
  }
  await unmountByHelper(mountpoint, options.lazy === true);
}

/** Whether the kernel would take backing ids from this process. The last word is INIT's: a kernel built without passthrough does not offer it. */
export function probePassthrough(): boolean {
  return whyNoPassthrough() === undefined;
}

/** What passthrough lacks: Linux 6.9, or CAP_SYS_ADMIN in the initial user namespace, which maps all ids to themselves. */
export function whyNoPassthrough(): string | undefined {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  if (major < 6 || (major === 6 && minor < 9)) return `it needs Linux 6.9 or later, this is ${release()}`;
  if (native.hasSysAdmin() !== 1) return "it needs CAP_SYS_ADMIN";
  const initial = readFileSync("/proc/self/uid_map", "latin1").trim().split(/\s+/).join(" ") === "0 0 4294967295";
  return initial ? undefined : "it is not to be had in a user namespace";
}

/** Whether SELinux contexts mean anything to this kernel: it lists selinuxfs only when SELinux was not disabled at boot. */
export function kernelHasSelinux(): boolean {
  return /\sselinuxfs$/m.test(readFileSync("/proc/filesystems", "latin1"));
}

/** `context=LABEL` and the like. Labels hold commas: mount(2) takes them in quotes, fsconfig(2) as they are. */
export function contextOptions(contexts: SecurityContexts, quote: boolean): string[] {
  const options: string[] = [];
  for (const key of ["context", "fscontext", "defcontext", "rootcontext"] as const) {
    const label = contexts[key];
    if (label === undefined) continue;
    if (/["\n]/.test(label)) throw new Error(`${key} ${JSON.stringify(label)} is no SELinux context`);
    options.push(quote ? `${key}="${label}"` : `${key}=${label}`);
  }
  return options;
}

function effectiveFlags(names: readonly string[]): ReadonlySet<SetFlag> {
  const flags = new Set<SetFlag>();
  for (const name of names) {
    if (isOpposite(name)) flags.delete(opposites[name]);
    else if (isSetFlag(name)) flags.add(name);
    else throw new Error(`mount option ${JSON.stringify(name)} is not known`);
  }
  return flags;
}

function isSetFlag(name: string): name is SetFlag {
  return Object.hasOwn(mountFlags, name);
}

function isOpposite(name: string): name is keyof typeof opposites {
  return Object.hasOwn(opposites, name);
}

function checkMountpoint(mountpoint: string): void {
  let directory: boolean;
  try {
    directory = statSync(mountpoint).isDirectory();
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "ENOTCONN") throw new FsError("ENOTCONN", "mount", `on ${mountpoint}: a dead FUSE mount is there; unmount it first`);
    if (code === "ENOENT") throw new FsError("ENOENT", "mount", `on ${mountpoint}: there is no such directory`);
    throw error;
  }
  if (!directory) throw new FsError("ENOTDIR", "mount", `on ${mountpoint}`);
}

function openDevice(): number {
  const fd = native.open(AT_FDCWD, "/dev/fuse", O_RDWR | O_NONBLOCK, 0, 0);
  if (fd >= 0) return fd;
  const code = errnoName(fd);
  const advice = code === "ENOENT" || code === "ENODEV" ? ": the kernel module fuse is not loaded" : "";
  throw new FsError(code, "open", `/dev/fuse${advice}`);
}

/** "key" and "key=value" of the filesystem, for mount(2) and fsconfig(2). The root is always a directory. */
function filesystemOptions(fd: number, request: MountRequest): string[] {
  const options = [`fd=${fd}`, "rootmode=40000", `user_id=${process.getuid?.() ?? 0}`, `group_id=${process.getgid?.() ?? 0}`];
  if (request.allowOther === true) options.push("allow_other");
  if (request.defaultPermissions !== false) options.push("default_permissions");
  if (request.maxRead !== undefined) options.push(`max_read=${request.maxRead}`);
  return options;
}

/** The mount, or a negative errno. */
function mountHere(fd: number, request: MountRequest, flags: ReadonlySet<SetFlag>): Mounted | number {
  let bits = 0;
  for (const name of flags) bits |= mountFlags[name].ms;
  const source = pathBytes(request.source ?? request.subtype);
  const data = [...filesystemOptions(fd, request), ...contextOptions(request.contexts ?? {}, true)].join(",");
  const result = native.mount(source, pathBytes(request.mountpoint), `fuse.${request.subtype}`, bits, data);
  return result < 0 ? result : { fd, mountFd: -1, via: "mount" };
}

function mountDetached(fd: number, request: MountRequest, flags: ReadonlySet<SetFlag>): Mounted | number {
  const source = pathBytes(request.source ?? request.subtype);
  if (source.includes("\n")) throw new FsError("EINVAL", "fsmount", "of a source with a line break");
  const options = [`source=${source}`, `subtype=${request.subtype}`, ...filesystemOptions(fd, request), ...contextOptions(request.contexts ?? {}, false)];
  let attributes = 0;
  for (const name of flags) {
    const flag: FlagBits = mountFlags[name];
    attributes |= flag.attr;
    if (flag.superblock === true) options.push(name);
  }
  const mountFd = native.fsmount("fuse", options.join("\n"), attributes);
  return mountFd < 0 ? mountFd : { fd, mountFd, via: "fsmount" };
}

function mountByHelper(request: MountRequest, flags: ReadonlySet<SetFlag>): Mounted {
  const [label] = contextOptions(request.contexts ?? {}, false);
  if (label !== undefined) throw new FsError("EPERM", "fusermount", `cannot give a mount a label: ${label}`);
  if (request.allowOther === true && process.getuid?.() !== 0 && !userMayAllowOther()) {
    throw new FsError("EPERM", "fusermount", "option allow_other needs the line \"user_allow_other\" in /etc/fuse.conf");
  }
  const options = [`fsname=${escaped(pathBytes(request.source ?? request.subtype))}`, `subtype=${request.subtype}`, ...flags];
  if (request.allowOther === true) options.push("allow_other");
  if (request.defaultPermissions !== false) options.push("default_permissions");
  if (request.maxRead !== undefined) options.push(`max_read=${request.maxRead}`);
  const fd = native.fusermount("", pathBytes(request.mountpoint), options.join(","));
  if (fd >= 0) return { fd, mountFd: -1, via: "fusermount" };
  const code = errnoName(fd);
  const why = code === "ENOENT" ? "neither fusermount3 nor fusermount is in PATH (package fuse3), and this process may not mount by itself"
    : `fusermount could not mount on ${request.mountpoint}`;
  throw new FsError(code, "fusermount", why);
}

function userMayAllowOther(): boolean {
  try {
    return /^\s*user_allow_other\s*(#.*)?$/m.test(readFileSync("/etc/fuse.conf", "latin1"));
  } catch {
    return false;
  }
}

/** fusermount splits its options at commas. */
function escaped(value: string): string {
  return value.replace(/[\\,]/g, "\\$&");
}

/** MNT_FORCE 1, MNT_DETACH 2. */
function umountFlags(options: UnmountOptions): number {
  return (options.force === true ? 1 : 0) | (options.lazy === true ? 2 : 0);
}

async function unmountByHelper(mountpoint: string, lazy: boolean): Promise<void> {
  const parameters = lazy ? ["-u", "-z", "--", mountpoint] : ["-u", "--", mountpoint];
  for (const program of ["fusermount3", "fusermount"]) {
    const failure = await run(program, parameters);
    if (failure === undefined) return;
    if (failure.code === "ENOENT") continue;
    throw new FsError(/busy/i.test(failure.message) ? "EBUSY" : "EPERM", "umount", `${mountpoint}: ${failure.message}`);
  }
  throw new FsError("ENOENT", "umount", `${mountpoint}: neither fusermount3 nor fusermount is in PATH (package fuse3)`);
}

/** Undefined when the program ended well. */
function run(program: string, parameters: readonly string[]): Promise<{ readonly code: unknown; readonly message: string } | undefined> {
  return new Promise((resolve) => {
    execFile(program, parameters, (error, _stdout, stderr) => {
      if (error === null) resolve(undefined);
      else resolve({ code: error.code, message: stderr.trim() === "" ? error.message : stderr.trim() });
    });
  });
}
