/**
 * The same random operations on a mount of ours and on kernel overlayfs over copies of the same layers: the same results, the
 * same tree, and afterwards kernel overlayfs shows our upper as we did, and so do we after a remount.
 * MODEL_SEED replays one run; MODEL_RUNS and MODEL_OPERATIONS lengthen it.
 */
import { expect } from "chai";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { directoryLayer, directoryUpper, mount } from "../../lib/index.js";
import type { Mount } from "../../lib/index.js";
import { kernelOverlay, snapshotOfFiles, unmountQuietly } from "../helpers/mounts.js";
import type { Record } from "./operations.js";

const client = fileURLToPath(new URL("./client.js", import.meta.url));
const runs = Number(process.env["MODEL_RUNS"] ?? 3);
const operations = Number(process.env["MODEL_OPERATIONS"] ?? 400);
const givenSeed = process.env["MODEL_SEED"];
const isRoot = process.getuid?.() === 0;

interface Outcome {
  readonly records?: readonly Record[];
  readonly tree: readonly string[];
  readonly oddLinks: readonly string[];
}

function runClient(...args: string[]): Outcome {
  const done = spawnSync(process.execPath, [client, ...args], { encoding: "utf8", timeout: 60_000, maxBuffer: 1 << 28 });
  if (done.status !== 0) throw new Error(`client ${args.join(" ")} ended with ${done.status ?? done.signal}: ${done.stderr}`);
  return JSON.parse(done.stdout) as Outcome;
}

describe("random operations, compared with kernel overlayfs", function () {
  this.timeout(300_000);
  let top: string;
  let ours: Mount | undefined;
  const kernelMounts: string[] = [];

  before(function () {
    if (!isRoot) this.skip(); // kernel overlayfs and mknod need root
  });
  beforeEach(() => {
    top = mkdtempSync(join(tmpdir(), "stratafs-model-"));
  });
  afterEach(async () => {
    await ours?.unmount();
    ours = undefined;
    for (const target of kernelMounts.splice(0)) unmountQuietly(target);
    rmSync(top, { recursive: true, force: true });
  });

  function fresh(...path: string[]): string {
    const dir = join(top, ...path);
    mkdirSync(dir, { recursive: true });
    return dir;
  }

  function mountKernel(lowers: readonly string[], side: string, options: string): string {
    const target = fresh(side, "mnt");
    kernelOverlay(lowers, fresh(side, "upper"), fresh(side, "work"), target, options);
    kernelMounts.push(target);
    return target;
  }

  function unmountKernel(target: string): void {
    execFileSync("umount", [target]);
    kernelMounts.splice(kernelMounts.indexOf(target), 1);
  }

  /** Three lowers, topmost first: a plain tree, and two uppers that kernel overlayfs wrote over it, with whiteouts and opaque directories. */
  function makeLowers(seed: number): string[] {
    const base = fresh("lower0");
    runClient("operate", base, String(seed), "150");
    let lowers = [base];
    for (const step of [1, 2]) {
      const target = mountKernel(lowers, `make${step}`, "redirect_dir=off,metacopy=off,index=off");
      runClient("operate", target, String(seed + step), "120");
      unmountKernel(target);
      lowers = [join(top, `make${step}`, "upper"), ...lowers];
    }
    return lowers;
  }

  for (const data of ["cached", "passthrough"] as const) {
    for (let run = 0; run < runs; run++) {
      const seed = givenSeed !== undefined ? Number(givenSeed) + run : Date.now() % 1_000_000 + run * 7919;
      it(`gives the same results and trees, data=${data}, MODEL_SEED=${seed}`, async () => {
        const lowers = makeLowers(seed);
        const before = lowers.map((lower) => snapshotOfFiles(lower));
        const kernelOptions = "redirect_dir=on,metacopy=on,index=on,xino=on";
        const theirs = mountKernel(lowers, "kernel", kernelOptions);
        const stack = {
          lowers: lowers.map((lower) => directoryLayer(lower)),
          upper: directoryUpper(fresh("ours", "upper"), { workdir: fresh("ours", "work") }),
        };
        const mountpoint = fresh("ours", "mnt");
        ours = await mount(stack, mountpoint, { data });

        const args = [String(seed + 10), String(operations), "exchange"];
        const expected = runClient("operate", theirs, ...args);
        const actual = runClient("operate", mountpoint, ...args);
        const label = `MODEL_SEED=${seed}`;
        for (const [i, record] of expected.records!.entries()) expect(actual.records![i], `${label} step ${i}`).to.deep.equal(record);
        expect(withoutDirectoryTimes(actual.tree), label).to.deep.equal(withoutDirectoryTimes(expected.tree));
        expect(expected.oddLinks, `${label} link counts`).to.include.members(actual.oddLinks as string[]);

        await ours.unmount();
        ours = await mount(stack, mountpoint, { data });
        expect(runClient("snapshot", mountpoint).tree, `${label} after a remount`).to.deep.equal(actual.tree);
        await ours.unmount();
        ours = undefined;

        const again = fresh("again", "mnt");
        kernelOverlay(lowers, join(top, "ours", "upper"), join(top, "ours", "work"), again, "redirect_dir=on,metacopy=on,index=off,xino=on");
        kernelMounts.push(again);
        expect(runClient("snapshot", again).tree, `${label} as kernel overlayfs shows our upper`).to.deep.equal(actual.tree);
        unmountKernel(again);
        expect(lowers.map((lower) => snapshotOfFiles(lower)), `${label} lowers`).to.deep.equal(before);
      });
    }
  }
});

/** Kernel overlayfs touches a directory when a rename out of it is refused (ENOTEMPTY); its times are compared on our side only. */
function withoutDirectoryTimes(tree: readonly string[]): readonly string[] {
  return tree.map((line) => (/^\S+ 4\d{4} /.test(line) ? line.replace(/ mtime \S+/, "") : line));
}
