/** FUSE over io_uring is off unless somebody turns it on, for the whole machine; mounts that exist keep what they have. */
import { readFileSync, writeFileSync } from "node:fs";

const parameter = "/sys/module/fuse/parameters/enable_uring";

/** Turns rings on for mounts made from now on; returns what puts it back as it was, or why there are none. */
export function rings(): (() => void) | string {
  let before: string;
  try {
    before = readFileSync(parameter, "latin1").trim();
  } catch {
    return "this kernel has no FUSE over io_uring (Linux 6.14)";
  }
  if (before === "Y") return () => {};
  try {
    writeFileSync(parameter, "Y");
  } catch {
    return "fuse.enable_uring is off, and only root can turn it on";
  }
  return () => writeFileSync(parameter, before);
}
