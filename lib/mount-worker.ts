/**
 * The thread that serves a mount made by a program (mount.ts). It ends when the mount does; what it cannot say in an answer it
 * throws, and the program's `closed` rejects with it.
 */
import { parentPort, workerData } from "node:worker_threads";
import { readyForStores } from "./layer/store-layer.js";
import { mount, overlay } from "./mount.js";
import type { FromWorker, Mount, ToWorker, WorkerJob } from "./mount.js";

const job = workerData as WorkerJob;
const port = parentPort!;
const tell = (message: FromWorker): void => port.postMessage(message);

async function serveJob(): Promise<void> {
  let mounted: Mount;
  try {
    if ([...job.stack.lowers, ...(job.stack.dataLayers ?? [])].some(({ kind }) => kind === "store")) await readyForStores();
    const tree = overlay(job.stack, (line) => tell({ tell: "log", line }));
    try {
      mounted = await mount(tree, job.mountpoint, { ...job.options, log: (line) => tell({ tell: "log", line }) });
    } catch (error) {
      tree.close();
      throw error;
    }
  } catch (error) {
    const { message, code } = error as { message: string; code?: string };
    return tell({ tell: "failed", message, code });
  }
  port.on("message", (message: ToWorker) => {
    if (message.ask === "counters") void mounted.counters().then((counters) => tell({ tell: "counters", id: message.id, counters }));
    else mounted.unmount().catch((error: unknown) => tell({ tell: "log", line: String(error) }));
  });
  tell({ tell: "ready" });
  await mounted.closed;
}

await serveJob().finally(() => port.close());
