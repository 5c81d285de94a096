/**
 * Page cache that twenty mounts of one image take when the same files are read through each, in both data modes. Counted by a memory
 * control group of its own, in which the mounts' servers and the readers run: other programs' files are not in it.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { sh, step } from "./shell.js";

const MOUNTS = 20;

export function pageCache(ground: string, image: string): void {
  const parent = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].find((folder) => existsSync(join(folder, "cgroup.procs")));
  if (parent === undefined) return step("page cache: skipped, no memory control groups");
  const run = (script: string, ...args: string[]): string => sh(script, args, ground);
  run(`$S import --store cache-store lay --reference "$1" --name "$1" >/dev/null`, image);
  const group = join(parent, `stratafs-proof-${process.pid}`);
  for (const data of ["passthrough", "cached"]) {
    mkdirSync(group);
    try {
      // What the import left in the page cache is somebody else's, and would not be counted.
      run(`sync; python3 -c 'import os, sys
for folder, _, names in os.walk("cache-store"):
    for name in names:
        fd = os.open(os.path.join(folder, name), os.O_RDONLY); os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED); os.close(fd)'`);
      const read = run(`echo $$ > "$1/cgroup.procs"; i=0
        while [ $i -lt ${MOUNTS} ]; do mkdir -p m$i; $S mount -o "image=$2,store=$PWD/cache-store,data=$3" m$i; i=$((i + 1)); done
        i=0; while [ $i -lt ${MOUNTS} ]; do find m$i/usr/bin m$i/usr/sbin m$i/usr/lib -type f -exec cat {} + | wc -c; i=$((i + 1)); done | sort -u`, group, image, data).trim();
      const stat = readFileSync(join(group, "memory.stat"), "utf8");
      const cached = Number(/^(?:total_cache|file) (\d+)$/m.exec(stat)?.[1]);
      step(`${image}: ${MOUNTS} mounts, data=${data}, ${(Number(read) / 2 ** 20).toFixed(0)} MiB of files read through each: ${(cached / 2 ** 20).toFixed(0)} MiB of page cache`);
    } finally {
      run(`i=0; while [ $i -lt ${MOUNTS} ]; do $S umount m$i || :; i=$((i + 1)); done; rmdir m[0-9]*
        # Servers end by themselves once their mounts are gone.
        for try in $(seq 100); do [ -n "$(cat "$1/cgroup.procs")" ] || break; sleep 0.3; done`, group);
      rmdirSync(group);
    }
  }
  run("rm -rf cache-store");
}
