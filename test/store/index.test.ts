import { expect } from "chai";
import { S_IFCHR, S_IFIFO, S_IFSOCK } from "../../lib/base/mode.js";
import { encodeIndexHeader, HEADER_BYTES, WHITEOUT_NODE } from "../../lib/store/index-format.js";
import { IndexReader, ROOT_ROW } from "../../lib/store/index-reader.js";
import { LayerTree } from "../../lib/store/layer-tree.js";
import { randomFrom } from "../tar/archive.js";
import { indexLines, directory, file, hash, id, indexOf, object, path, symlink } from "./trees.js";

function sample(): LayerTree {
  const tree = new LayerTree();
  tree.put([], directory({ mode: 0o41777, mtimeSec: -5, mtimeNsec: 7 }));
  tree.put(path("etc/hosts"), file("127.0.0.1\n", { uid: 4_294_967_294, gid: 7, mtimeSec: 2 ** 40, mtimeNsec: 999_999_999 }));
  tree.put(path("etc"), directory({ xattrs: new Map([["user.z", Buffer.from([0, 255])], ["user.a", Buffer.alloc(0)], ["user.big", Buffer.alloc(70_000, 65)]]) }));
  tree.put(path("big"), file("x".repeat(65)));
  tree.put(path("copy"), file("x".repeat(65), { mode: 0o100755 }));
  tree.link(path("hard"), path("big"));
  tree.put(path("link"), symlink("../else\xff"));
  tree.put(path("null"), object({ mode: S_IFCHR | 0o666, rdev: 0x103 }));
  tree.put(path("huge"), object({ mode: S_IFCHR | 0o666, rdev: 0xfffff0ff }));
  tree.put(path("fifo"), object({ mode: S_IFIFO | 0o600 }));
  tree.put(path("sock"), object({ mode: S_IFSOCK | 0o600 }));
  tree.put(path("empty"), file(""));
  tree.put(path("large"), object({ content: { kind: "object", digest: id("l"), size: 2 ** 45 + 3 } }));
  tree.put(["n".repeat(255)], file("long name"));
  tree.put(["\xff\x80 odd"], file("odd name"));
  tree.whiteout(path("gone"));
  tree.opaque(path("var/lib"));
  return tree;
}

const bytesOf = (tree: LayerTree): Buffer => Buffer.concat(tree.write(hash, id("layer")));
const open = (bytes: Buffer): IndexReader => IndexReader.fromBytes(bytes, "test", hash);

