/**
 * `stratafs mount`: checks what was asked, then serves it, here or in a process of its own.
 * Order of serving: descriptors of the starter closed; layers opened while the starter's cwd is still ours; cwd "/"; the mount;
 * and only when the kernel has had its first answer the starter is told to end.
 */
import { listen, startServing, type Starter } from "./daemon.js";
import { parseMount, type CallStyle, type MountRequest } from "./mount-arguments.js";
import { complain, messageOf, print } from "./output.js";

/** Exit status 0 once the mount is live (or, in the foreground, once it has ended). Throws UsageError, FsError. */
export async function mountCommand(args: readonly string[], style: CallStyle = "command"): Promise<number> {
  const starter = listen();
  try {
    const command = parseMount(args, style, () => process.cwd());
    if (command.kind === "help") return help();
    if (command.kind === "version") return version();
    const { request } = command;
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

/** Serves until the mount is gone; with a starter, as a daemon. */
async function serve(request: MountRequest, starter: Starter | undefined): Promise<number> {
  const [{ detachProcess, mount, overlay }, { mountOptionsOf, stackOf }] = await Promise.all([import("../index.js"), import("./mount-stack.js")]);
  if (starter !== undefined) detachProcess();
  // New objects have the mode that the caller's own umask left of it.
  process.umask(0);
  const tree = overlay(stackOf(request, process.env));
  process.chdir("/");
  const mounted = await mount(tree, request.mountpoint, { ...mountOptionsOf(request, process.getuid?.() === 0), log: complain });
  const unmountNow = async (): Promise<void> => {
    try {
      await mounted.unmount();
    } catch (error) {
      complain(messageOf(error));
    }
  };
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => void unmountNow());
  // Whoever lives in the mount would lose everything with this process: one mistake is logged, and does not end it.
  process.on("uncaughtException", (error) => complain(error instanceof Error ? error.stack ?? error.message : String(error)));
  if (starter !== undefined) {
    try {
      if (!starter.live(request.logFile)) await unmountNow();
    } catch (error) {
      await unmountNow();
      throw error;
    }
  }
  await mounted.closed;
  return 0;
}
