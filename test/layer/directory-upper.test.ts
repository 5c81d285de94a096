import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { expect } from "chai";
import { O_RDONLY, O_RDWR, O_CREAT, S_IFDIR, S_IFREG } from "../../lib/base/mode.js";
import type { Name } from "../../lib/base/name.js";
import { DirectoryLayer } from "../../lib/layer/directory-layer.js";
import { DirectoryUpper } from "../../lib/layer/directory-upper.js";
import type { DirectoryUpperOptions } from "../../lib/layer/directory-upper.js";
import type { LayerNode } from "../../lib/layer/layer.js";
import { entry, whiteout } from "../../lib/layer/tree-description.js";
import type { TreeDescription } from "../../lib/layer/tree-description.js";
import { native } from "../../lib/sys/binding.js";
import { AT_FDCWD, O_DIRECTORY } from "../../lib/sys/flags.js";
import { setXattr } from "../../lib/sys/xattr.js";
import { codeOf, contentOf, describeAsRoot, n, nodeAt, temporaryFolder, treeOf, writeTree } from "./disk-world.js";

const root = { uid: 0, gid: 0, pid: 1, umask: 0o022 };
const free = { overWhiteout: false, hidesLower: false };
const plain = { exchange: false, leaveWhiteout: false, overWhiteout: false };

