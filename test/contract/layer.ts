/** What every Layer does, whatever it is made of: run by each implementation with its own way to build a tree. */
import { expect } from "chai";
import { S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, makedev } from "../../lib/base/mode.js";
import type { Name } from "../../lib/base/name.js";
import type { Layer } from "../../lib/layer/layer.js";
import { entry, whiteout } from "../../lib/layer/tree-description.js";
import type { TreeDescription } from "../../lib/layer/tree-description.js";
import { at, codeOf, contentOf, n, nodeAt, treeOf } from "../layer/disk-world.js";

/** `noMarksBecause`: why the implementation has no marks but opaque ones, where it has not. */
export function layerContract(title: string, open: (tree: TreeDescription) => Layer, noMarksBecause?: string): void {
  describe(`${title} as a layer`, () => {
    const opened: Layer[] = [];
    const layerOf = (tree: TreeDescription): Layer => {
      const layer = open(tree);
      opened.push(layer);
      return layer;
    };
    afterEach(() => {
      for (const layer of opened.splice(0)) layer.close();
    });

    it("shows the whole tree it was made from", () => {
      const layer = layerOf({
        etc: { hosts: "127.0.0.1", empty: "" },
        link: entry({ target: "etc/hosts" }),
        pipe: entry({ type: "fifo" }),
        deep: { er: { still: "here" } },
      });
      expect(treeOf(layer)).to.deep.equal({
        deep: { er: { still: "here" } },
        etc: { empty: "", hosts: "127.0.0.1" },
        link: "-> etc/hosts",
        pipe: "(type 1)",
      });
    });

    it("has a directory as its root", () => {
      const layer = layerOf({});
      expect(layer.root.type).to.equal(S_IFDIR);
      expect(layer.list(layer.root)).to.deep.equal([]);
      expect(layer.attr(layer.root).mode & 0o170000).to.equal(S_IFDIR);
    });

    it("answers undefined for a name that is not there", () => {
      const layer = layerOf({ a: "1" });
      expect(layer.lookup(layer.root, n("b"))).to.equal(undefined);
    });

    it("throws ENOTDIR where a name is looked for in a file", () => {
      const layer = layerOf({ a: "1" });
      expect(codeOf(() => layer.lookup(nodeAt(layer, "a"), n("b")))).to.equal("ENOTDIR");
      expect(codeOf(() => layer.list(nodeAt(layer, "a")))).to.equal("ENOTDIR");
    });

    it("reports attributes to the nanosecond", () => {
      const layer = layerOf({
        file: entry({ content: "12345", mode: 0o4711, uid: 7, gid: 8, mtime: { sec: 1234567890, nsec: 123456789 } }),
        device: entry({ type: "char", rdev: makedev(1, 300), mode: 0o600 }),
      });
      const attr = layer.attr(nodeAt(layer, "file"));
      expect(attr).to.include({ mode: S_IFREG | 0o4711, uid: 7, gid: 8, size: 5, nlink: 1, mtimeSec: 1234567890, mtimeNsec: 123456789 });
      expect(layer.attr(nodeAt(layer, "device"))).to.include({ mode: S_IFCHR | 0o600, rdev: makedev(1, 300) });
    });

    it("keeps times before 1970", () => {
      const layer = layerOf({ old: entry({ content: "", mtime: { sec: -5, nsec: 7 } }) });
      expect(layer.attr(nodeAt(layer, "old"))).to.include({ mtimeSec: -5, mtimeNsec: 7 });
    });

    it("lists the inode numbers that attributes have, and types", () => {
      const layer = layerOf({ d: {}, f: "x", l: entry({ target: "t" }), p: entry({ type: "fifo" }) });
      const types: Record<string, number> = {};
      for (const found of layer.list(layer.root)) {
        types[found.name] = found.type;
        const node = layer.lookup(layer.root, found.name)!;
        expect(found.ino).to.equal(layer.attr(node).ino);
        expect(found.type).to.equal(node.type);
      }
      expect(types).to.deep.equal({ d: S_IFDIR, f: S_IFREG, l: S_IFLNK, p: S_IFIFO });
    });

    it("gives hard links one node and one inode number", () => {
      const layer = layerOf({ a: "same", d: { b: entry({ link: "/a" }) }, other: "same" });
      const a = nodeAt(layer, "a");
      expect(nodeAt(layer, "d/b")).to.equal(a);
      expect(layer.attr(a).nlink).to.equal(2);
      expect(layer.attr(nodeAt(layer, "other")).ino).to.not.equal(layer.attr(a).ino);
    });

    it("finds a node anew after its release", () => {
      const layer = layerOf({ a: "same", b: entry({ link: "/a" }), d: { c: "1" } });
      layer.release(nodeAt(layer, "a"));
      layer.release(nodeAt(layer, "d"));
      expect(contentOf(layer, nodeAt(layer, "b"))).to.equal("same");
      expect(contentOf(layer, nodeAt(layer, "d/c"))).to.equal("1");
    });

    it("lists a whiteout, and finds nothing under its name", () => {
      const layer = layerOf({ d: { gone: whiteout, here: "1" } });
      const d = nodeAt(layer, "d");
      expect(treeOf(layer, d)).to.deep.equal({ gone: "(whiteout)", here: "1" });
      expect(layer.list(d).find((found) => found.whiteout)).to.include({ name: "gone", type: 0 });
      expect(layer.lookup(d, n("gone"))).to.equal(undefined);
    });

    it("says of every name whether a whiteout hides it, as its listing does", () => {
      const layer = layerOf({ d: { gone: whiteout, here: "1", sub: {} }, other: "" });
      const d = nodeAt(layer, "d");
      expect(["gone", "here", "sub", "none", "x".repeat(255), ".wh.gone"].filter((text) => layer.hides!(d, n(text)))).to.deep.equal(["gone"]);
      expect(layer.hides!(layer.root, n("gone"))).to.equal(false);
    });

    const withMarks = noMarksBecause === undefined ? it : it.skip;
    const whyNot = noMarksBecause === undefined ? "" : ` (skipped: ${noMarksBecause})`;
    withMarks(`reports marks, and their absence${whyNot}`, () => {
      const layer = layerOf({
        plain: {},
        file: "x",
        opaque: entry({ entries: {}, opaque: true }),
        moved: entry({ entries: {}, redirect: "/else/where" }),
        meta: entry({ content: "", metacopy: true, redirect: "data", origin: 4711 }),
      });
      const none = { opaque: false, redirect: undefined, metacopy: false, origin: undefined };
      expect(layer.marks(nodeAt(layer, "plain"))).to.deep.equal(none);
      expect(layer.marks(nodeAt(layer, "file"))).to.deep.equal(none);
      expect(layer.marks(nodeAt(layer, "opaque"))).to.deep.equal({ ...none, opaque: true });
      expect(layer.marks(nodeAt(layer, "moved"))).to.deep.equal({ ...none, redirect: "/else/where" });
      expect(layer.marks(nodeAt(layer, "meta"))).to.deep.equal({ ...none, metacopy: true, redirect: "data", origin: 4711 });
    });

    withMarks(`refuses redirects that lead astray with EIO${whyNot}`, () => {
      for (const redirect of ["../up", "/a/../b", "a/b", "/a//b", "/", "."]) {
        const layer = layerOf({ d: entry({ entries: {}, redirect }) });
        expect(codeOf(() => layer.marks(nodeAt(layer, "d"))), redirect).to.equal("EIO");
      }
    });

    it("shows users' xattrs", () => {
      const layer = layerOf({ f: entry({ content: "", xattrs: { "user.b": "2", "user.a": Buffer.from([0, 255, 10]) } }), plain: "" });
      const f = nodeAt(layer, "f");
      expect([...layer.listXattr(f)].sort()).to.deep.equal(["user.a", "user.b"]);
      expect([...layer.getXattr(f, "user.a")!]).to.deep.equal([0, 255, 10]);
      expect(layer.getXattr(f, "user.none")).to.equal(undefined);
      expect(layer.listXattr(nodeAt(layer, "plain"))).to.deep.equal([]);
    });

    it("reads at any position and stops at the end", () => {
      const layer = layerOf({ f: "0123456789" });
      const backing = layer.open(nodeAt(layer, "f"));
      const into = Buffer.alloc(4);
      expect([backing.read(into, 3), into.toString()]).to.deep.equal([4, "3456"]);
      expect([backing.read(into, 8), into.toString("latin1", 0, 2)]).to.deep.equal([2, "89"]);
      expect(backing.read(into, 10)).to.equal(0);
      expect(backing.read(into, 100)).to.equal(0);
      expect(backing.seek(0, 3)).to.equal(0);
      expect(backing.seek(0, 4)).to.equal(10);
      expect(codeOf(() => backing.seek(10, 3))).to.equal("ENXIO");
      backing.close();
      backing.close();
    });

    it("opens nothing but regular files", () => {
      const layer = layerOf({ d: {}, l: entry({ target: "d" }), p: entry({ type: "fifo" }) });
      expect(codeOf(() => layer.open(nodeAt(layer, "d")))).to.equal("EISDIR");
      expect(codeOf(() => layer.open(nodeAt(layer, "l")))).to.equal("EINVAL");
      expect(codeOf(() => layer.open(nodeAt(layer, "p")))).to.equal("EINVAL");
      expect(codeOf(() => layer.readlink(nodeAt(layer, "d")))).to.equal("EINVAL");
    });

    it("keeps names of 255 bytes and of any characters", () => {
      const long = "n".repeat(255);
      const layer = layerOf({ [long]: "long", "ümlaut": "u", " space\n": "s" });
      expect(contentOf(layer, layer.lookup(layer.root, long as Name)!)).to.equal("long");
      expect(contentOf(layer, nodeAt(layer, "ümlaut"))).to.equal("u");
      expect(Object.keys(treeOf(layer)).sort()).to.deep.equal([" space\n", long, Buffer.from("ümlaut").toString("latin1")].sort());
    });

    it("says where it lives", () => {
      const layer = layerOf({});
      expect(layer.statfs().nameMax).to.equal(255);
      expect(layer.statfs().blockSize).to.be.greaterThan(0);
      expect(layer.id).to.be.a("string").and.not.equal("");
      expect(at(layer, "none/such")).to.equal(undefined);
    });

    it("may be closed twice", () => {
      const layer = open({ d: { f: "1" } });
      treeOf(layer);
      layer.close();
      layer.close();
    });
  });
}
