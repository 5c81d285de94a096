import { expect } from "chai";
import * as fs from "node:fs";
import { makedev, O_RDONLY, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK } from "../../lib/base/mode.js";
import { pathBytes } from "../../lib/base/name.js";
import { IndexedLayer } from "../../lib/layer/indexed-layer.js";
import type { IndexedLayerOptions } from "../../lib/layer/indexed-layer.js";
import { entry, optionsOf } from "../../lib/layer/tree-description.js";
import type { EntryOptions, TreeDescription } from "../../lib/layer/tree-description.js";
import { Overlay } from "../../lib/overlay/overlay.js";
import { digestOf } from "../../lib/store/digest.js";
import { IndexReader } from "../../lib/store/index-reader.js";
import { LayerTree, type TreeObject } from "../../lib/store/layer-tree.js";
import { mergeChain } from "../../lib/store/chain-merge.js";
import { native } from "../../lib/sys/binding.js";
import type { OpenFile } from "../../lib/vfs.js";
import { layerContract } from "../contract/layer.js";
import { hash, id } from "../store/trees.js";
import { codeOf, contentOf, n, nodeAt, removeFolder, temporaryFolder, treeOf } from "./disk-world.js";

const types = { file: S_IFREG, directory: S_IFDIR, symlink: S_IFLNK, fifo: S_IFIFO, socket: S_IFSOCK, char: S_IFCHR, block: S_IFBLK } as const;
/** Bodies above this are objects. Low, so that both kinds of body are met everywhere. */
const INLINE = 4;

const folders: string[] = [];
after(() => {
  for (const folder of folders.splice(0)) removeFolder(folder);
});
const newFolder = (): string => {
  const folder = temporaryFolder();
  folders.push(folder);
  return folder;
};

/** Puts a description into a tree, and its larger bodies into a folder of objects. */
function fill(tree: LayerTree, path: readonly string[], options: EntryOptions, objects: string): void {
  if (options.whiteout === true) return tree.whiteout(path);
  if (options.link !== undefined) return tree.link(path, pathBytes(options.link).split("/").filter((name) => name !== ""));
  const type = types[options.type!];
  const mtime = typeof options.mtime === "number" ? { sec: options.mtime, nsec: 0 } : options.mtime ?? { sec: 0, nsec: 0 };
  const body = Buffer.from(options.content ?? "");
  const digest = digestOf(body);
  const object: TreeObject = {
    mode: type | (options.mode ?? (type === S_IFDIR ? 0o755 : 0o644)), uid: options.uid ?? 0, gid: options.gid ?? 0, mtimeSec: mtime.sec, mtimeNsec: mtime.nsec,
    xattrs: new Map(Object.entries(options.xattrs ?? {}).map(([key, value]) => [key, Buffer.from(value)])),
    content: body.length <= INLINE ? { kind: "inline", bytes: body } : { kind: "object", digest, size: body.length },
    target: pathBytes(options.target ?? ""), rdev: options.rdev ?? 0,
  };
  if (type === S_IFREG && body.length > INLINE) {
    fs.mkdirSync(`${objects}/${digest.slice(0, 2)}`, { recursive: true });
    fs.writeFileSync(`${objects}/${digest.slice(0, 2)}/${digest.slice(2)}`, body);
  }
  tree.put(path, object);
  for (const [name, child] of Object.entries(options.entries ?? {})) fill(tree, [...path, pathBytes(name)], optionsOf(child), objects);
  if (options.opaque === true) tree.opaque(path);
}

function indexOf(description: TreeDescription, objects: string): IndexReader {
  const tree = new LayerTree();
  fill(tree, [], optionsOf(description), objects);
  return IndexReader.fromBytes(Buffer.concat(tree.write(hash, id("layer"))), "test", hash);
}

function layerOf(description: TreeDescription, options: IndexedLayerOptions = {}): { layer: IndexedLayer; objects: string } {
  const objects = newFolder();
  const index = indexOf(description, objects);
  return { layer: new IndexedLayer(index, objects, () => index.close(), options), objects };
}

