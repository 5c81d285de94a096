/** Overlayfs of the running kernel, with its default options (in a user namespace: userxattr). */
import { release } from "node:os";
import { inUserNamespace, linkedLowers, runMountProgram, type MountSubject } from "./subject.js";

export const kernelOverlayfs: MountSubject = {
  name: "kernel-overlayfs",
  about: "overlayfs in the kernel",
  kind: "kernel",
  version: () => `Linux ${release()}`,
  mount(place) {
    // There the kernel keeps whiteouts and opaque marks in user.* attributes.
    const marks = inUserNamespace() ? ",userxattr" : "";
    const options = `lowerdir=${linkedLowers(place)},upperdir=${place.upper},workdir=${place.work}${marks}`;
    runMountProgram(place, ["mount", "-t", "overlay", "overlay", "-o", options, place.root]);
  },
};
