/** How many descriptors this process may have open. */
import { readFileSync } from "node:fs";

/** The soft RLIMIT_NOFILE, as it is now; Infinity where there is none. */
export function descriptorLimit(): number {
  const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1];
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
}
