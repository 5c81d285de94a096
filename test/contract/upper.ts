/** What every UpperLayer does: run by each implementation. `reopen` gives the same tree as a fresh mount would see it, where that exists. */
import { expect } from "chai";
import type { Attr } from "../../lib/base/attr.js";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK, makedev } from "../../lib/base/mode.js";
import type { LayerNode } from "../../lib/layer/layer.js";
import { entry, whiteout } from "../../lib/layer/tree-description.js";
import type { TreeDescription } from "../../lib/layer/tree-description.js";
import { MemoryLayer } from "../../lib/layer/memory-layer.js";
import type { UpperLayer } from "../../lib/layer/upper.js";
import type { Caller } from "../../lib/vfs.js";
import { codeOf, contentOf, n, nodeAt, treeOf } from "../layer/disk-world.js";

export interface UpperUnderTest {
  readonly open: (tree: TreeDescription) => UpperLayer;
  /** Opens what a closed upper left behind; undefined where nothing is left. */
  readonly reopen?: () => UpperLayer;
  /** Keeps marks: redirect, metacopy, origin. */
  readonly marks: boolean;
  /** Owners of symbolic links can be kept. */
  readonly linkOwners: boolean;
  /** ACLs are applied by the filesystem itself. */
  readonly acls: boolean;
  /** Any xattr namespace can be written. */
  readonly trusted: boolean;
}

export const user: Caller = { uid: 1000, gid: 100, pid: 1, umask: 0o022 };
export const free = { overWhiteout: false, hidesLower: false };
const over = { overWhiteout: true, hidesLower: true };
const plain = { exchange: false, leaveWhiteout: false, overWhiteout: false };

