/** What every process does that serves a mount in the background, whether it has made it or taken it over. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Mount, Program } from "../index.js";
import type { Starter } from "./daemon.js";
import { complain, messageOf } from "./output.js";

/** The script that takes a supervised mount over, of this version: beside this module, bundled or not. */
export function successorScript(): string {
  const bundled = fileURLToPath(new URL("./successor.cjs", import.meta.url));
  return existsSync(bundled) ? bundled : fileURLToPath(new URL("./successor.js", import.meta.url));
}

export function successor(): Program {
  return { argv: [process.execPath, ...process.execArgv, successorScript()], env: process.env };
}

/** Ends a mount in order on a signal; resolves to the exit status once it is over. With a starter, as a daemon, whose log is `logFile`. */
export async function serveToEnd(mounted: Mount, logFile: string | undefined, starter: Starter | undefined): Promise<number> {
  const unmountNow = async (): Promise<void> => {
    try {
      await mounted.unmount();
    } catch (error) {
      complain(messageOf(error));
    }
  };
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => void unmountNow());
  // Whoever lives in the mount would lose everything with this process: one mistake is logged, and does not end it.
  process.on("uncaughtException", (error) => complain(error instanceof Error ? error.stack ?? error.message : String(error)));
  if (starter !== undefined) {
    try {
      if (!starter.live(logFile)) await unmountNow();
    } catch (error) {
      await unmountNow();
      throw error;
    }
  }
  await mounted.closed;
  return 0;
}
