/** A supervised mount for one test, and the processes that serve it one after the other. Nothing is left after close(). */
import { spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { unmountQuietly } from "../helpers/mounts.js";
import { RemoteFs } from "../mount/remote-fs.js";

const CHILD = fileURLToPath(new URL("serving-child.js", import.meta.url));
const WAIT_MS = 60_000;
/** In place of a name: every server dies as soon as it has taken over. */
export const EVERY_START = "*";

export class SupervisedWorld {
  readonly top = mkdtempSync(join(tmpdir(), "stratafs-supervised-"));
  readonly #clients: RemoteFs[] = [];

  private constructor(files: Readonly<Record<string, string>>) {
    // The layer has a name of its own: a symlink of a test that leads out of the mount must not find in it what the mount has, too.
    for (const name of ["layer", "upper", "work", "mnt"]) mkdirSync(join(this.top, name));
    for (const [path, text] of Object.entries(files)) {
      const at = join(this.top, "layer", path);
      mkdirSync(path.endsWith("/") ? at : dirname(at), { recursive: true });
      if (!path.endsWith("/")) writeFileSync(at, text);
    }
  }

  static async start(files: Readonly<Record<string, string>>, data: "passthrough" | "cached"): Promise<SupervisedWorld> {
    const world = new SupervisedWorld(files);
    const child = spawn(process.execPath, ["--enable-source-maps", CHILD, world.top, data], { stdio: "ignore", detached: true });
    child.unref();
    await until(() => world.servers().length === 1, "the mount to be live");
    return world;
  }

  at(...path: string[]): string {
    return join(this.top, "mnt", ...path);
  }

  /** Every process that has served, the present one last. */
  servers(): number[] {
    const path = join(this.top, "servers");
    return existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1).map(Number) : [];
  }

  /** What the servers have said. */
  log(): string {
    const path = join(this.top, "log");
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }

  get server(): number {
    return this.servers().at(-1)!;
  }

  /** Kills the server; the next one may not serve yet when this returns. */
  kill(): void {
    process.kill(this.server, "SIGKILL");
  }

  /** Resolves when a successor of server number `count` (from 1) serves. */
  async succeeded(count: number): Promise<void> {
    await until(() => this.servers().length > count, "another server");
  }

  /** Whether server number `count` is gone; then the next one serves when this resolves. */
  async hasDied(count: number): Promise<boolean> {
    if (isAlive(this.servers()[count - 1]!)) return false;
    await this.succeeded(count);
    return true;
  }

  /** The server will die at its call number `point` from now on that changes something. */
  async arm(point: number): Promise<void> {
    writeFileSync(join(this.top, "arm"), String(point));
    process.kill(this.server, "SIGUSR1");
    await until(() => !existsSync(join(this.top, "arm")), "the server to be armed");
  }

  /** From now on every server dies before it does anything with this name; "" for none. */
  async curse(name: string): Promise<void> {
    writeFileSync(join(this.top, "cursed"), name);
    await this.arm(0);
  }

  /** Changes a number in the journal. */
  tamper(at: number, value: number): void {
    const fds = `/proc/${this.server}/fd`;
    const journal = openSync(join(fds, readdirSync(fds).find((fd) => linkOf(join(fds, fd))?.startsWith("/memfd:stratafs-"))!), "r+");
    writeSync(journal, Buffer.from(Float64Array.of(value).buffer), 0, 8, at);
    closeSync(journal);
  }

  /** Processes other than `server` that have the mount's connection. */
  heirs(): number[] {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name) && commOf(name) === "stratafs-heir" && isOf(name, this.top)).map(Number);
  }

  async client(): Promise<RemoteFs> {
    const client = await RemoteFs.start();
    this.#clients.push(client);
    return client;
  }

  /** Unmounts as a user does, and waits for the server's end. */
  async unmount(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.close();
    const { server } = this;
    let done = spawnSync("umount", [this.at()], { encoding: "utf8", timeout: WAIT_MS });
    for (let tries = 0; done.status !== 0 && tries < 20; tries++) done = spawnSync("umount", [this.at()], { encoding: "utf8", timeout: WAIT_MS });
    expect(done.status, done.stderr).to.equal(0);
    const gone = (): boolean => !isAlive(server) && this.heirs().length === 0;
    // Whoever has made himself a mount namespace meanwhile has a copy of the mount, and the kernel ends it with the last one.
    while (!gone() && isMountedElsewhere(this.at())) await new Promise((resolve) => setTimeout(resolve, 100));
    await until(gone, "the processes of the mount to end");
  }

  close(): void {
    for (const client of this.#clients.splice(0)) client.close();
    if (readFileSync("/proc/mounts", "latin1").includes(` ${this.at()} `)) unmountQuietly(this.at());
    rmSync(this.top, { recursive: true, force: true });
  }
}

export async function until(what: () => boolean, forWhat: string): Promise<void> {
  for (const started = Date.now(); !what(); ) {
    if (Date.now() - started > WAIT_MS) throw new Error(`waited for ${forWhat} in vain`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function isMountedElsewhere(path: string): boolean {
  return readdirSync("/proc").some((pid) => /^\d+$/.test(pid) && textOf(`/proc/${pid}/mountinfo`).includes(` ${path} `));
}

/** Not also a process that nobody has waited for yet. */
export function isAlive(pid: number): boolean {
  const stat = textOf(`/proc/${pid}/stat`);
  return stat !== "" && !/\) [ZX] /.test(stat);
}

function commOf(pid: string): string {
  return textOf(`/proc/${pid}/comm`).trim();
}

function isOf(pid: string, top: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => linkOf(`/proc/${pid}/fd/${fd}`) === join(top, "upper"));
  } catch {
    return false;
  }
}

/** Undefined for a descriptor that was closed meanwhile. */
function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
