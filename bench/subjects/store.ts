/** stratafs with the lowers as an image in a store: one merged index, and objects. Made once for each set of lowers, and kept beside them. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { serverWords } from "./stratafs.js";
import { runMountProgram, type MountSubject, type Place } from "./subject.js";

const PROGRAM = fileURLToPath(new URL("./store-mount.js", import.meta.url));
const IMPORT_MS = 900_000;

/** Renamed to this when it is whole. */
const storeOf = (place: Place): string => join(dirname(place.lowers[0] as string), `store-of-${place.lowers.length}`);

function fromStore(mode: "passthrough" | "cached"): MountSubject {
  return {
    name: `stratafs-store-${mode}`,
    about: `stratafs, an image of its store, data=${mode}`,
    kind: "fuse",
    version: () => `node ${process.version}`,
    status: serverWords,
    prepare(place) {
      const store = storeOf(place);
      if (existsSync(store)) return;
      const done = spawnSync(process.execPath, [PROGRAM, "import", store, ...place.lowers], { encoding: "utf8", timeout: IMPORT_MS });
      if (done.status !== 0) throw new Error(`import into ${store}: ${done.stderr.trim() || done.error?.message || `status ${done.status}`}`);
    },
    mount(place) {
      runMountProgram(place, [process.execPath, PROGRAM, "mount", storeOf(place), mode, place.upper, place.work, place.root]);
    },
  };
}

export const storeSubjects: readonly MountSubject[] = [fromStore("passthrough"), fromStore("cached")];
