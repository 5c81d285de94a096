/**
 * A build, a database and random file operations on a supervised mount whose server is killed again and again:
 *
 *   node dist/test/real/supervised.js [SECONDS 600] [data=cached|passthrough] [MS between kills 1000] [SEED]
 *
 * Ends with 0 when no program has noticed anything. Needs root, gcc, make and python3.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { deviceOf } from "../../lib/index.js";

const stratafs = fileURLToPath(new URL("../../stratafs.js", import.meta.url));
/** Not compiled. */
const programs = fileURLToPath(new URL("../../../test/real/supervised", import.meta.url));
const [seconds = "600", data = "cached", everyMs = "1000", seed = String(Date.now() % 100_000)] = process.argv.slice(2);

const top = mkdtempSync(join(tmpdir(), "stratafs-killed-"));
const mountpoint = join(top, "mnt");
const stop = join(top, "stop");
for (const name of ["lower", "upper", "work", "mnt"]) mkdirSync(join(top, name));
const options = `lowerdir=${top}/lower,upperdir=${top}/upper,workdir=${top}/work,data=${data},log=${top}/log`;

/** The process that serves the mount, if it can be found at this moment. */
function server(link: string): number | undefined {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const heir = quietly(() => readFileSync(`/proc/${pid}/comm`, "latin1").trim()) === "stratafs-heir";
    const fds = quietly(() => readdirSync(`/proc/${pid}/fd`)) ?? [];
    // Each by itself: a server closes files while it is looked at.
    if (!heir && fds.some((fd) => quietly(() => readlinkSync(`/proc/${pid}/fd/${fd}`)) === link)) return Number(pid);
  }
  return undefined;
}

/** Undefined for what has ended meanwhile. */
function quietly<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

interface Load {
  readonly title: string;
  readonly child: ChildProcess;
  output: string;
  status: number | null | undefined;
}

function load(title: string, program: string, ...args: string[]): Load {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  const started: Load = { title, child, output: "", status: undefined };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text: Buffer) => (started.output += text.toString("utf8")));
  child.on("close", (status) => (started.status = status));
  return started;
}

const sleep = (ms: number): Promise<void> => new Promise((wake) => setTimeout(wake, ms));

async function main(): Promise<number> {
  const mounted = spawnSync(stratafs, ["mount", "--supervised", "-o", options, mountpoint], { encoding: "utf8" });
  if (mounted.status !== 0) throw new Error(mounted.stderr);
  const link = `/memfd:stratafs-${deviceOf(mountpoint)} (deleted)`;
  process.stdout.write(`${seconds} s, data=${data}, a kill every ${everyMs} ms, seed ${seed}\n`);
  const loads = [
    load("build", "sh", join(programs, "build.sh"), join(mountpoint, "build"), stop),
    load("database", "python3", join(programs, "database.py"), join(mountpoint, "database"), stop),
    ...[1, 2].map((i) => load(`files ${i}`, "python3", join(programs, "files.py"), join(mountpoint, `files${i}`), stop, String(Number(seed) + i))),
  ];
  const end = Date.now() + Number(seconds) * 1000;
  let kills = 0;
  while (Date.now() < end && loads.every(({ status }) => status === undefined)) {
    await sleep(Number(everyMs));
    const pid = server(link);
    if (pid === undefined) continue;
    process.kill(pid, "SIGKILL");
    kills++;
  }
  writeFileSync(stop, "");
  for (const started = Date.now(); loads.some(({ status }) => status === undefined) && Date.now() - started < 120_000; ) await sleep(100);
  process.stdout.write(`${kills} kills\n`);
  let failed = 0;
  for (const { title, child, output, status } of loads) {
    process.stdout.write(`${title}: ${status === 0 ? "ok" : `status ${status ?? "none, still running"}`}; ${output.trim()}\n`);
    if (status !== 0) failed++;
    child.kill("SIGKILL");
  }
  if (existsSync(join(top, "log"))) process.stdout.write(readFileSync(join(top, "log"), "utf8"));
  const unmounted = spawnSync("umount", [mountpoint], { encoding: "utf8", timeout: 60_000 });
  if (unmounted.status !== 0) process.stdout.write(unmounted.stderr);
  // It ends when the disk has everything.
  for (let i = 0; i < 3000 && server(link) !== undefined; i++) await sleep(100);
  const left = readdirSync(join(top, "work/work"));
  if (server(link) !== undefined || left.length > 0) {
    process.stdout.write(`left behind: process ${server(link) ?? "none"}, in the work directory ${left.join(" ") || "nothing"}\n`);
    failed++;
  }
  return failed === 0 && unmounted.status === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} finally {
  spawnSync("umount", ["-f", "-l", mountpoint], { stdio: "ignore" });
  rmSync(top, { recursive: true, force: true });
}
