/** `stratafs umount`: takes a mount away; the process that serves it ends by itself. */
import { resolve } from "node:path";
import { unmount } from "../index.js";
import { readArguments } from "./arguments.js";
import { UsageError } from "./usage.js";

/** Throws UsageError, or the FsError of umount2(2). */
export async function umountCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("umount", args, { lazy: { type: "boolean", short: "l", default: false } });
  const [mountpoint, second] = positionals;
  if (mountpoint === undefined || mountpoint === "") throw new UsageError("umount: no mountpoint given");
  if (second !== undefined) throw new UsageError(`umount: expected one mountpoint, found also ${JSON.stringify(second)}`);
  await unmount(resolve(mountpoint), { lazy: values.lazy });
  return 0;
}
