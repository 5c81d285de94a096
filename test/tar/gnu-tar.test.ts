/** What GNU tar writes, read by us, and what we write, read by GNU tar. Entries are compared with the files themselves. */
import { expect } from "chai";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { execFileSync } from "node:child_process";
import { writeTar, type NewTarEntry, type TarItem } from "../../lib/tar/writer.js";
import { expanded, gnuTar, readAll, type Plain } from "./archive.js";

const oddName = Buffer.from([0xff, 0x2d, 0xfe, 0x0a, 0xe9]);
const longName = `${"d".repeat(120)}/${"e".repeat(120)}/${"f".repeat(200)}`;

describe("archives of GNU tar", () => {
  let dir: string;
  let root: Buffer;

  before(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "stratafs-tar-"));
    fs.mkdirSync(path.join(dir, "t"));
    root = Buffer.from(path.join(dir, "t"));
    const at = (name: string): string => path.join(dir, "t", name);
    fs.mkdirSync(at("sub"), { mode: 0o2775 });
    fs.chmodSync(at("sub"), 0o2775);
    fs.writeFileSync(at("empty"), "");
    fs.writeFileSync(at("block"), "x".repeat(512));
    fs.writeFileSync(at("sub/set"), "#!/bin/sh\n", { mode: 0o755 });
    fs.chmodSync(at("sub/set"), 0o4755);
    fs.linkSync(at("sub/set"), at("sub/set2"));
    fs.symlinkSync("../block", at("sub/link"));
    fs.symlinkSync("l".repeat(90), at("sub/long90"));
    execFileSync("mkfifo", [at("fifo")]);
    fs.utimesSync(at("empty"), 1_000_000_000.25, 1_234_567_890.125);
  });
  after(() => fs.rmSync(dir, { recursive: true, force: true }));

  /** Adds what v7 and ustar cannot hold. */
  function addLong(): void {
    fs.mkdirSync(path.join(dir, "t", path.dirname(longName)), { recursive: true });
    fs.writeFileSync(path.join(dir, "t", longName), "long");
    fs.symlinkSync("m".repeat(300), path.join(dir, "t", "long300"));
    fs.writeFileSync(Buffer.concat([root, Buffer.from("/"), oddName]), "odd");
    fs.utimesSync(path.join(dir, "t", "sub", "link"), 1, 2);
  }

  /** Compares every entry with lstat, readlink and the content of the file it came from; then the archive with its rebuilt self. */
  async function matches(archive: Buffer, nanoseconds: boolean): Promise<Plain[]> {
    const { entries, rebuilt } = await readAll(archive);
    expect(rebuilt.equals(archive)).to.equal(true);
    expect((await readAll(archive, {}, 333)).entries).to.deep.equal(entries);
    const expected = execFileSync("find", ["t", "-print0"], { cwd: dir }).toString("latin1").split("\0").slice(0, -1).sort();
    expect(entries.map(({ name }) => name.replace(/\/$/, "")).sort()).to.deep.equal(expected);
    for (const entry of entries) {
      const file = Buffer.from(`${dir}/${entry.name.replace(/\/$/, "")}`, "latin1");
      const stat = fs.lstatSync(file, { bigint: true });
      expect(entry.mode, entry.name).to.equal(Number(stat.mode) & 0o7777);
      expect([entry.uid, entry.gid]).to.deep.equal([Number(stat.uid), Number(stat.gid)]);
      expect(entry.mtime).to.deep.equal({ sec: Number(stat.mtimeNs / 1_000_000_000n), nsec: nanoseconds ? Number(stat.mtimeNs % 1_000_000_000n) : 0 });
      if (entry.kind === "file") expect(expanded(entry).equals(fs.readFileSync(file)), entry.name).to.equal(true);
      if (entry.kind === "symlink") expect(entry.linkName).to.equal(fs.readlinkSync(file, { encoding: "buffer" }).toString("latin1"));
      if (entry.kind === "hardlink") expect(fs.lstatSync(`${dir}/${entry.linkName}`).ino).to.equal(Number(stat.ino));
      expect(entry.kind === "directory").to.equal(stat.isDirectory());
      expect(entry.kind === "fifo").to.equal(stat.isFIFO());
    }
    return entries;
  }

  for (const format of ["v7", "oldgnu", "ustar", "gnu", "pax"]) {
    it(`in format ${format} are read exactly`, async () => {
      const skip = format === "v7" ? ["--exclude=fifo"] : [];
      const archive = gnuTar(dir, `--format=${format}`, "--numeric-owner", ...skip, "-cf", "-", "t");
      if (format === "v7") fs.renameSync(path.join(dir, "t/fifo"), path.join(dir, "fifo"));
      try {
        await matches(archive, format === "pax");
      } finally {
        if (format === "v7") fs.renameSync(path.join(dir, "fifo"), path.join(dir, "t/fifo"));
      }
    });
  }

  describe("with long names and names of any bytes", () => {
    before(addLong);
    for (const format of ["oldgnu", "gnu", "pax"]) {
      it(`in format ${format} are read exactly`, async () => {
        const entries = await matches(gnuTar(dir, `--format=${format}`, "-cf", "-", "t"), format === "pax");
        expect(entries.map(({ name }) => name)).to.include.members([`t/${longName}`, `t/${oddName.toString("latin1")}`]);
      });
    }
  });

  describe("with sparse files", () => {
    before(() => {
      const sparse = (name: string, size: number, parts: readonly number[]): void => {
        const fd = fs.openSync(path.join(dir, "t", name), "w");
        fs.ftruncateSync(fd, size);
        for (const part of parts) fs.writeSync(fd, Buffer.alloc(4096, part % 251 + 1), 0, 4096, part);
        fs.closeSync(fd);
      };
      sparse("hole-only", 3_000_000, []);
      sparse("hole-at-end", 1_000_000, [0, 65_536]);
      sparse("hole-at-start", 8_192 + 100_000, [104_096]);
      sparse("many", 70 * 65_536, Array.from({ length: 70 }, (_, i) => i * 65_536));
    });
    for (const args of [["--format=oldgnu"], ["--format=gnu"], ["--format=pax", "--sparse-version=0.0"], ["--format=pax", "--sparse-version=0.1"], ["--format=pax", "--sparse-version=1.0"]]) {
      it(`(${args.join(" ")}) are read exactly`, async () => {
        const entries = await matches(gnuTar(dir, ...args, "--sparse", "-cf", "-", "t"), args[0] === "--format=pax");
        const many = entries.find(({ name }) => name === "t/many");
        expect(many?.extents?.filter(({ length }) => length > 0)).to.deep.equal(Array.from({ length: 70 }, (_, i) => ({ offset: i * 65_536, length: 4096 })));
      });
    }
  });

  it("with extended attributes are read exactly, binary values and odd names included", async function () {
    const python = "import os,sys\nfor k,v in [('user.binary',b'\\0\\xff\\n= '),('user.a=b%25',b'x'),('user.empty',b'')]: os.setxattr(sys.argv[1],k,v)";
    try {
      execFileSync("python3", ["-c", python, path.join(dir, "t/block")], { stdio: "ignore" });
    } catch {
      this.skip(); // needs python3, and user attributes on the filesystem of the temporary directory
    }
    const { entries } = await readAll(gnuTar(dir, "--format=pax", "--xattrs", "-cf", "-", "t/block"));
    expect(entries[0]?.xattrs).to.deep.equal({ "user.binary": "\0\xff\n= ", "user.a=b%25": "x", "user.empty": "" });
  });

  it("with negative times, and ids and sizes beyond octal, are read exactly", async () => {
    fs.writeFileSync(path.join(dir, "big"), "");
    fs.truncateSync(path.join(dir, "big"), 2 ** 33 + 5);
    for (const format of ["gnu", "pax"]) {
      const archive = gnuTar(dir, `--format=${format}`, "--owner=:3000000000", "--group=:4294967294", "--mtime=1960-01-01", "--sparse", "-cf", "-", "big");
      const [entry] = (await readAll(archive, { maxContentSize: 2 ** 34 })).entries;
      expect(entry).to.include({ uid: 3_000_000_000, gid: 4_294_967_294, size: 2 ** 33 + 5, kind: "file" });
      expect(entry?.mtime).to.deep.equal({ sec: -315_619_200, nsec: 0 });
    }
  });

  it("with global pax headers give their values to every entry, and an entry's own record goes first", async () => {
    const archive = gnuTar(dir, "--format=pax", "--pax-option=globexthdr.name=g,uname=everyone,delete=atime,delete=ctime,delete=mtime", "-cf", "-", "t/block", "t/empty");
    const { entries } = await readAll(archive);
    expect(entries.map(({ userName }) => userName)).to.deep.equal(["everyone", "everyone"]);
  });

  it("with a volume label are read as if it were not there", async () => {
    const archive = gnuTar(dir, "--format=gnu", "--label=label", "-cf", "-", "t/block");
    const { entries, rebuilt } = await readAll(archive);
    expect(entries.map(({ name }) => name)).to.deep.equal(["t/block"]);
    expect(rebuilt.equals(archive)).to.equal(true);
  });
});

