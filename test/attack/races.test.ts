/**
 * Symbolic links that come and go in layers while a mount of them is used: whatever an operation hits, nothing outside the layers is read or
 * changed. The links lead out relative to the layer, to a place that the same words do not name from within the mount.
 */
import { spawn } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { directoryLayer, directoryUpper, mount, type Mount } from "../../lib/index.js";
import { snapshotOfFiles } from "../helpers/mounts.js";
import { dataModes, isRoot, World } from "../mount/world.js";

const RACE_MS = 2500;
const program = (name: string): string => fileURLToPath(new URL(`./${name}.js`, import.meta.url));

/** What a child program prints; it ends by itself. */
function told(name: string, ...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [program(name), String(RACE_MS), ...args], { stdio: ["ignore", "pipe", "inherit"], timeout: 30_000, killSignal: "SIGKILL" });
  return new Promise((resolve, reject) => {
    let said = "";
    child.stdout.on("data", (text: Buffer) => (said += text.toString()));
    child.on("error", reject);
    child.on("close", () => resolve(said));
  });
}

describe("symbolic links that race with a mount", function () {
  this.timeout(60_000);
  before(function () {
    if (!isRoot) this.skip(); // owners
  });

  for (const data of dataModes) {
    for (const where of ["lower", "upper"] as const) {
      it(`in the ${where}, data=${data}, lead no operation out of the layer`, async () => {
        const world = new World();
        let mounted: Mount | undefined;
        try {
          const place = world.directory("place");
          const secret = world.lower("place/secret", { file: "SECRET of file", "made0": "SECRET", "made1.d/": "" });
          mkdirSync(`${place}/lower`);
          mkdirSync(`${place}/upper`);
          const layer = `${place}/${where}`;
          // Each name has a twin: the link that takes its place for a moment.
          mkdirSync(`${layer}/dir`);
          writeFileSync(`${layer}/dir/file`, "mine");
          writeFileSync(`${layer}/file`, "mine");
          symlinkSync("../secret", `${layer}/twin-dir`);
          symlinkSync("../secret/file", `${layer}/twin-file`);
          const before = snapshotOfFiles(secret);
          mounted = await mount(
            { lowers: [directoryLayer(`${place}/lower`)], upper: directoryUpper(`${place}/upper`, { workdir: world.directory("place", "work") }) },
            world.mountpoint, { data, timeoutSec: 0, log: () => undefined },
          );
          const [used, flips] = await Promise.all([
            told("use", world.mountpoint), told("flip", `${layer}/dir`, `${layer}/twin-dir`, `${layer}/file`, `${layer}/twin-file`),
          ]);
          const { seen, worked } = JSON.parse(used) as { seen: string[]; worked: Record<string, number> };
          expect(Number(flips)).to.be.above(100);
          expect(Object.keys(worked), "what worked between the flips").to.not.deep.equal([]);
          expect(seen.filter((text) => text.includes("SECRET"))).to.deep.equal([]);
          expect(snapshotOfFiles(secret)).to.deep.equal(before);
        } finally {
          await mounted?.unmount();
          await world.close();
        }
      });
    }
  }
});