describeAsRoot("a directory upper (needs root: devices, owners, mounts)", () => {
  let folder: string;
  const opened: { close(): void }[] = [];
  const open = (tree: TreeDescription = {}, options: DirectoryUpperOptions = {}): DirectoryUpper => {
    if (!existsSync(`${folder}/upper`)) mkdirSync(`${folder}/upper`);
    if (!existsSync(`${folder}/workdir`)) mkdirSync(`${folder}/workdir`);
    writeTree(`${folder}/upper`, tree);
    const upper = DirectoryUpper.open(`${folder}/upper`, { workdir: `${folder}/workdir`, ...options });
    opened.push(upper);
    return upper;
  };
  beforeEach(() => {
    folder = temporaryFolder();
  });
  afterEach(() => {
    for (const each of opened.splice(0)) each.close();
    execFileSync("rm", ["-rf", folder]);
  });

  describe("its work directory", () => {
    it("stands beside the upper and goes with it, unless one was given", () => {
      mkdirSync(`${folder}/upper`);
      const upper = DirectoryUpper.open(`${folder}/upper/`);
      expect(readdirSync(folder).sort()).to.deep.equal(["upper", "upper.work"]);
      upper.remove(upper.root, upper.create(upper.root, n("f"), { mode: S_IFREG | 0o600 }, root, free) && n("f"), true);
      upper.close();
      upper.close();
      expect(readdirSync(folder)).to.deep.equal(["upper"]);
    });

    it("may be gone before the upper is closed", () => {
      const upper = open();
      execFileSync("rm", ["-rf", `${folder}/upper`, `${folder}/workdir`]);
      upper.close();
      expect(readdirSync(folder)).to.not.include("workdir");
    });

    it("keeps a second mount from the same directory, and says who has it", () => {
      open();
      let message = "";
      try {
        DirectoryUpper.open(`${folder}/upper`, { workdir: `${folder}/workdir` });
      } catch (error) {
        message = String(error);
      }
      expect(message).to.include("EBUSY").and.include(`by process ${process.pid}`);
      mkdirSync(`${folder}/other`);
      expect(codeOf(() => DirectoryUpper.open(`${folder}/upper`, { workdir: `${folder}/other` })), "the same upper").to.equal("EBUSY");
    });

    it("is not what somebody else has put where it would be", () => {
      for (const [path, workdir] of [["upper.work", undefined], ["upper.work/work", undefined], ["given/work", `${folder}/given`]] as const) {
        execFileSync("sh", ["-c", `mkdir -p upper ${path} && chown 1000 ${path}`], { cwd: folder });
        expect(codeOf(() => DirectoryUpper.open(`${folder}/upper`, workdir === undefined ? {} : { workdir })), path).to.equal("EPERM");
        execFileSync("sh", ["-c", "rm -r upper.work given 2>/dev/null; true"], { cwd: folder });
      }
      execFileSync("sh", ["-c", "mkdir -p else/work && touch else/work/precious && ln -s else upper.work"], { cwd: folder });
      expect(codeOf(() => DirectoryUpper.open(`${folder}/upper`))).to.equal("ENOTDIR");
      expect(readdirSync(`${folder}/else/work`)).to.deep.equal(["precious"]);
    });

    it("must be on the same filesystem, and apart from the upper", () => {
      mkdirSync(`${folder}/upper/in`, { recursive: true });
      const at = (workdir: string): string => codeOf(() => DirectoryUpper.open(`${folder}/upper`, { workdir }));
      expect(at("/dev/shm")).to.equal("EXDEV");
      expect(at(`${folder}/upper/in`)).to.equal("EINVAL");
      expect(at(`${folder}/upper`)).to.equal("EINVAL");
      expect(at(folder)).to.equal("EINVAL");
      expect(at(`${folder}/none`)).to.equal("ENOENT");
      expect(codeOf(() => DirectoryUpper.open(0))).to.equal("EINVAL");
    });

    it("is cleaned of what a crash left, whatever its permissions, without following links", () => {
      mkdirSync(`${folder}/workdir/work/left/a/b`, { recursive: true });
      mkdirSync(`${folder}/outside`);
      writeFileSync(`${folder}/outside/keep`, "1");
      writeTree(`${folder}/workdir/work/left/a/b`, { "f": "1", "l": entry({ target: `${folder}/outside` }), "w": whiteout });
      writeTree(`${folder}/workdir/work`, { "#0": "2", "spare-whiteout": whiteout, "out": entry({ target: `${folder}/outside` }) });
      execFileSync("chmod", ["000", `${folder}/workdir/work/left/a/b`, `${folder}/workdir/work/left/a`]);
      open();
      expect(readdirSync(`${folder}/workdir/work`)).to.deep.equal(["spare-whiteout"]);
      expect(readdirSync(`${folder}/outside`)).to.deep.equal(["keep"]);
    });

    it("is cleaned of trees deeper than any path", () => {
      mkdirSync(`${folder}/workdir/work`, { recursive: true });
      let dir = native.open(AT_FDCWD, `${folder}/workdir/work`, O_RDONLY | O_DIRECTORY, 0, 0);
      for (let depth = 0; depth < 2500; depth++) {
        native.mkdir(dir, "dd", 0o700);
        const next = native.open(dir, "dd", O_RDONLY | O_DIRECTORY, 0, 0);
        native.close(dir);
        dir = next;
      }
      native.close(dir);
      open();
      expect(readdirSync(`${folder}/workdir/work`)).to.deep.equal(["spare-whiteout"]);
    });

    it("remembers a volatile mount and refuses the next, until the mark is removed", async () => {
      const upper = open({}, { volatile: true });
      expect(upper.sync()).to.equal(undefined);
      expect(upper.syncDir(upper.root)).to.equal(undefined);
      upper.close();
      let message = "";
      try {
        open();
      } catch (error) {
        message = String(error);
      }
      expect(message).to.include(`remove ${folder}/workdir/work/incompat/volatile`);
      execFileSync("rmdir", [`${folder}/workdir/work/incompat/volatile`]);
      open();
    });
  });

  describe("on a full disk", () => {
    const fill = (path: string): void => {
      const fd = native.open(AT_FDCWD, `${path}/filler`, O_RDWR | O_CREAT, 0o600, 0);
      const piece = Buffer.alloc(1 << 20, 1);
      for (let size = piece.length, at = 0; size >= 512; ) {
        const written = native.pwrite(fd, piece, 0, size, at);
        if (written <= 0) size >>= 1;
        else at += written;
      }
      native.close(fd);
      for (let i = 0; ; i++) if (native.mknod(AT_FDCWD, `${path}/inode${i}`, S_IFREG, 0) < 0) break;
    };

    for (const spelling of ["device", "xattr", "dotwh"] as const) {
      it(`deletes files and directories and leaves ${spelling} whiteouts`, () => {
        execFileSync("truncate", ["-s", "4M", `${folder}/image`]);
        execFileSync("mkfs.ext4", ["-q", "-N", "64", "-O", "^has_journal", "-m", "0", `${folder}/image`]);
        mkdirSync(`${folder}/disk`);
        execFileSync("mount", ["-o", "loop", `${folder}/image`, `${folder}/disk`]);
        let upper: DirectoryUpper | undefined;
        try {
          mkdirSync(`${folder}/disk/upper`);
          mkdirSync(`${folder}/disk/workdir`);
          writeTree(`${folder}/disk/upper`, { f: "1", d: { w: whiteout }, m: "2", t: {} });
          upper = DirectoryUpper.open(`${folder}/disk/upper`, { workdir: `${folder}/disk/workdir`, whiteouts: spelling });
          if (spelling === "xattr") upper.whiteout(upper.root, n("first"));
          fill(`${folder}/disk`);
          expect(codeOf(() => upper!.create(upper!.root, n("new"), { mode: S_IFREG | 0o644 }, root, free))).to.equal("ENOSPC");
          upper.remove(upper.root, n("f"), true);
          upper.remove(upper.root, n("d"), true);
          upper.rename(upper.root, n("m"), nodeAt(upper, "t"), n("m2"), { ...plain, leaveWhiteout: true });
          const tree: Record<string, unknown> = treeOf(upper);
          delete tree["first"];
          expect(tree).to.deep.equal({ d: "(whiteout)", f: "(whiteout)", m: "(whiteout)", t: { m2: "2" } });
        } finally {
          upper?.close();
          execFileSync("umount", [`${folder}/disk`]);
        }
      });
    }

    it("leaves a file as it was when a copy-up or a fill does not fit", async () => {
      mkdirSync(`${folder}/disk`);
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=2M", "none", `${folder}/disk`]);
      writeFileSync(`${folder}/big`, Buffer.alloc(8 << 20, 1));
      const lower = DirectoryLayer.open(folder);
      let upper: DirectoryUpper | undefined;
      try {
        mkdirSync(`${folder}/disk/upper`);
        upper = DirectoryUpper.open(`${folder}/disk/upper`);
        const source = nodeAt(lower, "big");
        const attr = lower.attr(source);
        const backing = lower.open(source);
        const staged = upper.stage(attr);
        const codeFrom = async (act: () => void | Promise<void>): Promise<string> => {
          try {
            await act();
          } catch (error) {
            return String((error as { code?: unknown }).code);
          }
          return "nothing";
        };
        expect(await codeFrom(() => staged.copyFrom(backing, attr.size))).to.equal("ENOSPC");
        staged.discard();
        const meta = upper.stage(attr);
        meta.setMetacopy(undefined);
        const node = meta.publish(upper.root, n("big"));
        expect(await codeFrom(() => upper!.fill(node, backing, attr.size))).to.equal("ENOSPC");
        backing.close();
        expect(upper.marks(node).metacopy).to.equal(true);
        expect(upper.attr(node)).to.include({ size: 8 << 20, blocks: 0, mtimeSec: attr.mtimeSec, mtimeNsec: attr.mtimeNsec });
        expect(readdirSync(`${folder}/disk/upper.work/work`)).to.deep.equal(["spare-whiteout"]);
      } finally {
        upper?.close();
        lower.close();
        execFileSync("umount", [`${folder}/disk`]);
      }
    });
  });

  describe("copy-up from disk", () => {
    it("shares every block of a lower file, also the last one, where the filesystem has reflinks", function () {
      if (spawnSync("which", ["mkfs.xfs", "filefrag"]).status !== 0) this.skip();
      execFileSync("truncate", ["-s", "400M", `${folder}/image`]);
      execFileSync("mkfs.xfs", ["-q", "-m", "reflink=1", `${folder}/image`]);
      mkdirSync(`${folder}/disk`);
      if (spawnSync("mount", ["-o", "loop", `${folder}/image`, `${folder}/disk`]).status !== 0) this.skip(); // the kernel has no xfs
      let upper: DirectoryUpper | undefined;
      let lower: DirectoryLayer | undefined;
      try {
        writeTree(`${folder}/disk`, { lower: { f: "x".repeat(5000) }, upper: {} });
        execFileSync("sync", ["-f", `${folder}/disk`]);
        lower = DirectoryLayer.open(`${folder}/disk/lower`);
        upper = DirectoryUpper.open(`${folder}/disk/upper`);
        const source = nodeAt(lower, "f");
        const attr = lower.attr(source);
        for (const [name, size, shared] of [["whole", 5000, "8192"], ["part", 4096, "4096"]] as const) {
          const backing = lower.open(source);
          const staged = upper.stage(attr);
          expect(staged.copyFrom(backing, size)).to.equal(undefined);
          backing.close();
          staged.publish(upper.root, n(name));
          expect(contentOf(upper, nodeAt(upper, name))).to.equal("x".repeat(size));
          const extents = execFileSync("filefrag", ["-v", "-b1", `${folder}/disk/upper/${name}`], { encoding: "utf8" });
          expect(extents).to.match(new RegExp(` ${shared}:.*\\bshared\\b`));
        }
      } finally {
        upper?.close();
        lower?.close();
        execFileSync("umount", [`${folder}/disk`]);
      }
    });

    for (const [title, size, at] of [["small", 600 << 10, 300 << 10], ["large", 64 << 20, 50 << 20]] as const) {
      it(`keeps the holes of a ${title} file, its tail included`, async () => {
        mkdirSync(`${folder}/lower`);
        const fd = native.open(AT_FDCWD, `${folder}/lower/sparse`, O_RDWR | O_CREAT, 0o644, 0);
        native.ftruncate(fd, size);
        native.pwrite(fd, Buffer.from("data"), 0, 4, at);
        native.close(fd);
        const lower = DirectoryLayer.open(`${folder}/lower`);
        opened.push(lower);
        const upper = open();
        const source = nodeAt(lower, "sparse");
        const backing = lower.open(source);
        const staged = upper.stage(lower.attr(source));
        await staged.copyFrom(backing, size);
        backing.close();
        const node = staged.publish(upper.root, n("sparse"));
        expect(upper.attr(node).size).to.equal(size);
        expect(upper.attr(node).blocks).to.equal(lower.attr(source).blocks);
        execFileSync("cmp", [`${folder}/lower/sparse`, `${folder}/upper/sparse`]);
      });
    }

    it("carries capabilities and ACLs over the change of owner", async () => {
      const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");
      const acl = Buffer.from("0200000001000600ffffffff02000600e903000004000400ffffffff10000600ffffffff20000400ffffffff", "hex");
      const upper = open();
      const source = upper.create(upper.root, n("source"), { mode: S_IFREG | 0o755 }, root, free);
      const staged = upper.stage({ ...upper.attr(source), uid: 77, gid: 78, mode: S_IFREG | 0o4664 });
      staged.setXattr("security.capability", capability);
      staged.setXattr("system.posix_acl_access", acl);
      staged.setXattr("trusted.overlay.looks.private", Buffer.from("1"));
      const node = staged.publish(upper.root, n("copy"));
      expect(upper.attr(node)).to.include({ uid: 77, gid: 78, mode: S_IFREG | 0o4664 });
      expect(Buffer.from(upper.getXattr(node, "security.capability")!).equals(capability)).to.equal(true);
      expect(Buffer.from(upper.getXattr(node, "system.posix_acl_access")!).readUInt16LE(12 + 2)).to.equal(6);
      expect(upper.getXattr(node, "trusted.overlay.looks.private")).to.not.equal(undefined);
    });

    it("keeps capabilities and setuid when data is filled in", async () => {
      const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");
      mkdirSync(`${folder}/lower`);
      writeFileSync(`${folder}/lower/f`, "x".repeat(9000));
      const lower = DirectoryLayer.open(`${folder}/lower`);
      opened.push(lower);
      const upper = open();
      const staged = upper.stage({ ...lower.attr(nodeAt(lower, "f")), mode: S_IFREG | 0o4755 });
      staged.setXattr("security.capability", capability);
      staged.setMetacopy(undefined);
      const node = staged.publish(upper.root, n("f"));
      const backing = lower.open(nodeAt(lower, "f"));
      await upper.fill(node, backing, 9000);
      backing.close();
      expect(upper.attr(node).mode).to.equal(S_IFREG | 0o4755);
      expect(Buffer.from(upper.getXattr(node, "security.capability")!).equals(capability)).to.equal(true);
      expect(contentOf(upper, node)).to.equal("x".repeat(9000));
    });
  });

  it("works at any depth, also when an ancestor is renamed", () => {
    const upper = open();
    let dir: LayerNode = upper.root;
    const name = "d".repeat(250) as Name;
    for (let depth = 0; depth < 200; depth++) dir = upper.create(dir, name, { mode: S_IFDIR | 0o755 }, root, free);
    const file = upper.create(dir, n("f"), { mode: S_IFREG | 0o644 }, root, free);
    upper.rename(upper.root, name, upper.root, n("moved"), plain);
    const writer = upper.openWritable(file);
    writer.write(Buffer.from("deep"), 0);
    writer.close();
    upper.rename(dir, n("f"), upper.root, n("g"), { ...plain, leaveWhiteout: true });
    expect(contentOf(upper, nodeAt(upper, "g"))).to.equal("deep");
    expect(upper.list(dir).map((found) => [found.name, found.whiteout])).to.deep.equal([["f", true]]);
  });

  it("writes names that are not UTF-8, of 255 bytes, and hides them again", () => {
    const upper = open();
    for (const text of ["\xff\xfe", "\xe9", "z".repeat(255)]) {
      upper.create(upper.root, text as Name, { mode: S_IFREG | 0o644 }, root, free);
      upper.remove(upper.root, text as Name, true);
    }
    expect(upper.list(upper.root).every((found) => found.whiteout)).to.equal(true);
    expect(codeOf(() => upper.create(upper.root, "z".repeat(256) as Name, { mode: S_IFREG | 0o644 }, root, free))).to.equal("ENAMETOOLONG");
  });

  it("has no whiteout file for names that leave no room for its prefix, and says so", () => {
    const upper = open({ ["z".repeat(252)]: "1" }, { whiteouts: "dotwh" });
    expect(codeOf(() => upper.remove(upper.root, "z".repeat(252) as Name, true))).to.equal("ENAMETOOLONG");
    expect(treeOf(upper)).to.deep.equal({ ["z".repeat(252)]: "1" });
  });

  it("reads whiteouts of every spelling that others left, and replaces them", () => {
    const upper = open({ "d": { "a": whiteout, ".wh.b": "" } });
    const d = nodeAt(upper, "d");
    const over = { overWhiteout: true, hidesLower: true };
    for (const name of ["a", "b"]) upper.create(d, n(name), { mode: S_IFDIR | 0o755 }, root, over);
    expect(treeOf(upper)).to.deep.equal({ d: { a: { "(opaque)": "" }, b: { "(opaque)": "" } } });
    expect(readdirSync(`${folder}/upper/d`).sort()).to.deep.equal(["a", "b"]);
  });

  it("removes and moves a file that has a whiteout's xattr by accident: it is one only in a directory marked for that", () => {
    const upper = open({ d: { f: "", g: "" } });
    const d = nodeAt(upper, "d");
    for (const name of ["f", "g"]) setXattr(AT_FDCWD, `${folder}/upper/d/${name}`, "trusted.overlay.whiteout", Buffer.from("y"));
    expect(treeOf(upper)).to.deep.equal({ d: { f: "", g: "" } });
    upper.rename(d, n("g"), d, n("h"), plain);
    upper.remove(d, n("f"), false);
    expect(treeOf(upper)).to.deep.equal({ d: { h: "" } });
  });

  it("is what kernel overlayfs reads: whiteouts, opaque directories and redirects", () => {
    mkdirSync(`${folder}/lower`);
    writeTree(`${folder}/lower`, { a: "1", d: { x: "2", y: "3" }, e: { z: "4" }, keep: "5", dir: { in: "6" } });
    const upper = open();
    upper.whiteout(upper.root, n("a"));
    upper.create(upper.root, n("d"), { mode: S_IFDIR | 0o755 }, root, { overWhiteout: false, hidesLower: true });
    upper.create(nodeAt(upper, "d"), n("new"), { mode: S_IFREG | 0o644 }, root, free);
    const moved = upper.create(upper.root, n("dir"), { mode: S_IFDIR | 0o755 }, root, free);
    upper.setRedirect(moved, "/dir");
    upper.rename(upper.root, n("dir"), upper.root, n("renamed"), { ...plain, leaveWhiteout: true });
    const e = upper.create(upper.root, n("e"), { mode: S_IFDIR | 0o755 }, root, free);
    upper.whiteout(e, n("z"));
    upper.close();
    mkdirSync(`${folder}/merged`);
    const options = `lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/workdir,redirect_dir=on`;
    execFileSync("mount", ["-t", "overlay", "none", "-o", options, `${folder}/merged`]);
    try {
      const merged = DirectoryLayer.open(`${folder}/merged`);
      expect(treeOf(merged)).to.deep.equal({ d: { new: "" }, e: {}, keep: "5", renamed: { in: "6" } });
      merged.close();
    } finally {
      execFileSync("umount", [`${folder}/merged`]);
    }
  });

  it("works for an ordinary user, with what that user may do", async () => {
    mkdirSync(`${folder}/upper`);
    mkdirSync(`${folder}/lower`);
    writeTree(`${folder}/lower`, { f: entry({ content: "root's", mode: 0o4755 }) });
    execFileSync("chown", ["12345:12345", folder, `${folder}/upper`]);
    execFileSync("chmod", ["755", folder, `${folder}/lower`]);
    const lower = DirectoryLayer.open(`${folder}/lower`);
    opened.push(lower);
    process.setegid!(12345);
    process.seteuid!(12345);
    try {
      const me = { uid: 12345, gid: 12345, pid: 1, umask: 0o022 };
      const upper = DirectoryUpper.open(`${folder}/upper`);
      const git = upper.create(upper.root, n("object"), { mode: S_IFREG | 0o444 }, me, free);
      const writer = upper.openWritable(git);
      writer.write(Buffer.from("blob"), 0);
      writer.close();
      expect(upper.attr(git).mode).to.equal(S_IFREG | 0o444);
      const d = upper.create(upper.root, n("d"), { mode: S_IFDIR | 0o755 }, me, { overWhiteout: false, hidesLower: true });
      expect(upper.marks(d).opaque).to.equal(true);
      upper.remove(upper.root, n("object"), true);
      // What belongs to root cannot be given to root: it becomes the user's own, and is not setuid then.
      const source = nodeAt(lower, "f");
      const staged = upper.stage(lower.attr(source));
      const backing = lower.open(source);
      await staged.copyFrom(backing, lower.attr(source).size);
      backing.close();
      const copy = staged.publish(d, n("f"));
      expect(upper.attr(copy)).to.include({ uid: 12345, mode: S_IFREG | 0o755 });
      expect(codeOf(() => upper.setAttr(copy, { uid: 0 }))).to.equal("EPERM");
      expect(treeOf(upper)).to.deep.equal({ d: { "(opaque)": "", "f": "root's" }, object: "(whiteout)" });
      upper.close();
    } finally {
      process.seteuid!(0);
      process.setegid!(0);
    }
  });

  it("writes ids through its map", () => {
    const upper = open({}, { ids: { uids: [{ onDisk: 100000, presented: 0, length: 1000 }], gids: [{ onDisk: 100000, presented: 0, length: 1000 }] } });
    const f = upper.create(upper.root, n("f"), { mode: S_IFREG | 0o644 }, { uid: 5, gid: 6, pid: 1, umask: 0 }, free);
    expect(upper.attr(f)).to.include({ uid: 5, gid: 6 });
    expect(statSync(`${folder}/upper/f`)).to.include({ uid: 100005, gid: 100006 });
    upper.setAttr(f, { uid: 7 });
    expect(statSync(`${folder}/upper/f`).uid).to.equal(100007);
    expect(codeOf(() => upper.setAttr(f, { uid: 5000 }))).to.equal("EINVAL");
  });

  it("undoes a change of owner when the size that came with it cannot be had", () => {
    const upper = open({ f: entry({ content: "1", mode: 0o4755 }) });
    const f = nodeAt(upper, "f");
    expect(codeOf(() => upper.setAttr(f, { uid: 5, mode: 0o600, size: 2 ** 52 }))).to.equal("EFBIG");
    expect(upper.attr(f)).to.include({ uid: 0, mode: S_IFREG | 0o4755, size: 1 });
  });

  it("keeps the mode that an ACL stands for in the xattr too, and every file its own to use", () => {
    const acl = (...entries: [tag: number, permissions: number, id?: number][]): Buffer => {
      const bytes = Buffer.alloc(4 + 8 * entries.length);
      bytes.writeUInt32LE(2, 0);
      entries.forEach(([tag, permissions, id = 0xffffffff], i) => {
        bytes.writeUInt16LE(tag, 4 + 8 * i);
        bytes.writeUInt16LE(permissions, 6 + 8 * i);
        bytes.writeUInt32LE(id, 8 + 8 * i);
      });
      return bytes;
    };
    const key = "system.posix_acl_access";
    const upper = open({}, { xattrPermissions: 2 });
    const f = upper.create(upper.root, n("f"), { mode: S_IFREG | 0o4600 }, { uid: 5, gid: 6, pid: 1, umask: 0 }, free);
    upper.setXattr(f, key, acl([1, 7], [4, 5], [32, 5]));
    expect(upper.attr(f)).to.include({ uid: 5, gid: 6, mode: S_IFREG | 0o4755 });
    expect(upper.getXattr(f, key)).to.equal(undefined);
    upper.setXattr(f, key, acl([1, 0], [2, 6, 77], [4, 0], [16, 6], [32, 0]));
    expect(upper.attr(f).mode).to.equal(S_IFREG | 0o4060);
    expect(statSync(`${folder}/upper/f`).mode & 0o700).to.equal(0o600);
    upper.setAttr(f, { mode: 0o740 });
    expect(upper.getXattr(f, key)).to.deep.equal(acl([1, 7], [2, 6, 77], [4, 0], [16, 4], [32, 0]));
    upper.setXattr(f, key, acl([1, 6], [4, 4], [32, 4]));
    expect([upper.attr(f).mode, upper.getXattr(f, key)]).to.deep.equal([S_IFREG | 0o644, undefined]);
  });

  it("keeps owners in xattrs where asked to, and every file its own", () => {
    const upper = open({}, { xattrPermissions: 2 });
    const f = upper.create(upper.root, n("f"), { mode: S_IFREG | 0o4000 }, { uid: 5, gid: 6, pid: 1, umask: 0 }, free);
    const p = upper.create(upper.root, n("p"), { mode: 0o010600 }, { uid: 7, gid: 8, pid: 1, umask: 0 }, free);
    expect(upper.attr(f)).to.include({ uid: 5, gid: 6, mode: S_IFREG | 0o4000 });
    expect(lstatSync(`${folder}/upper/f`)).to.include({ uid: 0, gid: 0 });
    expect(lstatSync(`${folder}/upper/p`).isFile()).to.equal(true);
    expect(upper.attr(p).mode).to.equal(0o010600);
    const text = execFileSync("getfattr", ["-n", "user.containers.override_stat", "--only-values", `${folder}/upper/p`]).toString();
    expect(text).to.equal("7:8:0600:pipe");
    upper.setXattr(f, "security.capability", Buffer.from("anything"));
    expect(Buffer.from(upper.getXattr(f, "security.capability")!).toString()).to.equal("anything");
  });

  it("does not leak descriptors", () => {
    const count = (): number => readdirSync("/proc/self/fd").length;
    const before = count();
    const upper = open({ d: { f: "1", g: "2" } });
    const f = nodeAt(upper, "d/f");
    upper.remove(nodeAt(upper, "d"), n("f"), true);
    contentOf(upper, f);
    upper.release(f);
    const g = nodeAt(upper, "d/g");
    upper.remove(nodeAt(upper, "d"), n("g"), false);
    upper.createUnnamed(upper.root, 0o600, root);
    expect(upper.attr(g).nlink).to.equal(0);
    upper.close();
    expect(count()).to.equal(before);
  });
});
