/** A mount served by a child process, so that a test may use it: serving-child.ts does the serving. Always unmounted by close(). */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chownSync, mkdtempSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { native } from "../../lib/sys/binding.js";
import type { Ask, Setup, State } from "./serving-child.js";

export class MountedTree {
  readonly path: string;
  readonly #child: ChildProcess;
  /** Where the child keeps its files; it may be killed. */
  readonly #scratch: string;

  private constructor(path: string, child: ChildProcess, scratch: string) {
    this.path = path;
    this.#child = child;
    this.#scratch = scratch;
  }

  static async start(setup: Omit<Setup, "mountpoint">): Promise<MountedTree> {
    const path = mkdtempSync(join(tmpdir(), "stratafs-fuse-"));
    const program = fileURLToPath(new URL("serving-child.js", import.meta.url));
    const ids = setup.uid === undefined ? {} : { uid: setup.uid, gid: setup.uid };
    const scratch = mkdtempSync(join(tmpdir(), "stratafs-serving-"));
    if (setup.uid !== undefined) for (const each of [path, scratch]) chownSync(each, setup.uid, setup.uid);
    const child = fork(program, [JSON.stringify({ ...setup, mountpoint: path })], { stdio: "inherit", env: { ...process.env, TMPDIR: scratch }, ...ids });
    const mounted = new MountedTree(path, child, scratch);
    const [answer] = (await once(child, "message")) as [{ failed?: string }];
    if (answer.failed === undefined) return mounted;
    mounted.#remove();
    throw new Error(answer.failed);
  }

  counters(): Promise<Record<string, number>> {
    return this.#ask("counters") as Promise<Record<string, number>>;
  }

  state(): Promise<State> {
    return this.#ask("state") as Promise<State>;
  }

  /** Reads that come from now on wait until release(); only without `descriptors`. */
  hold(): void {
    this.#child.send("hold" satisfies Ask);
  }

  release(): void {
    this.#child.send("release" satisfies Ask);
  }

  /** What `work` asked of the server, FORGET and BATCH_FORGET left out: the kernel sends those when it likes. */
  async requestsOf(work: () => void | Promise<void>): Promise<Record<string, number>> {
    const before = await this.counters();
    await work();
    const after = await this.counters();
    const asked: Record<string, number> = {};
    for (const [name, count] of Object.entries(after)) {
      const more = count - (before[name] ?? 0);
      if (more > 0 && name !== "FORGET" && name !== "BATCH_FORGET") asked[name] = more;
    }
    return asked;
  }

  /** Unmounts, waits for the child's end, and removes the mountpoint. Rejects when it could not be unmounted or the child did not end well. */
  async close(): Promise<void> {
    if (this.#child.exitCode === null) {
      const ended = once(this.#child, "exit");
      this.#child.send("unmount" satisfies Ask);
      const refused = once(this.#child, "message").then(([answer]) => (answer as { failed: string }).failed);
      const failed = await Promise.race([ended.then(() => undefined), refused]);
      if (failed !== undefined) this.#abort();
      await ended;
      this.#remove();
      if (failed !== undefined) throw new Error(failed);
    }
    if (this.#child.exitCode !== 0) throw new Error(`the serving process ended with ${this.#child.exitCode}`);
  }

  /** Resolves when the child has ended, which it does with its mount; removes the mountpoint. */
  async ended(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
    this.#remove();
  }

  /** Ends the child without warning, and takes the dead mount away. */
  async kill(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
    this.#abort();
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  #remove(): void {
    rmdirSync(this.path);
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  /** MNT_FORCE ends the connection even when the mount is busy; MNT_DETACH takes it away. */
  #abort(): void {
    native.umount(this.path, 1);
    native.umount(this.path, 2);
  }

  async #ask(what: Ask): Promise<unknown> {
    this.#child.send(what);
    const [answer] = (await once(this.#child, "message")) as [unknown];
    return answer;
  }
}
