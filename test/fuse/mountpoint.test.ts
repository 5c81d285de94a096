import { expect } from "chai";
import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FsError } from "../../lib/base/errors.js";
import { contextOptions, isMountFlag, kernelHasSelinux, mountFuse, probePassthrough, unmount } from "../../lib/fuse/mountpoint.js";
import { native } from "../../lib/sys/binding.js";
import { MountedTree } from "./mounted-tree.js";

const root = process.getuid?.() === 0;
const lineOf = (path: string): string => readFileSync("/proc/mounts", "latin1").split("\n").find((line) => line.includes(` ${path} `)) ?? "";

describe("mountFuse", () => {
  let path: string;
  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), "stratafs-fuse-"));
  });
  afterEach(() => {
    native.umount(path, 2);
    rmSync(path, { recursive: true, force: true });
  });

  it("refuses what is no directory, an unknown flag and an odd subtype", () => {
    const file = join(path, "file");
    writeFileSync(file, "");
    expect(() => mountFuse({ mountpoint: file, subtype: "t" })).to.throw(FsError).with.property("code", "ENOTDIR");
    expect(() => mountFuse({ mountpoint: join(path, "none"), subtype: "t" })).to.throw(FsError).with.property("code", "ENOENT");
    expect(() => mountFuse({ mountpoint: path, subtype: "t", flags: ["nosuch"] })).to.throw('mount option "nosuch" is not known');
    expect(() => mountFuse({ mountpoint: path, subtype: "a,b" })).to.throw("subtype");
    expect(["ro", "rw", "nodev", "lower"].map(isMountFlag)).to.deep.equal([true, true, true, false]);
  });

  it("gives contexts in quotes to mount(2) and as they are to fsconfig(2), and refuses what could be another option", () => {
    const contexts = { context: "u:r:t:s0:c1,c2", rootcontext: "u:r:root:s0" };
    expect(contextOptions(contexts, true)).to.deep.equal(['context="u:r:t:s0:c1,c2"', 'rootcontext="u:r:root:s0"']);
    expect(contextOptions(contexts, false)).to.deep.equal(["context=u:r:t:s0:c1,c2", "rootcontext=u:r:root:s0"]);
    expect(() => contextOptions({ context: 'a",allow_other,x="' }, true)).to.throw("no SELinux context");
  });

  it("refuses a context where the kernel has no SELinux", function () {
    if (!root || kernelHasSelinux()) this.skip(); // there the kernel decides
    expect(() => mountFuse({ mountpoint: path, subtype: "t", contexts: { context: "a:b:c" } })).to.throw(FsError).with.property("code", "EINVAL");
  });

  it("shows source, subtype and flags; an unmount removes the mount", async function () {
    if (!root) this.skip(); // mount(2) needs CAP_SYS_ADMIN
    const { fd, mountFd, via } = mountFuse({
      mountpoint: path, subtype: "stratafs-test", source: "a source", flags: ["ro", "nosuid", "nodev", "suid", "noatime"], allowOther: true, maxRead: 65536,
    });
    expect({ mountFd, via }).to.deep.equal({ mountFd: -1, via: "mount" });
    const line = lineOf(path);
    expect(line).to.match(/^a\\040source \S+ fuse\.stratafs-test ro,nodev,noatime,/).and.to.include("default_permissions,allow_other,max_read=65536");
    await unmount(path);
    expect(lineOf(path)).to.equal("");
    closeSync(fd);
    expect(await unmount(path).catch((error: FsError) => error.code)).to.equal("EINVAL");
  });

  it("makes a detached mount that can be attached", async function () {
    if (!root) this.skip(); // fsmount(2) needs CAP_SYS_ADMIN
    const { fd, mountFd } = mountFuse({ mountpoint: "", subtype: "stratafs-test", source: "x", flags: ["nodev", "dirsync"], detached: true });
    expect(mountFd).to.be.greaterThan(0);
    expect(native.moveMount(mountFd, -100, path)).to.equal(0);
    expect(lineOf(path)).to.match(/^x \S+ fuse\.stratafs-test rw,dirsync,nodev,/);
    closeSync(mountFd);
    await unmount(path, { lazy: true });
    closeSync(fd);
  });

  it("says that a dead mount is in the way", function () {
    if (!root) this.skip(); // mount(2) needs CAP_SYS_ADMIN
    closeSync(mountFuse({ mountpoint: path, subtype: "stratafs-test" }).fd);
    expect(() => mountFuse({ mountpoint: path, subtype: "stratafs-test" })).to.throw(FsError).with.property("code", "ENOTCONN");
  });
});

