/**
 * What a mount of real layers is asked, counted by opcode: exact, and a budget. A request more than here is a request too many.
 * FORGETs are not counted: the kernel sends them when it likes.
 */
import { expect } from "chai";
import { existsSync, lstatSync } from "node:fs";
import { join } from "node:path";
import { dataModes, isRoot, World } from "./world.js";
import type { RemoteFs } from "./remote-fs.js";

const files = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`many/f${i}`, `file ${i}\n`]));

for (const data of dataModes) {
  describe(`the requests of a mount (${data})`, function () {
    this.timeout(60_000);
    let world: World;
    let client: RemoteFs;

    before(async () => {
      world = new World();
      await world.mount([world.lower("top", { "etc/hosts": "127.0.0.1\n" }), world.lower("bottom", { ...files, "etc/passwd": "root\n" })], { data });
      client = await world.client();
    });
    after(() => world.close());

    it("of a cold listing with attributes are READDIRPLUS and no LOOKUP of what it lists", async () => {
      const asked = await world.requestsOf(async () => {
        const names = await client.do<string[]>("readdirSync", world.at("many"));
        expect(names).to.have.length(200);
        for (const name of names) await client.do("lstatSync", world.at("many", name));
      });
      expect(asked["LOOKUP"] ?? 0, "the directory itself").to.equal(1);
      expect(asked["READDIRPLUS"]).to.be.greaterThan(0);
      expect(asked).to.have.all.keys(expectedKeys(asked, ["LOOKUP", "READDIRPLUS", "OPENDIR", "GETATTR", "STATX"]));
    });

    it("of a warm stat, a warm missing name and a warm listing are none", async () => {
      const work = async (): Promise<void> => {
        await client.do("statSync", world.at("etc/passwd"));
        await client.do("existsSync", world.at("etc/nothing"));
        await client.do("readdirSync", world.at("many"));
      };
      await work();
      await work();
      expect(await world.requestsOf(work)).to.deep.equal({});
    });

    it(`of a warm open, read and close are ${data === "cached" ? "none" : "one OPEN and its RELEASE"}`, async () => {
      const quietly = async (): Promise<void> => {
        const fd = await client.do<number>("openSync", world.at("etc/hosts"), "r");
        expect(await client.contentOf(fd)).to.equal("127.0.0.1\n");
        await client.do("closeSync", fd);
      };
      await client.do("readFileSync", world.at("etc/hosts"), "utf8");
      await quietly();
      await quietly();
      expect(await world.requestsOf(quietly)).to.deep.equal(data === "cached" ? {} : { OPEN: 1, RELEASE: 1 });
    });

    it("of appends and random writes to an open file are none, until they are written back", async () => {
      const fd = await client.do<number>("openSync", world.at("log"), "a");
      await client.do("writeSync", fd, "first\n");
      const asked = await world.requestsOf(async () => {
        for (let i = 0; i < 50; i++) await client.do("writeSync", fd, `line ${i}\n`);
      });
      await client.do("closeSync", fd);
      if (data === "passthrough") expect(asked).to.deep.equal({});
      else expect(asked["WRITE"] ?? 0).to.be.lessThan(5);
    });

    it("of a chmod of a lower file copy up no data", async function () {
      if (!isRoot) this.skip(); // metadata-only copies are written where marks are trusted xattrs
      const asked = await world.requestsOf(() => client.do("chmodSync", world.at("many/f7"), 0o600));
      expect(asked).to.not.have.any.keys("READ", "WRITE");
      const upper = join(world.top, "upper/many/f7");
      expect(existsSync(upper)).to.equal(true);
      expect(lstatSync(upper).blocks).to.equal(0);
    });

    it("of making a file, giving it attributes and removing it are those the kernel cannot spare", async () => {
      await client.do("mkdirSync", world.at("new"));
      const work = async (name: string): Promise<void> => {
        const fd = await client.do<number>("openSync", world.at("new", name), "wx", 0o600);
        await client.do("fchmodSync", fd, 0o644);
        await client.do("futimesSync", fd, 1, 1);
        await client.do("closeSync", fd);
        await client.do("unlinkSync", world.at("new", name));
      };
      for (const name of ["a", "b"]) await work(name);
      const asked = await world.requestsOf(() => work("c"));
      // GETATTR of the directory, whose attributes each change of a name ends. Cached: the kernel flushes the ctime of the file that goes.
      const made = data === "cached" ? { MKNOD: 1, SETATTR: 3 } : { CREATE: 1, SETATTR: 2, RELEASE: 1 };
      expect(asked).to.deep.equal({ LOOKUP: 1, GETATTR: 2, UNLINK: 1, ...made });
    });

    it("of deleting a tree of lower files are an UNLINK for each and a look at their directory", async () => {
      await client.do("readdirSync", world.at("many"));
      for (let i = 0; i < 3; i++) await client.do("unlinkSync", world.at("many", `f${i}`));
      const asked = await world.requestsOf(async () => {
        for (let i = 10; i < 60; i++) await client.do("unlinkSync", world.at("many", `f${i}`));
      });
      expect(asked).to.deep.equal({ UNLINK: 50, GETATTR: 50, ...(data === "cached" ? { SETATTR: 50 } : {}) });
      const last = await world.requestsOf(() => client.do("rmSync", world.at("many"), { recursive: true }));
      expect(last["UNLINK"]).to.equal(147);
      expect(last["RMDIR"]).to.be.within(1, 2); // Node tries rmdir before it looks
      expect(existsSync(join(world.top, "upper/many"))).to.equal(true);
      expect(lstatSync(join(world.top, "upper/many")).isDirectory(), "a whiteout").to.equal(false);
    });

    it("leave the lower layers as they were", async () => {
      await world.unmount();
      expect(world.logged).to.deep.equal([]);
      expect(world.changedLowers()).to.deep.equal([]);
    });
  });
}

/** Of the opcodes that may be asked, those that were: anything else fails the comparison. */
function expectedKeys(asked: Readonly<Record<string, number>>, allowed: readonly string[]): string[] {
  return allowed.filter((name) => name in asked);
}