describe("an index", () => {
  it("gives back every field of every object", () => {
    const index = indexOf(sample());
    expect(indexLines(index)).to.deep.equal([
      "/ 41777 0:0 -5.7 nlink 4",
      `/big 100644 0:0 0.0 nlink 2 ${id("x".repeat(65))} 65 #0`,
      `/copy 100755 0:0 0.0 nlink 1 ${id("x".repeat(65))} 65`,
      '/empty 100644 0:0 0.0 nlink 1 ""',
      `/etc 40755 0:0 0.0 nlink 2 user.a= user.big=${"A".repeat(70_000)} user.z=\0\xff`,
      '/etc/hosts 100644 4294967294:7 1099511627776.999999999 nlink 1 "127.0.0.1\n"',
      "/fifo 10600 0:0 0.0 nlink 1",
      "/gone whiteout",
      `/hard 100644 0:0 0.0 nlink 2 ${id("x".repeat(65))} 65 #0`,
      "/huge 20666 0:0 0.0 nlink 1 rdev 4294963455",
      `/large 100644 0:0 0.0 nlink 1 ${id("l")} 35184372088835`,
      "/link 120777 0:0 0.0 nlink 1 -> ../else\xff",
      `/${"n".repeat(255)} 100644 0:0 0.0 nlink 1 "long name"`,
      "/null 20666 0:0 0.0 nlink 1 rdev 259",
      "/sock 140600 0:0 0.0 nlink 1",
      "/var 40755 0:0 0.0 nlink 3 implicit",
      "/var/lib 40755 0:0 0.0 nlink 2 opaque implicit",
      '/\xff\x80 odd 100644 0:0 0.0 nlink 1 "odd name"',
    ]);
    expect(index.digestCount).to.equal(2);
    expect(index.find(ROOT_ROW, "hosts")).to.equal(-1);
    expect(index.find(ROOT_ROW, "gone")).to.equal(WHITEOUT_NODE);
  });

  it("is the same bytes for the same tree, whatever the order of its entries", () => {
    const names = Array.from({ length: 50 }, (_, i) => `f${i}`);
    const tree = (order: readonly string[]): LayerTree => {
      const made = new LayerTree();
      for (const name of order) made.put(["d", name], file(name));
      made.put(["d"], directory());
      return made;
    };
    expect(bytesOf(tree(names)).equals(bytesOf(tree([...names].reverse())))).to.equal(true);
  });

  it("answers with codes where something is not what it is taken for", () => {
    const index = indexOf(sample());
    const hosts = index.find(index.find(ROOT_ROW, "etc"), "hosts");
    expect(() => index.find(hosts, "x")).to.throw().with.property("code", "ENOTDIR");
    expect(() => index.entryCount(hosts)).to.throw().with.property("code", "ENOTDIR");
    expect(() => index.readlink(hosts)).to.throw().with.property("code", "EINVAL");
    expect(() => index.digest(hosts)).to.throw().with.property("code", "EINVAL");
    expect(() => index.inlineBody(ROOT_ROW)).to.throw().with.property("code", "EINVAL");
    expect(() => index.mode(1000)).to.throw().with.property("code", "EIO");
  });

  it("finds names whose hashes collide: a forged hash gains nothing", () => {
    const seen = new Map<number, string>();
    const pairs: string[][] = [];
    for (let i = 0; pairs.length < 3; i++) {
      const name = `n${i.toString(36)}`;
      const other = seen.get(hash.name(name));
      if (other !== undefined) pairs.push([other, name]);
      else seen.set(hash.name(name), name);
    }
    const tree = new LayerTree();
    for (const [present] of pairs) tree.put([present as string], file(`body of ${present as string}`));
    tree.put(["other"], file(""));
    const index = indexOf(tree);
    for (const [present, forged] of pairs as [string, string][]) {
      expect(hash.name(present)).to.equal(hash.name(forged));
      expect(index.find(ROOT_ROW, forged)).to.equal(-1);
      expect(Buffer.from(index.inlineBody(index.find(ROOT_ROW, present)) ?? []).toString()).to.equal(`body of ${present}`);
    }
    for (const [, forged] of pairs) tree.put([forged as string], file(`body of ${forged as string}`));
    const both = new LayerTree();
    for (const name of pairs.flat()) both.put([name], file(`body of ${name}`));
    const all = indexOf(both);
    for (const name of pairs.flat()) expect(Buffer.from(all.inlineBody(all.find(ROOT_ROW, name)) ?? []).toString()).to.equal(`body of ${name}`);
  });

  it("is refused when it is of a kind, version or shape that is not known", () => {
    const good = bytesOf(sample());
    const changed = (at: number, byte: number): Buffer => { const copy = Buffer.from(good); copy[at] = byte; return copy; };
    /** With the header's checksum made right again, as another program would have. */
    const other = (at: number, byte: number): Buffer => {
      const copy = changed(at, byte);
      copy.writeBigUInt64LE(hash.bytes(copy.subarray(0, HEADER_BYTES - 8)), HEADER_BYTES - 8);
      return copy;
    };
    for (const [what, bytes, code] of [
      ["nothing", Buffer.alloc(0), "ERR_STORE_FORMAT"], ["another file", Buffer.from("#!/bin/sh\n".repeat(100)), "ERR_STORE_FORMAT"],
      ["version 2", changed(8, 2), "ERR_STORE_FORMAT"], ["kind 3", changed(12, 3), "ERR_STORE_FORMAT"], ["seven tables", changed(24, 7), "ERR_STORE_FORMAT"],
      ["a flag", changed(28, 1), "ERR_STORE_FORMAT"], ["another table", other(64, 9), "ERR_STORE_FORMAT"], ["larger rows", other(68, 40), "ERR_STORE_FORMAT"],
      ["a changed digest", changed(40, good[40] as number ^ 1), "ERR_STORE_DAMAGED"], ["a moved table", other(72, 1), "ERR_STORE_DAMAGED"],
      ["half a row", other(80, 33), "ERR_STORE_DAMAGED"], ["a cut-off header", good.subarray(0, 100), "ERR_STORE_DAMAGED"],
      ["a cut-off table", good.subarray(0, good.length - 8), "ERR_STORE_DAMAGED"], ["more behind it", Buffer.concat([good, Buffer.alloc(8)]), "ERR_STORE_DAMAGED"],
    ] as const) {
      expect(() => open(bytes), what).to.throw().with.property("code", code);
    }
    const empty = { nodes: Buffer.alloc(0), entries: Buffer.alloc(0), lookup: Buffer.alloc(0), metas: Buffer.alloc(0), digests: Buffer.alloc(0), blob: Buffer.alloc(0) };
    expect(() => open(encodeIndexHeader("layer", id("x"), empty, hash.bytes))).to.throw().with.property("code", "ERR_STORE_DAMAGED");
  });

  it("never crashes or hangs when bits in its tables turn, and its checksums tell", () => {
    const good = bytesOf(sample());
    const random = randomFrom(4711);
    let wrong = 0;
    for (let run = 0; run < 3000; run++) {
      const bytes = Buffer.from(good);
      const at = HEADER_BYTES + Math.floor(random() * (bytes.length - HEADER_BYTES) * (run % 2 === 0 ? 0.05 : 1));
      const turned = 1 << Math.floor(random() * 8);
      bytes[at] = (bytes[at] as number) ^ turned;
      let index: IndexReader;
      try {
        index = open(bytes);
      } catch (error) {
        expect((error as { code: string }).code).to.be.oneOf(["ERR_STORE_DAMAGED", "EIO"]);
        continue;
      }
      try {
        let left = 100;
        const walk = (row: number): void => {
          const end = index.firstEntry(row) + index.entryCount(row);
          for (let entry = index.firstEntry(row); entry < end && left-- > 0; entry++) {
            const child = index.entryNode(entry);
            index.find(row, index.entryName(entry));
            if (child === WHITEOUT_NODE) continue;
            index.xattrs(child);
            if ((index.mode(child) & 0o170000) === 0o40000) walk(child);
            else if ((index.mode(child) & 0o170000) === 0o120000) index.readlink(child);
            else if (index.digestRow(child) >= 0) index.digest(child);
          }
        };
        walk(ROOT_ROW);
      } catch (error) {
        expect((error as { code?: string }).code, String((error as Error).stack)).to.be.oneOf(["EIO", "EINVAL", "ENOTDIR"]);
        wrong++;
      }
      expect(() => index.verifyChecksums()).to.throw().with.property("code", "ERR_STORE_DAMAGED");
    }
    expect(wrong).to.be.above(50);
  });

  it("takes less than 150 bytes of memory for an entry, names and digests included", () => {
    const tree = new LayerTree();
    const count = 20_000;
    for (let i = 0; i < count; i++) tree.put([`directory${i % 200}`, `some-file-name-${i}.js`], file(`${i}`.padStart(100, "x"), { mtimeSec: i }));
    expect(bytesOf(tree).length / count).to.be.below(150);
  });
});