describe("our archives", () => {
  it("are unpacked by GNU tar into what was written", async function () {
    if (process.getuid?.() !== 0) this.skip(); // owners and devices need root
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), "stratafs-tar-"));
    try {
      const mtime = { sec: 1_234_567_890, nsec: 123_456_789 };
      const entry = (fields: Partial<NewTarEntry> & Pick<NewTarEntry, "name" | "kind">): NewTarEntry => ({ mode: 0o640, uid: 3_000_000, gid: 7, mtime, ...fields });
      const items: TarItem[] = [
        { entry: entry({ kind: "directory", name: "d", mode: 0o1777 }) },
        { entry: entry({ kind: "file", name: "d/file", size: 3, xattrs: new Map([["user.a=b", Buffer.from([0, 255])]]) }), body: [Buffer.from("a"), Buffer.from("bc")] },
        { entry: entry({ kind: "hardlink", name: "d/hard", linkName: "d/file" }) },
        { entry: entry({ kind: "symlink", mode: 0o777, name: "d/soft", linkName: "x".repeat(200) }) },
        { entry: entry({ kind: "file", name: `d/${longName}`, size: 1 }), body: [Buffer.from("l")] },
        { entry: entry({ kind: "file", name: `d/${oddName.toString("latin1")}` }) },
        { entry: entry({ kind: "character", name: "d/tty", devMajor: 4, devMinor: 300, mode: 0o620 }) },
        { entry: entry({ kind: "fifo", name: "d/fifo" }) },
        { entry: entry({ kind: "file", name: "d/sparse", size: 1_000_000, extents: [{ offset: 8192, length: 4096 }] }), body: [Buffer.alloc(4096, 1)] },
      ];
      const parts: Uint8Array[] = [];
      for await (const part of writeTar(items)) parts.push(part);
      const archive = Buffer.concat(parts);
      fs.writeFileSync(path.join(dir, "a.tar"), archive);
      fs.mkdirSync(path.join(dir, "out"));
      gnuTar(path.join(dir, "out"), "--xattrs", "--xattrs-include=*", "--same-permissions", "--numeric-owner", "-xf", "../a.tar");
      const again = gnuTar(path.join(dir, "out"), "--format=pax", "--sort=name", "--xattrs", "--sparse", "--pax-option=delete=atime,delete=ctime", "-cf", "-", "d");
      const strip = (entries: Plain[]): unknown[] => entries
        .map(({ userName: _u, groupName: _g, extents: _e, storedSize: _s, atime: _a, ctime: _c, ...fields }) => ({ ...fields, content: expanded({ ...fields, extents: _e } as Plain).toString("latin1") }))
        .filter(({ name }) => !longName.startsWith(name.slice(2).replace(/\/$/, "")) || name === "d/")
        .sort((a, b) => (a.name < b.name ? -1 : 1));
      // GNU tar makes the parents of the long name itself; they are no entries of ours.
      const ours = strip((await readAll(archive)).entries);
      expect(strip((await readAll(again)).entries)).to.deep.equal(ours);
      expect(fs.readFileSync(path.join(dir, "out/d", longName), "utf8")).to.equal("l");
    } finally {
      fs.rmSync(dir, { recursive: true, force: true });
    }
  });
});
