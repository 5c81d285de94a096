/**
 * The one place that knows both an overlay and a session: a stack described in plain data becomes a tree, a tree becomes a mount.
 * Always true: a program never blocks on a mount that its own thread serves unless it asked for that: a described stack is served
 * by a thread of its own, an opened tree by the thread that opened it.
 */
import { Worker } from "node:worker_threads";
import { FsError } from "./base/errors.js";
import type { Channel } from "./fuse/channel.js";
import { DeviceChannel } from "./fuse/device-channel.js";
import { kernelHasSelinux, mountFuse, unmount, whyNoPassthrough } from "./fuse/mountpoint.js";
import type { MountFlag, MountRequest, SecurityContexts } from "./fuse/mountpoint.js";
import type { DataMode, Policy } from "./fuse/policy.js";
import { Session, type SessionOptions } from "./fuse/session.js";
import { UringChannel } from "./fuse/uring-channel.js";
import { FUSE_OVER_IO_URING } from "./fuse/wire/abi.js";
import { openLayer, openUpper } from "./layer/description.js";
import type { LayerDescription, UpperDescription } from "./layer/description.js";
import type { Layer } from "./layer/layer.js";
import type { UpperLayer } from "./layer/upper.js";
import { Overlay } from "./overlay/overlay.js";
import type { OverlayOptions } from "./overlay/overlay.js";
import type { FileSystem } from "./vfs.js";

/** A merged view in plain data, which can be sent to another thread. */
export interface StackDescription {
  /** Topmost first. */
  readonly lowers: readonly LayerDescription[];
  /** Without one the view is read-only. */
  readonly upper?: UpperDescription;
  /** Layers that hold only the data of metadata-only files (overlayfs's "::"). */
  readonly dataLayers?: readonly LayerDescription[];
  /** Link counts as the layers have them. */
  readonly staticNlink?: boolean;
  /** Inode numbers of at most 32 bits, in the order of asking. */
  readonly ino32?: boolean;
}

/** Where a file's bytes are cached and who reads them; "auto" is passthrough where the process may use it, else cached. */
export type DataChoice = "auto" | "passthrough" | "cached";

/** How requests travel: through /dev/fuse, through an io_uring (Linux 6.14, fuse.enable_uring on), or what lib/fuse/README.md measured to be better here. */
export type ChannelChoice = "auto" | "device" | "uring";

export interface MountOptions {
  /** Default "auto". */
  readonly data?: DataChoice;
  /** Who speaks to the kernel: our own channel (default) or the npm package fuse-native, which can do less (README). */
  readonly host?: "device" | "fuse-native";
  /** Of the host "device". Default "auto". */
  readonly channel?: ChannelChoice;
  /** POSIX ACLs are enforced; default true. */
  readonly acl?: boolean;
  /** Lifetime of names and attributes in the kernel, seconds; default for ever. */
  readonly timeoutSec?: number;
  /** Default true as root, else false. */
  readonly allowOther?: boolean;
  /** The kernel checks permission bits; default true. */
  readonly defaultPermissions?: boolean;
  /** False: fsync succeeds at once and syncs nothing; what was written is durable when the mount has ended. Default true. */
  readonly fsync?: boolean;
  /** SELinux contexts; without SELinux in the kernel they are ignored, and the log says so. */
  readonly contexts?: SecurityContexts;
  /** Generic mount options by name: "ro", "nosuid", "nodev", "noexec", "noatime", … */
  readonly flags?: readonly MountFlag[];
  /** First column of /proc/mounts; default "stratafs". */
  readonly source?: string;
  /** The type is shown as fuse.<subtype>; default "stratafs". */
  readonly subtype?: string;
  /** One line for whoever runs the mount; default: standard error. */
  readonly log?: (line: string) => void;
}

export interface Mount {
  readonly mountpoint: string;
  /** Resolves when the mount has ended, however it was unmounted, and everything written is durable (unless volatile). */
  readonly closed: Promise<void>;
  /** Resolves as `closed`. Busy mounts are detached: they end when their last user has gone. */
  unmount(): Promise<void>;
  /** Requests served so far, by FUSE opcode. */
  counters(): Promise<Record<string, number>>;
}

/**
 * Opens the layers in this thread and merges them. Throws FsError, for layers of a store StoreError; what was opened is closed again.
 * `log` is told of damage that is found in a store while the tree is read; default: standard error.
 */