describe("a layer's tree", () => {
  const lines = (build: (tree: LayerTree) => void): string[] => {
    const tree = new LayerTree();
    build(tree);
    return indexLines(indexOf(tree)).slice(1).map((line) => line.replace(/ 0:0 0.0| nlink \d+/g, ""));
  };

  it("keeps the last of several entries of one name", () => {
    expect(lines((tree) => {
      tree.put(["f"], file("first"));
      tree.put(["f"], file("second"));
      tree.put(["d", "kept"], file("k"));
      tree.put(["d"], directory({ mode: 0o40700 }));
      tree.put(["x", "lost"], file(""));
      tree.put(["x"], file("was a directory"));
      tree.put(["y"], file(""));
      tree.put(["y"], directory());
    })).to.deep.equal(["/d 40700", '/d/kept 100644 "k"', '/f 100644 "second"', '/x 100644 "was a directory"', "/y 40755"]);
  });

  it("hides only lower layers by a whiteout, before and after its own entries", () => {
    const entries = (tree: LayerTree): void => {
      tree.put(["d", "own"], file(""));
      tree.put(["f"], file(""));
    };
    const whiteouts = (tree: LayerTree): void => {
      tree.whiteout(["d"]);
      tree.whiteout(["f"]);
      tree.whiteout(["gone"]);
    };
    const expected = ["/d 40755 opaque", '/d/own 100644 ""', '/f 100644 ""', "/gone whiteout"];
    expect(lines((tree) => { entries(tree); whiteouts(tree); })).to.deep.equal(expected);
    expect(lines((tree) => { whiteouts(tree); entries(tree); })).to.deep.equal(expected);
  });

  it("has nothing to hide behind a file or symbolic link of its own, whichever came first", () => {
    const entries = (tree: LayerTree): void => {
      tree.put(["f"], file(""));
      tree.put(["l"], symlink("/etc"));
    };
    const whiteouts = (tree: LayerTree): void => {
      tree.whiteout(["f", "x"]);
      tree.whiteout(["l", "passwd"]);
      tree.whiteout(["l", "d", "y"]);
    };
    const expected = ['/f 100644 ""', "/l 120644 -> /etc"];
    expect(lines((tree) => { entries(tree); whiteouts(tree); }).map((line) => line.replace(/120\d+/, "120644"))).to.deep.equal(expected);
    expect(lines((tree) => { whiteouts(tree); entries(tree); }).map((line) => line.replace(/120\d+/, "120644"))).to.deep.equal(expected);
  });

  it("shares one object between hard links, and leaves a link to a lower layer to be found later", () => {
    expect(lines((tree) => {
      tree.put(["a"], file("a"));
      tree.link(["d", "b"], ["a"]);
      tree.link(["d", "c"], ["d", "b"]);
      tree.link(["a"], ["d", "b"]);
      tree.link(["lower"], ["usr", "bin", "tool"]);
    })).to.deep.equal(['/a 100644 "a" #0', "/d 40755 implicit", '/d/b 100644 "a" #0', '/d/c 100644 "a" #0', "/lower link to usr/bin/tool"]);
  });

  for (const [what, build] of [
    ["a child of a file", (tree: LayerTree) => { tree.put(["f"], file("")); tree.put(["f", "x"], file("")); }],
    ["a child of a symbolic link", (tree: LayerTree) => { tree.put(["l"], symlink("/etc")); tree.put(["l", "passwd"], file("")); }],
    ["an opaque file", (tree: LayerTree) => { tree.put(["f"], file("")); tree.opaque(["f"]); }],
    ["a hard link to a directory", (tree: LayerTree) => { tree.put(["d"], directory()); tree.link(["e"], ["d"]); }],
    ["a hard link to an implied directory", (tree: LayerTree) => { tree.put(["d", "x"], file("")); tree.link(["e"], ["d"]); }],
    ["a hard link to the root", (tree: LayerTree) => tree.link(["e"], [])],
    ["a root that is a file", (tree: LayerTree) => tree.put([], file(""))],
    ["a whiteout of the root", (tree: LayerTree) => tree.whiteout([])],
  ] as const) {
    it(`refuses ${what}`, () => { expect(() => build(new LayerTree())).to.throw().with.property("code", "ERR_STORE_TREE"); });
  }
});
