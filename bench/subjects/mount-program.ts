/** Programs that take fuse-overlayfs's arguments: fuse-overlayfs itself, and whatever --peer names. */
import { linkedLowers, runMountProgram, versionLine, type Subject } from "./subject.js";

export function mountProgram(name: string, program: string, about: string): Subject {
  return {
    name,
    about,
    kind: "fuse",
    version: () => versionLine(program),
    mount(place) {
      runMountProgram(place, [program, "-o", `lowerdir=${linkedLowers(place)},upperdir=${place.upper},workdir=${place.work}`, place.root]);
    },
  };
}
