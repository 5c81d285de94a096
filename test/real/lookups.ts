/**
 * Ten million lookups over a large tree, and what they leave in the memory of the serving process.
 * `npm run test:lookups [-- MILLIONS]`: python3 is needed, and root for the kernel to forget what it knows between rounds.
 * Nothing may be remembered (timeout=0), so that every stat is a LOOKUP. Ends with 1 when the memory after the last round is more than
 * a quarter above that after the first.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const stratafs = fileURLToPath(new URL("../../stratafs.js", import.meta.url));
const millions = Number(process.argv[2] ?? 10);
const DIRECTORIES = 500;
const FILES_EACH = 400;
const ROUNDS = 10;

/** Argument 1 is the mountpoint, 2 the number of walks; prints the number of files found. */
const walks = `
import os, sys
found = 0
for walk in range(int(sys.argv[2])):
    for d in range(${DIRECTORIES}):
        for f in range(${FILES_EACH}):
            os.lstat("%s/d%d/f%d" % (sys.argv[1], d, f))
            found += 1
print(found)
`;

/** Resident memory and descriptors of the server. */
function sizeOf(pid: number): { rssMiB: number; descriptors: number } {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return { rssMiB: Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) / 1024, descriptors: Number(/^FDSize:\s+(\d+)/m.exec(status)![1]) };
}

async function mounted(path: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (readFileSync("/proc/mounts", "latin1").includes(` ${path} `)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`${path} was not mounted within 10 s`);
}

const top = mkdtempSync(join(tmpdir(), "stratafs-lookups-"));
const at = (name: string): string => join(top, name);
for (const name of ["lower", "upper", "work", "mnt"]) mkdirSync(at(name));
for (let d = 0; d < DIRECTORIES; d++) {
  mkdirSync(at(`lower/d${d}`));
  for (let f = 0; f < FILES_EACH; f++) writeFileSync(at(`lower/d${d}/f${f}`), "");
}
const options = `lowerdir=${at("lower")},upperdir=${at("upper")},workdir=${at("work")},timeout=0`;
const server = spawn(process.execPath, [stratafs, "mount", "-f", "-o", options, at("mnt")], { stdio: ["ignore", "ignore", "inherit"] });
try {
  await mounted(at("mnt"));
  const perWalk = DIRECTORIES * FILES_EACH;
  const walksEach = Math.max(1, Math.round((millions * 1e6) / perWalk / ROUNDS));
  const sizes: number[] = [];
  let lookups = 0;
  for (let round = 1; round <= ROUNDS; round++) {
    const started = Date.now();
    const found = Number(execFileSync("python3", ["-c", walks, at("mnt"), String(walksEach)], { encoding: "utf8" }));
    lookups += found;
    if (found !== perWalk * walksEach) throw new Error(`round ${round}: ${found} files found, expected ${perWalk * walksEach}`);
    const busy = sizeOf(server.pid!);
    if (process.getuid!() === 0) writeFileSync("/proc/sys/vm/drop_caches", "2");
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const { rssMiB, descriptors } = sizeOf(server.pid!);
    sizes.push(rssMiB);
    console.log(`${(lookups / 1e6).toFixed(1)} million lookups, ${Math.round((Date.now() - started) / 1000)} s: ${busy.rssMiB.toFixed(0)} MiB resident, ${rssMiB.toFixed(0)} after the kernel forgot, ${descriptors} descriptors at most`);
  }
  if (sizes.at(-1)! > sizes[0]! * 1.25) {
    console.log(`grew from ${sizes[0]!.toFixed(0)} to ${sizes.at(-1)!.toFixed(0)} MiB`);
    process.exitCode = 1;
  }
} finally {
  execFileSync(stratafs, ["umount", at("mnt")]);
  rmSync(top, { recursive: true, force: true });
}
