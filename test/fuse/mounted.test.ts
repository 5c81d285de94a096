import { expect } from "chai";
import { execFileSync, spawnSync } from "node:child_process";
import {
  appendFileSync, chmodSync, chownSync, closeSync, copyFileSync, existsSync, fstatSync, fsyncSync, ftruncateSync, linkSync, lstatSync, mkdirSync,
  openSync, opendirSync, readdirSync, readFileSync, readlinkSync, readSync, renameSync, rmdirSync, rmSync, statfsSync, statSync, symlinkSync,
  truncateSync, unlinkSync, writeFileSync, writeSync,
} from "node:fs";
import { join } from "node:path";
import { native } from "../../lib/sys/binding.js";
import { MountedTree } from "./mounted-tree.js";
import { rings } from "./rings.js";

const content = (path: string): string => readFileSync(path, "latin1");
const AT_FDCWD = -100;

const worlds = [
  { title: "passthrough", data: "passthrough", descriptors: true, late: false },
  { title: "passthrough asked for, files without descriptors", data: "passthrough", descriptors: false, late: false },
  { title: "cached", data: "cached", descriptors: true, late: false },
  { title: "cached, files without descriptors", data: "cached", descriptors: false, late: false },
  { title: "passthrough, answers that wait", data: "passthrough", descriptors: true, late: true },
  { title: "cached, answers that wait", data: "cached", descriptors: false, late: true },
  { title: "passthrough, through a ring", data: "passthrough", descriptors: true, late: false, channel: "uring" },
  { title: "cached, through a ring", data: "cached", descriptors: true, late: false, channel: "uring" },
  { title: "cached, through a ring, answers that wait", data: "cached", descriptors: false, late: true, channel: "uring" },
] as const;

