import { expect } from "chai";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { check, errnoName } from "../../lib/base/errors.js";
import { O_NONBLOCK, O_RDONLY, O_RDWR } from "../../lib/base/mode.js";
import { native } from "../../lib/sys/binding.js";
import { AT_FDCWD, MNT_DETACH, MOUNT_ATTR_NODEV, MOUNT_ATTR_RDONLY, MS_NODEV, MS_NOSUID, OPEN_TREE_CLONE } from "../../lib/sys/flags.js";
import { makePipe } from "../../lib/sys/process.js";
import { itAsRoot, openAt, scratch } from "./world.js";

const FUSE_INIT = 26;
const mountLine = (path: string): string | undefined =>
  readFileSync("/proc/self/mountinfo", "latin1").split("\n").find((line) => line.includes(` ${path} `));

describe("a read of a message", () => {
  it("says at once that there is none, or after the time it was given", () => {
    const [blocking, writeEnd] = makePipe();
    const readEnd = openAt(AT_FDCWD, `/proc/self/fd/${blocking}`, O_RDONLY | O_NONBLOCK);
    native.close(blocking);
    const into = Buffer.alloc(64);
    try {
      expect(errnoName(native.fuseRead(readEnd, into))).to.equal("EAGAIN");
      const before = process.hrtime.bigint();
      expect(errnoName(native.fuseRead(readEnd, into, 20_000))).to.equal("EAGAIN");
      expect(Number(process.hrtime.bigint() - before)).to.be.at.least(19_000_000);
      native.fuseWrite(writeEnd, Buffer.from("abc"), 3);
      expect(native.fuseRead(readEnd, into, 60_000_000)).to.equal(3);
      native.close(writeEnd);
      expect(native.fuseRead(readEnd, into, 60_000_000)).to.equal(0);
    } finally {
      native.close(readEnd);
    }
  });
});

describe("replies with file data", () => {
  const world = scratch();

  function reply(file: number, position: number, length: number): Buffer {
    const [readEnd, writeEnd] = makePipe();
    const head = Buffer.alloc(16);
    head.writeBigUInt64LE(77n, 8);
    const written = check(native.fuseReplyData(writeEnd, head, file, position, length), "writev");
    const out = Buffer.alloc(written);
    expect(native.fuseRead(readEnd, out)).to.equal(written);
    native.close(readEnd);
    native.close(writeEnd);
    return out;
  }

  it("are one message: header and bytes, short at the end of the file", () => {
    writeFileSync(join(world.path, "f"), "0123456789");
    const fd = openAt(world.fd, "f", O_RDONLY);
    const message = reply(fd, 6, 4096);
    expect([message.readUInt32LE(0), message.readInt32LE(4), message.readBigUInt64LE(8)]).to.deep.equal([20, 0, 77n]);
    expect(message.toString("latin1", 16)).to.equal("6789");
    expect(reply(fd, 10, 4096).length).to.equal(16);
    expect(errnoName(native.fuseReplyData(-1, Buffer.alloc(16), fd, 0, 2 << 20))).to.equal("EINVAL");
    native.close(fd);
  });

  it("carry the error of a read that fails", () => {
    const message = reply(world.fd, 0, 4096);
    expect([message.length, errnoName(message.readInt32LE(4))]).to.deep.equal([16, "EISDIR"]);
  });
});

// Nothing here answers requests, so nothing may look into these mounts.
describe("a FUSE mount", () => {
  const world = scratch();

  function expectInitThenEnd(device: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const request = Buffer.alloc(128 << 10);
      const id = native.watch(device, () => {
        try {
          const length = native.fuseRead(device, request);
          if (length > 0) {
            expect(request.readUInt32LE(4)).to.equal(FUSE_INIT);
            expect(errnoName(native.fuseRead(device, request))).to.equal("EAGAIN");
            expect(native.umount(world.path, MNT_DETACH)).to.equal(0);
            return;
          }
          expect(errnoName(length)).to.equal("ENODEV");
          native.unwatch(id);
          resolve();
        } catch (error) {
          native.unwatch(id);
          native.umount(world.path, MNT_DETACH);
          reject(error as Error);
        }
      });
    });
  }

  itAsRoot("is made by mount(2), delivers a request, and ends with ENODEV", async () => {
    const device = openAt(AT_FDCWD, "/dev/fuse", O_RDWR | O_NONBLOCK);
    const data = `fd=${device},rootmode=40000,user_id=0,group_id=0`;
    check(native.mount("stratafs-test", world.path, "fuse.stratafs", MS_NOSUID | MS_NODEV, data), "mount");
    await expectInitThenEnd(device);
    native.close(device);
  });

  itAsRoot("is made detached by fsmount and attached by moveMount", async () => {
    const device = openAt(AT_FDCWD, "/dev/fuse", O_RDWR | O_NONBLOCK);
    const options = `source=stratafs-test\nsubtype=stratafs\nfd=${device}\nrootmode=40000\nuser_id=0\ngroup_id=0\nallow_other`;
    const mount = check(native.fsmount("fuse", options, MOUNT_ATTR_NODEV), "fsmount");
    check(native.moveMount(mount, AT_FDCWD, world.path), "move_mount");
    native.close(mount);
    expect(mountLine(world.path)).to.include("nodev").and.include("fuse.stratafs stratafs-test");
    await expectInitThenEnd(device);
    native.close(device);
    expect(errnoName(native.fsmount("fuse", "no-such-option=1", 0))).to.equal("EINVAL");
  });

  it("is made by fusermount, which hands over the device", function () {
    const program = ["/usr/bin/fusermount3", "/bin/fusermount3", "/usr/local/bin/fusermount3"].find((path) => existsSync(path));
    if (program === undefined) this.skip();
    const device = native.fusermount("", world.path, "fsname=stratafs-test,subtype=stratafs,rw,nosuid,nodev");
    if (errnoName(device) === "EPERM" && process.getuid?.() !== 0) this.skip();
    check(device, "fusermount");
    try {
      expect(native.fcntlGetFlags(device) & O_NONBLOCK).to.equal(O_NONBLOCK);
      expect(native.waitReadable(device, 5000)).to.equal(1);
      const request = Buffer.alloc(128 << 10);
      expect(native.fuseRead(device, request)).to.be.above(0);
      expect(request.readUInt32LE(4)).to.equal(FUSE_INIT);
    } finally {
      native.close(device); // ends the connection: from here on nobody can hang in the mount
      execFileSync(program!, ["-u", world.path]);
    }
    expect(mountLine(world.path)).to.equal(undefined);
  });

  it("is refused with a code when the helper program is missing or fails", () => {
    expect(errnoName(native.fusermount("/no/such/program", world.path, ""))).to.equal("ENOENT");
    expect(errnoName(native.fusermount("no-such-program", world.path, ""))).to.equal("ENOENT");
    expect(errnoName(native.fusermount("false", world.path, ""))).to.equal("EPERM");
  });

  itAsRoot("can be copied as a tree with its own attributes", () => {
    check(native.mount("tmpfs", world.path, "tmpfs", 0, "size=1m"), "mount");
    try {
      const tree = check(native.openTree(AT_FDCWD, world.path, OPEN_TREE_CLONE), "open_tree");
      expect(native.mountSetattr(tree, MOUNT_ATTR_RDONLY, 0, 0)).to.equal(0);
      expect(errnoName(native.mkdir(tree, "d", 0o755))).to.equal("EROFS");
      native.close(tree);
      expect(native.umount(world.path, 0)).to.equal(0);
    } finally {
      native.umount(world.path, MNT_DETACH);
    }
  });
});