export function overlay(stack: StackDescription, log: (line: string) => void = sayOnStderr): Overlay {
  const opened: Layer[] = [];
  const open = (description: LayerDescription): Layer => {
    const layer = openLayer(description, log);
    opened.push(layer);
    return layer;
  };
  try {
    const lowers = stack.lowers.map(open);
    const dataLayers = (stack.dataLayers ?? []).map(open);
    let upper: UpperLayer | undefined;
    if (stack.upper !== undefined) opened.push((upper = openUpper(stack.upper)));
    const options: OverlayOptions = { dataLayers, staticNlink: stack.staticNlink ?? false, ino32: stack.ino32 ?? false };
    return new Overlay(upper, lowers, options);
  } catch (error) {
    for (const layer of opened.reverse()) layer.close();
    throw error;
  }
}

/**
 * Mounts a described stack (served by a worker thread) or an opened tree (served by this thread, which must not use the mount
 * synchronously; the tree is closed when the mount ends). Resolves once the kernel has had its first answer.
 */
export async function mount(what: StackDescription | FileSystem, mountpoint: string, options: MountOptions = {}): Promise<Mount> {
  if (!("lookup" in what)) {
    // fuse-native runs on the process's main loop only.
    if (options.host === "fuse-native") throw new FsError("EINVAL", "mount", "host fuse-native serves an opened tree only: mount(overlay(stack), …)");
    return mountInWorker(what, mountpoint, options);
  }
  if (options.host === "fuse-native") return mountThroughFuseNative(what, mountpoint, options);
  dataModeOf(options.data);
  const mounted = mountFuse(mountRequestOf(mountpoint, options));
  let served: Served;
  try {
    served = serve(what, mounted.fd, options);
    await served.ready;
  } catch (error) {
    await unmount(mountpoint, { force: true, lazy: true }).catch(() => {});
    throw error;
  }
  return {
    mountpoint,
    closed: served.closed,
    unmount: () => unmountAnyway(mountpoint, served.closed),
    counters: () => Promise.resolve(served.counters()),
  };
}

export function mountRequestOf(mountpoint: string, options: MountOptions): MountRequest {
  return {
    mountpoint,
    contexts: contextsOf(options),
    subtype: options.subtype ?? "stratafs",
    source: options.source ?? "stratafs",
    flags: options.flags ?? [],
    allowOther: options.allowOther ?? process.getuid?.() === 0,
    defaultPermissions: options.defaultPermissions ?? true,
  };
}

/** One connection being served by this thread. */
export interface Served {
  /** Resolves when the kernel has had its first answer; for a detached mount that is soon after it is made, attached or not. */
  readonly ready: Promise<void>;
  readonly closed: Promise<void>;
  counters(): Record<string, number>;
  /** Ends the connection from this side. */
  stop(): Promise<void>;
}

/**
 * Serves `tree` on a mounted /dev/fuse descriptor (as mountFuse gives it), which it owns. The tree is synced and closed at the end.
 * Throws, and takes nothing, when passthrough (EOPNOTSUPP) or a ring is asked for and not to be had; `ready` rejects so when only the kernel knows.
 */
export function serve(tree: FileSystem, fuseFd: number, options: MountOptions = {}): Served {
  const session = new Session(tree, channelOf(options.channel, fuseFd), sessionOptionsOf(options));
  session.start();
  return {
    ready: session.ready.then((policy) => {
      checkAgreed(policy, options);
      if (options.channel === "uring" && (policy.flags2 & FUSE_OVER_IO_URING) === 0) {
        throw new FsError("EOPNOTSUPP", "mount", "with channel=uring: the kernel does not offer it; /sys/module/fuse/parameters/enable_uring must be Y, and Linux 6.14 or later");
      }
    }),
    closed: ended(session.closed, tree),
    counters: () => session.counters(),
    stop: () => session.stop(),
  };
}

/** Throws as dataModeOf(). */
export function sessionOptionsOf(options: MountOptions): SessionOptions {
  return {
    dataMode: dataModeOf(options.data),
    acl: options.acl ?? true,
    fsync: options.fsync ?? true,
    ...(options.timeoutSec === undefined ? {} : { timeoutSec: options.timeoutSec }),
    ...(options.log === undefined ? {} : { log: options.log }),
  };
}

/** Throws EOPNOTSUPP where the kernel does not offer what was demanded. */
export function checkAgreed(policy: Policy, options: MountOptions): void {
  if (options.data === "passthrough" && !policy.passthrough) throw noPassthrough("this kernel does not offer it");
}

/** Throws EOPNOTSUPP when passthrough is demanded and this process may not have it. */
function dataModeOf(choice: DataChoice = "auto"): DataMode {
  if (choice === "cached") return "cached";
  const lacking = whyNoPassthrough();
  if (lacking === undefined) return "passthrough";
  if (choice === "passthrough") throw noPassthrough(lacking);
  return "cached";
}

/** Throws FsError when a ring is demanded and this process may have none. */
function channelOf(choice: ChannelChoice = "auto", fuseFd: number): Channel {
  return choice === "uring" ? new UringChannel(fuseFd) : new DeviceChannel(fuseFd);
}