for (const { title, ...world } of worlds) {
  describe(`a mount (${title})`, () => {
    let tree: MountedTree;
    const at = (path: string): string => join(tree.path, path);
    let restore: (() => void) | string = () => {};
    before(async function () {
      if ("channel" in world) restore = rings();
      if (typeof restore === "string") this.skip(); // no rings on this kernel, or not for us
      tree = await MountedTree.start({ ...world, files: { "a/b/c": "deep" } });
    });
    after(async () => {
      await tree?.close();
      if (typeof restore === "function") restore();
    });

    it("shows what the tree holds", () => {
      expect(readdirSync(at("a"))).to.deep.equal(["b"]);
      expect(content(at("a/b/c"))).to.equal("deep");
      expect(statfsSync(tree.path)).to.include({ bsize: 4096, blocks: 1000, bavail: 500, files: 400, type: 0x65735546 });
    });

    it("makes, reads, changes and removes a file", () => {
      const path = at("file");
      writeFileSync(path, "one");
      expect(content(path)).to.equal("one");
      appendFileSync(path, " two");
      expect(content(path)).to.equal("one two");
      writeFileSync(path, "3");
      expect(content(path)).to.equal("3");
      truncateSync(path, 5);
      expect(content(path)).to.equal("3\0\0\0\0");
      chmodSync(path, 0o640);
      chownSync(path, 12, 34);
      native.utimens(AT_FDCWD, path, -5, 0, 1, 250_000_000);
      const stat = statSync(path);
      expect(stat).to.include({ uid: 12, gid: 34, size: 5, mtimeMs: 1250, nlink: 1 });
      expect(stat.mode & 0o7777).to.equal(0o640);
      expect(stat.atimeMs).to.equal(-5000);
      unlinkSync(path);
      expect(existsSync(path)).to.equal(false);
    });

    it("moves large contents whole", () => {
      const bytes = Buffer.alloc(5_000_001, "0123456789abcdefg");
      writeFileSync(at("large"), bytes);
      expect(readFileSync(at("large")).equals(bytes)).to.equal(true);
      execFileSync("sh", ["-c", 'echo 3 > /proc/sys/vm/drop_caches || true']);
      expect(readFileSync(at("large")).equals(bytes)).to.equal(true);
      copyFileSync(at("large"), at("copy"));
      expect(readFileSync(at("copy")).equals(bytes)).to.equal(true);
      unlinkSync(at("large"));
      unlinkSync(at("copy"));
    });

    it("keeps an unlinked file for whoever has it open", () => {
      const fd = openSync(at("gone"), "w+");
      writeSync(fd, "still here");
      unlinkSync(at("gone"));
      const into = Buffer.alloc(20);
      expect(readSync(fd, into, 0, 20, 0)).to.equal(10);
      expect(fstatSync(fd)).to.include({ size: 10, nlink: 0 });
      writeSync(fd, "!", 10);
      ftruncateSync(fd, 4);
      fsyncSync(fd);
      expect(fstatSync(fd).size).to.equal(4);
      closeSync(fd);
    });

    it("lets two append to one file without losing a byte", () => {
      const one = openSync(at("log"), "a");
      const two = openSync(at("log"), "a");
      for (let i = 0; i < 20; i++) {
        writeSync(one, "1");
        writeSync(two, "2");
      }
      closeSync(one);
      closeSync(two);
      expect(content(at("log"))).to.equal("12".repeat(20));
      unlinkSync(at("log"));
    });

    it("opens a file for writing that its own mode forbids, when it makes it", () => {
      const fd = openSync(at("readonly"), "wx+", 0o444);
      writeSync(fd, "x");
      closeSync(fd);
      expect(content(at("readonly"))).to.equal("x");
      unlinkSync(at("readonly"));
    });

    it("has directories, links of both kinds, fifos and renames", () => {
      mkdirSync(at("d/e/f"), { recursive: true });
      writeFileSync(at("d/x"), "x");
      linkSync(at("d/x"), at("d/y"));
      symlinkSync("../d/x", at("d/s"));
      expect(native.mknod(AT_FDCWD, at("d/p"), 0o010600, 0)).to.equal(0);
      expect(statSync(at("d/x"))).to.include({ nlink: 2, ino: statSync(at("d/y")).ino });
      expect(readlinkSync(at("d/s"))).to.equal("../d/x");
      expect(lstatSync(at("d/s")).size).to.equal(6);
      expect(lstatSync(at("d/p")).isFIFO()).to.equal(true);
      renameSync(at("d/x"), at("d/e/x"));
      renameSync(at("d/e"), at("e"));
      expect(readdirSync(tree.path).sort()).to.deep.equal(["a", "d", "e"]);
      expect(content(at("e/x"))).to.equal("x");
      expect(native.rename(AT_FDCWD, at("e/x"), AT_FDCWD, at("d/y"), 1)).to.equal(-17);
      expect(native.rename(AT_FDCWD, at("e/f"), AT_FDCWD, at("d/y"), 2)).to.equal(0);
      expect(statSync(at("d/y")).isDirectory()).to.equal(true);
      expect(() => rmdirSync(at("d"))).to.throw().with.property("code", "ENOTEMPTY");
      rmSync(at("d"), { recursive: true });
      rmSync(at("e"), { recursive: true });
      expect(readdirSync(tree.path)).to.deep.equal(["a"]);
    });

    it("keeps extended attributes and says how long they are", () => {
      writeFileSync(at("x"), "");
      const into = Buffer.alloc(100);
      expect(native.getxattr(AT_FDCWD, at("x"), "user.none", into)).to.equal(-61);
      expect(native.setxattr(AT_FDCWD, at("x"), "user.key", Buffer.from("value"), 0)).to.equal(0);
      expect(native.setxattr(AT_FDCWD, at("x"), "user.key", Buffer.from("value"), 1)).to.equal(-17);
      expect(native.setxattr(AT_FDCWD, at("x"), "user.other", Buffer.from("value"), 2)).to.equal(-61);
      expect(native.getxattr(AT_FDCWD, at("x"), "user.key", into.subarray(0, 0))).to.equal(5);
      expect(native.getxattr(AT_FDCWD, at("x"), "user.key", into.subarray(0, 2))).to.equal(-34);
      expect(native.getxattr(AT_FDCWD, at("x"), "user.key", into)).to.equal(5);
      expect(into.toString("latin1", 0, 5)).to.equal("value");
      expect(native.listxattr(AT_FDCWD, at("x"), into.subarray(0, 0))).to.equal(9);
      expect(native.listxattr(AT_FDCWD, at("x"), into)).to.equal(9);
      expect(native.removexattr(AT_FDCWD, at("x"), "user.key")).to.equal(0);
      expect(native.listxattr(AT_FDCWD, at("x"), into)).to.equal(0);
      unlinkSync(at("x"));
    });

    it("makes files without a name and gives them one", () => {
      const fd = native.open(AT_FDCWD, tree.path, 0o20200000 | 2, 0o600, 0);
      expect(fd).to.be.greaterThan(0);
      writeSync(fd, "unnamed");
      expect(native.link(AT_FDCWD, `/proc/self/fd/${fd}`, AT_FDCWD, at("named"), 0x400)).to.equal(0);
      closeSync(fd);
      expect(content(at("named"))).to.equal("unnamed");
      unlinkSync(at("named"));
    });

    it("finds data and holes without losing what is not written yet", () => {
      const fd = openSync(at("seek"), "w+");
      writeSync(fd, "data");
      expect(native.lseek(fd, 0, 3)).to.equal(0);
      expect(native.lseek(fd, 0, 4)).to.equal(4);
      expect(native.lseek(fd, 10, 3)).to.equal(-6);
      closeSync(fd);
      unlinkSync(at("seek"));
    });

    it("ends setuid when another user writes or the owner changes", () => {
      writeFileSync(at("suid"), "x");
      for (const [what, act] of [
        ["write", () => spawnSync("sh", ["-c", 'printf y >> "$0"', at("suid")], { uid: 1234, gid: 1234 }).status],
        ["truncation", () => spawnSync("sh", ["-c", ': > "$0"', at("suid")], { uid: 1234, gid: 1234 }).status],
        ["chown", () => chownSync(at("suid"), 7, 7)],
      ] as const) {
        chmodSync(at("suid"), 0o6777);
        expect(act(), what).to.be.oneOf([0, undefined]);
        expect((statSync(at("suid")).mode & 0o7777).toString(8), what).to.equal("777");
      }
      unlinkSync(at("suid"));
    });

    it("applies the caller's umask and ids", () => {
      chmodSync(tree.path, 0o777);
      execFileSync("sh", ["-c", 'umask 027; : > "$0/mine"; mkdir "$0/dir"', tree.path], { uid: 1234, gid: 1235 });
      expect(statSync(at("mine"))).to.include({ uid: 1234, gid: 1235, mode: 0o100640 });
      expect(statSync(at("dir")).mode).to.equal(0o040750);
      unlinkSync(at("mine"));
      rmdirSync(at("dir"));
    });

    it("lists a directory that shrinks while it is read", () => {
      mkdirSync(at("shrinking"));
      for (let i = 0; i < 2000; i++) writeFileSync(at(`shrinking/${String(i).padEnd(60, "x")}`), "");
      const dir = opendirSync(at("shrinking"), { bufferSize: 8 });
      for (let entry = dir.readSync(); entry !== null; entry = dir.readSync()) unlinkSync(at(`shrinking/${entry.name}`));
      dir.closeSync();
      rmdirSync(at("shrinking"));
    });

    it("executes a program", () => {
      copyFileSync("/bin/true", at("program"));
      chmodSync(at("program"), 0o755);
      expect(spawnSync(at("program")).status).to.equal(0);
      unlinkSync(at("program"));
    });

    it("has logged nothing", async () => {
      const { logged } = await tree.state();
      expect(logged).to.deep.equal([]);
    });
  });
}
