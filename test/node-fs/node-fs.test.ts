/** What the random comparison does not reach: callbacks, promises, handles, streams, buffers as names, memory, waiting trees. */
import { expect } from "chai";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { name } from "../../lib/base/name.js";
import { nodeFs } from "../../lib/node-fs/node-fs.js";
import { MemoryTree } from "./tree.js";

const codeOf = async (work: Promise<unknown>): Promise<unknown> => work.then(() => "no error", (error: NodeJS.ErrnoException) => error.code);
const thrown = (work: () => unknown): NodeJS.ErrnoException => {
  try {
    work();
  } catch (error) {
    return error as NodeJS.ErrnoException;
  }
  throw new Error("nothing was thrown");
};

for (const slow of [false, true]) {
  describe(`nodeFs over a tree that answers ${slow ? "later" : "at once"}`, () => {
    it("calls back from the event loop, never inside the call", async () => {
      const on = nodeFs(new MemoryTree(slow));
      let returned = false;
      await new Promise<void>((resolve, reject) => {
        on.writeFile("/a", "text", (error) => {
          if (error !== null) reject(error);
          else if (!returned) reject(new Error("called back too early"));
          else resolve();
        });
        returned = true;
      });
      const [error, text] = await new Promise<unknown[]>((resolve) => on.readFile("/a", "utf8", (...results) => resolve(results)));
      expect([error, text]).to.deep.equal([null, "text"]);
      const missing = await new Promise<NodeJS.ErrnoException | null>((resolve) => on.stat("/none", (problem) => resolve(problem)));
      expect(missing?.code).to.equal("ENOENT");
      expect(await new Promise((resolve) => on.exists("/a", resolve))).to.equal(true);
    });

    it("throws wrong arguments at once from callback functions and rejects from promises", async () => {
      const on = nodeFs(new MemoryTree(slow));
      expect(thrown(() => on.stat(undefined as unknown as string, () => undefined)).code).to.equal("ERR_INVALID_ARG_TYPE");
      expect(thrown(() => on.stat("/a", undefined as never)).code).to.equal("ERR_INVALID_ARG_TYPE");
      expect(await codeOf(on.promises.stat("a\0b"))).to.equal("ERR_INVALID_ARG_VALUE");
      expect(await codeOf(on.promises.writeFile("/a", 5 as unknown as string))).to.equal("ERR_INVALID_ARG_TYPE");
      expect(await codeOf(on.promises.open("/a", "q"))).to.equal("ERR_INVALID_ARG_VALUE");
    });

    it("gives file handles with a position of their own", async () => {
      const tree = new MemoryTree(slow);
      const on = nodeFs(tree);
      const handle = await on.promises.open("/a", "w+", 0o600);
      await handle.write("hello ");
      await handle.writeFile("world");
      await handle.appendFile("!");
      await handle.write(Buffer.from("HE"), 0, 2, 0);
      expect(await handle.readFile("utf8")).to.equal("");
      const { bytesRead, buffer } = await handle.read({ position: 0, buffer: Buffer.alloc(5) });
      expect([bytesRead, buffer.toString()]).to.deep.equal([5, "HEllo"]);
      expect((await handle.writev([Buffer.from("1"), Buffer.from("23")], 20)).bytesWritten).to.equal(3);
      const parts = [Buffer.alloc(2), Buffer.alloc(9)];
      expect((await handle.readv(parts, 20)).bytesRead).to.equal(3);
      expect(Buffer.concat(parts).toString("latin1")).to.equal("123\0\0\0\0\0\0\0\0");
      await handle.truncate(3);
      await handle.chmod(0o640);
      await handle.chown(5, 6);
      await handle.utimes(10, new Date(20_000));
      await handle.sync();
      await handle.datasync();
      const { size, mode, uid, gid, mtimeMs } = await handle.stat();
      expect([size, mode & 0o777, uid, gid, mtimeMs]).to.deep.equal([3, 0o640, 5, 6, 20_000]);
      await handle.close();
      expect(await codeOf(handle.stat())).to.equal("EBADF");
      expect(handle.fd).to.equal(-1);
      expect(tree.openFiles).to.equal(0);
    });

    it("streams in both directions", async () => {
      const tree = new MemoryTree(slow);
      const on = nodeFs(tree);
      const data = Buffer.alloc(300_000, "0123456789");
      await on.promises.writeFile("/from", data);
      await pipeline(on.createReadStream("/from", { start: 5, end: 250_004, highWaterMark: 10_000 }), on.createWriteStream("/to", { mode: 0o600 }));
      expect((await on.promises.readFile("/to")).equals(data.subarray(5, 250_005))).to.equal(true);
      const handle = await on.promises.open("/to", "r");
      const closed = new Promise((resolve) => (handle as unknown as NodeJS.EventEmitter).once("close", resolve));
      let length = 0;
      for await (const chunk of handle.createReadStream()) length += (chunk as Buffer).length;
      expect(length).to.equal(250_000);
      await closed;
      expect(await codeOf(pipeline(on.createReadStream("/none"), on.createWriteStream("/x")))).to.equal("ENOENT");
      await on.promises.writeFile("/chunks", (async function* () {
        yield "one ";
        yield Buffer.from("two");
      })());
      expect(await on.promises.readFile("/chunks", "utf8")).to.equal("one two");
      await new Promise((resolve) => setTimeout(resolve, 20)); // the abandoned stream closes its file in its own time
      expect(tree.openFiles).to.equal(0);
    });

    it("keeps every append of many that run at once", async () => {
      const on = nodeFs(new MemoryTree(slow));
      await Promise.all(Array.from({ length: 50 }, (_, i) => on.promises.appendFile("/log", `${i}\n`)));
      const lines = (await on.promises.readFile("/log", "utf8")).trim().split("\n").map(Number);
      expect(lines.sort((a, b) => a - b)).to.deep.equal(Array.from({ length: 50 }, (_, i) => i));
    });

    it("removes a whole tree and never follows a link out of it", async () => {
      const tree = new MemoryTree(slow);
      const on = nodeFs(tree, { nodesKept: 2 });
      await on.promises.mkdir("/keep/me", { recursive: true });
      await on.promises.mkdir("/gone/a/b/c", { recursive: true });
      await on.promises.symlink("/keep", "/gone/a/link");
      for (let i = 0; i < 20; i++) await on.promises.writeFile(`/gone/a/b/${i}`, "x");
      expect(await codeOf(on.promises.rm("/gone"))).to.equal("ERR_FS_EISDIR");
      await on.promises.rm("/gone", { recursive: true });
      expect(await codeOf(on.promises.rm("/gone", { recursive: true }))).to.equal("ENOENT");
      await on.promises.rm("/gone", { recursive: true, force: true });
      expect(await on.promises.readdir("/", { recursive: true })).to.deep.equal(["keep", "keep/me"]);
    });
  });
}

