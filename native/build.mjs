/**
 * Builds the addon where its sources are newer than what was built. Silent on success; on failure prints the whole log.
 * Headers: npm's `nodedir`, else those beside the running node, else node-gyp downloads them.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const native = dirname(fileURLToPath(import.meta.url));
const built = join(native, "build", "Release", "stratafs.node");
const sources = [join(native, "binding.gyp"), ...readdirSync(join(native, "src")).map((file) => join(native, "src", file))];

const modified = (path) => statSync(path).mtimeMs;
if (existsSync(built) && sources.every((source) => modified(source) <= modified(built))) process.exit(0);

const besideNode = dirname(dirname(process.execPath));
const nodedir = process.env["npm_config_nodedir"] ?? (existsSync(join(besideNode, "include", "node", "uv.h")) ? besideNode : undefined);
const nodeGyp = createRequire(import.meta.url).resolve("node-gyp/bin/node-gyp.js");
const result = spawnSync(process.execPath, [nodeGyp, "rebuild", "-C", native, ...(nodedir === undefined ? [] : ["--nodedir", nodedir])], {
  encoding: "utf8",
  maxBuffer: 64 << 20,
});
if (result.status !== 0) {
  process.stderr.write(`${result.stdout ?? ""}${result.stderr ?? ""}${result.error?.message ?? ""}\nstratafs: the native addon did not build\n`);
  process.exit(1);
}
