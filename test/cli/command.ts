/** The built command, run in processes of its own: a test never touches a mount itself, and every call ends. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const stratafs = fileURLToPath(new URL("../../stratafs.js", import.meta.url));
const CALL_MS = 20_000;

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface How {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Longest wait for its end; 20 s unless given. */
  readonly timeoutMs?: number;
  /** Run as this user and group. */
  readonly id?: number;
}

/** Runs a program to its end, or until its time is up. */
export function call(program: string, args: readonly string[], how: How = {}): Outcome {
  const { cwd, env, id, timeoutMs = CALL_MS } = how;
  const { status, stdout, stderr } = spawnSync(program, [...args], {
    encoding: "utf8", timeout: timeoutMs, killSignal: "SIGKILL", ...(cwd === undefined ? {} : { cwd }), env: { ...process.env, ...env },
    ...(id === undefined ? {} : { uid: id, gid: id }),
  });
  return { status, stdout, stderr };
}

export const command = (args: readonly string[], how: How = {}): Outcome => call(stratafs, args, how);
/** A shell script. */
export const shell = (script: string, how: How = {}): Outcome => call("sh", ["-c", script], how);

/** A directory for one test, with files as given, unmounted and removed by `remove`. */
export class Ground {
  readonly path: string;

  constructor(files: Readonly<Record<string, string>> = {}) {
    this.path = mkdtempSync(join(tmpdir(), "stratafs-cli-"));
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(this.at(name)), { recursive: true });
      if (!name.endsWith("/")) writeFileSync(this.at(name), text);
      else mkdirSync(this.at(name), { recursive: true });
    }
  }

  at(name: string): string {
    return join(this.path, name);
  }

  remove(): void {
    const mounts = shell(`grep -o " ${this.path}[^ ]* " /proc/mounts`).stdout.trim();
    for (const mountpoint of mounts.split("\n")) if (mountpoint !== "") shell(`umount -f -l ${mountpoint.trim()}`);
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** True where this process may mount and make devices. */
export const isRoot = process.getuid!() === 0;
