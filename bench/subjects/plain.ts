/** The floor: the same tree in one ordinary directory, with nothing in between. It merges nothing and protects nothing. */
import { execFileSync } from "node:child_process";
import { release } from "node:os";
import type { MountSubject } from "./subject.js";

export const plain: MountSubject = {
  name: "plain",
  about: "one ordinary directory, no layers",
  kind: "directory",
  version: () => `Linux ${release()}`,
  mount(place) {
    // Scenarios that change lower files need their own copy; the fixture stays as it is.
    if (place.changesLowers) execFileSync("cp", ["-a", place.flat, place.root]);
  },
};
