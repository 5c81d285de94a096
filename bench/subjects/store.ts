/** stratafs with the lowers as an image in a store: one merged index, and objects. Made once for each set of lowers, and kept beside them. */
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runMountProgram, type Subject } from "./subject.js";

const PROGRAM = fileURLToPath(new URL("./store-mount.js", import.meta.url));
const IMPORT_MS = 900_000;

function fromStore(mode: "passthrough" | "cached"): Subject {
  return {
    name: `stratafs-store-${mode}`,
    about: `stratafs, an image of its store, data=${mode}`,
    kind: "fuse",
    version: () => `node ${process.version}`,
    mount(place) {
      const store = join(dirname(place.lowers[0] as string), `store-of-${place.lowers.length}`);
      const done = spawnSync(process.execPath, [PROGRAM, "import", store, ...place.lowers], { encoding: "utf8", timeout: IMPORT_MS });
      if (done.status !== 0) throw new Error(`import into ${store}: ${done.stderr.trim() || done.error?.message || `status ${done.status}`}`);
      runMountProgram(place, [process.execPath, PROGRAM, "mount", store, mode, place.upper, place.work, place.root]);
    },
  };
}

export const storeSubjects: readonly Subject[] = [fromStore("passthrough"), fromStore("cached")];
