/**
 * Mounts on which the kernel translates owners itself (mount_setattr(2) with MOUNT_ATTR_IDMAP).
 * A lower that lies on one shows ids as presented already. Container engines give such lowers together with an id map that is meant for
 * the upper: translating twice would leave every file to the overflow id.
 */
import { readFileSync } from "node:fs";

/** Whether the mount that holds `fd` is idmapped; false for a mount that is attached nowhere. */
export function isIdMapped(fd: number): boolean {
  const id = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))?.[1];
  // proc_pid_mountinfo(5): the mount's id comes first, its own options are the sixth field.
  const line = readFileSync("/proc/self/mountinfo", "latin1").split("\n").find((each) => each.startsWith(`${id} `));
  return line?.split(" ")[5]?.split(",").includes("idmapped") ?? false;
}
