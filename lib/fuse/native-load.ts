/**
 * Loads the npm package fuse-native, which is optional and needs libfuse 2. Nothing of it is touched before the first call.
 * Its addon asks for libfuse.so.2; where the system has none, the copy that the package ships is loaded first.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import type Fuse from "fuse-native";

/** Not among os.constants. Source: bits/dlfcn.h, the same on every Linux. */
const RTLD_NODELETE = 0x1000;

export type FuseNative = typeof Fuse;

/** Throws an Error with code ERR_FUSE_NATIVE that says what to install. */
export function loadFuseNative(load: NodeJS.Require = createRequire(import.meta.url)): FuseNative {
  let failure: unknown;
  // Not import(): a module that failed once would fail for ever, and the second try is the point.
  for (const prepare of [() => undefined, () => preloadLibfuse(load)]) {
    prepare();
    try {
      return load("fuse-native") as FuseNative;
    } catch (error) {
      failure = error;
      if ((error as NodeJS.ErrnoException).code !== "ERR_DLOPEN_FAILED") break;
    }
  }
  const reason = failure instanceof Error ? failure.message.split("\n", 1)[0] : String(failure);
  const help = (failure as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND" ? "install the npm package fuse-native" : "install libfuse 2 (Debian: libfuse2)";
  throw Object.assign(new Error(`the fuse-native host cannot start: ${reason}; ${help}`, { cause: failure }), { code: "ERR_FUSE_NATIVE" });
}

/** Puts libfuse.so.2 into the process, so that the addon finds a library of that name already there. */
function preloadLibfuse(load: NodeJS.Require): void {
  const folder = dirname(load.resolve("fuse-native/package.json"));
  const shipped = join(folder, "prebuilds", `linux-${process.arch}`, "libfuse.so");
  if (!existsSync(shipped)) return;
  try {
    process.dlopen({ exports: {} }, shipped, constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL | RTLD_NODELETE);
  } catch {
    // It is no addon, so Node says that it "did not self-register" and closes it again; RTLD_NODELETE keeps it loaded.
  }
}
