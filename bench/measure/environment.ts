/**
 * The record of where numbers were taken, kept beside them: without it they mean nothing. Read once at the start of a
 * run; only the load is read again.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, statfsSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";
import { fileURLToPath } from "node:url";

export interface Environment {
  readonly kernel: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly node: string;
  /** Commit of the checkout, with "+" when files differ from it; "unknown" outside of a checkout. */
  readonly commit: string;
  readonly user: "root" | "unprivileged";
  /** Name of the filesystem under the work directory. */
  readonly filesystem: string;
  /** Switches of the kernel's fuse module, as found. */
  readonly fuse: Readonly<Record<string, string>>;
  /** Load averages over 1, 5 and 15 minutes when the run began. */
  readonly load: readonly number[];
}

const FILESYSTEMS: Readonly<Record<number, string>> = {
  0xef53: "ext4",
  0x58465342: "xfs",
  0x9123683e: "btrfs",
  0x01021994: "tmpfs",
  0x794c7630: "overlayfs",
  0x65735546: "fuse",
};

function commit(): string {
  const at = fileURLToPath(new URL(".", import.meta.url));
  try {
    const run = (...args: string[]) => execFileSync("git", ["-C", at, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    const changed = run("status", "--porcelain", "--untracked-files=no");
    return run("rev-parse", "--short=12", "HEAD") + (changed === "" ? "" : "+");
  } catch {
    return "unknown";
  }
}

function fuseSwitches(): Record<string, string> {
  const out: Record<string, string> = {};
  for (const name of ["enable_uring", "max_user_bgreq", "max_user_congthresh"]) {
    try {
      out[name] = readFileSync(`/sys/module/fuse/parameters/${name}`, "utf8").trim();
    } catch {
      out[name] = "absent";
    }
  }
  return out;
}

export function readEnvironment(workDirectory: string, unprivileged: boolean): Environment {
  const type = statfsSync(workDirectory).type;
  return {
    kernel: release(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cpus: availableParallelism(),
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    node: process.version,
    commit: commit(),
    user: unprivileged || process.getuid?.() !== 0 ? "unprivileged" : "root",
    filesystem: FILESYSTEMS[type] ?? `0x${type.toString(16)}`,
    fuse: fuseSwitches(),
    load: loadavg(),
  };
}
