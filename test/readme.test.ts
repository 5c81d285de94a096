/** Code shown in README.md is code that runs: it stands in test/examples. */
import { expect } from "chai";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

describe("README.md", () => {
  it("shows the library as test/examples/library.ts uses it", () => {
    const example = readFileSync(at("test/examples/library.ts"), "utf8").split("// README: begin\n")[1]!.split("// README: end")[0]!;
    expect(readFileSync(at("README.md"), "utf8")).to.include(example.trimEnd());
  });

  it("shows an example that works", function () {
    if (process.getuid?.() !== 0) this.skip(); // it mounts
    const said = execFileSync(process.execPath, [at("dist/test/examples/library.js"), at("lib")], { encoding: "utf8", timeout: 30_000 });
    expect(said).to.include("[ 'hello', 'motd' ]").and.to.include("generated, never on disk\nwritten to the upper\n").and.to.include("INIT: 1");
  });
});

describe("SECURITY.md", () => {
  it("names tests and fuzz targets that there are, for everything it promises", () => {
    const rows = [...readFileSync(at("SECURITY.md"), "utf8").matchAll(/^\| (?!promised|---).* \| ([^|]+) \|$/gm)].map(([, shown]) => shown as string);
    expect(rows).to.have.length.above(20);
    for (const shown of rows) {
      const [tests = "", fuzzed = ""] = shown.split("fuzz ");
      for (const [, name] of tests.matchAll(/`([^`]+)`/g)) expect(existsSync(at(`test/${name}.test.ts`)) || existsSync(at(`test/${name}.ts`)), name).to.equal(true);
      for (const [, name] of fuzzed.matchAll(/`([^`]+)`/g)) expect(existsSync(at(`test/fixtures/fuzz/${name}`)), name).to.equal(true);
    }
  });
});
