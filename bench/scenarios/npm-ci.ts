/** npm ci of packages that lie beside the project as packed files: no registry, no network. */
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { inBoth } from "./goals.js";
import { expect, type Scenario } from "./scenario.js";

export const npmCi: Scenario = {
  name: "npm-ci",
  group: "Real work",
  about: "npm ci of 40 packages with 40 files each, from local packed files",
  unit: "ms",
  fixture: "tree",
  layered: false,
  needs: ["npm"],
  inputs: ["packages"],
  goals: inBoth(1.3),
  setup(cell) {
    cpSync(join(cell.input("packages"), "project"), join(cell.scratch, "project"), { recursive: true });
  },
  run(cell) {
    const { ms } = cell.command(["npm", "ci", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier", "--cache", join(cell.outside, "cache")], {
      cwd: join(cell.scratch, "project"),
    });
    return { value: ms, operations: cell.sizes.packages };
  },
  check(cell) {
    const last = `bench-package-${cell.sizes.packages - 1}`;
    const installed = join(cell.scratch, "project/node_modules", last, "lib/file39.js");
    expect("content", readFileSync(installed, "latin1"), readFileSync(join(cell.input("packages"), "unpacked", last, "package/lib/file39.js"), "latin1"));
  },
};
