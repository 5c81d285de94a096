/** What may happen to any mount, to one that outlives its server: too little memory, an aborted connection, a lazy unmount, a polite signal. */
import { expect } from "chai";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mountView } from "../../lib/index.js";
import { command, Ground, shell } from "../cli/command.js";
import { isRoot } from "../mount/world.js";
import { isAlive, SupervisedWorld, until } from "./world.js";

describe("a supervised mount in trouble (needs root)", function () {
  this.timeout(120_000);
  let world: SupervisedWorld;
  beforeEach(async function () {
    if (!isRoot) this.skip();
    world = await SupervisedWorld.start({ "file": "lower", "dir/inside": "inside" }, "cached");
  });
  afterEach(() => world?.close());
  const ended = (): Promise<void> => until(() => world.heirs().length === 0 && world.servers().every((pid) => !isAlive(pid)), "every process to end");

  it("goes on when its server is killed for lack of memory", async function () {
    const group = limited(`stratafs-test-${process.pid}`, 1 << 20);
    if (group === undefined) this.skip(); // needs a memory cgroup to be made here
    try {
      const fs = await world.client();
      const fd = await fs.do<number>("openSync", world.at("open"), "w+");
      const { server } = world;
      group.add(server);
      // What it has already is not counted there; its heir is not in there, nor what that starts.
      for (let i = 0; isAlive(server); i++) await fs.do("writeFileSync", world.at(`made${i}`), "x".repeat(100_000));
      await fs.do("writeSync", fd, "still open");
      await world.succeeded(1);
      expect(await fs.contentOf(fd)).to.equal("still open");
      expect(await fs.do("readFileSync", world.at("made0"), "utf8")).to.equal("x".repeat(100_000));
      expect(world.log()).to.equal("");
      await world.unmount();
    } finally {
      await group.remove();
    }
  });

  it("ends, with its heir, when its connection is aborted", async () => {
    const fs = await world.client();
    const fd = await fs.do<number>("openSync", world.at("open"), "w+");
    mkdirSync(join(world.top, "ctl"));
    expect(shell(`mount -t fusectl none ctl && echo 1 > ctl/${mountView(world.at()).connection}/abort; umount ctl`, { cwd: world.top }).stderr).to.equal("");
    await ended();
    // The kernel still has the page, and nobody to write it to.
    await fs.do("writeSync", fd, "x").catch(() => {});
    expect(await fs.do("fsyncSync", fd).catch((error: { code: string }) => error.code)).to.be.oneOf(["ENOTCONN", "ECONNABORTED", "EIO"]);
    expect(world.servers()).to.have.length(1);
    await fs.do("closeSync", fd).catch(() => {});
    expect(shell(`umount ${world.at()}; ls -A ${world.at()} ${world.top}/work/work`).stdout).to.equal(`${world.at()}:\n\n${world.top}/work/work:\n`);
  });

  it("is detached by umount -l, outlives its server even then, and ends with its last user", async () => {
    const fs = await world.client();
    const fd = await fs.do<number>("openSync", world.at("open"), "w+");
    expect(shell(`umount -l ${world.at()}; ls -A ${world.at()}`)).to.deep.equal({ status: 0, stdout: "", stderr: "" });
    world.kill();
    await fs.do("writeSync", fd, "written later");
    await fs.do("fsyncSync", fd);
    await world.succeeded(1);
    expect(await fs.contentOf(fd)).to.equal("written later");
    await fs.do("closeSync", fd);
    await ended();
    expect(readFileSync(join(world.top, "upper/open"), "utf8")).to.equal("written later");
    expect(shell(`ls -A ${world.top}/work/work`).stdout).to.equal("");
    expect(world.log()).to.equal("");
  });
});

describe("a supervised mount of the command (needs root)", function () {
  this.timeout(120_000);
  let ground: Ground;
  before(function () {
    if (!isRoot) this.skip();
  });
  beforeEach(() => void (ground = new Ground({ "a/one": "1\n", "upper/": "", "work/": "", "m/": "" })));
  afterEach(() => ground?.remove());

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it(`ends by ${signal}, with its heir, and everything written`, async () => {
      expect(command(["mount", "--supervised", "-o", "lowerdir=a,upperdir=upper,workdir=work", "m"], { cwd: ground.path }).status).to.equal(0);
      shell("echo late > m/late", { cwd: ground.path });
      const { servers, heirs } = mountView(ground.at("m"));
      const pids = [...servers, ...heirs].map(({ pid }) => pid);
      expect(pids).to.have.length(2);
      process.kill(servers[0]!.pid, signal);
      await until(() => pids.every((pid) => !isAlive(pid)), "server and heir to end");
      expect(shell('grep -c " $PWD/m " /proc/mounts; cat upper/late; ls -A work/work m; umount m', { cwd: ground.path }).stdout).to.equal("0\nlate\nm:\n\nwork/work:\n");
    });
  }
});

/** A memory cgroup with a limit, of version 1 or 2; undefined where none can be made. */
function limited(name: string, bytes: number): { add(pid: number): void; remove(): Promise<void> } | undefined {
  for (const [top, limit] of [["/sys/fs/cgroup/memory", "memory.limit_in_bytes"], ["/sys/fs/cgroup", "memory.max"]] as const) {
    const path = join(top, name);
    try {
      mkdirSync(path);
      if (existsSync(join(path, limit))) {
        return {
          add: (pid) => {
            writeFileSync(join(path, "cgroup.procs"), String(pid));
            try {
              writeFileSync(join(path, limit), String(bytes));
            } catch (error) {
              // What is in use already can be too much for a limit (version 1).
              if ((error as { code?: string }).code !== "EBUSY") throw error;
            }
          },
          remove: () => until(() => {
            try {
              rmdirSync(path);
            } catch {
              return !existsSync(path);
            }
            return true;
          }, "the cgroup to be empty"),
        };
      }
      rmdirSync(path);
    } catch {
      // Another version, or not ours to make.
    }
  }
  return undefined;
}
