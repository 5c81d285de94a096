/**
 * Serves a MemoryFileSystem in a process of its own, for tests that use the mount. Started by mounted-tree.ts with the setup as JSON in argv[2];
 * speaks over the IPC channel: {ready} or {failed}, then answers each request but "unmount", whose answer is its end.
 */
import { name } from "../../lib/base/name.js";
import { DeviceChannel } from "../../lib/fuse/device-channel.js";
import { mountFuse, unmount } from "../../lib/fuse/mountpoint.js";
import type { DataMode } from "../../lib/fuse/policy.js";
import { Session } from "../../lib/fuse/session.js";
import { UringChannel } from "../../lib/fuse/uring-channel.js";
import { MemoryFileSystem } from "../helpers/memory-file-system.js";

export interface Setup {
  readonly mountpoint: string;
  readonly data: DataMode;
  readonly descriptors: boolean;
  /** Default "device". */
  readonly channel?: "device" | "uring";
  readonly late?: boolean;
  /** Path to text. */
  readonly files?: Readonly<Record<string, string>>;
  /** The size of a file called "big". */
  readonly big?: number;
  /** As files, but moved by the first open for writing. */
  readonly lower?: Readonly<Record<string, string>>;
  /** So many files called f0, f1, … in the directory "many". */
  readonly many?: number;
  readonly openFiles?: number;
  readonly idleBackings?: number;
  /** Default true. */
  readonly allowOther?: boolean;
  /** Files of the root and the sizes they must have when the mount has ended; else the child ends with status 1. */
  readonly sizesAtEnd?: Readonly<Record<string, number>>;
  /** Ids to serve as; default the test's own. */
  readonly uid?: number;
}
/** "hold": reads wait until "release". */
export type Ask = "counters" | "unmount" | "state" | "hold" | "release";
export interface State {
  readonly nodes: number;
  readonly openFiles: number;
  readonly forgotten: number;
  readonly logged: readonly string[];
}

async function serve(setup: Setup): Promise<void> {
  const tree = new MemoryFileSystem({ descriptors: setup.descriptors, late: setup.late ?? false });
  for (const [path, text] of Object.entries(setup.files ?? {})) tree.put(path, text);
  for (const [path, text] of Object.entries(setup.lower ?? {})) tree.put(path, text, true);
  for (let i = 0; i < (setup.many ?? 0); i++) tree.put(`many/f${i}`, "");
  if (setup.big !== undefined) tree.put("big", "x".repeat(setup.big));
  const logged: string[] = [];
  let release = (): void => undefined;
  const { fd } = mountFuse({ mountpoint: setup.mountpoint, subtype: "stratafs-test", flags: ["nodev"], allowOther: setup.allowOther ?? true });
  const session = new Session(tree, setup.channel === "uring" ? new UringChannel(fd) : new DeviceChannel(fd), {
    dataMode: setup.data,
    log: (message) => logged.push(message),
    ...(setup.openFiles === undefined ? {} : { openFiles: setup.openFiles }),
    ...(setup.idleBackings === undefined ? {} : { idleBackings: setup.idleBackings }),
  });
  session.start();
  await session.ready;
  process.on("message", (ask: Ask) => {
    if (ask === "counters") process.send?.(session.counters());
    else if (ask === "hold") tree.held = new Promise((resolve) => (release = resolve));
    else if (ask === "release") {
      tree.held = undefined;
      release();
    } else if (ask === "unmount") unmount(setup.mountpoint).catch((error: unknown) => process.send?.({ failed: String(error) }));
    else process.send?.({ nodes: session.nodes.size, openFiles: session.files.size, forgotten: tree.forgotten.length, logged } satisfies State);
  });
  process.send?.({ ready: true });
  await session.closed;
  for (const [path, size] of Object.entries(setup.sizesAtEnd ?? {})) {
    const node = tree.lookup(tree.root, name(path));
    if (node === undefined || tree.getAttr(node).size !== size) process.exitCode = 1;
  }
  tree.close();
  process.disconnect?.();
}

serve(JSON.parse(process.argv[2] ?? "{}") as Setup).catch((error: unknown) => {
  process.send?.({ failed: String(error) });
  process.exitCode = 1;
  process.disconnect?.();
});
