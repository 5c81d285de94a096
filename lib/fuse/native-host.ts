/**
 * The second host: serves a FileSystem through the npm package fuse-native (libfuse 2, by path) instead of our own channel.
 * What it cannot do is in native-host.README.md; options that ask for it are refused. It serves on the event loop of
 * the main thread, so neither this process nor a worker of it may use the mount synchronously.
 */
import { execFile } from "node:child_process";
import { readFileSync, readdirSync, readlinkSync, realpathSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import type Fuse from "fuse-native";
import { FsError, hasCode } from "../base/errors.js";
import type { FileSystem } from "../vfs.js";
import { loadFuseNative, type FuseNative } from "./native-load.js";
import { nativeOperations } from "./native-operations.js";

export interface NativeHostOptions {
  readonly allowOther?: boolean;
  /** The kernel checks permission bits. */
  readonly defaultPermissions?: boolean;
  /** Generic mount options that libfuse 2 knows: ro, nosuid, nodev, noexec, noatime, sync, … and their opposites. */
  readonly flags?: readonly string[];
  /** First column of /proc/mounts; default "stratafs". */
  readonly source?: string;
  /** The type is shown as fuse.<subtype>; default "stratafs". */
  readonly subtype?: string;
  /** Lifetime of names and attributes in the kernel, seconds; libfuse's 1 by default, for hard links have one inode per name here. */
  readonly timeoutSec?: number;
  /** False: fsync succeeds at once and syncs nothing. */
  readonly fsync?: boolean;
  /** One line for whoever runs the mount; default: standard error. */
  readonly log?: (line: string) => void;
}

export interface NativeMount {
  /** Resolves when the connection has ended, however it was unmounted. The tree is neither synced nor closed. */
  readonly closed: Promise<void>;
  /** Resolves as `closed`. A busy mount is detached and ends with its last user. */
  unmount(): Promise<void>;
  /** Requests served so far, by the name fuse-native gives them. */
  counters(): Record<string, number>;
}

const knownOptions = new Set(["allowOther", "defaultPermissions", "flags", "source", "subtype", "timeoutSec", "fsync", "log"]);
const knownFlags = new Set([
  "ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "async", "sync", "atime", "noatime", "dirsync",
]);
/** The package copies the mountpoint and the options into 1024 bytes each. */
const textMax = 1023;
const pollMs = 200;

/** Objects whose memory libfuse's threads may touch even after the mount has ended. A few kilobytes per mount. */
const keptForEver: Fuse[] = [];

/** Resolves once the kernel has had its first answer. Throws ERR_FUSE_NATIVE where the package cannot work, FsError otherwise. */
export async function mountWithFuseNative(tree: FileSystem, mountpoint: string, options: NativeHostOptions = {}): Promise<NativeMount> {
  if (!isMainThread) {
    throw Object.assign(new Error("the fuse-native host works in the main thread of a process only, not in a worker"), { code: "ERR_FUSE_NATIVE" });
  }
  const target = realpathSync(mountpoint);
  const optionText = mountOptions(options, readdirSync(target).length > 0);
  if (Buffer.byteLength(target) > textMax) throw new FsError("ENAMETOOLONG", "mount", "at a mountpoint of more than 1023 bytes, which fuse-native cannot take");

  const log = options.log ?? ((line: string) => void process.stderr.write(`${line}\n`));
  const { operations, counts, closeFiles } = nativeOperations(tree, (operation, path, error) => {
    log(`stratafs: ${operation} ${path}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  });
  if (options.fsync === false) {
    operations.fsync = operations.fsyncdir = (_path, _dataOnly, _fd, done) => done(0);
  }
  const fuse = new (sizeChecking(loadFuseNative()))(target, operations, {
    // A request that waits for a large copy-up is slow, not lost.
    timeout: false,
    allowOther: options.allowOther ?? false,
    defaultPermissions: options.defaultPermissions ?? false,
    // The package joins its options with commas and has no name for these, so they travel behind one it has.
    fsname: `${options.source ?? "stratafs"},subtype=${options.subtype ?? "stratafs"}${optionText}`,
  });
  keptForEver.push(fuse);
  const before = fuseDescriptors();
  let done = false;
  await new Promise<void>((resolve, reject) => {
    fuse.mount((error) => {
      if (error === null || error === undefined) resolve();
      else reject(new FsError("EIO", "mount", `at ${target}: fuse-native says "${error.message}" (libfuse's own words are on standard error)`, { cause: error }));
    });
  });

  const closed = whenClosed(target, fuseDescriptors().find((fd) => !before.includes(fd))).then(async () => {
    done = true;
    await letGo(fuse);
    closeFiles();
  });
  return {
    closed,
    counters: () => ({ ...counts }),
    unmount: async () => {
      if (!done && isMounted(target)) await unmount(target);
      await closed;
    },
  };
}

/** `covers`: the mountpoint has something in it. */
function mountOptions(options: NativeHostOptions, covers: boolean): string {
  for (const key of Object.keys(options)) {
    if (!knownOptions.has(key)) throw new FsError("EINVAL", "mount", `the fuse-native host has no option ${JSON.stringify(key)}`);
  }
  for (const text of [options.source, options.subtype]) {
    if (text !== undefined && !/^[^,\\\s\0]+$/.test(text)) throw new FsError("EINVAL", "mount", `${JSON.stringify(text)} cannot be a source or subtype: no spaces, commas or backslashes`);
  }
  const flags = options.flags ?? [];
  for (const flag of flags) {
    if (!knownFlags.has(flag)) throw new FsError("EINVAL", "mount", `the fuse-native host does not know the mount option ${JSON.stringify(flag)}`);
  }
  const { timeoutSec } = options;
  if (timeoutSec !== undefined && !(Number.isFinite(timeoutSec) && timeoutSec >= 0)) throw new FsError("EINVAL", "mount", `timeoutSec ${timeoutSec} is no number of seconds`);
  // use_ino: our inode numbers, so that hard links can be told; big_writes: requests of more than 4096 bytes;
  // nonempty: mount(2) covers directories that are not empty, and so do we (fusermount3 does not know the word, so only where needed).
  const own = ["use_ino", "big_writes", ...(covers ? ["nonempty"] : []), ...flags];
  if (timeoutSec !== undefined) own.push(`entry_timeout=${timeoutSec}`, `attr_timeout=${timeoutSec}`);
  const text = `,${own.join(",")}`;
  if (Buffer.byteLength(text) > textMax / 2) throw new FsError("EINVAL", "mount", "more mount options than fuse-native can take");
  return text;
}

/**
 * fuse-native copies an attribute into the client's buffer without looking whether it fits; a buffer that is too small must be
 * ERANGE. And an unmount by shell command is replaced: ours happens before, and knows what the shell would make of a path.
 */
function sizeChecking(base: FuseNative): FuseNative {
  base.unmount = (_mountpoint, done) => setImmediate(done, null);
  return class extends base {
    protected override _op_getxattr(signal: Fuse.Signal, path: string, key: string, buffer: Buffer, position: number): void {
      super._op_getxattr(fitting(signal, buffer), path, key, buffer, position);
    }
    protected override _op_listxattr(signal: Fuse.Signal, path: string, buffer: Buffer): void {
      super._op_listxattr(fitting(signal, buffer), path, buffer);
    }
  };
}

function fitting(signal: Fuse.Signal, buffer: Buffer): Fuse.Signal {
  const room = buffer.length;
  return (result, ...values) => signal(room > 0 && result > room ? -34 : result, ...values);
}

/** The descriptors of this process that are /dev/fuse. */
function fuseDescriptors(): string[] {
  return readdirSync("/proc/self/fd").filter((fd) => connectionOf(fd) !== undefined);
}

/** What the kernel says of the connection behind a descriptor; undefined when it is closed or something else. */
function connectionOf(fd: string): string | undefined {
  try {
    if (readlinkSync(`/proc/self/fd/${fd}`) !== "/dev/fuse") return undefined;
    return /^fuse_connection:.*$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[0] ?? "";
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** True when a FUSE mount is on top at a path. Never touches the mount itself. */
function isMounted(target: string): boolean {
  const escaped = target.replace(/[ \t\n\\]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, "0")}`);
  let mounted = false;
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    // id, parent, major:minor, root, mountpoint, options…, "-", type, …
    const fields = line.split(" ");
    if (fields[4] === escaped) mounted = fields[fields.indexOf("-") + 1]?.startsWith("fuse") === true;
  }
  return mounted;
}

/**
 * The package does not tell when a connection ends, but libfuse closes its descriptor then, also long after a lazy unmount;
 * so that is what we look at from time to time.
 */
async function whenClosed(target: string, fd: string | undefined): Promise<void> {
  const connection = fd === undefined ? undefined : connectionOf(fd);
  const alive = (): boolean => (fd === undefined ? isMounted(target) : connectionOf(fd) === connection);
  while (alive()) await new Promise((resolve) => setTimeout(resolve, pollMs));
}

/** Lets the event loop end. */
async function letGo(fuse: Fuse): Promise<void> {
  await new Promise<void>((resolve) => fuse.unmount(() => resolve()));
}

/** Plainly, else lazily when busy. By whichever program is there: this host must work without our addon. */
async function unmount(target: string): Promise<void> {
  let problem = "no fusermount3, fusermount or umount was found";
  for (const [program, ...words] of [["fusermount3", "-u"], ["fusermount", "-u"], ["umount"]] as const) {
    for (const lazy of [[], [program === "umount" ? "-l" : "-z"]]) {
      try {
        await run(program, [...words, ...lazy, "--", target]);
        return;
      } catch (error) {
        if (hasCode(error, "ENOENT")) break;
        problem = (error as Error).message.trim();
      }
    }
  }
  throw new FsError("EBUSY", "umount", `${target}: ${problem}`);
}

/** Without a shell. The error carries what the program wrote. */
function run(program: string, words: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(program, words, (error) => (error === null ? resolve() : reject(error)));
  });
}
