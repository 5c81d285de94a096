/** stratafs through its real command, as a user starts it: each data mode, each channel, each host. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { versionLine, linkedLowers, runMountProgram, type MountSubject, type ServerWords } from "./subject.js";

/** Compiled to dist/bench/subjects/; the bundle is dist/stratafs.js, a program that starts by itself. */
const COMMAND = fileURLToPath(new URL("../../stratafs.js", import.meta.url));

export function command(): string {
  if (!existsSync(COMMAND)) throw new Error("dist/stratafs.js is not built: npm run build");
  return COMMAND;
}

/** Asks through the mount. Loads the library, which only a run that is not timed may do. */
export async function serverWords(root: string): Promise<ServerWords> {
  const { askServer } = await import("../../lib/index.js");
  const { data, channel, protocol, served } = askServer(root);
  return { mode: `data ${data}, channel ${channel}, FUSE ${protocol}`, served };
}

function stratafs(name: string, about: string, options: string): MountSubject {
  return {
    name,
    about,
    kind: "fuse",
    version: () => versionLine(command()),
    ...(options.includes("fuse-native") ? {} : { status: serverWords }),
    mount(place) {
      runMountProgram(place, [command(), "mount", "-o", `lowerdir=${linkedLowers(place)},upperdir=${place.upper},workdir=${place.work},${options}`, place.root]);
    },
  };
}

/** A data mode, which `stratafs run` knows as well. */
function dataMode(mode: "passthrough" | "cached"): MountSubject {
  return {
    ...stratafs(`stratafs-${mode}`, `stratafs, data=${mode}`, `data=${mode}`),
    start(place, argv) {
      const layers = place.lowers.flatMap((lower) => ["--lower", lower]);
      return [command(), "run", "--data", mode, ...layers, "--upper", place.upper, "--work", place.work, "--", ...argv];
    },
  };
}

export const stratafsSubjects: readonly MountSubject[] = [
  dataMode("passthrough"),
  dataMode("cached"),
  stratafs("stratafs-alone-passthrough", "stratafs, data=passthrough, mounted so that it ends with its server", "data=passthrough,supervised=off"),
  stratafs("stratafs-alone-cached", "stratafs, data=cached, mounted so that it ends with its server", "data=cached,supervised=off"),
  stratafs("stratafs-uring-passthrough", "stratafs, data=passthrough, requests through an io_uring", "data=passthrough,channel=uring"),
  stratafs("stratafs-uring-cached", "stratafs, data=cached, requests through an io_uring", "data=cached,channel=uring"),
  stratafs("stratafs-fuse-native", "stratafs on the fuse-native host", "host=fuse-native"),
];
