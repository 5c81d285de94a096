/** What a worker thread does with the addon, by name; see worker.test.ts. Posts "ready" and then ends in its own way. */
import { closeSync, openSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { native } from "../../lib/sys/binding.js";
import { copyJob, fsyncJob } from "../../lib/sys/jobs.js";
import { makePipe } from "../../lib/sys/process.js";

const { role, path } = workerData as { role: string; path: string };
const fd = openSync(path, "r+");

if (role === "finish") {
  await fsyncJob(fd);
} else if (role === "pending" || role === "exit") {
  const to = openSync(`${path}.copy`, "w");
  const unfinished = [...Array.from({ length: 50 }, () => fsyncJob(fd)), copyJob(fd, to, 200 << 20)];
  for (const job of unfinished) job.catch(() => undefined);
  native.watch(makePipe()[0], () => undefined);
  parentPort!.postMessage("ready");
  if (role === "exit") process.exit(7);
} else if (role === "umask") {
  native.umask(0o077);
  closeSync(openSync(`${path}.new`, "w", 0o666));
} else if (role === "throw") {
  const [readEnd, writeEnd] = makePipe();
  native.watch(readEnd, () => {
    throw new Error("thrown by a handler");
  });
  native.fuseWrite(writeEnd, new Uint8Array(1), 1);
  native.close(writeEnd);
}
