/**
 * Bundles lib/cli/main.ts into dist/stratafs.js, one executable file: reading a hundred small modules costs more than all of them do at start.
 * The file begins with launch.sh, so that a mount is started by sh; Node sees those lines as a comment. The program that serves a mount,
 * the one that takes a supervised mount over and the thread that an import starts are files beside it, where import.meta.url of either form of the library leads to.
 * Not minified, which makes stack traces worse: the programs that somebody waits for have a code cache (start.cjs), which saves more.
 */
import { build } from "esbuild";
import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Script } from "node:vm";

const root = fileURLToPath(new URL("..", import.meta.url));
const output = `${root}dist/stratafs.js`;
/** The programs that start.cjs starts. */
const started = ["server", "successor"];
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
  ...started.map((name) => build({
    ...common, entryPoints: [`lib/cli/${name}.ts`], outfile: code(name), format: "cjs", define: { "import.meta.url": "moduleUrl" },
    banner: { js: '(function (require, __filename) { const moduleUrl = require("node:url").pathToFileURL(__filename).href;' }, footer: { js: "})" },
  })),
]);
for (const name of started) rmSync(`${root}dist/${name}.cache`, { force: true });
// Replaced in one step: a mount may be started while this runs.
for (const { path, contents } of built.flatMap(({ outputFiles }) => outputFiles)) replace(path, contents, path === output ? 0o755 : 0o644);
for (const name of started) {
  replace(`${root}dist/${name}.cjs`, readFileSync(`${root}native/start.cjs`), 0o644);
  const script = new Script(readFileSync(code(name), "latin1"), { filename: code(name) });
  replace(`${root}dist/${name}.cache`, script.createCachedData(), 0o644);
}

function code(name) {
  return `${root}dist/${name}.code.cjs`;
}

function replace(path, contents, mode) {
  writeFileSync(`${path}.new`, contents);
  chmodSync(`${path}.new`, mode);
  renameSync(`${path}.new`, path);
}
