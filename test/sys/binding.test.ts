import { expect } from "chai";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { addonCandidates, findPackageRoot, loadAddon, native } from "../../lib/sys/binding.js";
import { scratch } from "./world.js";

describe("the loader of the addon", () => {
  const world = scratch();
  const built = addonCandidates(findPackageRoot(import.meta.dirname)!)[0]!;

  function install(candidate: number): void {
    const path = addonCandidates(world.path)[candidate]!;
    mkdirSync(dirname(path), { recursive: true });
    copyFileSync(built, path);
  }
  function pretendPackage(): void {
    mkdirSync(join(world.path, "native"));
    writeFileSync(join(world.path, "native/binding.gyp"), "");
  }

  it("finds a prebuilt addon from a bundle and from a module deep below", () => {
    pretendPackage();
    install(1);
    for (const module of ["dist/stratafs.js", "dist/lib/sys/binding.js"]) {
      const binding = loadAddon(pathToFileURL(join(world.path, module)).href);
      expect(Object.keys(binding)).to.deep.equal(Object.keys(native));
    }
  });

  it("names both places and the remedy when there is none", () => {
    pretendPackage();
    expect(() => loadAddon(pathToFileURL(join(world.path, "dist/stratafs.js")).href))
      .to.throw("build/Release/stratafs.node")
      .with.property("message")
      .that.includes(`prebuilds/linux-${process.arch}/stratafs.node`)
      .and.includes("npm run build:native");
  });

  it("says so when there is no package around the module", () => {
    expect(() => loadAddon(pathToFileURL(join(world.path, "x.js")).href)).to.throw("no folder \"native\"");
  });
});
