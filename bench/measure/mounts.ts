/** The mounts beneath a directory, as this mount namespace sees them, and their removal by force. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** Undoes the octal escapes of /proc/self/mountinfo. */
const plain = (text: string) => text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

export interface MountLine {
  readonly target: string;
  /** Minor of st_dev; of a FUSE mount, the connection's number. */
  readonly minor: number;
  readonly type: string;
}

export function mountsBeneath(directory: string): MountLine[] {
  const out: MountLine[] = [];
  for (const line of readFileSync("/proc/self/mountinfo", "latin1").split("\n")) {
    const [left, right] = line.split(" - ");
    const fields = (left ?? "").split(" ");
    const target = plain(fields[4] ?? "");
    if (target !== directory && !target.startsWith(`${directory}/`)) continue;
    out.push({ target, minor: Number((fields[2] ?? "").split(":")[1]), type: (right ?? "").split(" ")[0] ?? "" });
  }
  return out;
}

/** Detaches every mount beneath, the last one first; asks nothing of whoever serves it. Returns what stayed. */
export function detachBeneath(directory: string): MountLine[] {
  for (const { target, type } of mountsBeneath(directory).reverse()) {
    const umount = spawnSync("umount", ["-l", target], { stdio: "ignore" });
    if (umount.status !== 0 && type.startsWith("fuse")) spawnSync("fusermount3", ["-u", "-z", target], { stdio: "ignore" });
  }
  return mountsBeneath(directory);
}
