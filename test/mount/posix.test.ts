/**
 * What programs expect of a filesystem, one case a process (posix/*.py), in a mount of both data modes over a lower layer, and in a plain
 * directory, where every case must hold too.
 */
import { expect } from "chai";
import { dataModes, isRoot, posix, python, World, type Data } from "./world.js";

interface Case {
  readonly name: string;
  readonly title: string;
  readonly needsRoot: boolean;
}
const cases = python === undefined ? [] : (JSON.parse(posix(["list"], "/")) as Case[]);

for (const where of ["plain", ...dataModes] as const) {
  describe(where === "plain" ? "a plain directory, as the cases know it," : `a mount (${where})`, function () {
    this.timeout(90_000);
    let world: World;
    let cwd: string;

    before(async function () {
      if (python === undefined) return this.skip(); // the cases are written in Python 3.9
      world = new World();
      cwd = world.lower("lower");
      posix(["prepare", "."], cwd);
      if (where === "plain") return;
      await world.mount([cwd], { data: where satisfies Data });
      cwd = world.mountpoint;
    });
    after(() => world?.close());

    for (const { name, title, needsRoot } of cases) {
      it(title, function () {
        if (needsRoot && !isRoot) this.skip(); // other users, devices and trusted xattrs need root
        posix(["run", name, where], cwd);
      });
    }

    if (where === "plain") return;
    it("has the same inode numbers after a remount", async () => {
      const listing = (): string => posix(["inodes", "."], cwd);
      const before = listing();
      expect(before.split("\n").length).to.be.greaterThan(200);
      await world.unmount();
      await world.mount([world.lower("lower")], { data: where });
      expect(listing()).to.equal(before);
    });

    it("has logged nothing and left the lower layer as it was", () => {
      expect(world.logged).to.deep.equal([]);
      expect(world.changedLowers()).to.deep.equal([]);
    });
  });
}
