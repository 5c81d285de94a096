import { expect } from "chai";
import {
  closeSync, existsSync, fstatSync, lstatSync, openSync, readdirSync, readFileSync, readSync, statSync, writeFileSync, writeSync,
} from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { MountedTree } from "./mounted-tree.js";

describe("requests asked of a mount", () => {
  for (const data of ["passthrough", "cached"] as const) {
    describe(`in ${data} mode`, () => {
      let tree: MountedTree;
      let file: string;
      beforeEach(async () => {
        tree = await MountedTree.start({ data, descriptors: true, files: { "dir/file": "content" }, many: 300 });
        file = join(tree.path, "dir/file");
      });
      afterEach(() => tree.close());

      const openAndRead = (): void => {
        const fd = openSync(file, "r");
        readSync(fd, Buffer.alloc(100), 0, 100, null);
        closeSync(fd);
      };

      it(data === "cached" ? "are none for a warm open, read and close" : "are OPEN and RELEASE for a warm open, read and close", async () => {
        openAndRead();
        const warm = await tree.requestsOf(openAndRead);
        delete warm["RELEASE"];
        expect(warm).to.deep.equal(data === "cached" ? {} : { OPEN: 1 });
      });

      it("are none for a warm stat", async () => {
        statSync(file);
        expect(await tree.requestsOf(() => void statSync(file))).to.deep.equal({});
      });

      it("are none for a name known to be missing", async () => {
        existsSync(`${file}.missing`);
        expect(await tree.requestsOf(() => void existsSync(`${file}.missing`))).to.deep.equal({});
      });

      it("are none for a warm listing", async () => {
        const many = join(tree.path, "many");
        readdirSync(many);
        readdirSync(many);
        expect(await tree.requestsOf(() => void readdirSync(many))).to.deep.equal({});
      });

      it("are READDIRPLUS alone for the attributes of a cold directory", async () => {
        const many = join(tree.path, "many");
        lstatSync(many);
        readdirSync(join(tree.path, "dir"));
        const asked = await tree.requestsOf(() => {
          const lines = execFileSync("find", [many, "-mindepth", "1", "-printf", "%s %m\\n"], { encoding: "latin1" }).trimEnd().split("\n");
          expect(lines).to.have.length(300);
        });
        delete asked["GETATTR"]; // of the directory itself
        delete asked["STATFS"]; // find asks what filesystem it is on
        expect(Object.keys(asked)).to.deep.equal(["READDIRPLUS"]);
      });

      it("are one LOOKUP and nothing else for a cold name", async () => {
        statSync(join(tree.path, "dir"));
        expect(await tree.requestsOf(() => void execFileSync("test", ["-e", join(tree.path, "dir/nothing")].concat(["-o", "x"])))).to.deep.equal({ LOOKUP: 1 });
      });

      if (data === "passthrough") {
        it("are none for appends and random writes to an open file", async () => {
          const fd = openSync(file, "a+");
          const random = openSync(file, "r+");
          writeSync(fd, "first");
          writeSync(random, "first", 0);
          const asked = await tree.requestsOf(() => {
            for (let i = 0; i < 50; i++) {
              writeSync(fd, "more");
              writeSync(random, "x", i % 7);
            }
          });
          expect(asked).to.deep.equal({});
          expect(fstatSync(fd).size).to.equal(7 + 5 + 50 * 4);
          closeSync(fd);
          closeSync(random);
        });
      } else {
        it("are MKNOD, WRITE and attributes for a new file, and no OPEN or CREATE after the first", async () => {
          writeFileSync(join(tree.path, "one"), "1");
          const asked = await tree.requestsOf(() => writeFileSync(join(tree.path, "two"), "2"));
          expect(asked).to.include({ LOOKUP: 1, MKNOD: 1 }).and.not.have.any.keys("OPEN", "CREATE", "FLUSH", "RELEASE");
          expect(readFileSync(join(tree.path, "two"), "latin1")).to.equal("2");
        });
      }
    });
  }
});
