/** stratafs through its real command, as a user starts it, in each data mode and on each host. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { versionLine, linkedLowers, runMountProgram, type Subject } from "./subject.js";

/** Compiled to dist/bench/subjects/; the bundle is dist/stratafs.js, a program that starts by itself. */
const COMMAND = fileURLToPath(new URL("../../stratafs.js", import.meta.url));

function command(): string {
  if (!existsSync(COMMAND)) throw new Error("dist/stratafs.js is not built: npm run build");
  return COMMAND;
}

function stratafs(name: string, about: string, options: string): Subject {
  return {
    name,
    about,
    kind: "fuse",
    version: () => versionLine(command()),
    mount(place) {
      runMountProgram(place, [command(), "mount", "-o", `lowerdir=${linkedLowers(place)},upperdir=${place.upper},workdir=${place.work},${options}`, place.root]);
    },
  };
}

/** A data mode, which `stratafs run` knows as well. */
function dataMode(mode: "passthrough" | "cached"): Subject {
  return {
    ...stratafs(`stratafs-${mode}`, `stratafs, data=${mode}`, `data=${mode}`),
    start(place, argv) {
      const layers = place.lowers.flatMap((lower) => ["--lower", lower]);
      return [command(), "run", "--data", mode, ...layers, "--upper", place.upper, "--work", place.work, "--", ...argv];
    },
  };
}

export const stratafsSubjects: readonly Subject[] = [
  dataMode("passthrough"),
  dataMode("cached"),
  stratafs("stratafs-fuse-native", "stratafs on the fuse-native host", "host=fuse-native"),
];
