/** Whatever point a server dies at, the change it was making is made once, and its client is told that it was. */
import { expect } from "chai";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { journalHead } from "../../lib/index.js";
import { shell } from "../cli/command.js";
import type { RemoteFs } from "../mount/remote-fs.js";
import { isRoot } from "../mount/world.js";
import { EVERY_START, isAlive, SupervisedWorld, until } from "./world.js";

interface Case {
  readonly title: string;
  readonly data: "passthrough" | "cached";
  /**
   * In a directory of its own that has lower/file, lower/other, lower/dir/ and upper/made, upper/link (two names of one, with an xattr),
   * upper/empty/.
   */
  readonly act: (fs: RemoteFs, dir: string) => Promise<unknown>;
  /** Names afterwards, and what stat says of them; names not listed are as before. */
  readonly changes: Readonly<Record<string, string | undefined>>;
}

const untouched: Readonly<Record<string, string>> = { file: "-1 file", other: "-1 other", dir: "d", made: "-2 made, key", link: "-2 made, key", empty: "d" };
const cases: readonly Case[] = [
  { title: "a file made and opened", data: "passthrough", act: (fs, dir) => fs.do("writeFileSync", `${dir}/new`, "text", { flag: "wx" }), changes: { new: "-1 text" } },
  { title: "a file made", data: "cached", act: (fs, dir) => fs.do("writeFileSync", `${dir}/new`, "", { flag: "wx" }), changes: { new: "-1 " } },
  { title: "a directory made", data: "cached", act: (fs, dir) => fs.do("mkdirSync", `${dir}/new`), changes: { new: "d" } },
  { title: "a link made", data: "cached", act: (fs, dir) => fs.do("linkSync", `${dir}/file`, `${dir}/new`), changes: { file: "-2 file", new: "-2 file" } },
  { title: "a symbolic link made", data: "passthrough", act: (fs, dir) => fs.do("symlinkSync", "file", `${dir}/new`), changes: { new: "l" } },
  { title: "one of two names removed", data: "cached", act: (fs, dir) => fs.do("unlinkSync", `${dir}/link`), changes: { link: undefined, made: "-1 made, key" } },
  { title: "a lower file removed", data: "passthrough", act: (fs, dir) => fs.do("unlinkSync", `${dir}/file`), changes: { file: undefined } },
  { title: "a lower directory removed", data: "cached", act: (fs, dir) => fs.do("rmdirSync", `${dir}/dir`), changes: { dir: undefined } },
  { title: "a lower file renamed over another", data: "passthrough", act: (fs, dir) => fs.do("renameSync", `${dir}/file`, `${dir}/other`), changes: { file: undefined, other: "-1 file" } },
  { title: "a link made of an upper file", data: "passthrough", act: (fs, dir) => fs.do("linkSync", `${dir}/made`, `${dir}/dir/new`), changes: { made: "-3 made, key", link: "-3 made, key" } },
  { title: "a lower and an upper file exchanged", data: "passthrough", act: (fs, dir) => fs.do("exchange", `${dir}/file`, `${dir}/link`), changes: { file: "-2 made, key", link: "-1 file" } },
  { title: "a file and a directory exchanged", data: "cached", act: (fs, dir) => fs.do("exchange", `${dir}/other`, `${dir}/empty`), changes: { other: "d", empty: "-1 other" } },
  { title: "an xattr of a lower file created", data: "passthrough", act: (fs, dir) => fs.do("createXattr", `${dir}/file`, "user.key", "key"), changes: { file: "-1 file, key" } },
  { title: "an xattr of an upper directory created", data: "cached", act: (fs, dir) => fs.do("createXattr", `${dir}/empty`, "user.key", "key"), changes: { empty: "d, key" } },
  { title: "an xattr removed", data: "cached", act: (fs, dir) => fs.do("removeXattr", `${dir}/made`, "user.key"), changes: { made: "-2 made", link: "-2 made" } },
  { title: "a directory renamed over an empty one", data: "cached", act: (fs, dir) => fs.do("renameSync", `${dir}/empty`, `${dir}/dir`), changes: { empty: undefined, dir: "d" } },
];

async function look(fs: RemoteFs, dir: string): Promise<Record<string, string>> {
  const seen: Record<string, string> = {};
  for (const name of await fs.do<string[]>("readdirSync", dir)) {
    const at = `${dir}/${name}`;
    const { mode, nlink } = await fs.do<{ mode: number; nlink: number }>("lstatSync", at);
    const type = mode & 0o170000;
    const value = type === 0o120000 ? undefined : await fs.do<string | undefined>("getXattr", at, "user.key");
    seen[name] = type === 0o040000 ? "d" : type === 0o120000 ? "l" : `-${nlink} ${await fs.do<string>("readFileSync", at, "utf8")}`;
    if (value !== undefined) seen[name] += `, ${value}`;
  }
  return seen;
}

