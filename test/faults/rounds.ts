/**
 * One round of trouble: a mount under load, whose server is killed or whose upper filesystem loses its power at a random moment; then everything
 * is mounted again and looked at, through us and through kernel overlayfs. Needs root. The mount is the command's, in a process of its own.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { mountView } from "../../lib/index.js";
import { kernelOverlay, unmountQuietly } from "../helpers/mounts.js";
import type { Random } from "../model/random.js";
import { prepareLower } from "./client.js";

const stratafs = fileURLToPath(new URL("../../stratafs.js", import.meta.url));
const client = fileURLToPath(new URL("./client.js", import.meta.url));
const CALL_MS = 60_000;

export interface Round {
  readonly data: "passthrough" | "cached";
  /** Redirects and metadata-only copies, or neither. */
  readonly marks: boolean;
  /** How long the load runs before the trouble comes, at most. */
  readonly loadMs: number;
  /** "kill" is of all that serves the mount; "kill of servers" of one server after the other, which the load must not notice: only where it is supervised. */
  readonly trouble: "kill" | "kill of servers" | "power cut" | "power cut, journal flushed";
  /** The mount outlives its server. */
  readonly supervised: boolean;
  /** The filesystem of the upper, made in a loop device; undefined: wherever temporary files are. */
  readonly filesystem?: "ext4" | "xfs";
}

/** What was not as it may be; empty when all is well. Throws when the round could not be run. */
export async function runRound(round: Round, random: Random): Promise<string[]> {
  const top = mkdtempSync(join(tmpdir(), "stratafs-faults-"));
  const base = join(top, "base");
  const [lower, upper, work, mnt, log] = [join(top, "lower"), join(base, "upper"), join(base, "work"), join(top, "mnt"), join(top, "log")] as const;
  const image = join(top, "image");
  const options = `data=${round.data},${round.marks ? "redirect_dir=on,metacopy=on" : "redirect_dir=off,metacopy=off"}`;
  const mountIt = (): string => run(stratafs, ["mount", `--supervised=${round.supervised ? "on" : "off"}`, "-o", `lowerdir=${lower},upperdir=${upper},workdir=${work},${options}`, mnt]);
  for (const path of [base, lower, mnt]) mkdirSync(path);
  try {
    prepareLower(lower);
    if (round.filesystem !== undefined) {
      run("truncate", ["-s", "400M", image]);
      run(`mkfs.${round.filesystem}`, [round.filesystem === "ext4" ? "-qF" : "-qf", image]);
      run("mount", ["-o", "loop", image, base]);
    }
    mkdirSync(upper);
    mkdirSync(work);
    mountIt();
    let cut = "";
    await load(mnt, log, random.below(2 ** 31), round.trouble === "kill of servers", async (running) => {
      await running;
      await delay(random.below(round.loadMs));
      if (round.trouble === "kill of servers") {
        for (let kills = 1 + random.below(3); kills > 0; kills--) {
          process.kill(await serverOf(mnt), "SIGKILL");
          await delay(random.below(round.loadMs));
        }
        return;
      }
      if (round.trouble !== "kill") cut = cutPower(base, round.trouble);
      await killAll(mnt);
    });
    if (round.trouble === "kill of servers") run(stratafs, ["umount", mnt]);
    else unmountQuietly(mnt);
    if (round.filesystem !== undefined) {
      run("umount", [base]);
      run("mount", ["-o", "loop", image, base]);
    }

    mountIt();
    const problems = look(["check", mnt, log, cut]);
    const ours = look(["list", mnt]);
    run(stratafs, ["umount", mnt]);
    const left = spawnSync("find", [join(work, "work"), "-mindepth", "1"], { encoding: "utf8" }).stdout;
    if (left !== "") problems.push(`left in the work directory: ${left.trim().split("\n").join(" ")}`);
    kernelOverlay([lower], upper, work, mnt, "redirect_dir=on,metacopy=on,index=off");
    const theirs = look(["list", mnt]);
    run("umount", [mnt]);
    for (const line of ours) if (!theirs.includes(line)) problems.push(`kernel overlayfs does not show: ${line}`);
    for (const line of theirs) if (!ours.includes(line)) problems.push(`only kernel overlayfs shows: ${line}`);
    return problems;
  } finally {
    unmountQuietly(mnt);
    if (round.filesystem !== undefined) unmountQuietly(base);
    rmSync(top, { recursive: true, force: true });
  }
}

/**
 * Runs the load until it ends by itself, as it does when its filesystem fails, or, `unnoticed`, until the trouble is over. `trouble` is given the
 * moment in which it has begun.
 */
async function load(mnt: string, log: string, seed: number, unnoticed: boolean, trouble: (running: Promise<void>) => Promise<void>): Promise<void> {
  const writer = spawn(process.execPath, [client, "write", mnt, log, String(seed)], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  writer.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const ended = new Promise<void>((resolve) => writer.on("exit", () => resolve()));
  const started = async (): Promise<void> => {
    for (let i = 0; i < 600 && !(existsSync(log) && readFileSync(log, "utf8") !== ""); i++) await delay(50);
  };
  await trouble(started());
  if (!unnoticed) await Promise.race([ended, delay(CALL_MS)]);
  writer.kill("SIGKILL");
  await ended;
  if (unnoticed) {
    if (said !== "") throw new Error(`seed ${seed}: the load noticed: ${said}`);
  } else if (!/ENOTCONN|ECONNABORTED|EIO|EROFS/.test(said)) throw new Error(`seed ${seed}: the load ended by itself: ${said}`);
}

/** FS_IOC_SHUTDOWN of linux/fs.h: nothing more reaches the disk; 1 flushes the journal before, 2 does not. Returns when it began, in ns of CLOCK_MONOTONIC. */
function cutPower(base: string, how: "power cut" | "power cut, journal flushed"): string {
  const flags = how === "power cut" ? 2 : 1;
  return run("python3", ["-c", `import fcntl, os, struct, time; fd = os.open("${base}", os.O_RDONLY); print(time.monotonic_ns()); fcntl.ioctl(fd, 0x8004587d, struct.pack("I", ${flags}))`]).trim();
}

/** The process that serves the mount; of a supervised one as soon as there is one. */
async function serverOf(mnt: string): Promise<number> {
  for (let tries = 0; tries < 1000; tries++) {
    try {
      const [found] = mountView(mnt).servers;
      if (found !== undefined) return found.pid;
    } catch {
      // It has ended meanwhile.
    }
    await delay(20);
  }
  throw new Error("the server is not to be found: Linux 6.16 is needed");
}

/** The server first stands still, or it would have another heir in the place of one that is killed; an heir that outlived it would go on. */
async function killAll(mnt: string): Promise<void> {
  const server = await serverOf(mnt);
  process.kill(server, "SIGSTOP");
  const all = [...mountView(mnt).heirs.map(({ pid }) => pid), server];
  for (const pid of all) process.kill(pid, "SIGKILL");
  for (const pid of all) while (existsSync(`/proc/${pid}/fd/0`)) await delay(20);
}

function look(args: readonly string[]): string[] {
  return run(process.execPath, [client, ...args]).split("\n").filter((line) => line !== "");
}

/** Runs a program to its end. Returns what it printed; throws with what it said when it fails. */
export function run(program: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, [...args], { encoding: "utf8", timeout: CALL_MS, killSignal: "SIGKILL", maxBuffer: 1 << 26 });
  if (status === 0) return stdout;
  throw new Error(`${program} ${args.join(" ")}: ${stderr || error?.message || `status ${status}`}`);
}

export const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
