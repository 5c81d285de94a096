import { expect } from "chai";
import { closeSync, fstatSync, linkSync, openSync, readFileSync, readSync, statSync, truncateSync, unlinkSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { MountedTree } from "./mounted-tree.js";

const all = (fd: number): string => {
  const into = Buffer.alloc(100);
  return into.toString("latin1", 0, readSync(fd, into, 0, 100, 0));
};

describe("passthrough of a lower file", () => {
  let tree: MountedTree;
  const at = (path: string): string => join(tree.path, path);
  beforeEach(async () => {
    tree = await MountedTree.start({ data: "passthrough", descriptors: true, lower: { "lower": "lower bytes", "other": "other" }, idleBackings: 2, openFiles: 16 });
  });
  afterEach(() => tree.close());

  it("lets a writer open what a reader has open, and each keeps its own file", async () => {
    const reader = openSync(at("lower"), "r");
    expect(all(reader)).to.equal("lower bytes");
    const ino = fstatSync(reader).ino;
    const writer = openSync(at("lower"), "r+");
    writeSync(writer, "UPPER", 0);
    expect(all(writer)).to.equal("UPPER bytes");
    expect(all(reader)).to.equal("lower bytes");
    expect(readFileSync(at("lower"), "latin1")).to.equal("UPPER bytes");
    expect(fstatSync(writer).ino).to.equal(ino);
    expect(statSync(at("lower")).ino).to.equal(ino);
    writeSync(writer, " and more", 11);
    expect(statSync(at("lower")).size).to.equal(20);
    expect(fstatSync(reader).size).to.equal(20);
    closeSync(reader);
    closeSync(writer);
    const again = openSync(at("lower"), "r");
    expect(all(again)).to.equal("UPPER bytes and more");
    closeSync(again);
  });

  it("shows the new bytes to who opens after a truncation by name", () => {
    const reader = openSync(at("lower"), "r");
    truncateSync(at("lower"), 5);
    expect(readFileSync(at("lower"), "latin1")).to.equal("lower");
    expect(all(reader)).to.equal("lower bytes");
    closeSync(reader);
  });

  it("truncates on open although a reader has it open", () => {
    const reader = openSync(at("lower"), "r");
    writeFileSync(at("lower"), "new");
    expect(readFileSync(at("lower"), "latin1")).to.equal("new");
    expect(all(reader)).to.equal("lower bytes");
    closeSync(reader);
  });

  it("keeps both names of a hard link in step after the conflict", () => {
    linkSync(at("lower"), at("second"));
    const reader = openSync(at("second"), "r");
    const writer = openSync(at("lower"), "r+");
    writeSync(writer, "longer than it was", 0);
    expect(statSync(at("second")).size).to.equal(18);
    expect(readFileSync(at("second"), "latin1")).to.equal("longer than it was");
    unlinkSync(at("lower"));
    expect(statSync(at("second")).nlink).to.equal(1);
    closeSync(reader);
    closeSync(writer);
  });

  it("forgets the old nodeid when its last reader has gone", async () => {
    const reader = openSync(at("lower"), "r");
    closeSync(openSync(at("lower"), "r+"));
    const during = await tree.state();
    closeSync(reader);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const after = await tree.state();
    expect(after.nodes).to.equal(during.nodes - 1);
    expect(after.logged).to.deep.equal([]);
  });

  it("serves more files than it may keep open or registered", async () => {
    for (let i = 0; i < 60; i++) writeFileSync(at(`f${i}`), `file ${i}`);
    const fds = Array.from({ length: 60 }, (_, i) => openSync(at(`f${i}`), "r"));
    fds.forEach((fd, i) => expect(all(fd)).to.equal(`file ${i}`));
    expect((await tree.state()).openFiles).to.equal(16);
    fds.forEach(closeSync);
    for (let i = 0; i < 60; i++) expect(readFileSync(at(`f${i}`), "latin1")).to.equal(`file ${i}`);
  });
});
