/**
 * The two sides of a start: who starts a serving process and waits, and the serving process that reports to it. launch.sh is another
 * starter that speaks the same way; this one is for calls that launch.sh does not recognise as a mount, and for running unbundled.
 *
 *   environment   STRATAFS_SERVE=<pid of the starter>
 *   descriptor 2  text for the user, until the mount is live
 *   descriptor 3  "status N\n" when the start is decided; 0 is live
 */
import { spawn } from "node:child_process";
import { closeSync, writeSync } from "node:fs";
import { closeInherited, redirectStderr } from "./descriptors.js";
import { statusOf } from "./ending.js";
import { complain, messageOf } from "./output.js";

/** In the environment of every serving process, until it ends. */
export const MARK = "STRATAFS_SERVE";
const REPORT_FD = 3;

export interface Starter {
  /**
   * Tells it that the mount is live and lets go of it: from here on stderr is the log file, or nothing. False when the starter is gone,
   * and with it whoever wanted the mount. Throws as open(2) does for the log file.
   */
  live(logFile: string | undefined): boolean;
  /** Says what went wrong, to the log if the mount was live, else to the starter; the exit status to end with. */
  failed(error: unknown): number;
}

/** Starts this same command line as a serving process; resolves to the exit status once it is live or has failed. */
export function startServing(): Promise<number> {
  const [, program = "", ...args] = process.argv;
  const child = spawn(process.execPath, [...process.execArgv, program, ...args], {
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "pipe"],
    env: { ...process.env, [MARK]: String(process.pid) },
  });
  let said = "";
  let reported = "";
  child.stdio[2]!.on("data", (text: Buffer) => (said += text.toString("utf8")));
  child.stdio[REPORT_FD]!.on("data", (text: Buffer) => (reported += text.toString("utf8")));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    // Both pipes end when the serving process lets go of them, or dies.
    let open = 2;
    const ended = (): void => {
      if (--open > 0) return;
      child.unref();
      if (said !== "") writeSync(2, said);
      const status = /^status (\d+)\n$/.exec(reported)?.[1];
      if (status === undefined && said === "") complain("the serving process ended before the mount was live");
      resolve(Number(status ?? 1));
    };
    child.stdio[2]!.on("close", ended);
    child.stdio[REPORT_FD]!.on("close", ended);
  });
}

/** The starter of this process, when it was started to serve. Descriptors inherited through it are closed. */
export function listen(): Starter | undefined {
  const pid = process.env[MARK];
  if (pid === undefined) return undefined;
  delete process.env[MARK];
  closeInherited(Number(pid), REPORT_FD);
  let decided = false;
  return {
    live(logFile) {
      redirectStderr(logFile);
      decided = true;
      return report(0);
    },
    failed(error) {
      const status = statusOf(error);
      complain(messageOf(error));
      if (!decided) report(status);
      return status;
    },
  };
}

/** False when nobody reads it. */
function report(status: number): boolean {
  try {
    writeSync(REPORT_FD, `status ${status}\n`);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
    return false;
  } finally {
    closeSync(REPORT_FD);
  }
}
