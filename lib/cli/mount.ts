/**
 * `stratafs mount`: checks what was asked, then serves it, here or in a process of its own.
 * Order of serving: descriptors of the starter closed; layers opened while the starter's cwd is still ours; cwd "/"; the mount;
 * and only when the kernel has had its first answer the starter is told to end.
 */
import { listen, startServing, type Starter } from "./daemon.js";
import { isServing } from "./descriptors.js";
import { parseMount, type CallStyle, type MountRequest } from "./mount-arguments.js";
import { complain, messageOf, print } from "./output.js";
import { serveToEnd, successor } from "./serve-to-end.js";

/** Exit status 0 once the mount is live (or, in the foreground, once it has ended). Throws UsageError, FsError. */
export async function mountCommand(args: readonly string[], style: CallStyle = "command"): Promise<number> {
  const starter = listen();
  try {
    const command = parseMount(args, style, () => process.cwd());
    if (command.kind === "help") return help();
    if (command.kind === "version") return version();
    const { request } = command;
    if (request.remount) return await remount(request, starter);
    // The serving process reads the same arguments, and says what is to be said about them.
    if (starter === undefined && !request.foreground && !request.fake) return await startServing();
    for (const warning of request.warnings) complain(warning);
    if (request.fake) return 0;
    return await serve(request, starter);
  } catch (error) {
    if (starter === undefined) throw error;
    return starter.failed(error);
  }
}

/** What the options say of layers and of serving is what the mount has, or cannot be changed: mount(8) passes the whole line of fstab. */
async function remount(request: MountRequest, starter: Starter | undefined): Promise<number> {
  const [{ remountFuse }, { mountOptionsOf }] = await Promise.all([import("./mounting.js"), import("./mount-stack.js")]);
  const flags = mountOptionsOf(request, process.getuid?.() === 0).flags ?? [];
  if (!request.fake) remountFuse(request.mountpoint, request.readOnly ? flags : flags.filter((flag) => flag !== "ro"));
  starter?.live(undefined);
  return 0;
}

async function help(): Promise<number> {
  const { helpText } = await import("./help.js");
  print(helpText("mount"));
  return 0;
}

async function version(): Promise<number> {
  const { packageVersion } = await import("./version.js");
  print(`stratafs: version ${packageVersion()}`);
  return 0;
}

/**
 * Longest waits for an upper in use, in ms: by a mount, which is the caller's mistake, or by nobody that can be seen, who may have let go of it by now; by the
 * server of a mount that is gone and is still syncing.
 */
const MOUNTED_MS = 1000;
const ENDING_MS = 60_000;

/** An unmount returns before its server has written everything and let go of the upper: who mounts again at once must not be refused. */
async function whenFree<T>(open: () => T | Promise<T>): Promise<T> {
  const started = Date.now();
  for (;;) {
    try {
      return await open();
    } catch (error) {
      if ((error as { code?: unknown }).code !== "EBUSY") throw error;
      const holder = /by process (\d+)$/.exec(messageOf(error))?.[1];
      if (Date.now() - started > (holder === undefined || isServing(holder) ? MOUNTED_MS : ENDING_MS)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Serves until the mount is gone, or another process goes on with it; with a starter, as a daemon. */
async function serve(request: MountRequest, starter: Starter | undefined): Promise<number> {
  const [{ detachProcess, hindranceToLasting, mount, mountLasting, overlay }, { mountOptionsOf, stackOf, withImage }] =
    await Promise.all([import("./mounting.js"), import("./mount-stack.js")]);
  if (starter !== undefined) detachProcess();
  // New objects have the mode that the caller's own umask left of it.
  process.umask(0);
  const options = { ...mountOptionsOf(request, process.getuid?.() === 0), log: complain };
  const stack = await withImage(stackOf(request, process.env), request);
  const { supervised, foreground, mountpoint } = request;
  if (supervised === "on" || (supervised === "auto" && !foreground && hindranceToLasting(stack, options) === undefined)) {
    const lasting = await whenFree(() => mountLasting(stack, mountpoint, options, successor()));
    process.chdir("/");
    process.on("SIGUSR2", () => void lasting.handOver());
    return serveToEnd(lasting, request.logFile, starter);
  }
  const tree = await whenFree(() => overlay(stack));
  process.chdir("/");
  return serveToEnd(await mount(tree, mountpoint, options), request.logFile, starter);
}
