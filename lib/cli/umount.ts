/**
 * `stratafs umount`: takes a mount away and waits for the process that serves it, which ends by itself when everything is written. umount(8) alone
 * returns before that, and the layers' own filesystems are busy for a moment more; it calls a helper of the name umount.fuse.stratafs.
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { mountView, unmount } from "../index.js";
import { readArguments } from "./arguments.js";
import { MARK } from "./daemon.js";
import { isServing } from "./descriptors.js";
import { UsageError } from "./usage.js";

/** In the environment of a server that has taken over from another (lib/supervised). */
const SUCCESSOR = "STRATAFS_JOURNAL";
/** Longest waits: for a server that syncs its upper at the end, and for one that goes on because another mount namespace has a copy of the mount. */
const ENDING_MS = 60_000;
const ELSEWHERE_MS = 3000;

/** Throws UsageError, or the FsError of umount2(2); Error where nothing is mounted. */
export async function umountCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("umount", args, { lazy: { type: "boolean", short: "l", default: false } });
  const [mountpoint, second] = positionals;
  if (mountpoint === undefined || mountpoint === "") throw new UsageError("umount: no mountpoint given");
  if (second !== undefined) throw new UsageError(`umount: expected one mountpoint, found also ${JSON.stringify(second)}`);
  await unmountAndWait(resolve(mountpoint), values.lazy);
  return 0;
}

/** As umount(8) calls it: the mountpoint, then -n, -v, -r, -f, -l, -t TYPE or -N NAMESPACE, already acted on or of no use here. */
export async function umountHelper(args: readonly string[]): Promise<number> {
  const [mountpoint, ...letters] = args;
  if (mountpoint === undefined || mountpoint === "") throw new UsageError("umount: no mountpoint given");
  await unmountAndWait(resolve(mountpoint), letters.some((letter) => /^-[nvrf]*l/.test(letter)));
  return 0;
}

async function unmountAndWait(mountpoint: string, lazy: boolean): Promise<void> {
  const daemons = lazy ? [] : daemonsOf(mountpoint);
  try {
    await unmount(mountpoint, { lazy });
  } catch (error) {
    if ((error as { code?: unknown }).code === "EINVAL") throw new Error(`EINVAL: umount: nothing is mounted at ${mountpoint}`, { cause: error });
    throw error;
  }
  const started = Date.now();
  const awaited = (pid: number): boolean => isDaemon(pid) && Date.now() - started < (isServing(String(pid)) ? ELSEWHERE_MS : ENDING_MS);
  while (daemons.some(awaited)) await new Promise((later) => setTimeout(later, 10));
}

/** Processes that end with the mount; a program that has mounted for itself does not, and whoever cannot be seen is not waited for. */
function daemonsOf(mountpoint: string): number[] {
  try {
    const { servers, heirs } = mountView(mountpoint);
    return [...servers, ...heirs].map(({ pid }) => pid).filter(isDaemon);
  } catch {
    return []; // No mount: unmount() says it better.
  }
}

/** False, too, when it is gone or no more than a zombie, which has no environment. */
function isDaemon(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").some((entry) => entry.startsWith(`${MARK}=`) || entry.startsWith(`${SUCCESSOR}=`));
  } catch {
    return false;
  }
}
