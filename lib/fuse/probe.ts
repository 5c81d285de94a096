/** What this process may ask of the kernel, found out without a mount. */
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { native } from "../sys/binding.js";

/**
 * Whether the kernel would take backing ids from this process: Linux 6.9, and CAP_SYS_ADMIN in the initial user namespace, which maps all
 * ids to themselves. The last word is INIT's: a kernel built without passthrough does not offer it, and the session falls back.
 */
export function probePassthrough(): boolean {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  if (major < 6 || (major === 6 && minor < 9)) return false;
  if (native.hasSysAdmin() !== 1) return false;
  return readFileSync("/proc/self/uid_map", "latin1").trim().split(/\s+/).join(" ") === "0 0 4294967295";
}
