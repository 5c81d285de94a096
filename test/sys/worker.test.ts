import { expect } from "chai";
import { statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { native } from "../../lib/sys/binding.js";
import { fsyncJob } from "../../lib/sys/jobs.js";
import { makePipe } from "../../lib/sys/process.js";
import { openAt, scratch } from "./world.js";

describe("the addon in worker threads", () => {
  const world = scratch();

  function start(role: string): { worker: Worker; ready: Promise<void>; ended: Promise<number>; error: Promise<string> } {
    const path = join(world.path, "file");
    writeFileSync(path, Buffer.alloc(1 << 20, 1));
    truncateSync(path, 200 << 20);
    const worker = new Worker(new URL("./worker.js", import.meta.url), { workerData: { role, path } });
    return {
      worker,
      ready: new Promise((resolve) => worker.once("message", () => resolve())),
      ended: new Promise((resolve) => worker.once("exit", resolve)),
      error: new Promise((resolve) => worker.once("error", (error: Error) => resolve(error.message))),
    };
  }

  it("runs jobs and lets the thread end by itself", async () => {
    expect(await start("finish").ended).to.equal(0);
  });

  it("runs jobs in several threads at once, and in this one", async () => {
    const fd = openAt(world.fd, ".", 0);
    const workers = [start("finish"), start("finish"), start("finish")];
    await fsyncJob(fd);
    expect(await Promise.all(workers.map((each) => each.ended))).to.deep.equal([0, 0, 0]);
    native.close(fd);
  });

  it("has a umask for each thread, so that mounts in one process do not use each other's", async () => {
    const before = native.umask(0o022);
    try {
      expect(await start("umask").ended).to.equal(0);
      expect(statSync(join(world.path, "file.new")).mode & 0o777).to.equal(0o600);
      expect(native.umask(0o022)).to.equal(0o022);
    } finally {
      native.umask(before);
    }
  });

  it("survives process.exit in a thread with jobs and watches pending", async () => {
    expect(await start("exit").ended).to.equal(7);
  });

  it("survives the termination of a thread with jobs and watches pending", async () => {
    const { worker, ready, ended } = start("pending");
    await ready;
    await worker.terminate();
    expect(await ended).to.equal(1);
  });

  it("hands what a handler throws to the thread as an uncaught exception", async () => {
    expect(await start("throw").error).to.equal("thrown by a handler");
  });
});

describe("watch", () => {
  it("calls its handler while there is something to read, and promise callbacks before the next event", async () => {
    const [readEnd, writeEnd] = makePipe();
    const seen: string[] = [];
    await new Promise<void>((resolve) => {
      const id = native.watch(readEnd, () => {
        seen.push("readable");
        void Promise.resolve().then(() => seen.push("microtask"));
        if (seen.length < 4) return;
        native.unwatch(id);
        resolve();
      });
      native.fuseWrite(writeEnd, Buffer.from("x"), 1);
    });
    expect(seen.slice(0, 4)).to.deep.equal(["readable", "microtask", "readable", "microtask"]);
    expect(native.waitReadable(readEnd, 0)).to.equal(1);
    native.close(readEnd);
    native.close(writeEnd);
  });

  it("times out when nothing comes", () => {
    const [readEnd, writeEnd] = makePipe();
    expect(native.waitReadable(readEnd, 10)).to.equal(0);
    native.close(readEnd);
    native.close(writeEnd);
  });

  it("refuses a regular file and forgets an id once", () => {
    const fd = openAt(-100, process.execPath, 0);
    expect(native.watch(fd, () => undefined)).to.be.below(0);
    expect(native.unwatch(12345)).to.be.below(0);
    native.close(fd);
  });
});
