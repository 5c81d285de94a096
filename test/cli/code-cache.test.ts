import { expect } from "chai";
import { copyFileSync, cpSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Script } from "node:vm";
import { call, Ground, stratafs } from "./command.js";

const built = dirname(stratafs);
/** What the serving process says when it has run, and no mount is made. */
const REFUSED = { status: 2, stdout: "", stderr: "stratafs: mount: no lowerdir given\n" };

describe("the code cache of the programs that serve", () => {
  let ground: Ground;
  beforeEach(() => void (ground = new Ground({ "dist/": "" })));
  afterEach(() => ground.remove());

  /** The programs alone, where a test may change them, with the addon where they look for it. */
  const copied = (): string => {
    for (const name of ["stratafs.js", "server.cjs", "server.code.cjs", "server.cache"]) copyFileSync(join(built, name), join(ground.at("dist"), name));
    cpSync(join(built, "../package.json"), ground.at("package.json"));
    symlinkSync(join(built, "../native"), ground.at("native"));
    return ground.at("dist/stratafs.js");
  };

  for (const name of ["server", "successor"]) {
    it(`is what this Node takes: ${name}`, () => {
      const code = join(built, `${name}.code.cjs`);
      const script = new Script(readFileSync(code, "latin1"), { filename: code, cachedData: readFileSync(join(built, `${name}.cache`)) });
      expect(script.cachedDataRejected).to.equal(false);
    });
  }

  it("is not needed: the program starts with it, without it, and with one of another Node", () => {
    const program = copied();
    const refusal = () => call("sh", [program, "mount", "-o", "upperdir=u", "m"], { cwd: ground.path });
    expect(refusal()).to.deep.equal(REFUSED);
    const cache = readFileSync(ground.at("dist/server.cache"));
    // The word after the magic number is the hash of V8's version.
    cache.writeUInt32LE(~cache.readUInt32LE(4) >>> 0, 4);
    writeFileSync(ground.at("dist/server.cache"), cache);
    expect(refusal()).to.deep.equal(REFUSED);
    rmSync(ground.at("dist/server.cache"));
    expect(refusal()).to.deep.equal(REFUSED);
  });
});
