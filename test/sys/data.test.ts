import { expect } from "chai";
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FsError, errnoName } from "../../lib/base/errors.js";
import { O_APPEND, O_CREAT, O_RDONLY, O_RDWR } from "../../lib/base/mode.js";
import { native } from "../../lib/sys/binding.js";
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, LOCK_EX, LOCK_NB, LOCK_UN, SEEK_DATA, SEEK_HOLE } from "../../lib/sys/flags.js";
import { Jobs, copyJob, fdatasyncJob, filesJob, fsyncJob, removeDirectoriesJob, syncfsJob } from "../../lib/sys/jobs.js";
import { itAsRoot, openAt, scratch } from "./world.js";

const MiB = 1 << 20;

describe("data calls", () => {
  const world = scratch();
  const file = (name: string): number => openAt(world.fd, name, O_CREAT | O_RDWR);

  it("read and write parts of a buffer at a position", () => {
    const fd = file("f");
    expect(native.pwrite(fd, Buffer.from("--hello--"), 2, 5, 3)).to.equal(5);
    const into = Buffer.alloc(10, 0x2e);
    expect(native.pread(fd, into, 1, 9, 2)).to.equal(6);
    expect(into.toString("latin1")).to.equal(".\0hello...");
    expect(native.pread(fd, into, 0, 10, 100)).to.equal(0);
    native.close(fd);
  });

  it("work at positions beyond 32 bits", () => {
    const fd = file("f");
    expect(native.pwrite(fd, Buffer.from("x"), 0, 1, 5 * 2 ** 30)).to.equal(1);
    expect(statSync(join(world.path, "f")).size).to.equal(5 * 2 ** 30 + 1);
    expect(native.lseek(fd, 0, SEEK_DATA)).to.be.closeTo(5 * 2 ** 30, MiB);
    expect(native.ftruncate(fd, 3 * 2 ** 32)).to.equal(0);
    expect(statSync(join(world.path, "f")).size).to.equal(3 * 2 ** 32);
    native.close(fd);
  });

  it("punch holes and find them", function () {
    const fd = file("f");
    native.pwrite(fd, Buffer.alloc(3 * MiB, 1), 0, 3 * MiB, 0);
    const result = native.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MiB, MiB);
    if (errnoName(result) === "EOPNOTSUPP") this.skip();
    expect(result).to.equal(0);
    expect(native.lseek(fd, 0, SEEK_HOLE)).to.equal(MiB);
    expect(native.lseek(fd, MiB, SEEK_DATA)).to.equal(2 * MiB);
    expect(errnoName(native.lseek(fd, 4 * MiB, SEEK_DATA))).to.equal("ENXIO");
    native.close(fd);
  });

  it("copy a range in the kernel", () => {
    const [from, to] = [file("a"), file("b")];
    native.pwrite(from, Buffer.from("0123456789"), 0, 10, 0);
    expect(native.copyRange(from, 2, to, 1, 5)).to.equal(5);
    expect(readFileSync(join(world.path, "b"), "latin1")).to.equal("\0" + "23456");
    native.close(from);
    native.close(to);
  });

  it("clone a file where the filesystem can", () => {
    const [from, to] = [file("a"), file("b")];
    native.pwrite(from, Buffer.from("clone"), 0, 5, 0);
    const result = native.clone(to, from);
    if (result < 0) expect(errnoName(result)).to.be.oneOf(["EOPNOTSUPP", "EINVAL", "ENOTTY", "EXDEV"]);
    else expect(readFileSync(join(world.path, "b"), "latin1")).to.equal("clone");
    native.close(from);
    native.close(to);
  });

  it("lock, synchronise and tell the flags of a descriptor", () => {
    const [one, two] = [file("f"), openAt(world.fd, "f", O_RDWR | O_APPEND)];
    expect(native.flock(one, LOCK_EX)).to.equal(0);
    expect(errnoName(native.flock(two, LOCK_EX | LOCK_NB))).to.equal("EAGAIN");
    expect(native.flock(one, LOCK_UN)).to.equal(0);
    expect([native.fsync(one), native.fdatasync(one), native.syncfs(one)]).to.deep.equal([0, 0, 0]);
    expect(native.fcntlGetFlags(two) & (O_RDWR | O_APPEND)).to.equal(O_RDWR | O_APPEND);
    native.close(one);
    native.close(two);
  });
});