function noPassthrough(why: string): FsError {
  return new FsError("EOPNOTSUPP", "mount", `with data=passthrough: ${why}`);
}

function contextsOf(options: MountOptions): SecurityContexts {
  const contexts = options.contexts ?? {};
  const words = Object.keys(contexts);
  if (words.length === 0 || kernelHasSelinux()) return contexts;
  const log = options.log ?? sayOnStderr;
  log(`${words.join(", ")} ignored: this kernel has no SELinux`);
  return {};
}

function sayOnStderr(line: string): void {
  process.stderr.write(`stratafs: ${line}\n`);
}

/** After the connection: what was written becomes durable, then the tree is closed, also when syncing failed. */
export async function ended(connection: Promise<void>, tree: FileSystem): Promise<void> {
  try {
    await connection;
    await tree.sync();
  } finally {
    await tree.close();
  }
}

export async function unmountAnyway(mountpoint: string, closed: Promise<void>): Promise<void> {
  try {
    await unmount(mountpoint);
  } catch (error) {
    if (!(error instanceof FsError)) throw error;
    if (error.code === "EBUSY") await unmount(mountpoint, { lazy: true });
    // EINVAL: somebody else has unmounted it already.
    else if (error.code !== "EINVAL") throw error;
  }
  await closed;
}

async function mountThroughFuseNative(tree: FileSystem, mountpoint: string, options: MountOptions): Promise<Mount> {
  if (options.data === "passthrough") throw new FsError("EOPNOTSUPP", "mount", "with data=passthrough: the fuse-native host has no passthrough");
  const [label] = Object.keys(contextsOf(options));
  if (label !== undefined) throw new FsError("EOPNOTSUPP", "mount", `with ${label}: the fuse-native host gives no labels`);
  const { mountWithFuseNative } = await import("./fuse/native-host.js");
  const mounted = await mountWithFuseNative(tree, mountpoint, {
    allowOther: options.allowOther ?? process.getuid?.() === 0,
    defaultPermissions: options.defaultPermissions ?? true,
    flags: options.flags ?? [],
    source: options.source ?? "stratafs",
    subtype: options.subtype ?? "stratafs",
    fsync: options.fsync ?? true,
    ...(options.timeoutSec === undefined ? {} : { timeoutSec: options.timeoutSec }),
    ...(options.log === undefined ? {} : { log: options.log }),
  });
  const closed = ended(mounted.closed, tree);
  return {
    mountpoint,
    closed,
    unmount: async () => {
      await mounted.unmount();
      await closed;
    },
    counters: () => Promise.resolve(mounted.counters()),
  };
}

/** What the worker is told, and what it tells. */
export interface WorkerJob {
  readonly stack: StackDescription;
  readonly mountpoint: string;
  readonly options: Omit<MountOptions, "log">;
}
export type ToWorker = { readonly ask: "counters"; readonly id: number } | { readonly ask: "unmount" };
export type FromWorker =
  | { readonly tell: "ready" }
  | { readonly tell: "failed"; readonly message: string; readonly code: string | undefined }
  | { readonly tell: "log"; readonly line: string }
  | { readonly tell: "counters"; readonly id: number; readonly counters: Record<string, number> };

function mountInWorker(stack: StackDescription, mountpoint: string, options: MountOptions): Promise<Mount> {
  const { log, ...plain } = options;
  const job: WorkerJob = { stack, mountpoint, options: plain };
  const worker = new Worker(new URL("./mount-worker.js", import.meta.url), { workerData: job });
  const say = log ?? sayOnStderr;
  const asked = new Map<number, (counters: Record<string, number>) => void>();
  let lastId = 0;
  return new Promise((resolve, reject) => {
    let failure: Error | undefined;
    const closed = new Promise<void>((end, fail) => {
      worker.on("error", (error) => (failure ??= error instanceof Error ? error : new Error(String(error))));
      worker.on("exit", () => {
        for (const answer of asked.values()) answer({});
        if (failure === undefined) return end();
        reject(failure);
        fail(failure);
      });
    });
    closed.catch(() => {});
    worker.on("message", (message: FromWorker) => {
      if (message.tell === "log") say(message.line);
      else if (message.tell === "failed") failure = Object.assign(new Error(message.message), { code: message.code });
      else if (message.tell === "counters") {
        asked.get(message.id)?.(message.counters);
        asked.delete(message.id);
      } else {
        resolve({
          mountpoint,
          closed,
          unmount: () => {
            worker.postMessage({ ask: "unmount" } satisfies ToWorker);
            return closed;
          },
          counters: () =>
            new Promise((answer) => {
              asked.set(++lastId, answer);
              worker.postMessage({ ask: "counters", id: lastId } satisfies ToWorker);
            }),
        });
      }
    });
  });
}
