/**
 * A process inside a mounted root: started by a plan, followed to its end, with the signals that come to us passed on.
 * The process that calls this may serve the root itself: nothing here waits without yielding, and nothing looks into the root.
 */
import { accessSync, constants as access, readFileSync, readlinkSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, join } from "node:path";
import { spawn } from "node:child_process";
import { isatty } from "node:tty";
import { check, FsError } from "../base/errors.js";
import { pathBytes } from "../base/name.js";
import { native } from "../sys/binding.js";
import { AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY, OPEN_TREE_CLONE } from "../sys/flags.js";
import { makePipe, startPlan, type Exit, type PlannedProcess } from "../sys/process.js";
import { containerPlan, isExecFailure, type Container as ContainerPlan } from "./container-plan.js";
import { grantedRanges, helperArguments, namespaceIds, reentryPlan, type IdExtent, type NamespaceIds } from "./user-namespace.js";

export type { Exit };
/** What a caller says about a container; the terminal and the copy of /sys are found here. */
export type Container = Omit<ContainerPlan, "terminal" | "sys">;

/** The command of a container could not be executed; `code` is the kernel's reason. */
export class CommandError extends Error {
  readonly code: string;

  constructor(command: string, code: string) {
    const reason = code === "ENOENT" ? "not found in the root" : code === "EACCES" ? "may not be executed" : `cannot be executed (${code})`;
    super(`${command}: ${reason}`);
    this.name = "CommandError";
    this.code = code;
  }
}

/**
 * Starts a container and follows it to its end. Descriptors named in it stay the caller's; `onStarted` is called when they are not
 * needed any more. Throws CommandError when the command cannot be executed, FsError naming the step for anything before.
 */
export async function runContained(container: Container, onStarted: () => void): Promise<Exit> {
  const sys = container.privileged ? undefined : copyOfSys();
  const letGo = (): void => {
    if (sys !== undefined) closeDescriptor(sys);
  };
  let child: PlannedProcess;
  try {
    child = startPlan(containerPlan({ ...container, terminal: terminalPath(), sys }));
  } catch (error) {
    letGo();
    throw error;
  }
  void child.started.then(letGo, letGo);
  try {
    return await follow(child, onStarted);
  } catch (error) {
    if (error instanceof FsError && isExecFailure(error.syscall)) throw new CommandError(container.command[0] ?? "", error.code);
    throw error;
  }
}

/** Also what is mounted below it: control groups that belong to this user would let a container stop the user's other processes. */
function copyOfSys(): number | undefined {
  try {
    return detachedCopy("/sys", true);
  } catch (error) {
    if (error instanceof FsError) return undefined;
    throw error;
  }
}

/** A copy of a host path's mount, with all below it, that a container can attach; read-only means all of it. The caller closes it. Throws FsError. */
export function detachedCopy(path: string, readOnly: boolean): number {
  const fd = check(native.openTree(AT_FDCWD, pathBytes(path), OPEN_TREE_CLONE | AT_RECURSIVE), "open_tree", path);
  if (readOnly) {
    const failed = native.mountSetattr(fd, MOUNT_ATTR_RDONLY, 0, AT_RECURSIVE);
    if (failed < 0) native.close(fd);
    check(failed, "mount_setattr", path);
  }
  return fd;
}

export function closeDescriptor(fd: number): void {
  native.close(fd);
}

/** The path of the terminal on standard input; undefined when it is none, or none that has a name here. */
function terminalPath(): string | undefined {
  if (!isatty(0)) return undefined;
  const path = readlinkSync("/proc/self/fd/0");
  return path.startsWith("/dev/") ? path : undefined;
}

/** True when this process may unshare and mount as it is: CAP_SYS_ADMIN in its own user namespace. */
export function mayMount(): boolean {
  return native.hasSysAdmin() === 1;
}

/** True in the user namespace that the machine started with. */
export function inInitialUserNamespace(): boolean {
  return /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync("/proc/self/uid_map", "utf8"));
}

/** True when the namespace has one id only, so that nothing can be owned by anybody else and setgroups is denied. */
export function hasSingleId(): boolean {
  return readFileSync("/proc/self/setgroups", "utf8").trim() === "deny";
}

/** Starts `program` again as root of a new user and mount namespace, and follows it. Throws FsError, or Error when newuidmap fails. */
export async function runInUserNamespace(program: string, argv: readonly string[], env: readonly string[]): Promise<Exit> {
  const ids = callersIds();
  const [readyRead, ready] = makePipe();
  const [goAhead, goAheadWrite] = makePipe();
  const child = startPlan(reentryPlan({ ids, ready, goAhead, program, argv, env }));
  native.close(ready);
  native.close(goAhead);
  const mapped = ids.needsHelpers ? writeMaps(child, ids, readyRead, goAheadWrite) : Promise.resolve();
  try {
    const [exit] = await Promise.all([follow(child, () => undefined), mapped]);
    return exit;
  } finally {
    native.close(readyRead);
    native.close(goAheadWrite);
  }
}

function callersIds(): NamespaceIds {
  const [uid, gid] = [process.getuid!(), process.getgid!()];
  const userName = userNameOf(uid);
  const helpers = onPath("newuidmap") && onPath("newgidmap");
  const read = (path: string) => grantedRanges(textOrNothing(path), userName, uid);
  return namespaceIds(uid, gid, read("/etc/subuid"), read("/etc/subgid"), helpers);
}

function userNameOf(uid: number): string | undefined {
  const line = textOrNothing("/etc/passwd").split("\n").find((each) => each.split(":")[2] === String(uid));
  return line?.split(":")[0];
}

function textOrNothing(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function onPath(program: string): boolean {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), access.X_OK);
      return folder !== "";
    } catch {
      return false;
    }
  });
}

async function writeMaps(child: PlannedProcess, ids: NamespaceIds, readyRead: number, goAheadWrite: number): Promise<void> {
  await readable(readyRead);
  try {
    await runHelper("newuidmap", child.pid, ids.uids);
    await runHelper("newgidmap", child.pid, ids.gids);
  } catch (error) {
    child.signal(constants.signals.SIGKILL);
    throw error;
  }
  writeSync(goAheadWrite, "\n");
}

function readable(fd: number): Promise<void> {
  return new Promise((resolve) => {
    const watch = native.watch(fd, () => {
      native.unwatch(watch);
      resolve();
    });
  });
}

function runHelper(program: string, pid: number, map: readonly IdExtent[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const helper = spawn(program, [String(pid), ...helperArguments(map)], { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    helper.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
    helper.on("error", reject);
    helper.on("close", (code) => (code === 0 ? resolve() : reject(new Error(`${program}: ${said.trim() || `exit status ${code}`}`))));
  });
}

/** Signals a caller expects to reach the command. A terminal sends the second group to every process in the foreground by itself. */
const passedOn = ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const;
const fromTerminal = ["SIGINT", "SIGQUIT", "SIGWINCH"] as const;

async function follow(child: PlannedProcess, onStarted: () => void): Promise<Exit> {
  const handlers: [NodeJS.Signals, () => void][] = [];
  const terminal = isatty(0);
  for (const name of passedOn) handlers.push([name, () => void child.signal(constants.signals[name])]);
  for (const name of fromTerminal) handlers.push([name, () => void (terminal || child.signal(constants.signals[name]))]);
  for (const [name, handler] of handlers) process.on(name, handler);
  try {
    await child.started;
    onStarted();
    return await child.exited;
  } catch (error) {
    await child.exited;
    throw error;
  } finally {
    for (const [name, handler] of handlers) process.removeListener(name, handler);
  }
}
