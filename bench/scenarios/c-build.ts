/** make in a source tree that came from the layers. */
import { join } from "node:path";
import { inBoth } from "./goals.js";
import { expect, type Scenario } from "./scenario.js";

export const cBuild: Scenario = {
  name: "c-build",
  group: "Real work",
  about: "make -j2 of 40 C files with 30 headers each, then make again",
  unit: "ms",
  fixture: "sources",
  layered: true,
  changesLowers: true,
  needs: ["make", "cc"],
  goals: inBoth(1.3),
  run(cell) {
    const cwd = join(cell.root, "source");
    const built = cell.command(["make", "-s", "-j2"], { cwd });
    const again = cell.command(["make", "-s", "-j2"], { cwd });
    return { value: built.ms + again.ms, operations: cell.sizes.sources + 1 };
  },
  check(cell) {
    // Every part returns f1(0), which is 1.
    expect("the program's output", cell.command([join(cell.root, "source/program")]).output.trim(), String(cell.sizes.sources));
  },
};
