/** Whatever point a server dies at, the change it was making is made once, and its client is told that it was. */
import { expect } from "chai";
import type { RemoteFs } from "../mount/remote-fs.js";
import { isRoot } from "../mount/world.js";
import { SupervisedWorld } from "./world.js";

interface Case {
  readonly title: string;
  readonly data: "passthrough" | "cached";
  /** In a directory of its own that has lower/file, lower/other, lower/dir/ and upper/made, upper/link (two names of one), upper/empty/. */
  readonly act: (fs: RemoteFs, dir: string) => Promise<unknown>;
  /** Names afterwards, and what stat says of them; names not listed are as before. */
  readonly changes: Readonly<Record<string, string | undefined>>;
}

const untouched: Readonly<Record<string, string>> = { file: "-1 file", other: "-1 other", dir: "d", made: "-2 made", link: "-2 made", empty: "d" };
const cases: readonly Case[] = [
  { title: "a file made and opened", data: "passthrough", act: (fs, dir) => fs.do("writeFileSync", `${dir}/new`, "text", { flag: "wx" }), changes: { new: "-1 text" } },
  { title: "a file made", data: "cached", act: (fs, dir) => fs.do("writeFileSync", `${dir}/new`, "", { flag: "wx" }), changes: { new: "-1 " } },
  { title: "a directory made", data: "cached", act: (fs, dir) => fs.do("mkdirSync", `${dir}/new`), changes: { new: "d" } },
  { title: "a link made", data: "cached", act: (fs, dir) => fs.do("linkSync", `${dir}/file`, `${dir}/new`), changes: { file: "-2 file", new: "-2 file" } },
  { title: "a symbolic link made", data: "passthrough", act: (fs, dir) => fs.do("symlinkSync", "file", `${dir}/new`), changes: { new: "l" } },
  { title: "one of two names removed", data: "cached", act: (fs, dir) => fs.do("unlinkSync", `${dir}/link`), changes: { link: undefined, made: "-1 made" } },
  { title: "a lower file removed", data: "passthrough", act: (fs, dir) => fs.do("unlinkSync", `${dir}/file`), changes: { file: undefined } },
  { title: "a lower directory removed", data: "cached", act: (fs, dir) => fs.do("rmdirSync", `${dir}/dir`), changes: { dir: undefined } },
  { title: "a lower file renamed over another", data: "passthrough", act: (fs, dir) => fs.do("renameSync", `${dir}/file`, `${dir}/other`), changes: { file: undefined, other: "-1 file" } },
  { title: "a directory renamed over an empty one", data: "cached", act: (fs, dir) => fs.do("renameSync", `${dir}/empty`, `${dir}/dir`), changes: { empty: undefined, dir: "d" } },
];

async function look(fs: RemoteFs, dir: string): Promise<Record<string, string>> {
  const seen: Record<string, string> = {};
  for (const name of await fs.do<string[]>("readdirSync", dir)) {
    const at = `${dir}/${name}`;
    const { mode, nlink } = await fs.do<{ mode: number; nlink: number }>("lstatSync", at);
    const type = mode & 0o170000;
    seen[name] = type === 0o040000 ? "d" : type === 0o120000 ? "l" : `-${nlink} ${await fs.do<string>("readFileSync", at, "utf8")}`;
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
