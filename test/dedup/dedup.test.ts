/** `stratafs dedup` on real filesystems: what is equal shares its data, and nothing that could be seen changes. */
import { expect } from "chai";
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { loadFastHash } from "../../lib/base/fast-hash.js";
import { errnoName } from "../../lib/base/errors.js";
import { placeOfData } from "../../lib/dedup/extents.js";
import { SearchedDirectory, type FoundFile } from "../../lib/dedup/searched-directory.js";
import { dedupDirectories, deduping, type DedupEvent, type DedupResult } from "../../lib/index.js";
import { native } from "../../lib/sys/binding.js";
import { AT_FDCWD, O_DIRECTORY } from "../../lib/sys/flags.js";
import { call, command, Ground, isRoot, shell, type Outcome } from "../cli/command.js";
import { snapshotOfFiles } from "../helpers/mounts.js";

const has = (program: string): boolean => shell(`command -v ${program}`).status === 0;
const codeOf = async (work: Promise<unknown>): Promise<string> => work.then(() => "none", (error: { code: string }) => error.code);
const unread = (path: string): never => {
  throw new Error(`${path} could not be listed`);
};

/** Two texts of 64 bytes with one XXH64: what their first lanes do to its state, their fifth ones undo. */
function collision(): [Buffer, Buffer] {
  const [mask, p1, p2] = [2n ** 64n - 1n, 0x9e3779b185ebca87n, 0xc2b2ae3d27d4eb4fn];
  const round = (state: bigint, lane: bigint): bigint => {
    const sum = (state + lane * p2) & mask;
    return (((sum << 31n) | (sum >> 33n)) * p1) & mask;
  };
  let inverse = 1n;
  for (let i = 0; i < 6; i++) inverse = (inverse * (2n - p2 * inverse)) & mask;
  const texts: [Buffer, Buffer] = [Buffer.alloc(64), Buffer.alloc(64)];
  const start = (p1 + p2) & mask;
  texts[1].writeBigUInt64LE(1n, 0);
  texts[1].writeBigUInt64LE(((round(start, 0n) - round(start, 1n)) * inverse) & mask, 32);
  return texts;
}

describe("the search for files to share", () => {
  let ground: Ground;
  beforeEach(() => void (ground = new Ground({ "a/f": "1", "a/empty": "", "a/d/e/g": "22", "b/g": "333" })));
  afterEach(() => ground.remove());
  const found = (directory: SearchedDirectory): FoundFile[] => [...directory.files(unread)];

  it("finds regular files that hold something, and follows no link", () => {
    symlinkSync("../b", ground.at("a/link"));
    symlinkSync("f", ground.at("a/link2"));
    shell("mkfifo a/fifo", { cwd: ground.path });
    const directory = new SearchedDirectory(ground.at("a"));
    expect(found(directory).map(({ path, size }) => [path, size]).sort()).to.deep.equal([["d/e/g", 2], ["f", 1]]);
    directory.close();
  });

  it("opens no other file than the one it found, whatever takes its place or that of a directory above", () => {
    const directory = new SearchedDirectory(ground.at("a"));
    const [g, f] = found(directory).sort((a, b) => a.path.length - b.path.length).reverse() as [FoundFile, FoundFile];
    renameSync(ground.at("a/d/e"), ground.at("a/d/old"));
    symlinkSync("../../b", ground.at("a/d/e"));
    expect(directory.open(g)).to.equal(undefined);
    renameSync(ground.at("b/g"), ground.at("a/f"));
    expect(directory.open(f)).to.equal(undefined);
    directory.close();
  });

  it("reaches what lies deeper than PATH_MAX", () => {
    const name = "n".repeat(200);
    let fd = native.open(AT_FDCWD, ground.at("a"), O_DIRECTORY, 0, 0);
    for (let depth = 0; depth < 50; depth++) {
      native.mkdir(fd, name, 0o755);
      const next = native.open(fd, name, O_DIRECTORY, 0, 0);
      native.close(fd);
      fd = next;
    }
    writeFileSync(`/proc/self/fd/${fd}/bottom`, "deep");
    native.close(fd);
    const directory = new SearchedDirectory(ground.at("a"));
    const bottom = found(directory).find(({ path }) => path.endsWith("bottom"))!;
    const opened = directory.open(bottom)!;
    expect(readFileSync(opened, "utf8")).to.equal("deep");
    native.close(opened);
    directory.close();
    shell("rm -rf a", { cwd: ground.path });
  });
});

