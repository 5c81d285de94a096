/**
 * Work that needs to be root: done here where this process is, else by the same command started again as root of a user namespace,
 * where files that belong to the caller's subordinate ids are his to read and remove.
 */
import { runInUserNamespace, type Exit } from "../index.js";

/** Set for the copy of this program that is root of a user namespace, so that it does not start another. */
export const INSIDE = "STRATAFS_RUN_INSIDE";

/** Exit status: that of `work`, or of the copy. */
export async function asRoot(command: string, args: readonly string[], work: () => Promise<number>): Promise<number> {
  if (process.getuid!() === 0 || process.env[INSIDE] !== undefined) return await work();
  return statusOf(await startInside(command, args));
}

/** Starts `stratafs COMMAND ARGS` inside, and follows it. */
export function startInside(command: string, args: readonly string[]): Promise<Exit> {
  const env = Object.entries({ ...process.env, [INSIDE]: "1" }).map(([name, value]) => `${name}=${value}`);
  return runInUserNamespace(process.execPath, [process.execPath, ...process.execArgv, process.argv[1] ?? "", command, ...args], env);
}

export function statusOf(exit: Exit): number {
  return "code" in exit ? exit.code : 128 + exit.signal;
}
