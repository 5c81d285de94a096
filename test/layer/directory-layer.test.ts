import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { expect } from "chai";
import { O_RDONLY, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, makedev } from "../../lib/base/mode.js";
import type { Name } from "../../lib/base/name.js";
import { DescriptorCache } from "../../lib/layer/descriptor-cache.js";
import { DirectoryLayer } from "../../lib/layer/directory-layer.js";
import type { LayerNode } from "../../lib/layer/layer.js";
import { directoryLayer, memoryLayer, openLayer } from "../../lib/layer/description.js";
import { entry, whiteout } from "../../lib/layer/tree-description.js";
import type { TreeDescription } from "../../lib/layer/tree-description.js";
import { native } from "../../lib/sys/binding.js";
import { AT_FDCWD, O_DIRECTORY } from "../../lib/sys/flags.js";
import { codeOf, contentOf, describeAsRoot, n, nodeAt, removeFolder, temporaryFolder, treeOf, writeTree } from "./disk-world.js";

describeAsRoot("a directory layer (needs root: devices, owners, mounts)", () => {
  let folder: string;
  const opened: DirectoryLayer[] = [];
  const open = (...args: Parameters<typeof DirectoryLayer.open>): DirectoryLayer => {
    const layer = DirectoryLayer.open(...args);
    opened.push(layer);
    return layer;
  };
  const written = (tree: TreeDescription): string => {
    writeTree(folder, tree);
    return folder;
  };
  beforeEach(() => {
    folder = temporaryFolder();
  });
  afterEach(() => {
    for (const layer of opened.splice(0)) layer.close();
    removeFolder(folder);
  });

  describe("its root", () => {
    it("may be relative, a symbolic link, or a descriptor", () => {
      mkdirSync(`${folder}/real`);
      writeTree(`${folder}/real`, { f: "1" });
      symlinkSync("real", `${folder}/link`);
      const before = process.cwd();
      process.chdir(folder);
      try {
        const relative = open("real");
        const fd = native.open(AT_FDCWD, folder + "/real", O_RDONLY | O_DIRECTORY, 0, 0);
        const given = open(fd);
        native.close(fd);
        const linked = open("link");
        process.chdir("/");
        for (const layer of [relative, given, linked]) expect(treeOf(layer)).to.deep.equal({ f: "1" });
      } finally {
        process.chdir(before);
      }
    });

    it("must be there, and a directory", () => {
      writeFileSync(`${folder}/f`, "");
      expect(codeOf(() => DirectoryLayer.open(`${folder}/none`))).to.equal("ENOENT");
      expect(codeOf(() => DirectoryLayer.open(`${folder}/f`))).to.equal("ENOTDIR");
      expect(codeOf(() => DirectoryLayer.open(`${folder}/f\0`))).to.equal("EINVAL");
    });
  });

  it("reads all dialects of whiteout and opaque at once", () => {
    const layer = open(written({
      d: {
        "a": whiteout, ".wh.b": "", ".wh..wh.plnk": {}, ".wh.": "", ".wh.real": "", "real": "stays",
        "c": entry({ content: "", xattrs: { "trusted.overlay.whiteout": "y" } }),
      },
      x: entry({ entries: { c: entry({ content: "", xattrs: { "user.overlay.whiteout": "y" } }), e: "" }, xattrs: { "user.overlay.opaque": "x" } }),
      o1: entry({ entries: {}, xattrs: { "trusted.overlay.opaque": "y" } }),
      o2: entry({ entries: {}, xattrs: { "user.overlay.opaque": "y" } }),
      o3: entry({ entries: {}, xattrs: { "user.fuseoverlayfs.opaque": "y" } }),
      o4: { ".wh..wh..opq": "", "f": "1" },
    }));
    expect(treeOf(layer)).to.deep.equal({
      d: { a: "(whiteout)", b: "(whiteout)", c: "", real: "stays" },
      x: { c: "(whiteout)", e: "" },
      o1: { "(opaque)": "" },
      o2: { "(opaque)": "" },
      o3: { "(opaque)": "" },
      o4: { "(opaque)": "", "f": "1" },
    });
    const d = nodeAt(layer, "d");
    for (const name of ["a", "b", ".wh.b", ".wh.", ".wh..wh.plnk"]) expect(layer.lookup(d, n(name)), name).to.equal(undefined);
    expect(layer.lookup(nodeAt(layer, "x"), n("c"))).to.equal(undefined);
    const hidden = (dir: string): string[] => ["a", "b", "c", "e", "real", ".wh.plnk", ".wh.b", "none"].filter((name) => layer.hides(nodeAt(layer, dir), n(name)));
    expect([hidden("d"), hidden("x"), hidden("o1")]).to.deep.equal([["a", "b"], ["c"], []]);
  });

  it("ignores redirects and metacopy where it was told to", () => {
    const tree = { f: entry({ content: "", metacopy: true, redirect: "/x" }) };
    const layer = open(written(tree), { honour: { redirect: false, metacopy: false } });
    expect(layer.marks(nodeAt(layer, "f"))).to.deep.equal({ opaque: false, redirect: undefined, metacopy: false, origin: undefined });
  });

  it("reaches what lies deeper than PATH_MAX, with few descriptors", () => {
    const fd = native.open(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0, 0);
    const name = "d".repeat(200);
    let dir = fd;
    for (let depth = 0; depth < 300; depth++) {
      native.mkdir(dir, name, 0o755);
      const next = native.open(dir, name, O_RDONLY | O_DIRECTORY, 0, 0);
      native.close(dir);
      dir = next;
    }
    native.mknod(dir, "bottom", S_IFREG | 0o644, 0);
    native.close(dir);
    const descriptors = new DescriptorCache(64);
    const layer = open(folder, { descriptors });
    const chain: LayerNode[] = [layer.root];
    for (let depth = 0; depth < 300; depth++) chain.push(layer.lookup(chain.at(-1)!, name as Name)!);
    expect(descriptors.size).to.be.at.most(64);
    expect(layer.list(chain[1]!)).to.have.length(1);
    expect(contentOf(layer, layer.lookup(chain.at(-1)!, n("bottom"))!)).to.equal("");
    expect(layer.list(chain[300]!).map((found) => found.name)).to.deep.equal(["bottom"]);
    execFileSync("rm", ["-rf", folder]);
  });

  it("keeps names that are not UTF-8", () => {
    const fd = native.open(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0, 0);
    const names = ["\xff\xfe", "\xe9t\xe9", "a\x01b", "\xff".repeat(255)];
    for (const name of names) native.mknod(fd, name, S_IFREG | 0o644, 0);
    native.close(fd);
    const layer = open(folder);
    expect(layer.list(layer.root).map((found) => found.name).sort()).to.deep.equal([...names].sort());
    for (const name of names) expect(layer.lookup(layer.root, name as Name)).to.not.equal(undefined);
  });

  it("is read without leaving a trace, not even an access time", () => {
    const layer = open(written({ d: { f: "content", l: entry({ target: "f" }) } }));
    for (const path of ["d", "d/f", "d/l"]) execFileSync("touch", ["-h", "-a", "-d", "2001-01-01", `${folder}/${path}`]);
    const before = execFileSync("stat", ["-c", "%n %x %y %z", `${folder}/d`, `${folder}/d/f`, `${folder}/d/l`]).toString();
    treeOf(layer);
    contentOf(layer, nodeAt(layer, "d/f"));
    expect(execFileSync("stat", ["-c", "%n %x %y %z", `${folder}/d`, `${folder}/d/f`, `${folder}/d/l`]).toString()).to.equal(before);
  });

  it("shows what a mount inside covers, never what it holds", () => {
    written({ m: { under: "1" }, n: "2" });
    execFileSync("mount", ["-t", "tmpfs", "none", `${folder}/m`]);
    try {
      writeFileSync(`${folder}/m/secret`, "not ours");
      const layer = open(folder);
      expect(treeOf(layer)).to.deep.equal({ m: { under: "1" }, n: "2" });
    } finally {
      execFileSync("umount", [`${folder}/m`]);
    }
  });

  it("follows no symbolic link inside", () => {
    const layer = open(written({ l: entry({ target: "/etc" }), up: entry({ target: ".." }) }));
    for (const name of ["l", "up"]) {
      const link = nodeAt(layer, name);
      expect(link.type).to.equal(S_IFLNK);
      expect(codeOf(() => layer.lookup(link, n("passwd")))).to.equal("ENOTDIR");
    }
  });

  it("presents ids through its map, in ACLs too", () => {
    const acl = Buffer.from("0200000001000600ffffffff02000600e903000004000400ffffffff10000600ffffffff20000400ffffffff", "hex");
    const layer = open(written({ f: entry({ content: "", uid: 1000, gid: 1001, xattrs: { "system.posix_acl_access": acl } }) }), {
      ids: { uids: [{ onDisk: 1000, presented: 0, length: 10 }], gids: [{ onDisk: 1000, presented: 500, length: 10 }] },
    });
    expect(layer.attr(nodeAt(layer, "f"))).to.include({ uid: 0, gid: 501 });
    expect(Buffer.from(layer.getXattr(nodeAt(layer, "f"), "system.posix_acl_access")!).readUInt32LE(16)).to.equal(1);
  });

  it("shows owners, modes and types kept in xattrs, once its root says so", () => {
    const key = "user.containers.override_stat";
    const tree = {
      "/": {
        xattrs: { [key]: "0:0:0755" },
        entries: {
          f: entry({ content: "x", xattrs: { [key]: "5:6:04711" } }),
          dev: entry({ content: "", xattrs: { [key]: "0:6:0660:char-1-3" } }),
          pipe: entry({ content: "", xattrs: { [key]: "7:8:0600:pipe" } }),
          link: entry({ content: "target/of/link", xattrs: { [key]: "1:1:0777:symlink" } }),
          gone: entry({ content: "", xattrs: { [key]: "0:0:00:char-0-0" } }),
          cap: entry({ content: "", xattrs: { [key]: "0:0:0755", "user.containers.override_security.capability": "c" } }),
          none: entry({ content: "", uid: 9 }),
        },
      },
    } as unknown as TreeDescription;
    const layer = open(written(tree));
    expect(layer.attr(nodeAt(layer, "f"))).to.include({ uid: 5, gid: 6, mode: S_IFREG | 0o4711 });
    expect(layer.attr(nodeAt(layer, "dev"))).to.include({ uid: 0, gid: 6, mode: S_IFCHR | 0o660, rdev: makedev(1, 3) });
    expect(layer.attr(nodeAt(layer, "pipe"))).to.include({ uid: 7, mode: S_IFIFO | 0o600 });
    expect(layer.readlink(nodeAt(layer, "link"))).to.equal("target/of/link");
    expect(layer.attr(nodeAt(layer, "none")).uid).to.equal(9);
    expect(layer.listXattr(nodeAt(layer, "f"))).to.deep.equal([]);
    expect(layer.listXattr(nodeAt(layer, "cap"))).to.deep.equal(["security.capability"]);
    expect(layer.lookup(layer.root, n("gone"))).to.equal(undefined);
    const types = Object.fromEntries(layer.list(layer.root).map((found) => [found.name, found.whiteout ? "whiteout" : found.type]));
    expect(types).to.deep.equal({ f: S_IFREG, dev: S_IFCHR, pipe: S_IFIFO, link: S_IFLNK, gone: "whiteout", cap: S_IFREG, none: S_IFREG });
  });

  it("works for an ordinary user, who may not clone mounts", () => {
    written({ d: { f: "1", m: {} }, closed: entry({ content: "2", mode: 0o600 }), deep: entry({ entries: { x: "3" }, mode: 0o711 }) });
    execFileSync("chmod", ["755", folder]);
    execFileSync("mount", ["-t", "tmpfs", "none", `${folder}/d/m`]);
    try {
      writeFileSync(`${folder}/d/m/secret`, "not ours");
      const under = statSync(`${folder}/d`).ino;
      process.seteuid!(12345);
      try {
        const layer = open(folder);
        expect(contentOf(layer, nodeAt(layer, "d/f"))).to.equal("1");
        expect(codeOf(() => layer.open(nodeAt(layer, "closed")))).to.equal("EACCES");
        expect(contentOf(layer, nodeAt(layer, "deep/x"))).to.equal("3");
        expect(codeOf(() => layer.list(nodeAt(layer, "deep")))).to.equal("EACCES");
        const mountpoint = nodeAt(layer, "d/m");
        expect(mountpoint.type).to.equal(S_IFDIR);
        expect(layer.list(mountpoint)).to.deep.equal([]);
        expect(layer.lookup(mountpoint, n("secret"))).to.equal(undefined);
        expect(layer.attr(mountpoint).ino).to.equal(layer.list(nodeAt(layer, "d")).find((found) => found.name === "m")!.ino);
        expect(layer.attr(nodeAt(layer, "d")).ino).to.equal(under);
      } finally {
        process.seteuid!(0);
      }
    } finally {
      execFileSync("umount", [`${folder}/d/m`]);
    }
  });

  it("lets go of every descriptor when it is closed", () => {
    const descriptors = new DescriptorCache();
    const layer = DirectoryLayer.open(written({ a: { b: { c: "1" } } }), { descriptors });
    treeOf(layer);
    expect(descriptors.size).to.be.greaterThan(0);
    layer.close();
    layer.close();
    expect(descriptors.size).to.equal(0);
  });

  it("says ESTALE when a directory went away under it, and does not crash", () => {
    const layer = open(written({ a: { b: "1" } }), { descriptors: new DescriptorCache() });
    const a = nodeAt(layer, "a");
    rmSync(`${folder}/a`, { recursive: true });
    expect(["ENOENT", "ESTALE"]).to.include(codeOf(() => layer.list(a)));
  });
});

describe("layer descriptions", () => {
  it("survive structuredClone, and open as what they say", () => {
    const folder = temporaryFolder();
    try {
      writeTree(folder, { f: "disk" });
      for (const [description, shown] of [[directoryLayer(folder), "disk"], [memoryLayer({ f: Buffer.from("memory"), w: whiteout }), "memory"]] as const) {
        const layer = openLayer(structuredClone(description));
        expect(contentOf(layer, nodeAt(layer, "f"))).to.equal(shown);
        layer.close();
      }
    } finally {
      removeFolder(folder);
    }
  });

  it("refuse options that do not exist", () => {
    expect(codeOf(() => directoryLayer("/x", { honor: {} } as object))).to.equal("EINVAL");
    expect(codeOf(() => memoryLayer({}, { name: "x" } as object))).to.equal("EINVAL");
  });
});
