/**
 * Starts the program NAME that bundle.mjs put beside this copy of it: NAME.code.cjs, one function, with what V8 made of that text at build time
 * in NAME.cache. Reading the text anew takes 15 ms, a sixth of the start of a mount. Another version of Node refuses the cache and reads the text.
 */
const { readFileSync } = require("node:fs");
const { Script } = require("node:vm");

const name = __filename.slice(0, -".cjs".length);

function cache() {
  try {
    return readFileSync(`${name}.cache`);
  } catch {
    return undefined; // Not there, or nobody lets us read it: the text does.
  }
}

const code = `${name}.code.cjs`;
// The cache first: bundle.mjs takes it away before it replaces the text, so that a start meanwhile has no cache rather than that of another text.
const cachedData = cache();
new Script(readFileSync(code, "latin1"), { filename: code, cachedData }).runInThisContext()(require, __filename);
