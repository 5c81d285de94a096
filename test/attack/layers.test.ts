/**
 * Hostile layers: what somebody who owns files in a layer, or packed it, may not do through marks, overrides and devices (SECURITY.md).
 * The layers are directories, because in these everything can be written that a tar can bring.
 */
import { execFileSync } from "node:child_process";
import { chownSync, mkdirSync } from "node:fs";
import { expect } from "chai";
import { makedev } from "../../lib/base/mode.js";
import { memoryLayer, directoryLayer, directoryUpper } from "../../lib/layer/description.js";
import type { DirectoryDescriptionOptions } from "../../lib/layer/description.js";
import { parseOverride } from "../../lib/layer/stat-override.js";
import { entry, type EntryDescription, type TreeDescription } from "../../lib/layer/tree-description.js";
import { overlay } from "../../lib/mount.js";
import type { Overlay } from "../../lib/overlay/overlay.js";
import { codeOf, describeAsRoot, removeFolder, temporaryFolder, writeTree } from "../layer/disk-world.js";
import { at, contentOf, n, treeOf } from "../helpers/worlds.js";

const STRANGER = 1000;

describeAsRoot("a hostile layer (needs root: owners, devices, trusted xattrs)", () => {
  let folder: string;
  const opened: Overlay[] = [];
  beforeEach(() => void (folder = temporaryFolder()));
  afterEach(() => {
    for (const tree of opened.splice(0)) tree.close();
    removeFolder(folder);
  });

  /** A directory in the folder, written from a description. */
  function written(name: string, tree: TreeDescription, prefix = "trusted"): string {
    mkdirSync(`${folder}/${name}`);
    writeTree(`${folder}/${name}`, tree, "device", prefix);
    return `${folder}/${name}`;
  }
  function stacked(top: string, secret: string, options: DirectoryDescriptionOptions = {}): Overlay {
    const tree = overlay({ lowers: [directoryLayer(top, options), directoryLayer(secret, options)] });
    opened.push(tree);
    return tree;
  }
  const secret: TreeDescription = { root: { key: entry({ content: "secret", mode: 0o600 }) }, etc: { shadow: entry({ content: "secret", mode: 0o600 }) } };
  /** A file of a stranger's, of the secret's size, that says its data is the secret's; and a directory that says it is root's. */
  const thief: TreeDescription = {
    stolen: entry({ content: "......", metacopy: true, redirect: "/root/key", uid: STRANGER }),
    etc: { shadow: entry({ content: "......", metacopy: true, uid: STRANGER }) },
    way: entry({ entries: {}, redirect: "/root", uid: STRANGER }),
  };

  it("shows nothing of a lower layer through marks that a file's owner may set", () => {
    const tree = stacked(written("top", thief, "user"), written("secret", secret));
    expect(contentOf(tree, at(tree, "stolen"))).to.equal("......");
    expect(contentOf(tree, at(tree, "etc/shadow"))).to.equal("......");
    expect(treeOf(tree, at(tree, "way"))).to.deep.equal({});
  });

  it("may redirect in trusted.*, which only root writes, or in user.* where that is asked for", () => {
    const trusted = stacked(written("top", thief), written("secret", secret));
    expect(contentOf(trusted, at(trusted, "stolen"))).to.equal("secret");
    const asked = stacked(written("top2", thief, "user"), `${folder}/secret`, { honour: { userXattrs: true } });
    expect(contentOf(asked, at(asked, "stolen"))).to.equal("secret");
    expect(treeOf(asked, at(asked, "way"))).to.deep.equal({ key: "secret" });
  });

  it("shows nothing through an upper's user.* marks either, unless the upper is written with them", () => {
    written("secret", secret);
    for (const prefix of ["trusted", "user"] as const) {
      const upper = written(prefix, { "/": { entries: thief, xattrs: { "user.overlay.impure": "y", "trusted.overlay.impure": "y" } } } as unknown as TreeDescription, "user");
      const tree = overlay({ lowers: [directoryLayer(`${folder}/secret`)], upper: directoryUpper(upper, { xattrPrefix: prefix }) });
      expect(contentOf(tree, at(tree, "stolen")), prefix).to.equal(prefix === "user" ? "secret" : "......");
      tree.close();
    }
  });

  it("cannot make its files root's by an override, where its owner is not root", () => {
    for (const owner of [STRANGER, 0]) {
      const layer = written(`of${owner}`, { suid: entry({ content: "#!/bin/sh", mode: 0o755, uid: STRANGER, xattrs: { "user.containers.override_stat": "0:0:04755:file" } }) });
      execFileSync("setfattr", ["-n", "user.containers.override_stat", "-v", "0:0:0755", layer]);
      chownSync(layer, owner, owner);
      const tree = overlay({ lowers: [directoryLayer(layer)] });
      opened.push(tree);
      const { uid, mode } = tree.getAttr(at(tree, "suid"));
      // A layer of root's may say so: container engines keep owners like this.
      expect({ uid, mode }, `layer of user ${owner}`).to.deep.equal(owner === 0 ? { uid: 0, mode: 0o104755 } : { uid: STRANGER, mode: 0o100755 });
    }
  });

  it("gets EIO for an override that calls a device, a pipe or a directory a file, and nothing is opened", () => {
    const key = "security.fuseoverlayfs.override_stat";
    const asFile = { [key]: "0:0:0666:file" };
    const layer = written("layer", {
      "/": {
        entries: {
          memory: entry({ type: "char", rdev: makedev(1, 1), xattrs: asFile }), pipe: entry({ type: "fifo", xattrs: asFile }), dir: entry({ entries: {}, xattrs: asFile }),
          fine: entry({ content: "x", xattrs: { [key]: "5:6:0644:symlink" } }), asDir: entry({ content: "x", xattrs: { [key]: "0:0:0755:dir" } }),
        },
        xattrs: { [key]: "0:0:0755" },
      },
    } as unknown as TreeDescription);
    const tree = overlay({ lowers: [directoryLayer(layer)] });
    opened.push(tree);
    for (const name of ["memory", "pipe", "dir", "asDir"]) expect(codeOf(() => tree.lookup(tree.root, n(name))), name).to.equal("EIO");
    expect(tree.readlink(at(tree, "fine"))).to.equal("x");
  });

  it("gets EIO for an override of ids and devices that no object can have", () => {
    for (const value of ["4294967295:0:0644", "0:9999999999:0644", "0:0:0644:char-4096-1", "0:0:0644:block-1-1048576"]) expect(codeOf(() => parseOverride(value)), value).to.equal("EIO");
    expect(parseOverride("4294967294:1:0644")).to.include({ uid: 4294967294 });
  });

  it("has its devices opened by nobody here, even when a file becomes one between look and open", () => {
    const layer = written("layer", { file: "harmless" });
    const tree = overlay({ lowers: [directoryLayer(layer)] });
    opened.push(tree);
    const node = at(tree, "file");
    execFileSync("sh", ["-c", `rm ${layer}/file; mknod ${layer}/file c 1 5`]); // /dev/zero
    expect(codeOf(() => tree.open(node, 0))).to.equal("EACCES");
  });

  it("costs a bounded number of steps when redirects in it multiply", () => {
    const depth = 60;
    const path = `/${"d/".repeat(depth)}d`;
    const layer = (): TreeDescription => {
      let inner: EntryDescription = entry({ entries: {}, redirect: path });
      for (let i = 0; i < depth; i++) inner = entry({ entries: { d: inner }, redirect: path });
      return { d: inner };
    };
    const tree = overlay({ lowers: Array.from({ length: 8 }, () => memoryLayer(layer())) });
    opened.push(tree);
    expect(codeOf(() => treeOf(tree))).to.equal("ELOOP");
  });

  it("does not become what it says by an escaped key in another mount", () => {
    const layer = written("layer", { f: entry({ content: "x", xattrs: { "user.containers.override_security.capability": "c", "user.mime": "t" } }) });
    const upper = written("upper", {});
    const tree = overlay({ lowers: [directoryLayer(layer)], upper: directoryUpper(upper) });
    opened.push(tree);
    const file = at(tree, "f");
    expect(tree.listXattr(file)).to.deep.equal(["user.mime"]);
    expect(codeOf(() => void tree.setXattr(file, "user.containers.override_security.capability", Buffer.from("c")))).to.equal("EPERM");
  });
});