export function upperContract(title: string, subject: UpperUnderTest): void {
  describe(`${title} as an upper`, () => {
    const opened: UpperLayer[] = [];
    const upperOf = (tree: TreeDescription = {}): UpperLayer => {
      const upper = subject.open(tree);
      opened.push(upper);
      return upper;
    };
    /** The tree, and the same tree once more as the next mount sees it. */
    const expectTree = (upper: UpperLayer, tree: object): void => {
      expect(treeOf(upper)).to.deep.equal(tree);
      if (subject.reopen === undefined) return;
      upper.close();
      opened.splice(opened.indexOf(upper), 1);
      const again = subject.reopen();
      opened.push(again);
      expect(treeOf(again), "after a remount").to.deep.equal(tree);
    };
    afterEach(() => {
      for (const upper of opened.splice(0)) upper.close();
    });

    describe("create", () => {
      it("makes every kind of object with the caller's ids and umask", () => {
        const upper = upperOf();
        const kinds: [string, number, object?][] = [
          ["file", S_IFREG | 0o666], ["dir", S_IFDIR | 0o777], ["pipe", S_IFIFO | 0o666], ["socket", S_IFSOCK | 0o777],
          ["char", S_IFCHR | 0o666, { rdev: makedev(1, 3) }], ["block", S_IFBLK | 0o600, { rdev: makedev(7, 300) }],
        ];
        for (const [name, mode, more] of kinds) {
          const node = upper.create(upper.root, n(name), { mode, ...more }, user, free);
          expect(upper.attr(node), name).to.include({ mode: mode & ~0o022, uid: 1000, gid: 100, ...more });
          expect(upper.lookup(upper.root, n(name))).to.equal(node);
          expect(node.type).to.equal(mode & 0o170000);
        }
        expect(upper.attr(nodeAt(upper, "dir")).nlink).to.equal(2);
        expect(upper.list(upper.root).map((found) => found.name).sort()).to.deep.equal(["block", "char", "dir", "file", "pipe", "socket"]);
        for (const found of upper.list(upper.root)) expect(found.type, found.name).to.equal(kinds.find(([name]) => name === found.name)![1] & 0o170000);
      });

      it("makes symbolic links with their targets, also long ones and those that lead nowhere", () => {
        const upper = upperOf();
        for (const target of ["a", "/x/y", "../..", "t".repeat(4095), "ü".normalize()]) {
          const latin1 = Buffer.from(target).toString("latin1").slice(0, 4095);
          const node = upper.create(upper.root, n(`l${target.length}`), { mode: S_IFLNK | 0o777, target: latin1 }, user, free);
          expect(upper.readlink(node)).to.equal(latin1);
          if (subject.linkOwners) expect(upper.attr(node)).to.include({ uid: 1000, gid: 100 });
          expect(upper.attr(node).mode).to.equal(S_IFLNK | 0o777);
          upper.remove(upper.root, n(`l${target.length}`), false);
        }
      });

      it("keeps setuid and setgid bits through the change of owner", () => {
        const upper = upperOf();
        const node = upper.create(upper.root, n("su"), { mode: S_IFREG | 0o6755 }, { ...user, umask: 0 }, free);
        expect(upper.attr(node).mode).to.equal(S_IFREG | 0o6755);
      });

      it("hands a setgid directory's group down, and to directories the bit", () => {
        const upper = upperOf({ shared: entry({ entries: {}, mode: 0o2775, gid: 50 }) });
        const shared = nodeAt(upper, "shared");
        for (const place of [free, over]) {
          const suffix = place === over ? "2" : "";
          if (place === over) for (const name of ["f2", "d2"]) upper.whiteout(shared, n(name));
          const file = upper.create(shared, n(`f${suffix}`), { mode: S_IFREG | 0o644 }, user, place);
          const dir = upper.create(shared, n(`d${suffix}`), { mode: S_IFDIR | 0o755 }, user, place);
          expect(upper.attr(file)).to.include({ mode: S_IFREG | 0o644, uid: 1000, gid: 50 });
          expect(upper.attr(dir)).to.include({ mode: S_IFDIR | 0o2755, uid: 1000, gid: 50 });
        }
      });

      it("applies the directory's default ACL in place of the umask", function () {
        if (!subject.acls) this.skip();
        const upper = upperOf({ d: {} });
        const d = nodeAt(upper, "d");
        const acl = aclOf([1, 7, 0], [2, 6, 42], [4, 5, 0], [16, 6, 0], [32, 4, 0]);
        upper.setXattr(d, "system.posix_acl_default", acl);
        upper.whiteout(d, n("f2"));
        upper.whiteout(d, n("d2"));
        for (const [suffix, place] of [["1", free], ["2", over]] as const) {
          const file = upper.create(d, n(`f${suffix}`), { mode: S_IFREG | 0o666 }, user, place);
          expect(upper.attr(file).mode, `f${suffix}`).to.equal(S_IFREG | 0o664);
          expect([...upper.getXattr(file, "system.posix_acl_access")!]).to.deep.equal([...aclOf([1, 6, 0], [2, 6, 42], [4, 5, 0], [16, 6, 0], [32, 4, 0])]);
          const dir = upper.create(d, n(`d${suffix}`), { mode: S_IFDIR | 0o700 }, user, place);
          expect(upper.attr(dir).mode, `d${suffix}`).to.equal(S_IFDIR | 0o700);
          expect([...upper.getXattr(dir, "system.posix_acl_default")!]).to.deep.equal([...acl]);
        }
        const unnamed = upper.createUnnamed(d, 0o660, user);
        expect(upper.attr(unnamed).mode).to.equal(S_IFREG | 0o660);
      });

      it("refuses a name that is taken, reserved names and devices that would be whiteouts", () => {
        const upper = upperOf({ f: "1" });
        const make = (name: string, mode: number, rdev = 0): string => codeOf(() => upper.create(upper.root, n(name), { mode, rdev }, user, free));
        expect(make("f", S_IFREG | 0o644)).to.equal("EEXIST");
        expect(make("f", S_IFDIR | 0o755)).to.equal("EEXIST");
        expect(make(".wh.x", S_IFREG | 0o644)).to.equal("EINVAL");
        expect(make(".wh..wh..opq", S_IFREG | 0o644)).to.equal("EINVAL");
        expect(make("c", S_IFCHR | 0o644)).to.equal("EPERM");
        expectTree(upper, { f: "1" });
      });

      it("replaces a whiteout in one step, and makes a directory there opaque", () => {
        const upper = upperOf({ d: { f: whiteout, dir: whiteout, l: whiteout } });
        const d = nodeAt(upper, "d");
        upper.create(d, n("f"), { mode: S_IFREG | 0o644 }, user, over);
        upper.create(d, n("l"), { mode: S_IFLNK | 0o777, target: "t" }, user, over);
        const dir = upper.create(d, n("dir"), { mode: S_IFDIR | 0o755 }, user, over);
        expect(upper.attr(dir)).to.include({ mode: S_IFDIR | 0o755, uid: 1000, gid: 100 });
        expect(upper.marks(dir).opaque).to.equal(true);
        expectTree(upper, { d: { dir: { "(opaque)": "" }, f: "", l: "-> t" } });
      });

      it("makes a directory opaque where it hides something, also without a whiteout", () => {
        const upper = upperOf();
        upper.create(upper.root, n("d"), { mode: S_IFDIR | 0o755 }, user, { overWhiteout: false, hidesLower: true });
        upper.create(upper.root, n("e"), { mode: S_IFDIR | 0o755 }, user, free);
        expectTree(upper, { d: { "(opaque)": "" }, e: {} });
      });

      it("touches the directory's times", () => {
        const upper = upperOf({ d: entry({ entries: {}, mtime: 1000 }) });
        upper.create(nodeAt(upper, "d"), n("f"), { mode: S_IFREG | 0o644 }, user, free);
        expect(upper.attr(nodeAt(upper, "d")).mtimeSec).to.be.greaterThan(1000);
      });

      it("makes a file without a name, that may get one", () => {
        const upper = upperOf({ d: {} });
        const file = upper.createUnnamed(nodeAt(upper, "d"), 0o666, user);
        expect(upper.attr(file)).to.include({ mode: S_IFREG | 0o644, nlink: 0, uid: 1000, gid: 100 });
        writeTo(upper, file, "unnamed");
        expect(contentOf(upper, file)).to.equal("unnamed");
        upper.link(file, nodeAt(upper, "d"), n("named"), free);
        expect(upper.attr(file).nlink).to.equal(1);
        expect(nodeAt(upper, "d/named")).to.equal(file);
        upper.release(upper.createUnnamed(upper.root, 0o600, user));
        expectTree(upper, { d: { named: "unnamed" } });
      });
    });

    describe("data", () => {
      it("writes, extends, truncates and reads back", () => {
        const upper = upperOf({ f: "0123456789" });
        const f = nodeAt(upper, "f");
        const backing = upper.openWritable(f);
        expect(backing.write(Buffer.from("ab"), 3)).to.equal(2);
        expect(backing.write(Buffer.from("end"), 12)).to.equal(3);
        backing.close();
        expect(contentOf(upper, f)).to.equal("012ab56789\0\0end");
        upper.setAttr(f, { size: 4 });
        expect(contentOf(upper, f)).to.equal("012a");
        upper.setAttr(f, { size: 6 });
        expect(contentOf(upper, f)).to.equal("012a\0\0");
        expect(codeOf(() => upper.openWritable(upper.root))).to.equal("EISDIR");
      });

      it("keeps holes, and finds them", () => {
        const upper = upperOf({ f: "" });
        const f = nodeAt(upper, "f");
        const backing = upper.openWritable(f);
        backing.write(Buffer.from("x"), 10 << 20);
        expect(upper.attr(f).blocks * 512).to.be.lessThan(1 << 20);
        const data = backing.seek(0, 3);
        expect(data).to.be.greaterThan(9 << 20);
        expect(backing.seek(0, 4)).to.equal(0);
        backing.write(Buffer.alloc(256 << 10, 1), 0);
        backing.allocate(3, 64 << 10, 64 << 10);
        expect(backing.seek(0, 4)).to.equal(64 << 10);
        expect(backing.seek(64 << 10, 3)).to.equal(128 << 10);
        backing.allocate(0, 0, 11 << 20);
        expect(upper.attr(f).size).to.equal(11 << 20);
        backing.allocate(1, 0, 12 << 20);
        expect(upper.attr(f).size).to.equal(11 << 20);
        backing.close();
      });

      it("serves open files after their last name went, until they are released", () => {
        const upper = upperOf({ d: { f: "content" } });
        const d = nodeAt(upper, "d");
        const f = nodeAt(upper, "d/f");
        const early = upper.open(f);
        upper.remove(d, n("f"), true);
        expect(upper.attr(f)).to.include({ nlink: 0, size: 7 });
        expect(contentOf(upper, f)).to.equal("content");
        writeTo(upper, f, "CON");
        upper.setAttr(f, { mode: 0o600, size: 5 });
        upper.setXattr(f, "user.k", Buffer.from("v"));
        expect([...upper.getXattr(f, "user.k")!]).to.deep.equal([..."v"].map((c) => c.charCodeAt(0)));
        expect(upper.attr(f).mode).to.equal(S_IFREG | 0o600);
        const into = Buffer.alloc(9);
        expect(early.read(into, 0)).to.equal(5);
        early.close();
        expect(contentOf(upper, f)).to.equal("CONte");
        upper.create(d, n("f"), { mode: S_IFREG | 0o644 }, user, over);
        expect(nodeAt(upper, "d/f")).to.not.equal(f);
        upper.release(f);
        expectTree(upper, { d: { f: "" } });
      });

      it("opens files that their permission bits close to everybody", () => {
        const upper = upperOf();
        const f = upper.create(upper.root, n("f"), { mode: S_IFREG | 0o000 }, user, free);
        writeTo(upper, f, "x");
        expect(contentOf(upper, f)).to.equal("x");
        expect(upper.attr(f).mode).to.equal(S_IFREG);
      });

      it("syncs without complaint", async () => {
        const upper = upperOf({ d: { f: "1" } });
        const backing = upper.openWritable(nodeAt(upper, "d/f"));
        const synced = [backing.sync(true), backing.sync(false), upper.syncDir(nodeAt(upper, "d")), upper.sync()];
        backing.close();
        await Promise.all(synced);
      });
    });

    describe("setAttr", () => {
      it("changes mode, owner and times, each alone", () => {
        const upper = upperOf({ f: entry({ content: "1", mode: 0o644, uid: 1, gid: 2, mtime: 1000 }) });
        const f = nodeAt(upper, "f");
        upper.setAttr(f, { mode: 0o1604 });
        upper.setAttr(f, { uid: 11 });
        upper.setAttr(f, { gid: 12 });
        upper.setAttr(f, { atime: { sec: 5, nsec: 6 } });
        expect(upper.attr(f)).to.include({ mode: S_IFREG | 0o1604, uid: 11, gid: 12, mtimeSec: 1000, atimeSec: 5, atimeNsec: 6 });
        upper.setAttr(f, { mtime: { sec: 2 ** 31 + 5, nsec: 999999999 } });
        expect(upper.attr(f)).to.include({ mtimeSec: 2 ** 31 + 5, mtimeNsec: 999999999, atimeSec: 5 });
        upper.setAttr(f, { atime: "now", mtime: "now" });
        expect(Math.abs(upper.attr(f).mtimeSec - Date.now() / 1000)).to.be.lessThan(10);
      });

      it("changes the owner and times of a symbolic link itself", () => {
        const upper = upperOf({ l: entry({ target: "f" }), f: "1" });
        const l = nodeAt(upper, "l");
        upper.setAttr(l, { uid: 3, gid: 4 });
        upper.setAttr(l, { mtime: { sec: 9, nsec: 0 } });
        if (subject.linkOwners) expect(upper.attr(l)).to.include({ uid: 3, gid: 4, mtimeSec: 9 });
        expect(upper.attr(nodeAt(upper, "f"))).to.include({ uid: 0, gid: 0 });
        if (subject.linkOwners) expect(codeOf(() => upper.setAttr(l, { mode: 0o600 }))).to.equal("EOPNOTSUPP");
      });

      it("drops setuid, setgid and capabilities when asked to", function () {
        if (!subject.trusted) this.skip();
        const upper = upperOf({ f: entry({ content: "", mode: 0o6755 }), g: entry({ content: "", mode: 0o2644 }) });
        const f = nodeAt(upper, "f");
        upper.setXattr(f, "security.capability", capability);
        upper.setAttr(f, { killPrivileges: true });
        expect(upper.attr(f).mode).to.equal(S_IFREG | 0o755);
        expect(upper.getXattr(f, "security.capability")).to.equal(undefined);
        upper.setAttr(nodeAt(upper, "g"), { killPrivileges: true });
        expect(upper.attr(nodeAt(upper, "g")).mode, "without group execution the bit means locking").to.equal(S_IFREG | 0o2644);
      });

      it("refuses a size for what has none", () => {
        const upper = upperOf({ d: {}, p: entry({ type: "fifo" }) });
        expect(codeOf(() => upper.setAttr(nodeAt(upper, "d"), { size: 0 }))).to.equal("EISDIR");
        expect(codeOf(() => upper.setAttr(nodeAt(upper, "p"), { size: 0 }))).to.equal("EINVAL");
      });
    });

    describe("xattrs", () => {
      it("sets, replaces and removes, with all conditions", () => {
        const upper = upperOf({ f: "" });
        const f = nodeAt(upper, "f");
        const set = (value: string | undefined, only?: "create" | "replace"): string =>
          codeOf(() => upper.setXattr(f, "user.k", value === undefined ? undefined : Buffer.from(value), only));
        expect(set("1", "replace")).to.equal("ENODATA");
        expect(set(undefined)).to.equal("ENODATA");
        expect(set("1", "create")).to.equal("nothing");
        expect(set("2", "create")).to.equal("EEXIST");
        expect(set("3", "replace")).to.equal("nothing");
        expect(Buffer.from(upper.getXattr(f, "user.k")!).toString()).to.equal("3");
        expect(set("")).to.equal("nothing");
        expect(upper.getXattr(f, "user.k")!.length).to.equal(0);
        expect(upper.listXattr(f)).to.deep.equal(["user.k"]);
        expect(set(undefined)).to.equal("nothing");
        expect(upper.listXattr(f)).to.deep.equal([]);
      });

      it("lets users have keys that look like the overlay's own", function () {
        if (!subject.trusted) this.skip();
        const upper = upperOf({ d: {} });
        const d = nodeAt(upper, "d");
        for (const key of ["trusted.overlay.opaque", "user.overlay.opaque", "trusted.overlay.overlay.redirect"]) upper.setXattr(d, key, Buffer.from("y"));
        expect([...upper.listXattr(d)].sort()).to.deep.equal(["trusted.overlay.opaque", "trusted.overlay.overlay.redirect", "user.overlay.opaque"]);
        expect(upper.marks(d)).to.deep.equal({ opaque: false, redirect: undefined, metacopy: false, origin: undefined });
      });

      it("refuses keys that are private", () => {
        const upper = upperOf({ d: {} });
        expect(codeOf(() => upper.setXattr(nodeAt(upper, "d"), "user.fuseoverlayfs.opaque", Buffer.from("y")))).to.equal("EPERM");
        expect(codeOf(() => upper.setXattr(nodeAt(upper, "d"), "nonsense.key", Buffer.from("y")))).to.equal("EOPNOTSUPP");
      });
    });

    describe("link", () => {
      it("gives the same node one more name", () => {
        const upper = upperOf({ a: "1", d: {} });
        const a = nodeAt(upper, "a");
        upper.link(a, nodeAt(upper, "d"), n("b"), free);
        expect(nodeAt(upper, "d/b")).to.equal(a);
        expect(upper.attr(a).nlink).to.equal(2);
        upper.remove(upper.root, n("a"), false);
        expect(upper.attr(a).nlink).to.equal(1);
        expect(contentOf(upper, a)).to.equal("1");
        expectTree(upper, { d: { b: "1" } });
      });

      it("replaces a whiteout, and nothing else", () => {
        const upper = upperOf({ a: "1", b: whiteout, c: "2", d: {} });
        const a = nodeAt(upper, "a");
        upper.link(a, upper.root, n("b"), over);
        expect(codeOf(() => upper.link(a, upper.root, n("c"), free))).to.equal("EEXIST");
        expect(codeOf(() => upper.link(nodeAt(upper, "d"), upper.root, n("e"), free))).to.equal("EPERM");
        expect(codeOf(() => upper.link(a, upper.root, n(".wh.e"), free))).to.equal("EINVAL");
        expectTree(upper, { a: "1", b: "1", c: "2", d: {} });
      });
    });

    describe("remove", () => {
      it("takes names away, and leaves whiteouts where asked to", () => {
        const upper = upperOf({ a: "1", b: "2", l: entry({ target: "x" }), d: {}, e: {}, sub: { f: "3" } });
        upper.remove(upper.root, n("a"), false);
        upper.remove(upper.root, n("b"), true);
        upper.remove(upper.root, n("l"), true);
        upper.remove(upper.root, n("d"), false);
        upper.remove(upper.root, n("e"), true);
        expectTree(upper, { b: "(whiteout)", e: "(whiteout)", l: "(whiteout)", sub: { f: "3" } });
      });

      it("takes a directory away with the whiteouts in it", () => {
        const upper = upperOf({ d: { w: whiteout, v: whiteout }, e: { w: whiteout } });
        const d = nodeAt(upper, "d");
        upper.remove(upper.root, n("d"), true);
        upper.remove(upper.root, n("e"), false);
        expect(upper.attr(d).mode & 0o170000, "the node lives until its release").to.equal(S_IFDIR);
        upper.release(d);
        expectTree(upper, { d: "(whiteout)" });
      });

      it("refuses a directory with something real in it, and a name that is not there", () => {
        const upper = upperOf({ d: { w: whiteout, f: "1" } });
        expect(codeOf(() => upper.remove(upper.root, n("d"), true))).to.equal("ENOTEMPTY");
        expect(codeOf(() => upper.remove(upper.root, n("d"), false))).to.equal("ENOTEMPTY");
        expect(codeOf(() => upper.remove(upper.root, n("none"), true))).to.equal("ENOENT");
        expect(codeOf(() => upper.remove(nodeAt(upper, "d"), n("w"), true))).to.equal("ENOENT");
        expectTree(upper, { d: { f: "1", w: "(whiteout)" } });
      });
    });

    it("whites out a name it does not have, also twice", () => {
      const upper = upperOf({ d: {}, f: "1" });
      upper.whiteout(nodeAt(upper, "d"), n("x"));
      upper.whiteout(nodeAt(upper, "d"), n("x"));
      expect(codeOf(() => upper.whiteout(upper.root, n("f")))).to.equal("EEXIST");
      expectTree(upper, { d: { x: "(whiteout)" }, f: "1" });
    });

    describe("rename", () => {
      it("moves files and directories, within and between directories", () => {
        const upper = upperOf({ a: "1", d: { e: { f: "2" } }, t: {} });
        const [a, e] = [nodeAt(upper, "a"), nodeAt(upper, "d/e")];
        upper.rename(upper.root, n("a"), upper.root, n("b"), plain);
        upper.rename(nodeAt(upper, "d"), n("e"), nodeAt(upper, "t"), n("g"), plain);
        expect(nodeAt(upper, "b")).to.equal(a);
        expect(nodeAt(upper, "t/g")).to.equal(e);
        expect(contentOf(upper, nodeAt(upper, "t/g/f"))).to.equal("2");
        upper.create(e, n("new"), { mode: S_IFREG | 0o644 }, user, free);
        expectTree(upper, { b: "1", d: {}, t: { g: { f: "2", new: "" } } });
      });

      it("replaces what was there, whose node lives on", () => {
        const upper = upperOf({ a: "new", b: "old", d: {}, e: {} });
        const b = nodeAt(upper, "b");
        upper.rename(upper.root, n("a"), upper.root, n("b"), plain);
        expect(upper.attr(b).nlink).to.equal(0);
        expect(contentOf(upper, b)).to.equal("old");
        upper.rename(upper.root, n("d"), upper.root, n("e"), plain);
        upper.release(b);
        expectTree(upper, { b: "new", e: {} });
      });

      it("leaves a whiteout behind", () => {
        const upper = upperOf({ a: "1", d: { f: "2" }, b: "old", e: {}, s: {} });
        const leave = { ...plain, leaveWhiteout: true };
        upper.rename(upper.root, n("d"), nodeAt(upper, "s"), n("d2"), leave);
        upper.rename(upper.root, n("a"), upper.root, n("b"), leave);
        upper.rename(nodeAt(upper, "s"), n("d2"), upper.root, n("e"), leave);
        expectTree(upper, { a: "(whiteout)", b: "1", d: "(whiteout)", e: { f: "2" }, s: { d2: "(whiteout)" } });
      });

      it("goes over a whiteout, with and without leaving another", () => {
        const upper = upperOf({ a: "1", b: "2", d: { f: "3" }, e: { g: "4" }, w: { a: whiteout, b: whiteout, d: whiteout, e: whiteout } });
        const w = nodeAt(upper, "w");
        const how = { ...plain, overWhiteout: true };
        upper.rename(upper.root, n("a"), w, n("a"), how);
        upper.rename(upper.root, n("b"), w, n("b"), { ...how, leaveWhiteout: true });
        upper.rename(upper.root, n("d"), w, n("d"), how);
        upper.rename(upper.root, n("e"), w, n("e"), { ...how, leaveWhiteout: true });
        expectTree(upper, { b: "(whiteout)", e: "(whiteout)", w: { a: "1", b: "2", d: { f: "3" }, e: { g: "4" } } });
      });

      it("replaces a directory that holds only whiteouts", () => {
        const upper = upperOf({ d: { f: "1" }, e: { g: "2" }, x: { w: whiteout }, y: { w: whiteout, v: whiteout } });
        const x = nodeAt(upper, "x");
        upper.rename(upper.root, n("d"), upper.root, n("x"), plain);
        upper.rename(upper.root, n("e"), upper.root, n("y"), { ...plain, leaveWhiteout: true });
        expect(upper.attr(x).mode & 0o170000).to.equal(S_IFDIR);
        upper.release(x);
        expectTree(upper, { e: "(whiteout)", x: { f: "1" }, y: { g: "2" } });
      });

      it("exchanges two names of any kind", () => {
        const upper = upperOf({ a: "1", d: { f: "2" }, e: { g: "3" } });
        const [a, d] = [nodeAt(upper, "a"), nodeAt(upper, "d")];
        const how = { ...plain, exchange: true };
        upper.rename(upper.root, n("a"), upper.root, n("d"), how);
        expect([nodeAt(upper, "d"), nodeAt(upper, "a")]).to.deep.equal([a, d]);
        upper.rename(nodeAt(upper, "a"), n("f"), nodeAt(upper, "e"), n("g"), how);
        expectTree(upper, { a: { f: "3" }, d: "1", e: { g: "2" } });
      });

      it("refuses what rename(2) refuses, and changes nothing", () => {
        const upper = upperOf({ d: { e: {} }, f: "1", full: { x: "2", w: whiteout } });
        const move = (from: LayerNode, oldName: string, to: LayerNode, newName: string): string =>
          codeOf(() => upper.rename(from, n(oldName), to, n(newName), plain));
        expect(move(upper.root, "none", upper.root, "x")).to.equal("ENOENT");
        expect(move(upper.root, "d", upper.root, "f")).to.equal("ENOTDIR");
        expect(move(upper.root, "f", upper.root, "d")).to.equal("EISDIR");
        expect(move(upper.root, "d", upper.root, "full")).to.equal("ENOTEMPTY");
        expect(move(upper.root, "d", nodeAt(upper, "d/e"), "x")).to.equal("EINVAL");
        expect(move(upper.root, "f", upper.root, ".wh.f")).to.equal("EINVAL");
        expectTree(upper, { d: { e: {} }, f: "1", full: { w: "(whiteout)", x: "2" } });
      });

      it("does nothing between two names of one file", () => {
        const upper = upperOf({ a: "1", b: entry({ link: "/a" }) });
        upper.rename(upper.root, n("a"), upper.root, n("b"), plain);
        expectTree(upper, { a: "1", b: "1" });
      });
    });

    describe("copy-up", () => {
      const lowerFile = { file: entry({ content: "lower bytes", mode: 0o4751, uid: 5, gid: 6, mtime: { sec: 100, nsec: 42 }, xattrs: { "user.k": "v" } }) };

      it("publishes an object with its data, xattrs, owner, mode and times, and leaves the parent's times alone", async () => {
        const lower = new MemoryLayer(lowerFile);
        const upper = upperOf({ d: entry({ entries: {}, mtime: { sec: 77, nsec: 1 } }) });
        const d = nodeAt(upper, "d");
        const source = nodeAt(lower, "file");
        const attr = lower.attr(source);
        const staged = upper.stage(attr);
        expect(treeOf(upper)).to.deep.equal({ d: {} });
        await staged.copyFrom(lower.open(source), attr.size);
        staged.setXattr("user.k", Buffer.from("v"));
        staged.setOrigin(4711);
        const node = staged.publish(d, n("file"));
        expect(upper.attr(node)).to.include({ mode: S_IFREG | 0o4751, uid: 5, gid: 6, size: 11, mtimeSec: 100, mtimeNsec: 42, atimeSec: 100, nlink: 1 });
        expect(Buffer.from(upper.getXattr(node, "user.k")!).toString()).to.equal("v");
        if (subject.marks) expect(upper.marks(node).origin).to.equal(4711);
        expect(upper.attr(d)).to.include({ mtimeSec: 77, mtimeNsec: 1 });
        expect(nodeAt(upper, "d/file")).to.equal(node);
        expectTree(upper, { d: { file: "lower bytes" } });
      });

      it("publishes directories, links, devices and fifos", () => {
        const upper = upperOf();
        const kinds = { d: S_IFDIR | 0o1777, l: S_IFLNK | 0o777, p: S_IFIFO | 0o640, c: S_IFCHR | 0o600 };
        for (const [name, mode] of Object.entries(kinds)) {
          const attr = attrOf({ mode, uid: 9, gid: 8, mtimeSec: 55, rdev: name === "c" ? makedev(1, 3) : 0 });
          const node = upper.stage(attr, name === "l" ? "t/t" : undefined).publish(upper.root, n(name));
          expect(upper.attr(node), name).to.include({ mode, mtimeSec: 55, rdev: attr.rdev });
          if (name !== "l" || subject.linkOwners) expect(upper.attr(node), name).to.include({ uid: 9, gid: 8 });
        }
        expectTree(upper, { c: "(type 2)", d: {}, l: "-> t/t", p: "(type 1)" });
      });

      it("leaves nothing of what is discarded, nor of what cannot be published", async () => {
        const upper = upperOf({ taken: "1" });
        const staged = upper.stage(attrOf({ mode: S_IFREG | 0o644 }));
        await staged.copyFrom(bytes("abc"), 3);
        expect(codeOf(() => staged.publish(upper.root, n("taken")))).to.equal("EEXIST");
        staged.discard();
        upper.stage(attrOf({ mode: S_IFDIR | 0o755 })).discard();
        expectTree(upper, { taken: "1" });
      });

      it("publishes without a name for a file that was unlinked while open", async () => {
        const upper = upperOf();
        const staged = upper.stage(attrOf({ mode: S_IFREG | 0o600, mtimeSec: 3 }));
        await staged.copyFrom(bytes("open"), 4);
        const node = staged.publishUnnamed();
        expect(upper.attr(node)).to.include({ nlink: 0, size: 4, mtimeSec: 3, mode: S_IFREG | 0o600 });
        writeTo(upper, node, "OP");
        expect(contentOf(upper, node)).to.equal("OPen");
        upper.release(node);
        expectTree(upper, {});
      });

      it("keeps the data below for a while, and fills it in later without a change of times", async function () {
        if (!subject.marks) this.skip();
        const upper = upperOf({ d: {} });
        const staged = upper.stage(attrOf({ mode: S_IFREG | 0o755, size: 5000, mtimeSec: 9, mtimeNsec: 8 }));
        staged.setMetacopy("where/it/was".replaceAll("/", "-"));
        const node = staged.publish(nodeAt(upper, "d"), n("f"));
        expect(upper.marks(node)).to.include({ metacopy: true, redirect: "where-it-was" });
        expect(upper.attr(node)).to.include({ size: 5000, mtimeSec: 9 });
        upper.rename(nodeAt(upper, "d"), n("f"), upper.root, n("g"), plain);
        upper.setRedirect(node, "/d/f");
        expect(upper.marks(nodeAt(upper, "g"))).to.include({ metacopy: true, redirect: "/d/f" });
        await upper.fill(node, bytes("x".repeat(5000)), 5000);
        expect(upper.marks(node)).to.include({ metacopy: false, redirect: undefined });
        expect(upper.attr(node)).to.include({ size: 5000, mtimeSec: 9, mtimeNsec: 8, mode: S_IFREG | 0o755 });
        expectTree(upper, { d: {}, g: "x".repeat(5000) });
      });

      it("stays metadata-only when the data cannot be had", async function () {
        if (!subject.marks) this.skip();
        const upper = upperOf();
        const staged = upper.stage(attrOf({ mode: S_IFREG | 0o644, size: 100 }));
        staged.setMetacopy(undefined);
        const node = staged.publish(upper.root, n("f"));
        const broken = { ...bytes("x".repeat(50)), read: () => { throw new Error("bad sector"); } };
        let failure: unknown;
        try {
          await upper.fill(node, broken, 100);
        } catch (error) {
          failure = error;
        }
        expect(String(failure)).to.include("bad sector");
        expect(upper.marks(node).metacopy).to.equal(true);
        expect(upper.attr(node).size).to.equal(100);
      });

      it("copies large sparse data with its holes", async () => {
        const upper = upperOf();
        const size = 40 << 20;
        const lower = new MemoryLayer({ big: "" });
        const source = lower.open(nodeAt(lower, "big"));
        const piece = Buffer.alloc(1 << 20, 7);
        const sparse = {
          fd: -1,
          seek: (position: number, whence: 3 | 4): number => {
            const inData = position >= 30 << 20 && position < (31 << 20);
            if (whence === 3) return inData ? position : position < (30 << 20) ? 30 << 20 : size;
            return inData ? 31 << 20 : position;
          },
          read: (into: Uint8Array, position: number): number => {
            const count = Math.min(into.length, size - position);
            into.fill(0, 0, count);
            for (let i = 0; i < count; i++) if (position + i >= 30 << 20 && position + i < (31 << 20)) into[i] = 7;
            return count;
          },
          close: () => source.close(),
        };
        const staged = upper.stage(attrOf({ mode: S_IFREG | 0o644, size }));
        await staged.copyFrom(sparse, size);
        const node = staged.publish(upper.root, n("big"));
        expect(upper.attr(node).size).to.equal(size);
        expect(upper.attr(node).blocks * 512).to.be.lessThan(3 << 20);
        const copy = upper.open(node);
        const into = Buffer.alloc(1 << 20);
        copy.read(into, 30 << 20);
        expect(into.equals(piece)).to.equal(true);
        copy.close();
      });
    });

    describe("marks", () => {
      it("makes directories opaque and gives them redirects", function () {
        const upper = upperOf({ d: { w: whiteout }, e: {} });
        upper.setOpaque(nodeAt(upper, "e"));
        expect(upper.marks(nodeAt(upper, "e")).opaque).to.equal(true);
        if (!subject.marks) return;
        const d = nodeAt(upper, "d");
        upper.setRedirect(d, "/from/here");
        expect(upper.marks(d).redirect).to.equal("/from/here");
        upper.setRedirect(d, undefined);
        expect(upper.marks(d).redirect).to.equal(undefined);
        upper.setRedirect(d, "name");
        expect(upper.listXattr(d)).to.deep.equal([]);
      });

      it("makes a directory opaque that holds whiteouts, and shows nothing of them as files", () => {
        const upper = upperOf({ d: { w: whiteout, f: "1" } });
        upper.setOpaque(nodeAt(upper, "d"));
        const shown = treeOf(upper)["d"] as Record<string, unknown>;
        expect(shown["f"]).to.equal("1");
        expect(shown["(opaque)"]).to.equal("");
        expect([undefined, "(whiteout)"]).to.include(shown["w"]);
      });
    });

    it("says how much room there is", () => {
      const upper = upperOf();
      const room = upper.statfs();
      expect(room.blocks).to.be.greaterThan(0);
      expect(room.free).to.be.at.most(room.blocks);
    });
  });
}

