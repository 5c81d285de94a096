/**
 * `stratafs run`: one process that serves a root and has a command live in it. As an ordinary user it first starts itself again as
 * root of a user namespace.
 * Order: layers opened; the root mounted, attached nowhere that others see; the command started; its end; the end of the mount;
 * the diff; what was temporary removed. Always true: nothing here touches the mount's files, because this thread serves them.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  closeDescriptor, CommandError, detachedCopy, directoryLayer, directoryUpper, hasSingleId, inInitialUserNamespace, mayMount, memoryLayer, mount, mountFuse,
  overlay, pathBytes, runContained, serve, type Container, type Exit, type FileSystem, type MountOptions, type StackDescription,
} from "../index.js";
import { diffOf, plainLine } from "./diff.js";
import type { Change } from "./changes.js";
import { INSIDE, startInside, statusOf } from "./inside.js";
import { complain, messageOf, printAside } from "./output.js";
import { missingMountpoints, resolveInTree, type Wanted } from "./root-paths.js";
import { parseRun, type ImageRequest, type RunRequest } from "./run-arguments.js";
import { DEFAULT_PATH, useImage, type ImageProcess } from "./run-image.js";

const RESOLV_CONF = "/etc/resolv.conf";
/** How long a mount may take to end after its last process, before its directories are left as they are. */
const END_MS = 10_000;

/** The command's own exit status, 128+N for signal N; 127 or 126 when it cannot be executed, 125 when it was never tried. Throws UsageError. */
export async function runCommand(args: readonly string[]): Promise<number> {
  const request = parseRun(args, () => process.cwd());
  try {
    if (process.getuid!() === 0 && mayMount()) return statusOf(await runHere(request));
    if (process.env[INSIDE] !== undefined) throw new Error("this user namespace may not mount; is the kernel configured to refuse it?");
    return statusOf(await startInside("run", args));
  } catch (error) {
    complain(`run: ${messageOf(error)}`);
    return error instanceof CommandError ? (error.code === "ENOENT" ? 127 : 126) : 125;
  }
}

/** What a command runs in, whatever it is made of. */
interface Root {
  readonly stack: StackDescription;
  /** The same to be looked at, upper included; the caller closes it. */
  readonly look: FileSystem;
  readonly process: Omit<ImageProcess, "groups"> & { readonly groups?: readonly number[] };
  /** Lists the changes when the command has ended; undefined when there is no upper. */
  readonly changes: (() => Promise<Change[]>) | undefined;
}

async function runHere(request: RunRequest): Promise<Exit> {
  // From here to the end a signal must not end this process; while the command lives, runContained hands it on.
  const early = new EarlySignal();
  const scratch = mkdtempSync(join(tmpdir(), "stratafs-run-"));
  const keeps = request.keep && request.upper === "temporary" && request.image === undefined;
  try {
    if (request.image !== undefined) return await runImage(request, request.image, scratch, early);
    const upper = upperOf(request, scratch);
    const exit = await runInRoot(request, directoryRoot(request, upper), scratch, early);
    if (keeps) {
      printAside(`stratafs: the upper directory is ${upper?.path}`);
      rmSync(join(scratch, "root"), { recursive: true, force: true });
    }
    return exit;
  } finally {
    if (!keeps) rmSync(scratch, { recursive: true, force: true });
    early.stop();
  }
}

/** A root of directories, run in as this process is. */
function directoryRoot(request: RunRequest, upper: { path: string; work: string | undefined } | undefined): Root {
  const stack = stackOf(request, upper);
  return {
    stack,
    look: overlay({ lowers: [...(upper === undefined ? [] : [directoryLayer(upper.path, idsOf(upper.path))]), ...stack.lowers] }),
    process: { uid: request.uid, gid: request.gid, cwd: request.cwd, command: request.command, ...environmentOf(request) },
    changes: upper === undefined ? undefined : () => diffOf(directoryLayer(upper.path, idsOf(upper.path)), request.lowers.map((path) => directoryLayer(path, idsOf(path)))),
  };
}

