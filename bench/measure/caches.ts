/** The kernel's caches: emptied before a cold run, and how much of memory files take. */
import { readFileSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";

/** Why caches cannot be dropped here, or undefined. */
export function cannotDrop(): string | undefined {
  return process.getuid?.() === 0 ? undefined : "dropping caches needs root";
}

/** Writes dirty pages back, then drops the page cache, dentries and inodes of the whole machine. */
export function dropCaches(): void {
  spawnSync("sync");
  writeFileSync("/proc/sys/vm/drop_caches", "3");
}

/** Bytes of the machine's page cache. Other programs' files are in it too: only differences on a quiet machine mean something. */
export function pageCacheBytes(): number {
  const line = readFileSync("/proc/meminfo", "latin1").split("\n").find((each) => each.startsWith("Cached:"));
  return Number.parseInt((line ?? "").slice(7), 10) * 1024;
}
