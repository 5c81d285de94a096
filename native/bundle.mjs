/**
 * Bundles lib/cli/main.ts into dist/stratafs.js, one executable file: reading a hundred small modules costs more than all of them do at start.
 * The file begins with launch.sh, so that a mount is started by sh; Node sees those lines as a comment.
 * Not minified: it saves no measurable start-up time and makes stack traces worse.
 */
import { build } from "esbuild";
import { chmodSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const output = `${root}dist/stratafs.js`;
const { outputFiles } = await build({
  absWorkingDir: root,
  entryPoints: ["lib/cli/main.ts"],
  outfile: output,
  write: false,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: true,
  sourcesContent: false,
  // The optional second host: found in node_modules when somebody asks for it.
  external: ["fuse-native"],
  banner: { js: readFileSync(`${root}native/launch.sh`, "utf8").trimEnd() },
  logLevel: "warning",
});
// Replaced in one step: a mount may be started while this runs.
for (const { path, contents } of outputFiles) {
  writeFileSync(`${path}.new`, contents);
  chmodSync(`${path}.new`, path === output ? 0o755 : 0o644);
  renameSync(`${path}.new`, path);
}
