/** Loading an optional package with a library that may be missing: every outcome is a working package or one clear error. */
import { expect } from "chai";
import { loadFuseNative } from "../../lib/fuse/native-load.js";

/** A require() that fails with each code in turn, and then works. */
function loader(codes: readonly string[]): NodeJS.Require & { tries: number } {
  const load = Object.assign(
    (wanted: string): unknown => {
      const code = codes[load.tries++];
      if (code !== undefined) throw Object.assign(new Error(`${wanted}: ${code}\nstack`), { code });
      return class {};
    },
    { tries: 0, resolve: () => "/nowhere/fuse-native/package.json" },
  );
  return load as unknown as NodeJS.Require & { tries: number };
}

describe("loading fuse-native", () => {
  it("tries again once libfuse is in the process", () => {
    const load = loader(["ERR_DLOPEN_FAILED"]);
    expect(loadFuseNative(load)).to.be.a("function");
    expect(load.tries).to.equal(2);
  });

  for (const [codes, tries, message] of [
    [["ERR_DLOPEN_FAILED", "ERR_DLOPEN_FAILED"], 2, /^the fuse-native host cannot start: fuse-native: ERR_DLOPEN_FAILED; install libfuse 2 \(Debian: libfuse2\)$/],
    [["MODULE_NOT_FOUND", "MODULE_NOT_FOUND"], 1, /; install the npm package fuse-native$/],
  ] as const) {
    it(`gives one line of advice after ${codes[0]}`, () => {
      const load = loader(codes);
      let failure: NodeJS.ErrnoException | undefined;
      try {
        loadFuseNative(load);
      } catch (error) {
        failure = error as NodeJS.ErrnoException;
      }
      expect(failure?.code).to.equal("ERR_FUSE_NATIVE");
      expect(failure?.message).to.match(message);
      expect(load.tries).to.equal(tries);
    });
  }
});
