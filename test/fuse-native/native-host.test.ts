/** The fuse-native host in a process of its own, used from here. */
import { expect } from "chai";
import { execFileSync, fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const child = new URL("./serving-child.js", import.meta.url);

interface Server {
  readonly process: ChildProcess;
  readonly at: (path: string) => string;
  ask(message: string): Promise<unknown>;
}

const isMounted = (path: string): boolean => fs.readFileSync("/proc/self/mountinfo", "utf8").includes(` ${path} `);
const codeOf = async (work: Promise<unknown>): Promise<unknown> => work.then(() => "no error", (error: NodeJS.ErrnoException) => error.code);
const p = fs.promises;

describe("the fuse-native host", function () {
  this.timeout(30_000);
  let dir: string;
  let servers: ChildProcess[] = [];

  before(function () {
    if (process.getuid?.() !== 0 || !fs.existsSync("/dev/fuse")) this.skip(); // mounts by itself as root only
  });
  beforeEach(() => {
    dir = fs.mkdtempSync(join(tmpdir(), "stratafs-native-"));
    fs.mkdirSync(join(dir, "mnt"));
  });
  afterEach(() => {
    if (dir === undefined) return;
    const mountpoint = join(dir, "mnt");
    if (isMounted(mountpoint)) execFileSync("umount", ["-l", mountpoint]);
    for (const server of servers) if (server.exitCode === null) server.kill("SIGKILL");
    servers = [];
    fs.rmSync(dir, { recursive: true, force: true });
  });

  async function serve(options: object = {}, slow = false): Promise<Server> {
    const mountpoint = join(dir, "mnt");
    const server = fork(child, [mountpoint, JSON.stringify({ allowOther: true, defaultPermissions: true, ...options }), slow ? "slow" : ""], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    servers.push(server);
    const [first] = (await once(server, "message")) as [unknown];
    if (first !== "ready") throw Object.assign(new Error(JSON.stringify(first)), first);
    return {
      process: server,
      at: (path) => join(mountpoint, path),
      ask: async (message) => {
        server.send(message);
        return ((await once(server, "message")) as [unknown])[0];
      },
    };
  }
  async function ended(server: Server): Promise<void> {
    if (server.process.exitCode === null) await once(server.process, "exit");
    expect(server.process.exitCode).to.equal(0);
    expect(isMounted(server.at(""))).to.equal(false);
  }

  for (const slow of [false, true]) {
    it(`serves files, directories, links and attributes of a tree that answers ${slow ? "later" : "at once"}`, async () => {
      const server = await serve({}, slow);
      const { at } = server;
      expect(await p.readFile(at("given"), "utf8")).to.equal("from the tree");
      const data = Buffer.alloc(1 << 20, "stratafs ");
      await p.writeFile(at("big"), data);
      expect((await p.readFile(at("big"))).equals(data)).to.equal(true);
      await p.appendFile(at("big"), "end");
      await p.truncate(at("big"), (1 << 20) + 1);
      expect((await p.stat(at("big"))).size).to.equal((1 << 20) + 1);
      await p.mkdir(at("d/e"), { recursive: true });
      await p.rename(at("big"), at("d/big"));
      expect(await codeOf(p.stat(at("big")))).to.equal("ENOENT");
      await p.rename(at("d"), at("moved"));
      expect((await p.readdir(at("moved"), { withFileTypes: true })).map((each) => [each.name, each.isDirectory()])).to.deep.equal([["big", false], ["e", true]]);
      await p.symlink("moved/big", at("link"));
      expect([await p.readlink(at("link")), (await p.stat(at("link"))).size]).to.deep.equal(["moved/big", (1 << 20) + 1]);
      await p.link(at("moved/big"), at("second"));
      expect((await p.stat(at("second"))).ino).to.equal((await p.stat(at("moved/big"))).ino);
      await p.rename(at("second"), at("moved/big"));
      expect(fs.existsSync(at("second"))).to.equal(true);
      await p.chmod(at("moved/big"), 0o4710);
      await p.chown(at("moved/e"), 12, 34);
      const { uid, gid } = await p.stat(at("moved/e"));
      expect([(await p.stat(at("moved/big"))).mode & 0o7777, uid, gid]).to.deep.equal([0o4710, 12, 34]);
      await p.utimes(at("given"), 1000.25, 1000.25);
      expect((await p.stat(at("given"))).mtimeMs).to.equal(1_000_250);
      execFileSync("mknod", [at("fifo"), "p"]);
      expect((await p.lstat(at("fifo"))).isFIFO()).to.equal(true);
      expect(await codeOf(p.rmdir(at("moved")))).to.equal("ENOTEMPTY");
      await p.rmdir(at("moved/e"));
      await p.unlink(at("moved/big"));
      expect(await p.readdir(at(""))).to.deep.equal(["fifo", "given", "link", "moved", "second"]);
      expect((await p.statfs(at(""))).bavail).to.equal(400);
      const counters = (await server.ask("counters")) as Record<string, number>;
      expect(counters["rename"]).to.equal(3);
      expect(await server.ask("unmount")).to.deep.equal({ openFiles: 0 });
      await ended(server);
    });
  }

  it("keeps extended attributes and says when a buffer is too small", async () => {
    const server = await serve();
    const file = server.at("given");
    const python = (text: string): string => execFileSync("python3", ["-c", `import os,errno,ctypes\np=${JSON.stringify(file)}\n${text}`], { encoding: "utf8" }).trim();
    expect(python(`os.setxattr(p,"user.a",b"one\\0two"); print(os.getxattr(p,"user.a"), os.listxattr(p))`)).to.equal(String.raw`b'one\x00two' ['user.a']`);
    expect(python(`
libc=ctypes.CDLL(None,use_errno=True)
b=ctypes.create_string_buffer(3)
for r in (libc.getxattr(p.encode(),b"user.a",b,3), libc.listxattr(p.encode(),b,3)): print(r, errno.errorcode[ctypes.get_errno()])
`)).to.equal("-1 ERANGE\n-1 ERANGE");
    expect(python(`
for f in (lambda: os.setxattr(p,"user.a",b"",os.XATTR_CREATE), lambda: os.setxattr(p,"user.b",b"",os.XATTR_REPLACE), lambda: os.removexattr(p,"user.b")):
  try: f()
  except OSError as e: print(errno.errorcode[e.errno])
os.removexattr(p,"user.a"); print(os.listxattr(p))
`)).to.equal("EEXIST\nENODATA\nENODATA\n[]");
    await server.ask("unmount");
    await ended(server);
  });

  it("keeps an unlinked file readable and writable while it is open", async () => {
    const server = await serve();
    const handle = await p.open(server.at("given"), "r+");
    await p.unlink(server.at("given"));
    await handle.write("FROM", 0);
    expect((await handle.read(Buffer.alloc(8), 0, 8, 0)).buffer.toString()).to.equal("FROM the");
    await handle.close();
    // libfuse hides such a file under another name until it is closed; RELEASE comes a little after close.
    for (let i = 0; i < 50 && (await p.readdir(server.at(""))).length > 0; i++) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await p.readdir(server.at(""))).to.deep.equal([]);
    await server.ask("unmount");
    await ended(server);
  });

  it("refuses names that are not UTF-8 and leaves such names out of listings", async () => {
    const server = await serve();
    const odd = Buffer.concat([Buffer.from(server.at("x")), Buffer.from([0xff])]);
    expect(await codeOf(p.writeFile(odd, "x"))).to.equal("EINVAL");
    await p.writeFile(server.at("é✓"), "x");
    expect((await p.readdir(server.at(""))).sort()).to.deep.equal(["given", "é✓"]);
    await server.ask("unmount");
    await ended(server);
  });

  it("ends when somebody else unmounts it", async () => {
    const server = await serve();
    execFileSync("umount", [server.at("").replace(/\/$/, "")]);
    await ended(server);
  });

  it("detaches a busy mount, which ends with its last user", async () => {
    const server = await serve();
    const handle = await p.open(server.at("given"), "r");
    server.process.send("unmount");
    for (let i = 0; i < 100 && isMounted(join(dir, "mnt")); i++) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(isMounted(join(dir, "mnt"))).to.equal(false);
    expect((await handle.readFile("utf8"))).to.equal("from the tree");
    await handle.close();
    await ended(server);
  });

  it("mounts read-only and at paths with spaces", async () => {
    fs.renameSync(join(dir, "mnt"), join(dir, "m $(x) t"));
    fs.symlinkSync("m $(x) t", join(dir, "mnt"));
    const server = await serve({ flags: ["ro"], source: "somewhere", subtype: "kind", timeoutSec: 5 });
    expect(fs.readFileSync("/proc/self/mounts", "utf8")).to.match(/^somewhere \S*m\\040\$\(x\)\\040t fuse\.kind ro,/m);
    expect(await codeOf(p.writeFile(server.at("new"), ""))).to.equal("EROFS");
    await server.ask("unmount");
    await once(server.process, "exit");
    expect(fs.readFileSync("/proc/self/mounts", "utf8")).to.not.include("m\\040$(x)\\040t");
  });

  for (const [options, message] of [
    [{ data: "passthrough" }, /no option "data"/], [{ flags: ["lazytime"] }, /does not know the mount option "lazytime"/],
    [{ source: "a,allow_root" }, /cannot be a source/], [{ timeoutSec: -1 }, /no number of seconds/],
  ] as const) {
    it(`refuses ${JSON.stringify(options)}`, async () => {
      const failure = await serve(options).then(() => undefined, (error: { failed?: string; code?: string }) => error);
      expect(failure?.failed).to.match(message);
      expect(failure?.code).to.equal("EINVAL");
    });
  }
});