describe("jobs", () => {
  const world = scratch();
  const file = (name: string): number => openAt(world.fd, name, O_CREAT | O_RDWR);

  it("synchronise off the thread", async () => {
    const fd = file("f");
    await Promise.all([fsyncJob(fd), fdatasyncJob(fd), syncfsJob(fd)]);
    native.close(fd);
  });

  it("reject with the errno of the call", async () => {
    const error = await fsyncJob(-1).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(FsError).with.include({ code: "EBADF", syscall: "fsync" });
  });

  it("copy a whole sparse file, keeping its holes and its length", async () => {
    const [from, to] = [file("a"), file("b")];
    const block = Buffer.alloc(MiB, 7);
    native.pwrite(from, block, 0, MiB, 8 * MiB);
    native.pwrite(from, block, 0, 10, 20 * MiB);
    native.ftruncate(from, 30 * MiB);
    await copyJob(from, to, 30 * MiB);
    expect(readFileSync(join(world.path, "b")).equals(readFileSync(join(world.path, "a")))).to.equal(true);
    expect(statSync(join(world.path, "b")).blocks).to.be.below(4096);
    native.close(from);
    native.close(to);
  });

  it("copy no more than asked, and pad what is missing", async () => {
    writeFileSync(join(world.path, "a"), "0123456789");
    for (const [length, expected] of [[4, "0123"], [12, "0123456789\0\0"], [0, ""]] as const) {
      const [from, to] = [openAt(world.fd, "a", O_RDONLY), file(`b${length}`)];
      await copyJob(from, to, length);
      expect(readFileSync(join(world.path, `b${length}`), "latin1")).to.equal(expected);
      native.close(from);
      native.close(to);
    }
  });

  it("copy between filesystems, where the kernel does not copy by itself", async function () {
    const other = "/dev/shm";
    if (!existsSync(other) || statSync(other).dev === statSync(world.path).dev) this.skip();
    const folder = mkdtempSync(join(other, "stratafs-sys-"));
    try {
      const bytes = Buffer.from(Array.from({ length: 3 * MiB + 17 }, (_, i) => i % 251));
      writeFileSync(join(folder, "a"), bytes);
      const [from, to] = [openAt(-100, join(folder, "a"), O_RDONLY), file("b")];
      await copyJob(from, to, bytes.length);
      expect(readFileSync(join(world.path, "b")).equals(bytes)).to.equal(true);
      native.close(from);
      native.close(to);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("run in any number and settle each promise once", async () => {
    const fd = file("f");
    await Promise.all(Array.from({ length: 500 }, () => fdatasyncJob(fd)));
    native.close(fd);
  });

  it("remove directories and what is in them, but for one that has a subdirectory", async () => {
    const { path: folder, fd } = world;
    for (const name of ["a", "b", "c/sub", "d"]) mkdirSync(join(folder, name), { recursive: true });
    for (let i = 0; i < 1000; i++) writeFileSync(join(folder, "b", `\u00e4${i}`), "");
    const job = removeDirectoriesJob(fd, ["a", "missing", "b"]);
    job.wait();
    expect(readdirSync(folder).sort(), "after wait(), in the same turn").to.deep.equal(["c", "d"]);
    await job.ended;
    const refused = await removeDirectoriesJob(fd, ["c", "d"]).ended.catch((error: FsError) => error.code);
    expect(refused).to.equal("EISDIR");
    expect(readdirSync(folder)).to.deep.equal(["c"]);
  });

  it("make files up to the first that cannot be made, and refuse records that are none", async () => {
    const { path: folder, fd } = world;
    const record = (name: string, body: string, length = body.length, nameLength = name.length + 1): Buffer => {
      const words = Buffer.alloc(8);
      words.writeUInt32LE(length);
      words.writeUInt32LE(nameLength, 4);
      return Buffer.concat([words, Buffer.from(`${name}\0${body}`)]);
    };
    const outcome = async (...records: Buffer[]): Promise<string> => await filesJob(fd, 0o640, Buffer.concat(records)).then(() => "made", (error: FsError) => error.code);
    expect(await outcome(record("a", "one"), record("empty", ""), record("b", "two"))).to.equal("made");
    expect(readFileSync(join(folder, "b"), "utf8")).to.equal("two");
    expect(statSync(join(folder, "empty"))).to.include({ size: 0, mode: 0o100640 });
    expect(await outcome(record("c", "three"), record("a", "other"), record("d", "four"))).to.equal("EEXIST");
    expect(readFileSync(join(folder, "a"), "utf8")).to.equal("one");
    for (const wrong of [record("e", "x", 2), record("e", "x", 1, 99), record("e", "x", 1, 0), record("e", "x", 2, 1), record("e", "x").subarray(0, 7)]) {
      expect(await outcome(wrong)).to.equal("EFAULT");
    }
    expect(readdirSync(folder).sort()).to.deep.equal(["a", "b", "c", "empty"]);
  });

  itAsRoot("remove what belongs to the user of the process, whatever its permissions", async () => {
    const { path: folder, fd } = world;
    chownSync(folder, 12345, 12345);
    for (const [name, mode] of [["read-only", 0o555], ["closed", 0]] as const) {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, "f"), "");
      chownSync(join(folder, name), 12345, 12345);
      chmodSync(join(folder, name), mode);
    }
    process.seteuid!(12345);
    await removeDirectoriesJob(fd, ["read-only", "closed"]).ended.finally(() => process.seteuid!(0));
    expect(readdirSync(folder)).to.deep.equal([]);
  });

  it("match results to promises by id, whatever the order", async () => {
    let settle: (id: number, result: number) => void = () => undefined;
    let last = 0;
    const jobs = new Jobs({
      setJobHandler: (handler) => ((settle = handler!), 0),
      startJob: (kind) => (kind === 9 ? -22 : ++last),
      waitJob: () => 0,
      cancelJob: () => 0,
    });
    const results = [jobs.run("first", 0, 1, 2, 3), jobs.run("second", 0, 1, 2, 3)].map((promise) =>
      promise.then(() => "done", (error: FsError) => `${error.syscall} ${error.code}`),
    );
    settle(2, -28);
    settle(7, 0);
    settle(1, 0);
    expect(await Promise.all(results)).to.deep.equal(["done", "second ENOSPC"]);
    expect(await jobs.run("third", 9, 0, 0, 0).catch((error: FsError) => error.code)).to.equal("EINVAL");
  });
});
