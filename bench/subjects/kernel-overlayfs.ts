/** Overlayfs of the running kernel, with its default options (in a user namespace: userxattr). */
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { linkedLowers, runMountProgram, type Subject } from "./subject.js";

/** True in a user namespace, where the kernel keeps whiteouts and opaque marks in user.* attributes. */
const inUserNamespace = () => !readFileSync("/proc/self/uid_map", "latin1").includes("4294967295");

export const kernelOverlayfs: Subject = {
  name: "kernel-overlayfs",
  about: "overlayfs in the kernel",
  kind: "kernel",
  version: () => `Linux ${release()}`,
  mount(place) {
    const options = `lowerdir=${linkedLowers(place)},upperdir=${place.upper},workdir=${place.work}${inUserNamespace() ? ",userxattr" : ""}`;
    runMountProgram(place, ["mount", "-t", "overlay", "overlay", "-o", options, place.root]);
  },
};
