/**
 * The only loader of the addon. Importing this never throws: without an addon, the first call does, so that `--help` and the
 * fuse-native host still work. The addon keeps its state per thread; every worker that imports this gets its own.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { NativeBinding } from "../../types/native.js";

export type { NativeBinding };

/** Where the addon may be, given the folder that holds `native/`: built here, else shipped with the package. */
export function addonCandidates(packageRoot: string): readonly string[] {
  return [
    join(packageRoot, "native", "build", "Release", "stratafs.node"),
    join(packageRoot, "native", "prebuilds", `linux-${process.arch}`, "stratafs.node"),
  ];
}

/** The nearest folder at or above `start` that holds `native/`; undefined at the root. */
export function findPackageRoot(start: string): string | undefined {
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, "native", "binding.gyp"))) return folder;
    if (folder === dirname(folder)) return undefined;
  }
}

/** Loads the addon for a module at `moduleUrl`. Throws one error that names every place looked at. */
export function loadAddon(moduleUrl: string): NativeBinding {
  const start = dirname(fileURLToPath(moduleUrl));
  const packageRoot = findPackageRoot(start);
  if (packageRoot === undefined) throw new Error(`stratafs: no folder "native" with the addon at or above ${start}`);
  const candidates = addonCandidates(packageRoot);
  const found = candidates.find((path) => existsSync(path));
  if (found === undefined) {
    throw new Error(`stratafs: the native addon is missing, looked for ${candidates.join(" and ")}; \`npm run build:native\` builds it`);
  }
  return createRequire(moduleUrl)(found) as NativeBinding;
}

/** Why the addon did not load; undefined when it did. */
export let addonError: Error | undefined;

function loadOrExplainLater(): NativeBinding {
  try {
    return loadAddon(import.meta.url);
  } catch (error) {
    addonError = error as Error;
    return new Proxy({} as NativeBinding, {
      get() {
        throw error;
      },
    });
  }
}

/** The addon of this thread. */
export const native: NativeBinding = loadOrExplainLater();
