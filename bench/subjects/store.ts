/** stratafs with the lowers as an image in a store: one merged index, and objects. Made once for each set of lowers, and kept beside them. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { command, serverWords } from "./stratafs.js";
import { runMountProgram, versionLine, type MountSubject, type Place } from "./subject.js";

const PROGRAM = fileURLToPath(new URL("./store-import.js", import.meta.url));
const IMAGE = "lowers";
const IMPORT_MS = 900_000;

/** Renamed to this when it is whole. */
const storeOf = (place: Place): string => join(dirname(place.lowers[0] as string), `store-of-${place.lowers.length}`);

function fromStore(mode: "passthrough" | "cached"): MountSubject {
  return {
    name: `stratafs-store-${mode}`,
    about: `stratafs, an image of its store mounted by its command, data=${mode}`,
    kind: "fuse",
    version: () => versionLine(command()),
    status: serverWords,
    prepare(place) {
      const store = storeOf(place);
      if (existsSync(store)) return;
      const done = spawnSync(process.execPath, [PROGRAM, store, IMAGE, ...place.lowers], { encoding: "utf8", timeout: IMPORT_MS });
      if (done.status !== 0) throw new Error(`import into ${store}: ${done.stderr.trim() || done.error?.message || `status ${done.status}`}`);
    },
    mount(place) {
      runMountProgram(place, [command(), "mount", "-o", `image=${IMAGE},store=${storeOf(place)},upperdir=${place.upper},workdir=${place.work},data=${mode}`, place.root]);
    },
  };
}

export const storeSubjects: readonly MountSubject[] = [fromStore("passthrough"), fromStore("cached")];
