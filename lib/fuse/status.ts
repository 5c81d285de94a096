/**
 * What can be said of a live mount, from both ends. The server answers for itself: its root directory has one more xattr, in no listing and
 * for its owner alone. The kernel's view needs no answer from anybody, so it is there when the server hangs.
 * Always true: mountView() touches neither the mountpoint nor the server.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { errnoName, FsError } from "../base/errors.js";
import { pathBytes } from "../base/name.js";
import { native } from "../sys/binding.js";
import { AT_FDCWD } from "../sys/flags.js";

/** Any server of the mount may answer it, whoever has mounted. Root of the machine may ask too. */
export const STATUS_KEY = "user.stratafs.status";
/** XATTR_SIZE_MAX of linux/limits.h. */
const XATTR_MAX = 65536;

/** What the server says of itself. */
export interface ServerStatus {
  /** "plain": through the page cache, written at once, because the kernel offers no passthrough. */
  readonly data: "passthrough" | "cached" | "plain";
  readonly channel: "device" | "uring";
  /** FUSE protocol, as in "7.45". */
  readonly protocol: string;
  readonly uptimeSec: number;
  readonly memoryBytes: number;
  /** Inodes that the kernel knows. */
  readonly nodes: number;
  readonly openFiles: number;
  /** By opcode, this question included. */
  readonly served: Readonly<Record<string, number>>;
  /** Requests that wait for something, the oldest first; at most 16 of them. */
  readonly waiting: readonly WaitingRequest[];
  readonly waitingCount: number;
}

export interface WaitingRequest {
  readonly operation: string;
  readonly nodeid: number;
  readonly forMs: number;
  /** Its caller has had a signal. */
  readonly interrupted: boolean;
}

/** What the kernel and /proc say. */
export interface MountView {
  readonly mountpoint: string;
  /** As in /proc/mounts: "fuse.stratafs". */
  readonly type: string;
  readonly source: string;
  /** The folder's name in /sys/fs/fuse/connections. */
  readonly connection: number;
  /** Requests not answered yet, those that nobody has taken included. Undefined where only root may know. */
  readonly waiting: number | undefined;
  /** Processes with the connection open that serve it, as far as this one may see. */
  readonly servers: readonly ServingProcess[];
  /** Those that go on when the server is gone (../supervised). */
  readonly heirs: readonly ServingProcess[];
}

/** `state` is one letter, proc(5): T is stopped, D waits for a device. */
export interface ServingProcess {
  readonly pid: number;
  readonly state: string;
}

/** What an heir is called, in /proc/PID/comm (native/src/heir.cc). */
export const HEIR_NAME = "stratafs-heir";

/** Looks a mount up by its absolute path. Throws EINVAL where no FUSE filesystem is mounted. */
export function mountView(mountpoint: string): MountView {
  let found: { connection: number; type: string; source: string } | undefined;
  for (const line of readFileSync("/proc/self/mountinfo", "latin1").split("\n")) {
    // id parent major:minor root mountpoint options [tags…] - type source superblock options. Of mounts upon one another the last counts.
    const [, , device = "", , at = "", ...rest] = line.split(" ");
    if (unescaped(at) !== pathBytes(mountpoint)) continue;
    const [type = "", source = ""] = rest.slice(rest.indexOf("-") + 1);
    found = /^fuse(\.|$)/.test(type) ? { connection: Number(device.split(":")[1]), type, source: unescaped(source) } : undefined;
  }
  if (found === undefined) throw new FsError("EINVAL", "status", `of ${mountpoint}: no FUSE filesystem is mounted there`);
  return { mountpoint, ...found, waiting: waitingIn(found.connection), ...processesOf(found.connection) };
}

/** Asks the server; waits for as long as it takes to answer. Throws ENODATA when it does not know the question, or we are not its owner; ENOTCONN when it is gone. */
export function askServer(mountpoint: string): ServerStatus {
  const into = new Uint8Array(XATTR_MAX);
  const length = native.getxattr(AT_FDCWD, pathBytes(mountpoint), STATUS_KEY, into);
  if (length < 0) throw new FsError(errnoName(length), "status", `of ${mountpoint}`);
  return JSON.parse(Buffer.from(into.buffer, 0, length).toString("utf8")) as ServerStatus;
}

/** Machines without an init system do not mount fusectl; who may mount looks into one of his own. */
function waitingIn(connection: number): number | undefined {
  const waiting = readNumber(`/sys/fs/fuse/connections/${connection}/waiting`);
  if (waiting !== undefined || native.hasSysAdmin() !== 1) return waiting;
  const mount = native.fsmount("fusectl", "source=fusectl", 0);
  if (mount < 0) return undefined;
  try {
    return readNumber(`/proc/self/fd/${mount}/${connection}/waiting`);
  } finally {
    native.close(mount);
  }
}

function readNumber(path: string): number | undefined {
  try {
    return Number(readFileSync(path, "latin1"));
  } catch {
    return undefined;
  }
}

/** The descriptors of the connection say its number since Linux 6.16; before that nobody is found. */
function processesOf(connection: number): { servers: ServingProcess[]; heirs: ServingProcess[] } {
  const servers: ServingProcess[] = [];
  const heirs: ServingProcess[] = [];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const serves = readdirSync(`/proc/${pid}/fd`).some((fd) => connectionOf(pid, fd) === connection);
      if (!serves) continue;
      // 12 (name) S …
      const [, name = "", state = ""] = /\((.*)\) (.)/s.exec(readFileSync(`/proc/${pid}/stat`, "latin1")) ?? [];
      (name === HEIR_NAME ? heirs : servers).push({ pid: Number(pid), state });
    } catch {
      // Ended meanwhile, or somebody else's.
    }
  }
  return { servers, heirs };
}

function connectionOf(pid: string, fd: string): number | undefined {
  try {
    if (readlinkSync(`/proc/${pid}/fd/${fd}`) !== "/dev/fuse") return undefined;
    const number = /^fuse_connection:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, "latin1"))?.[1];
    return number === undefined ? undefined : Number(number);
  } catch {
    return undefined; // Closed meanwhile.
  }
}

/** mountinfo writes space, tab, newline and backslash in octal. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