const reason = "images have no redirects and no metadata-only copies, and a hostile one must not make any";
layerContract("an index", (tree) => layerOf(tree).layer, reason);
layerContract("a chain of indexes, merged", (tree) => {
  const objects = newFolder();
  const lower: TreeDescription = { "never seen": "hidden by the whiteout of the layer above" };
  const withWhiteouts = JSON.stringify(tree).includes('"whiteout":true');
  const upper = indexOf(tree, objects);
  // A merged chain has no whiteouts to list, so a tree that has some is shown as the layer it is.
  const layers = [indexOf(lower, objects), indexOf({ "never seen": { "/": { whiteout: true } } }, objects), upper];
  const index = withWhiteouts ? upper : IndexReader.fromBytes(Buffer.concat(mergeChain(layers, id("chain"), hash)), "test", hash);
  return new IndexedLayer(index, objects, () => index.close());
}, reason);

describe("an indexed layer", () => {
  const big = "a body of more than four bytes";

  it("reports opaque directories as the only mark, and shows overlay xattrs as a user's", () => {
    const { layer } = layerOf({
      o: { "/": { entries: {}, opaque: true } },
      x: { "/": { entries: {}, xattrs: { "trusted.overlay.opaque": "y", "trusted.overlay.redirect": "/etc", "user.overlay.whiteout": "" } } },
    });
    expect(layer.marks(nodeAt(layer, "o"))).to.deep.equal({ opaque: true, redirect: undefined, metacopy: false, origin: undefined });
    expect(layer.marks(nodeAt(layer, "x"))).to.deep.equal({ opaque: false, redirect: undefined, metacopy: false, origin: undefined });
    expect(layer.listXattr(nodeAt(layer, "x"))).to.have.length(3);
    layer.close();
  });

  it("hands out the object itself as descriptor, and small bodies without one", () => {
    const { layer, objects } = layerOf({ big, copy: big, tiny: "t" });
    const [one, two, tiny] = ["big", "copy", "tiny"].map((name) => layer.open(nodeAt(layer, name)));
    const digest = digestOf(Buffer.from(big));
    const ino = fs.statSync(`${objects}/${digest.slice(0, 2)}/${digest.slice(2)}`).ino;
    expect([fs.fstatSync(one!.fd).ino, fs.fstatSync(two!.fd).ino, tiny!.fd]).to.deep.equal([ino, ino, -1]);
    for (const backing of [one, two, tiny]) backing!.close();
    layer.close();
  });

  it("leaves out links that only a chain can follow", () => {
    const { layer } = layerOf({ lower: { "/": { link: "/in/another/layer" } }, here: "x" });
    expect(treeOf(layer)).to.deep.equal({ here: "x" });
    expect(layer.lookup(layer.root, n("lower"))).to.equal(undefined);
    layer.close();
  });

  it("maps ids, those in ACLs too, and shows what is no ACL as it is", () => {
    const acl = (uid: number): Buffer => {
      const bytes = Buffer.alloc(12);
      bytes.writeUInt32LE(2, 0);
      bytes.writeUInt16LE(2, 4);
      bytes.writeUInt32LE(uid, 8);
      return bytes;
    };
    const uids = [{ onDisk: 0, presented: 1000, length: 10 }];
    const { layer } = layerOf({ f: { "/": { content: "", uid: 3, gid: 3, xattrs: { "system.posix_acl_access": acl(4), "system.posix_acl_default": "rubbish" } } }, g: { "/": { content: "", uid: 11 } } }, { ids: { uids } });
    const f = nodeAt(layer, "f");
    expect(layer.attr(f)).to.include({ uid: 1003, gid: 3 });
    expect(layer.attr(nodeAt(layer, "g"))).to.include({ uid: 65534 });
    expect(Buffer.from(layer.getXattr(f, "system.posix_acl_access")!).equals(acl(1004))).to.equal(true);
    expect(Buffer.from(layer.getXattr(f, "system.posix_acl_default")!).toString()).to.equal("rubbish");
    layer.close();
  });

  it("gives copies of extended attributes, which nobody's changes reach", () => {
    const { layer } = layerOf({ f: { "/": { content: "", xattrs: { "user.a": "value" } } } });
    layer.getXattr(nodeAt(layer, "f"), "user.a")!.fill(0);
    expect(Buffer.from(layer.getXattr(nodeAt(layer, "f"), "user.a")!).toString()).to.equal("value");
    layer.close();
  });

  describe("whose objects were changed behind its back", () => {
    const place = (objects: string): string => `${objects}/${digestOf(Buffer.from(big)).slice(0, 2)}/${digestOf(Buffer.from(big)).slice(2)}`;

    it("answers EIO for a missing object and one of another size, and says which", () => {
      const said: string[] = [];
      const { layer, objects } = layerOf({ big }, { onDamage: (message) => said.push(message) });
      fs.appendFileSync(place(objects), "more");
      expect(codeOf(() => layer.open(nodeAt(layer, "big")))).to.equal("EIO");
      fs.rmSync(place(objects));
      expect(codeOf(() => layer.open(nodeAt(layer, "big")))).to.equal("EIO");
      expect(said.map((message) => message.replace(digestOf(Buffer.from(big)), "BIG"))).to.deep.equal([`expected object BIG to be of ${big.length} bytes, found ${big.length + 4}`, "object BIG is missing"]);
      layer.close();
    });

    it("answers EIO for other content of the same size when it verifies, and only then", () => {
      const { layer, objects } = layerOf({ big });
      const verifying = new IndexedLayer(indexOf({ big }, newFolder()), objects, () => undefined, { verify: true });
      verifying.open(nodeAt(verifying, "big")).close();
      fs.writeFileSync(place(objects), big.toUpperCase());
      // Each object is looked at once.
      verifying.open(nodeAt(verifying, "big")).close();
      expect(contentOf(layer, nodeAt(layer, "big"))).to.equal(big.toUpperCase());
      const anew = new IndexedLayer(indexOf({ big }, newFolder()), objects, () => undefined, { verify: true });
      expect(codeOf(() => anew.open(nodeAt(anew, "big")))).to.equal("EIO");
      for (const opened of [layer, verifying, anew]) opened.close();
    });

    it("does not follow a symbolic link in the place of an object", () => {
      const { layer, objects } = layerOf({ big });
      fs.rmSync(place(objects));
      fs.symlinkSync("/etc/passwd", place(objects));
      expect(codeOf(() => layer.open(nodeAt(layer, "big")))).to.equal("ELOOP");
      layer.close();
    });
  });

  it("shows names, attributes, listings, links, attributes and small bodies through the merged view without a call of the addon", () => {
    const { layer } = layerOf({ etc: { hosts: "1", long: "a longer body" }, link: entry({ target: "etc/hosts" }), x: entry({ content: "", xattrs: { "user.a": "1" } }) });
    const tree = new Overlay(undefined, [layer]);
    const calls: string[] = [];
    const addon = native as unknown as Record<string, (...args: unknown[]) => unknown>;
    const real = { ...addon };
    for (const [name, call] of Object.entries(real)) {
      if (typeof call !== "function") continue;
      addon[name] = (...args) => {
        calls.push(name);
        return call(...args);
      };
    }
    try {
      const etc = tree.lookup(tree.root, n("etc"))!;
      const hosts = tree.lookup(etc, n("hosts"))!;
      for (const node of [tree.root, etc, hosts, tree.lookup(etc, n("long"))!]) tree.getAttr(node);
      expect(tree.lookup(etc, n("none"))).to.equal(undefined);
      expect(tree.openDir(etc).map(({ name }) => name as string)).to.include.members(["hosts", "long"]);
      expect(tree.readlink(tree.lookup(tree.root, n("link"))!)).to.equal("etc/hosts");
      const x = tree.lookup(tree.root, n("x"))!;
      expect([tree.listXattr(x), tree.getXattr(x, "user.a")?.length, tree.getXattr(hosts, "security.capability")]).to.deep.equal([["user.a"], 1, undefined]);
      const file = tree.open(hosts, O_RDONLY) as OpenFile;
      const body = Buffer.alloc(4);
      expect([file.read(body, 0), body[0]]).to.deep.equal([1, 0x31]);
      void file.close();
      expect(calls).to.deep.equal([]);
      void (tree.open(tree.lookup(etc, n("long"))!, O_RDONLY) as OpenFile).close();
      expect(calls).to.include("open");
    } finally {
      Object.assign(addon, real);
      tree.close();
    }
  });

  it("refuses nodes of other layers", () => {
    const { layer } = layerOf({ f: "x" });
    const { layer: other } = layerOf({ f: "x", d: { e: "y" }, dev: { "/": { type: "char", rdev: makedev(1, 3) } } });
    expect(codeOf(() => layer.attr(nodeAt(other, "d/e")))).to.equal("ESTALE");
    layer.close();
    other.close();
  });
});
