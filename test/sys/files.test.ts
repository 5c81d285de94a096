import { expect } from "chai";
import { existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FsError, check, errnoName } from "../../lib/base/errors.js";
import { O_CREAT, O_RDONLY, O_RDWR, O_WRONLY, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, makedev } from "../../lib/base/mode.js";
import { native } from "../../lib/sys/binding.js";
import { listDirectory, parseDirents, type Dirent } from "../../lib/sys/dirents.js";
import {
  AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_TMPFILE, RENAME_EXCHANGE, RENAME_NOREPLACE,
  RENAME_WHITEOUT, RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, UTIME_NOW, UTIME_OMIT,
} from "../../lib/sys/flags.js";
import { foldInode, statAt, statFd } from "../../lib/sys/statx.js";
import { itAsRoot, openAt, scratch } from "./world.js";

const nameOf = (result: number): string => (result < 0 ? errnoName(result) : `${result}`);

describe("names and descriptors", () => {
  const world = scratch();

  it("reports what Node's stat reports, to the nanosecond", () => {
    writeFileSync(join(world.path, "f"), "abc");
    native.utimens(world.fd, "f", -5, 7, 1234567890, 123456789);
    const expected = lstatSync(join(world.path, "f"), { bigint: true });
    const stat = statAt(world.fd, "f")!;
    expect(stat).to.include({
      ino: Number(expected.ino), mode: Number(expected.mode), nlink: 1, uid: Number(expected.uid), size: 3, blocks: Number(expected.blocks),
      atimeSec: -5, atimeNsec: 7, mtimeSec: 1234567890, mtimeNsec: 123456789, rdev: 0,
    });
    expect(stat.ctimeNsec).to.equal(Number(expected.ctimeNs % 1000000000n));
    expect(stat.dev).to.equal(statFd(world.fd).dev);
    expect(statAt(world.fd, "missing")).to.equal(undefined);
    expect(() => statAt(world.fd, "f/below")).to.throw(FsError).with.property("code", "ENOTDIR");
  });

  it("does not follow a final symbolic link, neither in stat nor in chown nor in utimens nor in chmod", () => {
    writeFileSync(join(world.path, "f"), "");
    symlinkSync("f", join(world.path, "l"));
    expect(statAt(world.fd, "l")!.mode & 0o170000).to.equal(S_IFLNK);
    expect(native.utimens(world.fd, "l", 1, 2, 3, 4)).to.equal(0);
    expect(statAt(world.fd, "l")!).to.include({ atimeSec: 1, mtimeSec: 3, mtimeNsec: 4 });
    expect(nameOf(native.chmod(world.fd, "l", 0o600))).to.equal("EOPNOTSUPP");
    expect(statAt(world.fd, "f")!.mode & 0o777).to.equal(0o644);
  });

  it("acts on an O_PATH descriptor through the empty path", () => {
    writeFileSync(join(world.path, "f"), "");
    const fd = openAt(world.fd, "f", O_PATH | O_NOFOLLOW);
    expect(native.chown(fd, "", process.getuid!(), -1)).to.equal(0);
    expect(native.chmod(fd, "", 0o4711)).to.equal(0);
    expect(native.utimens(fd, "", 0, UTIME_OMIT, 9, 8)).to.equal(0);
    expect(native.link(fd, "", world.fd, "second", 0)).to.equal(0);
    expect(statFd(fd)).to.include({ mode: S_IFREG | 0o4711, mtimeSec: 9, mtimeNsec: 8, nlink: 2 });
    native.close(fd);
  });

  it("sets the present time with UTIME_NOW", () => {
    writeFileSync(join(world.path, "f"), "");
    native.utimens(world.fd, "f", 0, 0, 0, 0);
    expect(native.utimens(world.fd, "f", 0, UTIME_OMIT, 0, UTIME_NOW)).to.equal(0);
    const { atimeSec, mtimeSec } = statAt(world.fd, "f")!;
    expect(atimeSec).to.equal(0);
    expect(mtimeSec).to.be.closeTo(Date.now() / 1000, 10);
  });

  itAsRoot("makes devices, fifos and directories, and reports their numbers", () => {
    const device = makedev(300, 70000);
    expect(native.mknod(world.fd, "c", S_IFCHR | 0o600, device)).to.equal(0);
    expect(native.mknod(world.fd, "p", S_IFIFO | 0o600, 0)).to.equal(0);
    expect(native.mkdir(world.fd, "d", 0o700)).to.equal(0);
    expect(statAt(world.fd, "c")!.rdev).to.equal(device);
    expect(native.chown(world.fd, "d", 12345, 4000000000)).to.equal(0);
    expect(statAt(world.fd, "d")!).to.include({ uid: 12345, gid: 4000000000 });
    expect(native.unlink(world.fd, "d", AT_REMOVEDIR)).to.equal(0);
    expect(nameOf(native.unlink(world.fd, "d", AT_REMOVEDIR))).to.equal("ENOENT");
  });

  it("lists names of any bytes with their types, and starts over on request", () => {
    const odd = "\x01\xff \xe9\n";
    native.close(openAt(world.fd, odd, O_CREAT | O_WRONLY));
    native.mkdir(world.fd, "...", 0o755);
    native.symlink("x", world.fd, "l".repeat(255));
    const types = new Map(listDirectory(world.fd).map((entry) => [entry.name, entry.type]));
    expect(types).to.deep.equal(new Map([[odd, S_IFREG], ["...", S_IFDIR], ["l".repeat(255), S_IFLNK]]));
    expect(listDirectory(world.fd).length).to.equal(3);
    expect(listDirectory(world.fd).find((entry) => entry.name === odd)!.ino).to.equal(statAt(world.fd, odd)!.ino);
  });

  it("lists a directory larger than one buffer", () => {
    const names = Array.from({ length: 3000 }, (_, i) => `a-name-of-a-certain-length-${i}`);
    for (const name of names) native.close(openAt(world.fd, name, O_CREAT | O_WRONLY));
    expect(listDirectory(world.fd).map((entry) => entry.name).sort()).to.deep.equal(names.sort());
  });

  it("reads records of unknown type and of large inode numbers", () => {
    const record = Buffer.alloc(24, 0xaa);
    record.writeBigUInt64LE(0x8000000000000001n, 0);
    record.writeUInt16LE(24, 16);
    record.set([0, 0x78, 0], 18);
    const entries: Dirent[] = [];
    parseDirents(record, 24, entries);
    expect(entries).to.deep.equal([{ name: "x", ino: foldInode(1, 0x80000000), type: 0 }]);
    expect(entries[0]!.ino).to.be.below(2 ** 53).and.not.equal(1);
  });

  it("renames in all modes", () => {
    for (const name of ["a", "b"]) writeFileSync(join(world.path, name), name);
    expect(nameOf(native.rename(world.fd, "a", world.fd, "b", RENAME_NOREPLACE))).to.equal("EEXIST");
    expect(native.rename(world.fd, "a", world.fd, "b", RENAME_EXCHANGE)).to.equal(0);
    expect(readFileSync(join(world.path, "a"), "utf8")).to.equal("b");
    expect(native.rename(world.fd, "a", world.fd, "b", 0)).to.equal(0);
    expect(existsSync(join(world.path, "a"))).to.equal(false);
  });

  itAsRoot("leaves a whiteout behind a rename", () => {
    writeFileSync(join(world.path, "a"), "");
    expect(native.rename(world.fd, "a", world.fd, "b", RENAME_WHITEOUT)).to.equal(0);
    expect(statAt(world.fd, "a")!).to.include({ mode: S_IFCHR, rdev: 0 });
  });

  it("gives an unnamed file a name", () => {
    const fd = openAt(world.fd, ".", O_TMPFILE | O_RDWR, 0o640);
    expect(statFd(fd).nlink).to.equal(0);
    expect(native.link(AT_FDCWD, `/proc/self/fd/${fd}`, world.fd, "named", AT_SYMLINK_FOLLOW)).to.equal(0);
    expect(statAt(world.fd, "named")!.ino).to.equal(statFd(fd).ino);
    native.close(fd);
  });

  it("resolves beneath a directory, whatever the links in it say", () => {
    mkdirSync(join(world.path, "root/etc"), { recursive: true });
    writeFileSync(join(world.path, "root/etc/passwd"), "inside");
    symlinkSync("/etc/passwd", join(world.path, "root/absolute"));
    symlinkSync("../../..", join(world.path, "root/up"));
    const root = openAt(world.fd, "root", O_RDONLY | O_DIRECTORY);
    const inside = check(native.open(root, "absolute", O_RDONLY, 0, RESOLVE_IN_ROOT), "open");
    expect(readFileSync(inside, "utf8")).to.equal("inside");
    expect(nameOf(native.open(root, "absolute", O_RDONLY, 0, RESOLVE_BENEATH))).to.equal("EXDEV");
    expect(nameOf(native.open(root, "up", O_RDONLY, 0, RESOLVE_BENEATH))).to.equal("EXDEV");
    expect(nameOf(native.open(root, "up", O_RDONLY, 0, RESOLVE_NO_SYMLINKS))).to.equal("ELOOP");
    native.close(inside);
    native.close(root);
  });

  it("opens close-on-exec, also when it duplicates", () => {
    const copy = native.dup(world.fd);
    for (const fd of [world.fd, copy]) {
      const info = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
      expect(parseInt(/flags:\s*(\d+)/.exec(info)![1]!, 8) & 0o2000000).to.equal(0o2000000);
    }
    native.close(copy);
  });

  it("refuses a path that is too long instead of cutting it", () => {
    const long = "x/".repeat(2100);
    const calls: Record<string, number> = {
      open: native.open(world.fd, long, 0, 0, 0),
      statx: native.statx(world.fd, long, 0, new Float64Array(21)),
      mkdir: native.mkdir(world.fd, long, 0),
      symlink: native.symlink(long, world.fd, "l"),
      link: native.link(world.fd, long, world.fd, "l", 0),
      rename: native.rename(world.fd, "a", world.fd, long, 0),
      getxattr: native.getxattr(world.fd, long, "user.a", new Uint8Array(1)),
    };
    for (const [call, result] of Object.entries(calls)) expect(nameOf(result), call).to.equal("ENAMETOOLONG");
    expect(nameOf(native.mkdir(world.fd, "n".repeat(256), 0o755))).to.equal("ENAMETOOLONG");
    expect(native.symlink("t".repeat(4095), world.fd, "longest")).to.equal(0);
    expect(native.readlink(world.fd, "longest", new Uint8Array(4096))).to.equal(4095);
  });

  it("reads link targets of any bytes", () => {
    native.symlink("\xff\x01/a", world.fd, "l");
    const into = Buffer.alloc(4096);
    expect(into.toString("latin1", 0, native.readlink(world.fd, "l", into))).to.equal("\xff\x01/a");
    expect(readlinkSync(join(world.path, "l"), "latin1" as BufferEncoding)).to.equal("\xff\x01/a");
    expect(nameOf(native.readlink(world.fd, ".", into))).to.equal("EINVAL");
  });

  it("names a file by handle, the same for all its names", function () {
    writeFileSync(join(world.path, "f"), "");
    native.link(world.fd, "f", world.fd, "g", 0);
    const handles = ["f", "g"].map((name) => {
      const into = Buffer.alloc(132);
      const type = native.nameToHandle(world.fd, name, into);
      if (errnoName(type) === "EOPNOTSUPP") this.skip();
      return `${check(type, "name_to_handle_at")}:${into.toString("hex", 0, into.readUInt32LE(128))}`;
    });
    expect(handles[0]).to.equal(handles[1]);
    expect(nameOf(native.nameToHandle(world.fd, "f", new Uint8Array(5)))).to.equal("EOVERFLOW");
  });

  it("describes the filesystem", () => {
    const out = new Float64Array(10);
    expect(native.statfs(world.fd, out)).to.equal(0);
    expect(out[1]).to.be.at.least(512);
    expect(out[3]).to.be.at.least(out[4]!);
    expect(out[8]).to.equal(255);
  });

  it("sets the umask and returns the old one", () => {
    const before = native.umask(0o077);
    expect(native.umask(before)).to.equal(0o077);
    expect(statSync(world.path).isDirectory()).to.equal(true);
  });

  it("answers EBADF for a descriptor that is none, and EFAULT for a buffer too small", () => {
    expect(nameOf(native.close(-1))).to.equal("EBADF");
    expect(nameOf(native.statx(-1, "", 0, new Float64Array(21)))).to.equal("EBADF");
    expect(nameOf(native.statx(world.fd, "", 0, new Float64Array(20)))).to.equal("EFAULT");
    expect(nameOf(native.pread(world.fd, new Uint8Array(4), 2, 3, 0))).to.equal("EFAULT");
    expect(nameOf(native.pwrite(world.fd, new Uint8Array(4), -1, 1, 0))).to.equal("EFAULT");
  });
});