/** An ACL from [tag, permissions, id] triples. */
function aclOf(...entries: readonly (readonly [number, number, number])[]): Uint8Array {
  const acl = Buffer.alloc(4 + 8 * entries.length, 0);
  acl.writeUInt32LE(2, 0);
  entries.forEach(([tag, permissions, id], i) => {
    acl.writeUInt16LE(tag, 4 + 8 * i);
    acl.writeUInt16LE(permissions, 6 + 8 * i);
    acl.writeUInt32LE(tag === 2 || tag === 8 ? id : 0xffffffff, 8 + 8 * i);
  });
  return acl;
}

/** vfs_cap_data, revision 2: CAP_NET_RAW permitted and effective. */
const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");

function writeTo(upper: UpperLayer, file: LayerNode, text: string): void {
  const backing = upper.openWritable(file);
  backing.write(Buffer.from(text), 0);
  backing.close();
}

function bytes(text: string): ReturnType<MemoryLayer["open"]> {
  const layer = new MemoryLayer({ f: text });
  const backing = layer.open(nodeAt(layer, "f"));
  return { fd: -1, read: (into, position) => backing.read(into, position), seek: (position, whence) => backing.seek(position, whence), close: () => undefined };
}

function attrOf(some: Partial<Attr>): Attr {
  return {
    ino: 1, mode: S_IFREG | 0o644, nlink: 1, uid: 0, gid: 0, rdev: 0, size: 0, blocks: 0, atimeSec: 1, atimeNsec: 0, mtimeSec: 1, mtimeNsec: 0,
    ctimeSec: 1, ctimeNsec: 0, btimeSec: 0, btimeNsec: -1, ...some,
  };
}