/** In a container, which was there, or is made for this run and is kept when it has a name. */
async function runImage(request: RunRequest, image: ImageRequest, scratch: string, early: EarlySignal): Promise<Exit> {
  const used = await useImage(image, { readOnly: request.upper === "none", keep: request.keep });
  try {
    const look = overlay({ lowers: used.shown }, complain);
    const exit = await runInRoot(request, { stack: used.stack, look, process: used.process(look, request), changes: used.changes }, scratch, early);
    if (used.kept !== undefined) printAside(`stratafs: the container is ${used.kept}`);
    return exit;
  } finally {
    await used.end();
  }
}

/** The whole life of a command in a root; `root.look` is closed before it starts. */
async function runInRoot(request: RunRequest, root: Root, scratch: string, early: EarlySignal): Promise<Exit> {
  const exit = await withMountedRoot(request, root, scratch, early);
  if (request.diff && root.changes !== undefined) for (const change of await root.changes()) printAside(plainLine(change));
  return exit;
}

const endingSignals = ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT"] as const;

/** Remembers a signal that comes before there is a command to take it. */
class EarlySignal {
  /** Its number; undefined when none has come. */
  number: number | undefined;
  private readonly remember = (_name: NodeJS.Signals, number: number): void => void (this.number ??= number);

  constructor() {
    for (const name of endingSignals) process.on(name, this.remember);
  }

  /** What comes later has its usual effect. */
  stop(): void {
    for (const name of endingSignals) process.removeListener(name, this.remember);
  }
}

function upperOf(request: RunRequest, scratch: string): { path: string; work: string | undefined } | undefined {
  if (request.upper === "none") return undefined;
  if (request.upper !== "temporary") {
    mkdirSync(request.upper.path, { recursive: true });
    if (request.upper.work !== undefined) mkdirSync(request.upper.work, { recursive: true });
    return request.upper;
  }
  const upper = { path: join(scratch, "upper"), work: join(scratch, "work") };
  mkdirSync(upper.path, { mode: 0o755 });
  mkdirSync(upper.work, { mode: 0o700 });
  return upper;
}

async function withMountedRoot(request: RunRequest, { stack, look, process: settings }: Root, scratch: string, early: EarlySignal): Promise<Exit> {
  const root = join(scratch, "root");
  mkdirSync(root);
  const { tree, attach } = openRoot(request, stack, look, settings.cwd);
  const flags: MountOptions["flags"] & object = stack.upper === undefined ? ["nodev", "ro"] : ["nodev"];
  const options = { data: request.data, log: complain, allowOther: true, defaultPermissions: true, flags };
  const container = {
    scratch: root, privileged: inInitialUserNamespace(), network: request.network, hostname: request.hostname, dropGroups: !hasSingleId(), ...settings,
  };
  process.umask(0);
  const copies: { fd: number; target: string }[] = [];
  const closeCopies = (): void => copies.splice(0).forEach(({ fd }) => closeDescriptor(fd));
  try {
    for (const { source, target, readOnly } of attach) copies.push({ fd: detachedCopy(source, readOnly), target });
    const start = async (where: Container["root"], onStarted: () => void): Promise<Exit> => {
      if (early.number !== undefined) return { signal: early.number };
      return runContained({ ...container, root: where, attach: [...copies] }, () => {
        closeCopies();
        onStarted();
      });
    };
    return await (request.root === undefined ? runDetached(tree, options, start) : runMounted(tree, request.root, options, start));
  } finally {
    closeCopies();
  }
}

type Start = (where: Container["root"], onStarted: () => void) => Promise<Exit>;
type Served = Pick<Required<MountOptions>, "data" | "log" | "allowOther" | "defaultPermissions" | "flags">;

/** The mount is nowhere but in the command's namespace, and ends with it. */
async function runDetached(tree: FileSystem, options: Served, start: Start): Promise<Exit> {
  const { fd, mountFd } = mountFuse({ ...options, mountpoint: "", subtype: "stratafs", source: "stratafs", detached: true });
  const served = serve(tree, fd, options);
  let held = true;
  const letGo = (): void => {
    if (held) closeDescriptor(mountFd);
    held = false;
  };
  try {
    await served.ready;
    return await start({ mountFd }, letGo);
  } finally {
    letGo();
    await endOf(served.closed);
  }
}

async function runMounted(tree: FileSystem, mountpoint: string, options: Served, start: Start): Promise<Exit> {
  const mounted = await mount(tree, mountpoint, options);
  try {
    return await start({ path: mountpoint }, () => undefined);
  } finally {
    await endOf(mounted.unmount());
  }
}

