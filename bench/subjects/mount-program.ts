/** Programs that take fuse-overlayfs's arguments: fuse-overlayfs itself, and whatever --peer names. */
import { linkedLowers, runMountProgram, versionLine, type MountSubject } from "./subject.js";

export function mountProgram(name: string, program: string, about: string): MountSubject {
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
