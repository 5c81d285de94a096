/** Programs that take fuse-overlayfs's arguments: fuse-overlayfs itself, and whatever --peer names. */
import { linkedLowers, runMountProgram, firstVersionLine, type Subject } from "./subject.js";

export function mountProgram(name: string, program: string, about: string): Subject {
  return {
    name,
    about,
    kind: "fuse",
    version: () => firstVersionLine([program, "--version"]),
    mount(place) {
      runMountProgram(place, [program, "-o", `lowerdir=${linkedLowers(place)},upperdir=${place.upper},workdir=${place.work}`, place.root]);
    },
  };
}