describe("a change that its server dies in (needs root: passthrough, whiteouts)", function () {
  this.timeout(300_000);
  before(function () {
    if (!isRoot) this.skip();
  });

  for (const data of ["passthrough", "cached"] as const) {
    describe(`data=${data}`, () => {
      let world: SupervisedWorld;
      let fs: RemoteFs;
      let number = 0;
      before(async function () {
        if (!isRoot) this.skip();
        const lower = Object.fromEntries(Array.from({ length: 200 }, (_, i) => i).flatMap((i) => [
          [`${i}/file`, "file"], [`${i}/other`, "other"], [`${i}/dir/`, ""],
        ]));
        world = await SupervisedWorld.start(lower, data);
        fs = await world.client();
      });
      after(async () => {
        await world?.unmount();
        world?.close();
      });

      for (const { title, act, changes } of cases.filter((one) => one.data === data)) {
        it(`is made once: ${title}`, async () => {
          for (let point = 1; ; point++) {
            const dir = world.at(String(number++));
            await fs.do("writeFileSync", `${dir}/made`, "made");
            await fs.do("createXattr", `${dir}/made`, "user.key", "key");
            await fs.do("linkSync", `${dir}/made`, `${dir}/link`);
            await fs.do("mkdirSync", `${dir}/empty`);
            await look(fs, dir);
            const served = world.servers().length;
            await world.arm(point);
            await act(fs, dir);
            const expected: Record<string, string | undefined> = { ...untouched, ...changes };
            for (const name of Object.keys(expected)) if (expected[name] === undefined) delete expected[name];
            const died = await world.hasDied(served);
            expect(await look(fs, dir), `call ${point}`).to.deep.equal(expected);
            if (!died) break;
          }
        });
      }
    });
  }
});

describe("servers that die in a row (needs root)", function () {
  this.timeout(300_000);
  let world: SupervisedWorld;
  let fs: RemoteFs;
  beforeEach(async function () {
    if (!isRoot) this.skip();
    world = await SupervisedWorld.start({ "file": "file" }, "cached");
    fs = await world.client();
  });
  afterEach(() => world?.close());

  it("answer EIO to a request that three of them have died of, and go on with the others", async () => {
    await world.curse("deadly");
    expect(await codeOf(fs.do("mkdirSync", world.at("deadly")))).to.equal("EIO");
    expect(world.servers().length).to.equal(4);
    expect(await fs.do("readdirSync", world.at())).to.deep.equal(["file"]);
    // Another request of the same kind has its own three.
    expect(await codeOf(fs.do("renameSync", world.at("file"), world.at("deadly")))).to.equal("EIO");
    expect(world.servers().length).to.equal(7);
    await world.curse("");
    await fs.do("mkdirSync", world.at("deadly"));
    expect(await fs.do("readdirSync", world.at())).to.have.members(["file", "deadly"]);
    expect(world.log()).to.equal("");
    await world.unmount();
  });

  it("do not make a request fail that only waits for a slow disk", async () => {
    const fd = await fs.do<number>("openSync", world.at("new"), "w");
    await fs.do("writeSync", fd, "text");
    writeFileSync(`${world.top}/slow`, "");
    const synced = codeOf(fs.do("fsyncSync", fd));
    for (let deaths = 1; deaths <= 6; deaths++) {
      await until(() => existsSync(`${world.top}/syncs`) && readFileSync(`${world.top}/syncs`, "utf8").split("\n").length > deaths, "a sync to begin");
      if (deaths === 6) rmSync(`${world.top}/slow`);
      world.kill();
      await world.succeeded(deaths);
    }
    expect(await synced).to.equal(undefined);
    expect(await fs.do("readFileSync", world.at("new"), "utf8")).to.equal("text");
    expect(world.log()).to.equal("");
    await world.unmount();
  });

  it("do not take up again what a client waited for that was killed", async () => {
    await fs.do("writeFileSync", world.at("new"), "text");
    writeFileSync(`${world.top}/slow`, "");
    const client = spawn("sync", [world.at("new")], { stdio: "ignore" });
    const syncs = (): number => (existsSync(`${world.top}/syncs`) ? readFileSync(`${world.top}/syncs`, "utf8").split("\n").length - 1 : 0);
    await until(() => syncs() === 1, "a sync to begin");
    client.kill("SIGKILL");
    // This sync never ends.
    await once(client, "exit");
    world.kill();
    await world.succeeded(1);
    expect(await fs.do("readFileSync", world.at("new"), "utf8")).to.equal("text");
    expect([syncs(), world.log()]).to.deep.equal([1, ""]);
    await world.unmount();
  });

  it("end the mount when twenty have answered nothing, and leave no process", async () => {
    await world.curse(EVERY_START);
    // Seventeen have died already: each costs the time of a start.
    world.tamper(journalHead.attempts, 17);
    world.kill();
    expect(await codeOf(fs.do("lstatSync", world.at("never")))).to.be.oneOf(["ENOTCONN", "ECONNABORTED"]);
    await until(() => world.heirs().length === 0 && world.servers().every((pid) => !isAlive(pid)), "every process to end");
    expect(world.servers()).to.have.length(1 + 3);
    expect(world.log()).to.match(/^[^\n]*20 servers in a row have ended before they answered anything\n$/);
    expect(shell(`umount ${world.at()}`).stderr).to.equal("");
  });

  for (const [where, at, value, said] of [
    ["in its log", journalHead.log[0] + 16, NaN, /^EIO: journal is damaged at byte \d+\n$/],
    ["at its head", journalHead.tail, 7, /^EIO: journal is damaged at its head\n$/],
    ["where it says what is mounted", journalHead.jobLength, 3, /^EIO: journal is damaged where it says what is mounted\n$/],
  ] as const) {
    it(`are not tried when the journal is damaged ${where}: the mount ends, with one line`, async () => {
      await fs.do("readFileSync", world.at("file"));
      world.tamper(at, value);
      world.kill();
      expect(await codeOf(fs.do("lstatSync", world.at("never")))).to.be.oneOf(["ENOTCONN", "ECONNABORTED"]);
      await until(() => world.heirs().length === 0 && !isAlive(world.server), "every process to end");
      expect(world.log()).to.match(said);
      expect(shell(`umount ${world.at()}`).stderr).to.equal("");
    });
  }
});

async function codeOf(call: Promise<unknown>): Promise<string | undefined> {
  return call.then(() => undefined, (error: { code?: string }) => error.code);
}
