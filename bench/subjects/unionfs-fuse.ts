/** unionfs-fuse: another union in user space, path-based, on libfuse's high-level interface. */
import { join } from "node:path";
import { versionLine, runMountProgram, type MountSubject } from "./subject.js";

export const unionfsFuse: MountSubject = {
  name: "unionfs-fuse",
  about: "a path-based union in user space",
  kind: "fuse",
  version: () => versionLine("unionfs"),
  mount(place) {
    const branches = [`${place.upper}=RW`, ...place.lowers.map((_, i) => `${join(place.links, String(i))}=RO`)];
    runMountProgram(place, ["unionfs", "-o", "cow,hide_meta_files,default_permissions", branches.join(":"), place.root]);
  },
};
