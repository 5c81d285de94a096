/** Calls that are given up while they wait for a copy-up. A file in memory of some turns' length waits; that of a directory waits as a job. */
import { expect } from "chai";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { directoryLayer, directoryUpper, memoryLayer, openLayer, openUpper, Overlay } from "../../lib/index.js";
import type { OverlayNode } from "../../lib/overlay/overlay.js";
import { at, n, root } from "../helpers/worlds.js";

const SIZE = 40 << 20;
const [FIRST, SECOND] = [7, 9];

for (const [kind, marks] of [["memory", false], ["memory", true], ["directory", false], ["directory", true]] as const) {
  describe(`a call that is given up, over a lower in a ${kind}, marks ${marks ? "on" : "off"}`, () => {
    let top: string;
    let fs: Overlay;
    let file: OverlayNode;

    beforeEach(() => {
      top = mkdtempSync(join(tmpdir(), "stratafs-given-up-"));
      for (const name of ["upper", "work", "lower"]) mkdirSync(join(top, name));
      const content = "x".repeat(SIZE);
      if (kind === "directory") writeFileSync(join(top, "lower/f"), content);
      const lower = openLayer(kind === "memory" ? memoryLayer({ f: content }) : directoryLayer(join(top, "lower")));
      fs = new Overlay(openUpper(directoryUpper(join(top, "upper"), { workdir: join(top, "work"), metacopy: marks, redirect: marks })), [lower]);
      file = at(fs, "f");
    });
    afterEach(() => {
      fs.close();
      rmSync(top, { recursive: true, force: true });
    });

    const calls: Readonly<Record<string, () => unknown>> = {
      open: () => fs.open(file, 1),
      truncate: () => fs.setAttr(file, { size: SIZE - 1 }, root),
      ...(marks ? {} : {
        chmod: () => fs.setAttr(file, { mode: 0o4755 }, root),
        setxattr: () => fs.setXattr(file, "user.k", Buffer.from("v")),
        link: () => fs.link(file, fs.root, n("g")),
        rename: () => fs.rename(fs.root, n("f"), fs.root, n("g"), "replace"),
      }),
    };
    const as = (asker: number, call: () => unknown): Promise<string> => {
      fs.asker = asker;
      try {
        const result = call();
        expect(result, "it waits").to.be.instanceOf(Promise);
        return (result as Promise<{ close?: () => void } | undefined>).then((file) => (file?.close?.(), "done"), (error: { code: string }) => error.code);
      } finally {
        fs.asker = 0;
      }
    };
    const onDisk = (): unknown => [readdirSync(join(top, "upper")), readdirSync(join(top, "work/work"), { withFileTypes: true }).filter((entry) => entry.isFile()).length];

    for (const [name, call] of Object.entries(calls)) {
      it(`is not made, and copies nothing (${name})`, async () => {
        const before = fs.getAttr(file);
        const told = as(FIRST, call);
        expect([fs.giveUp(SECOND), fs.giveUp(FIRST), fs.giveUp(FIRST)]).to.deep.equal([false, true, false]);
        expect(await told).to.equal("EINTR");
        // A job that had ended already may leave the copy, which shows nothing.
        const { ctimeSec, ctimeNsec, blocks, ...shown } = fs.getAttr(file);
        expect(before).to.deep.include(shown);
        expect(fs.lookup(fs.root, n("g"))).to.equal(undefined);
        if (kind === "memory") expect(onDisk()).to.deep.equal([[], 0]);
        expect(await as(FIRST, call).catch(() => "done at once")).to.be.oneOf(["done", "done at once"]);
      });
    }

    it("leaves the copy to others who wait, and does not do its own part after it", async () => {
      const [first, second] = [as(FIRST, calls["truncate"]!), as(SECOND, calls["open"]!)];
      expect(fs.giveUp(FIRST)).to.equal(true);
      expect([await first, await second]).to.deep.equal(["EINTR", "done"]);
      expect(fs.getAttr(file).size).to.be.oneOf([SIZE, SIZE - 1]);
      expect(onDisk()).to.deep.equal([["f"], 0]);
    });

    it("is followed by one that copies anew, when that comes before the first copy has ended", async () => {
      const first = as(FIRST, calls["open"]!);
      fs.giveUp(FIRST);
      const second = as(SECOND, calls["open"]!);
      expect([await first, await second]).to.deep.equal(["EINTR", "done"]);
      expect(onDisk()).to.deep.equal([["f"], 0]);
    });
  });
}