describe("a filesystem that shares nothing", () => {
  let ground: Ground;
  beforeEach(() => void (ground = new Ground({ "fs/": "", "good/f": "1" })));
  afterEach(() => ground.remove());

  for (const [what, make, type, code] of [
    ["tmpfs", "mount -t tmpfs none fs && echo 1 > fs/f", "tmpfs", "EOPNOTSUPP"],
    ["xfs without reflinks", "truncate -s 400M img && mkfs.xfs -q -m reflink=0 img && mount -o loop img fs && echo 1 > fs/f", "xfs", "EOPNOTSUPP"],
    ["a mount that is read-only", "truncate -s 400M img && mkfs.xfs -q img && mount -o loop img fs && echo 1 > fs/f && mount -o remount,ro fs", "xfs", "EROFS"],
  ] as const) {
    it(`is named with its directory: ${what}`, async function () {
      if (!isRoot || (type === "xfs" && !has("mkfs.xfs"))) this.skip(); // mounts, xfsprogs
      if (shell(make, { cwd: ground.path }).status !== 0) this.skip(); // the kernel has no such filesystem
      for (const dryRun of [false, true]) {
        const error = await dedupDirectories([ground.at("fs")], { dryRun }).then(() => undefined, (thrown: Error & { code: string }) => thrown);
        expect(error).to.deep.include({ code });
        expect(error!.message).to.include(ground.at("fs")).and.include(`its ${type} filesystem`);
      }
    });
  }
});