describe("nodeFs", () => {
  it("takes and gives names of any bytes as buffers", () => {
    const tree = new MemoryTree();
    const on = nodeFs(tree);
    const odd = Buffer.from([0x2f, 0xff, 0xfe, 0x80]);
    on.writeFileSync(odd, "odd");
    on.symlinkSync(odd, "/link");
    on.mkdirSync(new URL("file:///d%C3%A9"));
    expect(on.readdirSync("/", "buffer")).to.deep.equal([Buffer.from("dé"), Buffer.from("link"), odd.subarray(1)]);
    expect(on.readdirSync("/", { encoding: "latin1" })[2]).to.equal("\xff\xfe\x80");
    expect(on.readlinkSync("/link", "buffer")).to.deep.equal(odd);
    expect(on.readFileSync("/link", "utf8")).to.equal("odd");
    expect(on.realpathSync("/link", { encoding: "buffer" })).to.deep.equal(odd);
    expect([...tree.root.children.keys()].sort()).to.deep.equal([name("dé"), "link", "\xff\xfe\x80"]);
  });

  it("gives stats as numbers or bigints, with nanoseconds", () => {
    const tree = new MemoryTree();
    const on = nodeFs(tree, { uid: 7, gid: 8, umask: 0o077 });
    on.writeFileSync("/a", "four");
    const node = tree.root.children.get(name("a"))!;
    node.mtime = { sec: -2, nsec: 123_456_789 };
    const stats = on.statSync("/a");
    expect([stats.uid, stats.gid, stats.mode, stats.size, stats.isFile()]).to.deep.equal([7, 8, 0o100600, 4, true]);
    expect(stats.mtimeMs).to.be.closeTo(-1876.543211, 1e-6);
    const big = on.statSync("/a", { bigint: true });
    expect([big.size, big.mtimeNs, big.isDirectory()]).to.deep.equal([4n, -1_876_543_211n, false]);
    expect(on.statfsSync("/").bavail).to.equal(400);
    expect(on.statfsSync("/", { bigint: true }).bsize).to.equal(4096n);
    expect(on.statSync("/a").dev).to.not.equal(nodeFs(tree).statSync("/a").dev);
  });

  it("starts relative paths at cwd and makes temporary directories", () => {
    const on = nodeFs(new MemoryTree(), { cwd: "/var/tmp" });
    expect(thrown(() => on.writeFileSync("x", "")).code).to.equal("ENOENT");
    on.mkdirSync("/var/tmp", { recursive: true });
    on.writeFileSync("x", "here");
    expect(on.readFileSync("/var/tmp/x", "utf8")).to.equal("here");
    expect(on.realpathSync(".")).to.equal("/var/tmp");
    const dir = on.mkdtempSync("t-");
    expect(dir).to.match(/^t-\w{6}$/);
    expect(on.statSync(dir).mode & 0o7777).to.equal(0o700);
  });

  it("shows a directory as it was when it was opened", async () => {
    const on = nodeFs(new MemoryTree());
    on.mkdirSync("/d");
    for (const each of ["b", "a"]) on.writeFileSync(`/d/${each}`, "");
    const dir = await on.promises.opendir("/d");
    on.unlinkSync("/d/a");
    const seen: string[] = [];
    for await (const entry of dir) seen.push(`${entry.parentPath}/${entry.name}`);
    expect(seen).to.deep.equal(["/d/a", "/d/b"]);
    expect(thrown(() => dir.readSync()).code).to.equal("ERR_DIR_CLOSED");
  });

  it("promisifies read, write and exists as Node does", async () => {
    const on = nodeFs(new MemoryTree());
    const fd = on.openSync("/a", "w+");
    expect(await promisify(on.write)(fd, "text")).to.deep.equal({ bytesWritten: 4, buffer: "text" });
    const { bytesRead, buffer } = await promisify(on.read)(fd, Buffer.alloc(4), 0, 4, 0);
    expect([bytesRead, buffer.toString()]).to.deep.equal([4, "text"]);
    expect(await promisify(on.exists)("/a")).to.equal(true);
    on.closeSync(fd);
    expect(thrown(() => on.closeSync(fd)).message).to.equal("EBADF: bad file descriptor, close");
  });

  it("takes file capabilities away at the first write and setuid at chown", () => {
    const tree = new MemoryTree();
    const on = nodeFs(tree);
    on.writeFileSync("/a", "x", { mode: 0o4755 });
    const node = tree.root.children.get(name("a"))!;
    tree.setXattr(node, "security.capability", Buffer.from("cap"));
    on.appendFileSync("/a", "y");
    expect(tree.listXattr(node)).to.deep.equal([]);
    expect(on.statSync("/a").mode & 0o7777).to.equal(0o4755);
    on.chownSync("/a", 1, -1);
    expect(on.statSync("/a").mode & 0o7777).to.equal(0o755);
  });

  it("opens unnamed files, and neither fifos nor final links it was told not to follow", () => {
    const tree = new MemoryTree();
    const on = nodeFs(tree);
    const fd = on.openSync("/", 0o20200000 | 2, 0o600);
    on.writeSync(fd, "nobody sees");
    expect(on.fstatSync(fd).nlink).to.equal(0);
    on.closeSync(fd);
    tree.create(tree.root, name("fifo"), { mode: 0o010644 }, { uid: 0, gid: 0, pid: 0, umask: 0 });
    expect(thrown(() => on.openSync("/fifo", "r")).code).to.equal("ENXIO");
    on.symlinkSync("fifo", "/link");
    expect(thrown(() => on.openSync("/link", on.constants.O_NOFOLLOW)).code).to.equal("ELOOP");
  });

  it("refuses what is out of bounds by name", () => {
    const on = nodeFs(new MemoryTree());
    expect(thrown(() => on.writeFileSync(`/${"x".repeat(256)}`, "")).code).to.equal("ENAMETOOLONG");
    expect(thrown(() => on.statSync(`/${"x/".repeat(2100)}`)).code).to.equal("ENAMETOOLONG");
    on.symlinkSync("/loop", "/loop");
    expect(thrown(() => on.statSync("/loop")).code).to.equal("ELOOP");
    expect(() => nodeFs(new MemoryTree(), { umaks: 0 } as never)).to.throw(/unknown option "umaks"/);
    expect(() => nodeFs(new MemoryTree(), { cwd: "tmp" })).to.throw(/not absolute/);
  });

  it("says EAGAIN where a synchronous call would have to wait, and leaves no descriptor behind", async () => {
    const tree = new MemoryTree(true);
    const on = nodeFs(tree);
    expect(thrown(() => on.openSync("/a", "w")).code).to.equal("EAGAIN");
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(tree.openFiles).to.equal(0);
    expect(on.existsSync("/a")).to.equal(true);
  });

  it("forgets nodes, but none that is open, nor the directories above it", () => {
    const tree = new MemoryTree();
    const on = nodeFs(tree, { nodesKept: 4 });
    on.mkdirSync("/d/e", { recursive: true });
    const fd = on.openSync("/d/e/open", "w+");
    for (let i = 0; i < 50; i++) on.writeFileSync(`/d/${i}`, "x");
    expect(tree.forgets).to.be.greaterThan(40);
    const open = tree.root.children.get(name("d"))!.children.get(name("e"))!.children.get(name("open"))!;
    expect(open.forgotten).to.equal(false);
    on.writeSync(fd, "still here");
    on.unlinkSync("/d/e/open");
    expect(open.forgotten).to.equal(false);
    on.closeSync(fd);
    expect(open.forgotten).to.equal(true);
    const shared = new MemoryTree();
    const careful = nodeFs(shared, { nodesKept: Infinity });
    careful.writeFileSync("/a", "x");
    careful.unlinkSync("/a");
    expect(shared.forgets).to.equal(0);
  });
});
