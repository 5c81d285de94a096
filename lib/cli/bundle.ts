/**
 * `stratafs bundle`: an OCI runtime bundle of a container, which runc and crun run: config.json, and the container mounted at rootfs.
 * A process of its own serves the mount, and keeps the container in use, until rootfs is unmounted.
 * Order of serving: the container taken; its layers opened; the mount; config.json last, so that a bundle with one can be run.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { detachProcess, directoryUpper, holdContainer, mount, overlay, storeLayer, type FileSystem } from "../index.js";
import { readArguments, takeArguments } from "./arguments.js";
import { listen, startServing, type Starter } from "./daemon.js";
import { complain, messageOf } from "./output.js";
import { processOfContainer } from "./run-image.js";
import { runtimeConfig } from "./runtime-config.js";
import { storeFor, storeOption, targetOf } from "./store-options.js";
import { UsageError } from "./usage.js";

const options = { ...storeOption, foreground: { type: "boolean", short: "f" }, terminal: { type: "boolean", short: "t" }, hostname: { type: "string" }, log: { type: "string" } } as const;

interface Wanted {
  readonly store: string | undefined;
  readonly container: string;
  readonly folder: string;
  /** Instead of what the image says; empty for that. */
  readonly command: readonly string[];
  readonly terminal: boolean;
  readonly hostname: string;
  readonly log: string | undefined;
}

/** 0 once the bundle can be run (in the foreground: once rootfs has been unmounted). Throws UsageError, StoreError, FsError. */
export async function bundleCommand(args: readonly string[]): Promise<number> {
  const starter = listen();
  try {
    const end = args.includes("--") ? args.indexOf("--") : args.length;
    const { values, positionals } = readArguments("bundle", args.slice(0, end), options);
    const [container, folder] = takeArguments("bundle", positionals, "CONTAINER", "DIR");
    if (process.getuid!() !== 0) throw new UsageError("bundle: the root filesystem of a bundle is mounted for everybody, which only root may do");
    if (starter === undefined && values.foreground !== true) return await startServing();
    const absolute = (path: string | undefined): string | undefined => (path === undefined ? undefined : resolve(path));
    return await serveBundle({ store: values.store, container, folder: resolve(folder), command: args.slice(end + 1), terminal: values.terminal ?? false, hostname: values.hostname ?? container, log: absolute(values.log) }, starter);
  } catch (error) {
    if (starter === undefined) throw error;
    return starter.failed(error);
  }
}

async function serveBundle({ store: path, container: name, folder, command, terminal, hostname, log }: Wanted, starter: Starter | undefined): Promise<number> {
  const store = await storeFor(path);
  const target = targetOf(store, name);
  if (target.kind === "image") throw new Error(`${name} is an image; make a container of it with stratafs create`);
  const held = await holdContainer(store, name);
  try {
    const [other] = (existsSync(folder) ? readdirSync(folder) : []).filter((each) => each !== "rootfs" && each !== "config.json");
    if (other !== undefined) throw new Error(`expected an empty directory for a bundle, or an older bundle, found ${JSON.stringify(other)} in ${folder}`);
    if (starter !== undefined) detachProcess();
    process.umask(0);
    const tree: FileSystem = overlay({
      lowers: [await storeLayer(store.path, held.container.layers)],
      upper: directoryUpper(held.upper, { workdir: held.work, redirect: true, metacopy: true }),
    }, complain);
    const config = runtimeConfig(processOfContainer(store, held.container.config, name, tree, command), { hostname, terminal });
    const rootfs = join(folder, "rootfs");
    mkdirSync(rootfs, { recursive: true });
    process.chdir("/");
    const mounted = await mount(tree, rootfs, { flags: ["dev", "suid"], log: complain });
    const unmountNow = (): Promise<void> => mounted.unmount().catch((error: unknown) => complain(messageOf(error)));
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => void unmountNow());
    process.on("uncaughtException", (error) => complain(error instanceof Error ? error.stack ?? error.message : String(error)));
    try {
      writeFileSync(join(folder, `.config-${process.pid}`), `${JSON.stringify(config, undefined, 2)}\n`, { mode: 0o644 });
      renameSync(join(folder, `.config-${process.pid}`), join(folder, "config.json"));
      if (starter !== undefined && !starter.live(log)) await unmountNow();
    } catch (error) {
      rmSync(join(folder, `.config-${process.pid}`), { force: true });
      await unmountNow();
      throw error;
    }
    await mounted.closed;
    return 0;
  } finally {
    held.release();
  }
}
