/** What a serving process does with the descriptors it got from whoever started it. */
import { closeSync, openSync, readdirSync, readlinkSync } from "node:fs";

/**
 * Closes the descriptors above `last` that came from process `starter` (it waits for us, so its own are still open): same number, same
 * file. What this process opened itself stays. Node marks inherited descriptors close-on-exec, so the mark does not tell them apart.
 * Those without a name of their own (epoll, eventfd) all look alike and stay too: closing this process's own would end it, and nobody
 * waits for the end of an inherited one.
 */
export function closeInherited(starter: number, last: number): void {
  for (const text of entriesOf("/proc/self/fd")) {
    const fd = Number(text);
    if (fd <= last) continue;
    const mine = target("self", fd);
    if (mine !== undefined && !mine.startsWith("anon_inode:") && mine === target(String(starter), fd)) closeQuietly(fd);
  }
}

/** Descriptor 2 becomes the log, or /dev/null: the file opened takes the lowest free number. Throws as open(2) does. */
export function redirectStderr(logFile: string | undefined): void {
  const log = logFile === undefined ? openSync("/dev/null", "w") : openSync(logFile, "a", 0o600);
  closeSync(2);
  // Node cannot dup2; through /proc the lowest free number, 2, gets the same file.
  openSync(`/proc/self/fd/${log}`, logFile === undefined ? "w" : "a");
  closeSync(log);
}

/** Whether process `pid` has a FUSE connection open; true when it cannot be told, false when the process is gone. */
export function isServing(pid: string): boolean {
  let fds: string[];
  try {
    fds = readdirSync(`/proc/${pid}/fd`);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ENOENT";
  }
  return fds.some((fd) => target(pid, Number(fd)) === "/dev/fuse");
}

/** The number under which process `pid` has what /proc shows as `link`; undefined when it has not, is gone, or is not ours to look at. */
export function descriptorOf(pid: string, link: string): number | undefined {
  const found = entriesOf(`/proc/${pid}/fd`).find((fd) => target(pid, Number(fd)) === link);
  return found === undefined ? undefined : Number(found);
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function target(process: string, fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/${process}/fd/${fd}`);
  } catch {
    return undefined;
  }
}

function closeQuietly(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // It was the one that read the list.
  }
}