/** Rejects when what was written could not be made durable, and when the mount does not end. */
async function endOf(closed: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("the root is still in use somewhere")), END_MS);
  });
  try {
    await Promise.race([closed, late]);
  } finally {
    clearTimeout(timer);
  }
}

function stackOf(request: RunRequest, upper: { path: string; work: string | undefined } | undefined): StackDescription {
  return {
    lowers: request.lowers.map((path) => directoryLayer(path, idsOf(path))),
    ...(upper === undefined ? {} : {
      upper: directoryUpper(upper.path, {
        ...idsOf(upper.path), ...(upper.work === undefined ? {} : { workdir: upper.work }), volatile: request.upper === "temporary" && !request.keep,
        // Nobody else reads a temporary upper: its marks need not be the kernel's.
        ...(request.upper === "temporary" ? { redirect: true, metacopy: true } : {}),
      }),
    }),
  };
}

/** An owner that this user namespace has no id for could not be written to by its root: such a layer is shown as root's. */
function idsOf(path: string): { ids?: { squashUid: number; squashGid: number } } {
  return hasSingleId() || isForeign(path) ? { ids: { squashUid: 0, squashGid: 0 } } : {};
}

function isForeign(path: string): boolean {
  return !inInitialUserNamespace() && statSync(path).uid === Number(readFileSync("/proc/sys/kernel/overflowuid", "utf8"));
}

interface Attachment {
  readonly source: string;
  /** In the root. */
  readonly target: string;
  readonly readOnly: boolean;
}

/**
 * The merged view with every mountpoint that the container needs, and what to attach where in it. What is missing is found by a look
 * at all layers read-only, and goes into a layer of its own below all others: the upper stays as it is.
 */
function openRoot(request: RunRequest, stack: StackDescription, look: FileSystem, cwd: string): { tree: FileSystem; attach: Attachment[] } {
  const wanted: Wanted[] = ["/proc", "/dev", "/sys"].map((path) => ({ path, kind: "directory" }));
  const attach: Attachment[] = request.volumes.map((volume) => ({ ...volume, target: pathBytes(volume.target) }));
  if (request.network && statSync(RESOLV_CONF, { throwIfNoEntry: false })?.isFile() === true) {
    attach.push({ source: RESOLV_CONF, target: RESOLV_CONF, readOnly: true });
  }
  for (const { source, target } of attach) wanted.push({ path: target, kind: statSync(source).isDirectory() ? "directory" : "file" });

  // An image may name a working directory that it does not have.
  if (request.image !== undefined) wanted.push({ path: pathBytes(cwd), kind: "directory" });
  try {
    for (const { path } of wanted.slice(0, 3)) {
      if (resolveInTree(look, path).path !== path) throw new Error(`${path} in the root is a symbolic link`);
    }
    const missing = missingMountpoints(look, wanted);
    const needed = attach.filter(({ source, target }) => source !== RESOLV_CONF || target !== RESOLV_CONF || !isSameFile(look, target));
    return {
      tree: overlay(Object.keys(missing).length === 0 ? stack : { ...stack, lowers: [...stack.lowers, memoryLayer(missing)] }, complain),
      attach: needed.map((each) => ({ ...each, target: Buffer.from(resolveInTree(look, each.target).path, "latin1").toString("utf8") })),
    };
  } finally {
    void look.close();
  }
}

/** True when the tree's file has the size and time of the host's of the same name: the host's own root, unchanged. */
function isSameFile(tree: FileSystem, path: string): boolean {
  const { node } = resolveInTree(tree, path);
  const host = statSync(path, { bigint: true });
  const attr = node === undefined ? undefined : tree.getAttr(node);
  return attr !== undefined && BigInt(attr.size) === host.size && BigInt(attr.mtimeSec) * 1_000_000_000n + BigInt(attr.mtimeNsec) === host.mtimeNs;
}

/** The caller's variables, with those asked for. */
function environmentOf(request: RunRequest): { env: string[]; path: string } {
  const { [INSIDE]: _mark, ...mine } = process.env;
  const all: Record<string, string | undefined> = { PATH: DEFAULT_PATH, ...mine, ...request.env };
  return { env: Object.entries(all).map(([name, value]) => `${name}=${value}`), path: all["PATH"] ?? DEFAULT_PATH };
}

