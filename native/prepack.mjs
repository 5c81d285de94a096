/**
 * Before packing: puts the addon that was built here, stripped, where the loader looks on machines without a compiler.
 * One run per architecture; what other runs have left in native/prebuilds/ is packed with it.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const native = dirname(fileURLToPath(import.meta.url));
const folder = join(native, "prebuilds", `linux-${process.arch}`);
mkdirSync(folder, { recursive: true });
copyFileSync(join(native, "build", "Release", "stratafs.node"), join(folder, "stratafs.node"));
execFileSync("strip", ["--strip-unneeded", join(folder, "stratafs.node")], { stdio: "inherit" });
