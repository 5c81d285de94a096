/**
 * `stratafs status`: a live mount, seen from the kernel and from its server. The server is asked by a process of its own, which may have to wait
 * for ever; this one says after two seconds that it does.
 */
import { spawn } from "node:child_process";
import { realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { askServer, mountView, type MountView, type ServerStatus, type ServingProcess } from "../index.js";
import { readArguments, takeArguments } from "./arguments.js";
import { print } from "./output.js";
import { sizeText } from "./progress.js";

const PATIENCE_MS = 2000;

/** Exit status 1 when nobody serves the mount, or nobody answers. Throws UsageError, FsError. */
export async function statusCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("status", args, { json: { type: "boolean" }, server: { type: "boolean" } } as const);
  const [given] = takeArguments("status", positionals, "MOUNTPOINT");
  const mountpoint = untouched(given);
  if (values.server === true) {
    // The empty line says that the question is asked now: starting this process is not the server's slowness.
    print("");
    print(JSON.stringify(askServer(mountpoint)));
    return 0;
  }
  const view = mountView(mountpoint);
  const answer = await ask(mountpoint);
  if (values.json === true) print(JSON.stringify({ ...view, waiting: view.waiting ?? null, server: typeof answer === "string" ? null : answer, problem: typeof answer === "string" ? answer : null }));
  else for (const line of linesOf(view, answer)) print(line);
  return typeof answer === "string" ? 1 : 0;
}

/** The mountpoint with symbolic links above it resolved; a look at itself could wait for its server. */
function untouched(path: string): string {
  const absolute = resolve(path);
  return absolute === "/" ? absolute : join(realpathSync(dirname(absolute)), basename(absolute));
}

/** What the server says, or in words why it says nothing. */
function ask(mountpoint: string): Promise<ServerStatus | string> {
  const [, program = ""] = process.argv;
  const child = spawn(process.execPath, [...process.execArgv, program, "status", "--server", mountpoint], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  let failed = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (failed += text));
  return new Promise((answered) => {
    let timer: NodeJS.Timeout | undefined;
    child.stdout.once("data", () => {
      timer = setTimeout(() => {
        child.kill("SIGKILL");
        child.unref();
        answered("hangs: it does not answer");
      }, PATIENCE_MS);
    });
    child.on("close", (status) => {
      clearTimeout(timer);
      if (status === 0) answered(JSON.parse(said) as ServerStatus);
      else if (/ENODATA/.test(failed)) answered("says nothing: it is somebody else's, or no stratafs that knows the question");
      else if (/ENOTCONN|ECONNABORTED/.test(failed)) answered("is gone; the mount is dead, and stratafs umount takes it away");
      else answered(`says nothing: ${failed.trim().replace(/^stratafs: /, "")}`);
    });
  });
}

function linesOf(view: MountView, answer: ServerStatus | string): string[] {
  const servers = processesText(view.servers);
  const lines = [`${view.mountpoint}: ${view.source}, ${view.type}, connection ${view.connection}`];
  const line = (name: string, text: string): void => void lines.push(`  ${name.padEnd(10)}${text}`);
  if (typeof answer === "string") {
    line("server", `${servers || "no process that can be seen"} ${answer}`);
    if (view.heirs.length > 0) line("heir", processesText(view.heirs));
    line("waiting", waitingText(view.waiting));
    return lines;
  }
  const { data, channel, protocol, uptimeSec, memoryBytes, nodes, openFiles, served, waiting, waitingCount } = answer;
  const total = Object.values(served).reduce((sum, count) => sum + count, 0);
  const most = Object.entries(served).sort(([, a], [, b]) => b - a).slice(0, 6);
  line("server", `${servers || "a process that cannot be seen"}, for ${uptimeSec} s, ${sizeText(memoryBytes)} of memory, ${nodes} inodes known, ${openFiles} files open`);
  if (view.heirs.length > 0) line("heir", `${processesText(view.heirs)}, which goes on when the server is gone`);
  line("data", data === "plain" ? "through the page cache; the kernel offers no passthrough" : data);
  line("channel", `${channel}, FUSE ${protocol}`);
  line("served", `${total} requests: ${most.map(([name, count]) => `${count} ${name}`).join(", ")}${Object.keys(served).length > most.length ? ", …" : ""}`);
  line("waiting", `${waitingText(view.waiting)}; ${waitingCount} in the server${waitingCount > 0 ? ":" : ""}`);
  for (const { operation, nodeid, forMs, interrupted } of waiting) {
    lines.push(`            ${operation} of nodeid ${nodeid} for ${(forMs / 1000).toFixed(1)} s${interrupted ? ", its caller has had a signal" : ""}`);
  }
  return lines;
}

function processesText(processes: readonly ServingProcess[]): string {
  return processes.map(({ pid, state }) => `process ${pid}${stateText(state)}`).join(", ");
}

function waitingText(waiting: number | undefined): string {
  return waiting === undefined ? "unknown in the kernel (fusectl is not mounted)" : `${waiting} in the kernel`;
}

function stateText(state: string): string {
  return state === "T" ? " (stopped)" : state === "D" ? " (in uninterruptible sleep)" : state === "Z" ? " (dead)" : "";
}
