/**
 * A server of a supervised mount, and its own successor: serving-child.js WORLD DATA. Every process appends its number to WORLD/servers once
 * it serves. On SIGUSR1 it reads a number from WORLD/arm, removes that, and then kills itself at that call of the addon, counted from there on
 * and among those that change something (after it: nothing has been written down yet) or answer the kernel (before it: all has). It also
 * dies, as every server after it, before such a call with a name that is in WORLD/cursed; at its start when that is EVERY_START. While WORLD/slow
 * is there, a sync that begins never ends, and adds a line to WORLD/syncs.
 */
import { appendFileSync, existsSync, readFileSync, rmSync } from "node:fs";
import { continueMount, directoryLayer, directoryUpper, inheritedJournal, mountLasting, type DataChoice } from "../../lib/index.js";
import { native } from "../../lib/sys/binding.js";
import { EVERY_START } from "./world.js";

const [, script = "", world = "", data = "cached"] = process.argv;
const points = [
  "mkdir", "mknod", "symlink", "link", "unlink", "rename", "chmod", "chown", "utimens", "setxattr", "removexattr", "ftruncate", "pwrite", "fuseWrite",
] as const;
let passed = 0;
let dieAt = 0;
let cursed = readCurse();

process.umask(0);
const binding = native as unknown as Record<string, (...args: unknown[]) => number>;
for (const name of points) {
  const original = binding[name]!;
  binding[name] = (...args) => {
    const mine = ++passed;
    if (cursed !== "" && args.includes(cursed)) die();
    if (mine === dieAt && name === "fuseWrite") die();
    const result = original(...args);
    if (mine === dieAt) die();
    return result;
  };
}

const { startJob } = binding;
let endless = 1 << 29;
binding["startJob"] = (...args) => {
  if (!(args[0] === 0 || args[0] === 1) || !existsSync(`${world}/slow`)) return startJob!(...args);
  appendFileSync(`${world}/syncs`, "sync\n");
  return endless++;
};

function die(): never {
  process.kill(process.pid, "SIGKILL");
  for (;;);
}

function readCurse(): string {
  return existsSync(`${world}/cursed`) ? readFileSync(`${world}/cursed`, "latin1") : "";
}

process.on("SIGUSR1", () => {
  passed = 0;
  cursed = readCurse();
  dieAt = Number(readFileSync(`${world}/arm`, "utf8"));
  rmSync(`${world}/arm`);
});

const successor = { argv: [process.execPath, script, world, data], env: process.env };
const log = (line: string): void => appendFileSync(`${world}/log`, `${line}\n`);
const journal = inheritedJournal();
const starting = journal !== undefined ? continueMount(journal, successor, log) : mountLasting(
  { lowers: [directoryLayer(`${world}/layer`)], upper: directoryUpper(`${world}/upper`, { workdir: `${world}/work` }) },
  `${world}/mnt`, { data: data as DataChoice }, successor,
);
const mounted = await starting.catch((error: Error) => {
  log(error.message);
  process.exit(1);
});
process.on("SIGUSR2", () => void mounted.handOver());
appendFileSync(`${world}/servers`, `${process.pid}\n`);
if (journal !== undefined && cursed === EVERY_START) die();
await mounted.closed;
process.exit(0);