describe("a mount in use", () => {
  it("is EBUSY to unmount, and ends by itself when it was detached and the last user goes", async function () {
    if (!root) this.skip(); // mount(2) needs CAP_SYS_ADMIN
    const tree = await MountedTree.start({ data: "cached", descriptors: true, files: { file: "x" } });
    const fd = openSync(join(tree.path, "file"), "r+");
    expect(await unmount(tree.path).catch((error: FsError) => error.code)).to.equal("EBUSY");
    await unmount(tree.path, { lazy: true });
    closeSync(fd);
    await tree.ended();
  });

  it("writes what the kernel holds before its server ends", async function () {
    if (!root) this.skip(); // mount(2) needs CAP_SYS_ADMIN
    const tree = await MountedTree.start({ data: "cached", descriptors: true, sizesAtEnd: { file: 3_000_000 } });
    writeFileSync(join(tree.path, "file"), Buffer.alloc(3_000_000, 7));
    await tree.close();
  });

  it("can be taken away when its server has died", async function () {
    if (!root) this.skip(); // mount(2) needs CAP_SYS_ADMIN
    const tree = await MountedTree.start({ data: "cached", descriptors: false });
    const path = tree.path;
    await tree.kill();
    expect(lineOf(path)).to.equal("");
    rmdirSync(path);
  });
});

const openToAll = (path: string): boolean => (statSync(path).mode & 0o006) === 0o006;

describe("an ordinary user", () => {
  it("mounts through fusermount, in cached mode, for itself alone", async function () {
    if (!root || spawnSync("fusermount3", ["--version"]).status !== 0) this.skip(); // becomes another user; needs the helper
    const uid = 65534;
    if (!openToAll("/dev/fuse")) this.skip(); // distributions have it 0666, some bare machines do not
    if (spawnSync(process.execPath, ["-e", "require('fs').readdirSync(process.argv[1])", process.cwd()], { uid, gid: uid }).status !== 0) this.skip(); // the build is private
    const tree = await MountedTree.start({ data: "passthrough", descriptors: true, files: { file: "mine" }, allowOther: false, uid });
    try {
      expect(lineOf(tree.path)).to.include("fuse.stratafs-test rw,nosuid,nodev").and.include(`user_id=${uid}`);
      expect(() => statSync(tree.path)).to.throw().with.property("code", "EACCES");
      const read = (): string => execFileSync("cat", [join(tree.path, "file")], { uid, gid: uid, encoding: "latin1" });
      expect(read()).to.equal("mine");
      expect(read()).to.equal("mine");
      const { logged } = await tree.state();
      expect(logged).to.deep.equal(["files cannot be passed through here (EPERM); they are served through the page cache"]);
    } finally {
      await tree.close();
    }
  });
});

describe("probePassthrough", () => {
  it("says no to an ordinary user and to root of a user namespace", function () {
    if (!root || !probePassthrough()) this.skip(); // only where it says yes to us
    const module = new URL("../../lib/fuse/mountpoint.js", import.meta.url).href;
    const program = `import(${JSON.stringify(module)}).then((m) => process.exit(m.probePassthrough() ? 1 : 0))`;
    expect(spawnSync("unshare", ["-Ur", process.execPath, "-e", program]).status).to.equal(0);
  });
});