for (const type of ["btrfs", "xfs"] as const) {
  describe(`equal files on ${type}`, function () {
    this.timeout(60_000);
    let ground: Ground;
    const here = (script: string): Outcome => call("bash", ["-ec", script], { cwd: ground.path, timeoutMs: 60_000 });
    const done = (script: string): void => void expect(here(script)).to.deep.include({ status: 0, stderr: "" });

    beforeEach(function () {
      if (!isRoot || !has(`mkfs.${type}`)) this.skip(); // loop devices; btrfs-progs, xfsprogs
      ground = new Ground({ "fs/": "" });
      if (here(`truncate -s 400M img; mkfs.${type} -q img; mount -o loop img fs; mkdir fs/a fs/b`).status !== 0) this.skip(); // the kernel has no such filesystem
    });
    afterEach(() => ground?.remove());

    const places = (...paths: readonly string[]): (string | undefined)[] => paths.map((path) => {
      const fd = native.open(AT_FDCWD, ground.at(`fs/${path}`), 0, 0, 0);
      const place = placeOfData(fd);
      native.close(fd);
      return place;
    });
    const usedBytes = (): number => Number(here("sync -f fs; df --output=used -B1 fs | tail -n 1").stdout);
    /** With everything written and looked at before and after: nothing that a user sees has changed. */
    async function dedup(options: { readonly dryRun?: boolean } = {}, directories = ["fs/a", "fs/b"]): Promise<{ result: DedupResult; events: DedupEvent[] }> {
      done("sync -f fs");
      const before = snapshotOfFiles(ground.at("fs"));
      const work = deduping(directories.map((path) => ground.at(path)), options);
      const events: DedupEvent[] = [];
      for await (const event of work) events.push(event);
      expect(snapshotOfFiles(ground.at("fs"))).to.deep.equal(before);
      return { result: await work.result, events };
    }
    const pairs = (events: readonly DedupEvent[]): string[] =>
      events.flatMap((event) => (event.type === "shared" ? [[event.path, event.with].map((path) => path.slice(ground.at("fs/").length)).sort().join(" = ")] : [])).sort();

    it("share their data, whatever their owners, modes and times, and nothing else changes", async () => {
      done(`cd fs; head -c 20000003 /dev/urandom > a/big; cp a/big b/big --reflink=never; cp a/big b/other --reflink=never; printf x | dd of=b/other conv=notrunc bs=1 seek=19999999 status=none
        head -c 5000 /dev/urandom > a/tool; cp a/tool b/tool --reflink=never; chmod 4711 b/tool; chown 12:34 b/tool; touch -d 2001-02-03 b/tool; chmod 0 b/big; ln b/tool b/link
        truncate -s 9M a/hole b/hole; touch a/empty b/empty`);
      const before = usedBytes();
      const { result, events } = await dedup();
      expect(pairs(events)).to.have.lengthOf(2);
      expect(pairs(events)[0]).to.equal("a/big = b/big");
      expect(pairs(events)[1]).to.match(/^a\/tool = b\/(tool|link)$/);
      expect(result).to.deep.equal({ files: 7, sharedFiles: 2, sharedBytes: 20000768 + 8192, alreadyFiles: 0, leftFiles: 0 });
      const [big, same, other, tool, tool2] = places("a/big", "b/big", "b/other", "a/tool", "b/tool");
      expect([same, tool2]).to.deep.equal([big, tool]).and.to.not.include(undefined);
      expect(other).to.not.equal(big);
      expect(before - usedBytes()).to.be.greaterThan(19_000_000);
      expect(events[0]).to.deep.equal({ type: "start", files: 7, candidates: 7, total: 3 * 20000003 + 2 * 5000 + 2 * (9 << 20) });
      expect(events.at(-1)).to.deep.equal({ type: "progress", bytes: 3 * 20000003 + 2 * 5000 + 2 * (9 << 20) });
      expect((await dedup()).result).to.deep.equal({ files: 7, sharedFiles: 0, sharedBytes: 0, alreadyFiles: 2, leftFiles: 0 });
    });

    it("share with each other alone when hashes are forged", async () => {
      const [one, two] = collision();
      const tail = Buffer.alloc(200_000, "tail");
      const { bytes } = await loadFastHash();
      for (const [name, rest] of [["small", tail.subarray(0, 4000)], ["large", tail]] as const) {
        const [first, second] = [one, two].map((head) => Buffer.concat([head, rest])) as [Buffer, Buffer];
        expect(first.equals(second)).to.equal(false);
        expect(bytes(first)).to.equal(bytes(second));
        for (const folder of ["a", "b"]) {
          writeFileSync(ground.at(`fs/${folder}/${name}-one`), first);
          writeFileSync(ground.at(`fs/${folder}/${name}-two`), second);
        }
      }
      const { events } = await dedup();
      expect(pairs(events)).to.deep.equal(["a/large-one = b/large-one", "a/large-two = b/large-two", "a/small-one = b/small-one", "a/small-two = b/small-two"]);
      const [first, second] = places("a/large-one", "a/large-two");
      expect(first).to.not.equal(second);
    });

    it("stay apart from those of other mounts and of other filesystems", async () => {
      done(`cd fs; mkdir a/mounted c; head -c 9000 /dev/urandom > a/f; cp a/f b/g --reflink=never; mount -t tmpfs none a/mounted; cp a/f a/mounted/f; touch a/bound; cp a/f c/f --reflink=never; mount --bind c/f a/bound`);
      const { events, result } = await dedup({}, ["fs/a", "fs/b", "fs/b"]);
      expect(pairs(events)).to.deep.equal(["a/f = b/g"]);
      expect(result.files).to.equal(2);
    });

    it("are only named by a dry run", async () => {
      done("cd fs; head -c 9000 /dev/urandom > a/f; cp a/f b/f --reflink=never");
      const { events, result } = await dedup({ dryRun: true });
      expect(pairs(events)).to.deep.equal(["a/f = b/f"]);
      expect(result).to.deep.include({ sharedFiles: 1, sharedBytes: 12288 });
      const [first, second] = places("a/f", "b/f");
      expect(first).to.not.equal(second);
    });

    it("do not show that they were read", async () => {
      done("cd fs; head -c 9000 /dev/urandom > a/f; cp a/f b/f --reflink=never; touch -a -d @1000 a/f b/f a b");
      await dedupDirectories([ground.at("fs")]);
      expect(here("stat -c %X fs/a/f fs/b/f fs/a fs/b").stdout).to.equal("1000\n".repeat(4));
    });

    it("are left as they are where they may not be written, and the rest goes on", async function () {
      if (!has("chattr")) this.skip(); // needs e2fsprogs
      done("cd fs; head -c 9000 /dev/urandom > a/f; head -c 8000 /dev/urandom > a/g; cp a/g b/g --reflink=never; cp a/f b/f --reflink=never; chattr +i a/f b/f");
      try {
        const { events, result } = await dedup();
        expect(pairs(events)).to.deep.equal(["a/g = b/g"]);
        expect(result.leftFiles).to.equal(1);
        expect(events.find((event) => event.type === "left")).to.include({ code: "EPERM" });
      } finally {
        here("chattr -i fs/a/f fs/b/f");
      }
    });

    it("stay as they are when the signal has fired", async () => {
      done("cd fs; head -c 9000 /dev/urandom > a/f; cp a/f b/f --reflink=never");
      const abort = new AbortController();
      const work = deduping([ground.at("fs")], { signal: abort.signal });
      abort.abort(Object.assign(new Error("enough"), { code: "ENOUGH" }));
      expect(await codeOf(work.result)).to.equal("ENOUGH");
      done("sync -f fs");
      const [first, second] = places("a/f", "b/f");
      expect(first).to.not.equal(second);
    });

    it("share their data by the command, which says what that saves", () => {
      done("cd fs; head -c 9000 /dev/urandom > a/f; cp a/f b/f --reflink=never; d=\"b/$(printf 'd\\nx\\xff')\"; mkdir \"$d\"; cp a/f \"$d/f\" --reflink=never; sync -f .");
      const dedup = (...args: string[]): Outcome => command(["dedup", ...args, "a", "b"], { cwd: ground.at("fs") });
      expect(dedup("--dry-run")).to.deep.equal({ status: 0, stdout: "2 of 3 files would share their data with others: 24.0 KiB to save\n", stderr: "" });
      const events = dedup("--json").stdout.trim().split("\n").map((line) => JSON.parse(line) as { type: string; path?: string });
      expect(events.at(-1)).to.deep.equal({ type: "result", dryRun: false, files: 3, sharedFiles: 2, sharedBytes: 24576, alreadyFiles: 0, leftFiles: 0 });
      expect(dedup()).to.deep.equal({ status: 0, stdout: "0 of 3 files share their data with others now, 2 did before: 0 B saved\n", stderr: "" });
      expect(command(["dedup", "none"], { cwd: ground.path }).stderr).to.equal("stratafs: ENOENT: open of none\n");
      expect(command(["dedup"]).status).to.equal(2);
    });

    if (type === "btrfs") {
      it("share their data across subvolumes", async () => {
        done("cd fs; btrfs -q subvolume create a/sub; head -c 9000 /dev/urandom > a/sub/f; cp a/sub/f b/f --reflink=never");
        expect(pairs((await dedup()).events)).to.deep.equal(["a/sub/f = b/f"]);
      });
    }
  });
}

describe("the native call that shares data", () => {
  it("refuses a filesystem that cannot, by number", function () {
    const ground = new Ground({ "f": "1" });
    mkdirSync(ground.at("fs"));
    if (!isRoot || shell("mount -t tmpfs none fs && cp f fs/f", { cwd: ground.path }).status !== 0) this.skip(); // needs a mount
    try {
      const fd = native.open(AT_FDCWD, ground.at("fs/f"), 0, 0, 0);
      expect(errnoName(native.extents(fd, new Float64Array(8)))).to.equal("EOPNOTSUPP");
      expect(placeOfData(fd)).to.equal(undefined);
      native.close(fd);
    } finally {
      ground.remove();
    }
  });
});
