/**
 * `stratafs upgrade`: this version takes the place of the one that serves a supervised mount. It writes the path of its own successor.ts
 * (as built) where the server looks for one, asks it to hand over, and waits for the next one to serve.
 */
import { closeSync, openSync, readdirSync, readFileSync, readSync, writeSync } from "node:fs";
import { resolve } from "node:path";
import { deviceOf, FsError, HEIR_NAME, journalHead as head } from "../index.js";
import { readArguments } from "./arguments.js";
import { descriptorOf } from "./descriptors.js";
import { successorScript } from "./serve-to-end.js";
import { UsageError } from "./usage.js";

const PATIENCE_MS = 30_000;

/** Throws UsageError; FsError: ENOENT where there is no supervised mount, ETIMEDOUT. */
export async function upgradeCommand(args: readonly string[]): Promise<number> {
  const { positionals } = readArguments("upgrade", args, {});
  const [mountpoint, second] = positionals;
  if (mountpoint === undefined || mountpoint === "") throw new UsageError("upgrade: no mountpoint given");
  if (second !== undefined) throw new UsageError(`upgrade: expected one mountpoint, found also ${JSON.stringify(second)}`);
  const found = serverOf(resolve(mountpoint));
  const journal = openSync(found.journal, "r+");
  try {
    const { generation } = read(journal);
    const program = Buffer.from(successorScript());
    if (program.length > head.programSize) throw new FsError("ENAMETOOLONG", "upgrade");
    writeSync(journal, program, 0, program.length, head.program);
    const length = Buffer.alloc(8);
    length.writeDoubleLE(program.length);
    writeSync(journal, length, 0, 8, head.programLength);
    process.kill(found.pid, "SIGUSR2");
    for (const started = Date.now(); Date.now() - started < PATIENCE_MS; ) {
      await new Promise((wake) => setTimeout(wake, 20));
      const now = read(journal);
      if (now.generation > generation && now.ready) return 0;
    }
  } finally {
    closeSync(journal);
  }
  throw new FsError("ETIMEDOUT", "upgrade", `of ${mountpoint}: process ${found.pid} has not handed over within ${PATIENCE_MS / 1000} s`);
}

function read(journal: number): { generation: number; ready: boolean } {
  const bytes = Buffer.alloc(head.size);
  readSync(journal, bytes, 0, bytes.length, 0);
  return { generation: bytes.readDoubleLE(head.generation), ready: bytes.readDoubleLE(head.ready) === 1 };
}

/** The process that serves a mount, not its heir, and its journal. */
function serverOf(mountpoint: string): { readonly pid: number; readonly journal: string } {
  const device = deviceOf(mountpoint);
  for (const pid of device === undefined ? [] : readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const journal = descriptorOf(pid, `/memfd:stratafs-${device} (deleted)`);
    if (journal !== undefined && !isHeir(pid)) return { pid: Number(pid), journal: `/proc/${pid}/fd/${journal}` };
  }
  throw new FsError("ENOENT", "upgrade", `of ${mountpoint}: no process of yours serves a supervised mount there`);
}

/** True also for a process that has ended meanwhile. */
function isHeir(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, "latin1").trim() === HEIR_NAME;
  } catch {
    return true;
  }
}
