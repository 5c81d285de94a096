/**
 * Bundles lib/cli/main.ts into dist/stratafs.js, one executable file: reading a hundred small modules costs more than all of them do at start.
 * The file begins with launch.sh, so that a mount is started by sh; Node sees those lines as a comment. The program that serves a mount,
 * the one that takes a supervised mount over and the thread that an import starts are files beside it, where import.meta.url of either form of the library leads to.
 * Not minified: it saves no measurable start-up time and makes stack traces worse.
 */
import { build } from "esbuild";
import { chmodSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const output = `${root}dist/stratafs.js`;
const common = {
  absWorkingDir: root,
  write: false,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: true,
  sourcesContent: false,
  // The optional second host: found in node_modules when somebody asks for it.
  external: ["fuse-native"],
  logLevel: "warning",
};
const built = await Promise.all([
  build({ ...common, entryPoints: ["lib/cli/main.ts"], outfile: output, banner: { js: readFileSync(`${root}native/launch.sh`, "utf8").trimEnd() } }),
  build({ ...common, entryPoints: ["lib/image/unpacking-worker.ts"], outfile: `${root}dist/unpacking-worker.js` }),
  // CommonJS: Node is ready for it 20 ms earlier than for a module.
  ...["server", "successor"].map((name) => build({
    ...common, entryPoints: [`lib/cli/${name}.ts`], outfile: `${root}dist/${name}.cjs`, format: "cjs",
    define: { "import.meta.url": "moduleUrl" }, banner: { js: 'const moduleUrl = require("node:url").pathToFileURL(__filename).href;' },
  })),
]);
// Replaced in one step: a mount may be started while this runs.
for (const { path, contents } of built.flatMap(({ outputFiles }) => outputFiles)) {
  writeFileSync(`${path}.new`, contents);
  chmodSync(`${path}.new`, path === output ? 0o755 : 0o644);
  renameSync(`${path}.new`, path);
}
