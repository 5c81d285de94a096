/**
 * Layers on disk and real mounts of them, for tests that use a mount as a user does. The mount is served by the library's worker; whoever
 * uses it is a process of its own that ends after a while whatever happens. Nothing of a world stays behind after close().
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, chmodSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { directoryLayer, directoryUpper, mount, type Mount, type MountOptions } from "../../lib/index.js";
import { snapshotOfFiles, unmountQuietly } from "../helpers/mounts.js";
import { RemoteFs } from "./remote-fs.js";

export type Data = "passthrough" | "cached";
export const isRoot = process.getuid?.() === 0;
/** Passthrough needs root here. */
export const dataModes: readonly Data[] = isRoot ? ["passthrough", "cached"] : ["cached"];
const CALL_MS = 60_000;

export class World {
  readonly top = mkdtempSync(join(tmpdir(), "stratafs-mount-"));
  readonly mountpoint = this.directory("mnt");
  readonly #before = new Map<string, string>();
  readonly #clients: RemoteFs[] = [];
  mounted: Mount | undefined;
  readonly logged: string[] = [];

  constructor() {
    chmodSync(this.top, 0o755); // other users must get to the mount
  }

  /** The path of a directory of this world, made when it is missing. */
  directory(...path: string[]): string {
    const at = join(this.top, ...path);
    mkdirSync(at, { recursive: true });
    return at;
  }

  /** A lower directory; `files` as path and text, a path that ends in "/" is a directory. */
  lower(name: string, files: Readonly<Record<string, string | Uint8Array>> = {}): string {
    const root = this.directory(name);
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(path.endsWith("/") ? join(root, path) : dirname(join(root, path)), { recursive: true });
      if (!path.endsWith("/")) writeFileSync(join(root, path), text);
    }
    return root;
  }

  /** Mounts lowers, topmost first, with the world's upper directory unless the mount is to be read-only. */
  async mount(lowers: readonly string[], options: MountOptions & { readonly readOnly?: boolean } = {}): Promise<Mount> {
    const { readOnly = false, ...mountOptions } = options;
    for (const lower of lowers) if (!this.#before.has(lower)) this.#before.set(lower, snapshot(lower));
    const upper = readOnly ? {} : { upper: directoryUpper(this.directory("upper"), { workdir: this.directory("work") }) };
    const stack = { lowers: lowers.map((path) => directoryLayer(path)), ...upper };
    this.mounted = await mount(stack, this.mountpoint, { log: (line) => this.logged.push(line), ...mountOptions });
    return this.mounted;
  }

  async unmount(): Promise<void> {
    await this.mounted?.unmount();
    this.mounted = undefined;
  }

  /** A process with node:fs; ended by close(). */
  async client(): Promise<RemoteFs> {
    const client = await RemoteFs.start();
    this.#clients.push(client);
    return client;
  }

  at(...path: string[]): string {
    return join(this.mountpoint, ...path);
  }

  /** What `work` asked of the server, without FORGET and BATCH_FORGET, which the kernel sends when it likes. */
  async requestsOf(work: () => Promise<unknown>): Promise<Record<string, number>> {
    const before = await this.mounted!.counters();
    await work();
    const asked: Record<string, number> = {};
    for (const [name, count] of Object.entries(await this.mounted!.counters())) {
      const more = count - (before[name] ?? 0);
      if (more > 0 && name !== "FORGET" && name !== "BATCH_FORGET") asked[name] = more;
    }
    return asked;
  }

  /** Lower directories whose content, owner, mode or times (ctime too) are not what they were at their first mount. */
  changedLowers(): string[] {
    return [...this.#before].filter(([lower, before]) => snapshot(lower) !== before).map(([lower]) => lower);
  }

  async close(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.close();
    try {
      await this.unmount();
    } finally {
      if (isMounted(this.mountpoint)) unmountQuietly(this.mountpoint);
      // rm copes with names that Node cannot pass, and with directories deeper than PATH_MAX.
      spawnSync("rm", ["-rf", "--one-file-system", this.top]);
      rmSync(this.top, { recursive: true, force: true });
    }
  }
}

/** Everything about a lower layer; without Python what Node can see of it. */
function snapshot(lower: string): string {
  return python === undefined ? snapshotOfFiles(lower).join("\n") : posix(["snapshot", "."], lower);
}

function isMounted(path: string): boolean {
  return spawnSync("grep", ["-q", ` ${path} `, "/proc/mounts"]).status === 0;
}

/** The interpreter itself: what PATH calls python3 can be a script that takes longer than a case. */
export const python = ((): string | undefined => {
  const asked = spawnSync("python3", ["-c", "import sys; print(sys.executable if sys.version_info >= (3, 9) else '')"], { encoding: "utf8", timeout: CALL_MS });
  return asked.status === 0 && asked.stdout.trim() !== "" ? asked.stdout.trim() : undefined;
})();
/** The cases are not compiled, and stay where their source is. */
const CASES = fileURLToPath(new URL("../../../test/mount/posix", import.meta.url));

/** Runs test/mount/posix; returns what it printed. Throws with what it said when it fails or does not end. */
export function posix(args: readonly string[], cwd: string): string {
  const done = spawnSync(python!, ["-B", CASES, ...args], { cwd, encoding: "utf8", timeout: CALL_MS, killSignal: "SIGKILL", maxBuffer: 1 << 28 });
  if (done.status === 0) return done.stdout;
  throw new Error(done.stderr.trim().split("\n").slice(-12).join("\n") || `posix ${args.join(" ")}: ${done.error?.message ?? done.signal}`);
}
