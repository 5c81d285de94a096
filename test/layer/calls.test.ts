/**
 * What a change costs in system calls on disk: exact, and a budget, as requests are counted in test/mount/requests.test.ts.
 * Directories are open already, as they are for all changes but the first.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { expect } from "chai";
import { S_IFCHR, S_IFDIR, S_IFMT, S_IFREG } from "../../lib/base/mode.js";
import { DirectoryUpper } from "../../lib/layer/directory-upper.js";
import { whiteout } from "../../lib/layer/tree-description.js";
import type { TreeDescription } from "../../lib/layer/tree-description.js";
import { native } from "../../lib/sys/binding.js";
import { AT_FDCWD } from "../../lib/sys/flags.js";
import { fsyncJob } from "../../lib/sys/jobs.js";
import { describeAsRoot, n, nodeAt, temporaryFolder, treeOf, writeTree } from "./disk-world.js";

describeAsRoot("the system calls of a directory upper (needs root: trusted xattrs)", () => {
  let folder: string;
  let upper: DirectoryUpper;
  const open = (tree: TreeDescription): DirectoryUpper => {
    mkdirSync(`${folder}/upper`);
    mkdirSync(`${folder}/workdir`);
    writeTree(`${folder}/upper`, tree);
    return (upper = DirectoryUpper.open(`${folder}/upper`, { workdir: `${folder}/workdir` }));
  };
  beforeEach(() => {
    folder = temporaryFolder();
  });
  afterEach(() => {
    upper.close();
    execFileSync("rm", ["-rf", folder]);
  });

  it("of hiding a name are one", () => {
    const d = nodeAt(open({ d: {} }), "d");
    upper.whiteout(d, n("first"));
    expect(callsOf(() => upper.whiteout(d, n("second")))).to.deep.equal(["link"]);
    expect(treeOf(upper)).to.deep.equal({ d: { first: "(whiteout)", second: "(whiteout)" } });
  });

  it("of removing a directory look at no whiteout that was made here, and remove none", async () => {
    const d = nodeAt(open({ d: {} }), "d");
    for (let i = 0; i < 100; i++) upper.whiteout(d, n(`w${i}`));
    upper.marks(d);
    await fsyncJob(process.stdout.fd).catch(() => undefined); // whoever begins the first job listens for all
    const calls = callsOf(() => upper.remove(upper.root, n("d"), true));
    expect(calls).to.deep.equal(["statx", "lseek", "getdents", "getdents", "link", "rename", "startJob"]);
    expect(treeOf(upper)).to.deep.equal({ d: "(whiteout)" });
    const inWork = (): string[] => readdirSync(`${folder}/workdir/work`);
    for (let tries = 0; tries < 1000 && inWork().length > 1; tries++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(inWork(), "after the job").to.deep.equal(["spare-whiteout"]);
  });

  it("of copying metadata up are the fewest that say it all", () => {
    const d = nodeAt(open({ d: {} }), "d");
    const attr = { ...upper.attr(upper.root), uid: process.geteuid!(), gid: process.getegid!() };
    const copy = (name: string, mode: number): void => {
      const staged = upper.stage({ ...attr, mode, size: 7 });
      staged.setOrigin(12345);
      if ((mode & S_IFMT) === S_IFREG) staged.setMetacopy(undefined);
      staged.publish(d, n(name));
    };
    copy("first", S_IFREG | 0o644);
    const publishing = ["utimens", "statx", "rename", "utimens", "statx"];
    const file = ["umask", "open", "umask", "setxattr", "ftruncate", "setxattr", "utimens", "close", ...publishing.slice(1)];
    expect(callsOf(() => copy("file", S_IFREG | 0o664))).to.deep.equal(file);
    expect(callsOf(() => copy("dir", S_IFDIR | 0o755))).to.deep.equal(["umask", "mkdir", "umask", "setxattr", ...publishing]);
    expect(callsOf(() => copy("setuid", S_IFREG | 0o4755))).to.include.members(["chown", "chmod"]);
    expect(upper.attr(nodeAt(upper, "d/file")).mode.toString(8)).to.equal((S_IFREG | 0o664).toString(8));
    expect(upper.attr(nodeAt(upper, "d/setuid")).mode.toString(8)).to.equal((S_IFREG | 0o4755).toString(8));
    expect(callsOf(() => upper.marks(nodeAt(upper, "d/dir"))).filter((call) => call.includes("xattr"))).to.deep.equal([]);
  });

  it("look at whiteouts that others made, and at what only seems to be one", () => {
    open({ d: { w: whiteout } });
    native.mknod(AT_FDCWD, `${folder}/upper/d/real`, S_IFCHR | 0o600, 0x103);
    expect(() => upper.remove(upper.root, n("d"), true)).to.throw("ENOTEMPTY");
    expect(readdirSync(`${folder}/upper/d`).sort()).to.deep.equal(["real", "w"]);
  });
});

/** The names of the addon's calls that `act` makes, in order. */
function callsOf(act: () => void): string[] {
  const calls: string[] = [];
  const binding = native as unknown as Record<string, (...args: unknown[]) => number>;
  const originals = Object.entries(binding).filter(([, value]) => typeof value === "function");
  for (const [name, original] of originals) {
    binding[name] = (...args) => {
      calls.push(name);
      return original(...args);
    };
  }
  try {
    act();
  } finally {
    for (const [name, original] of originals) binding[name] = original;
  }
  return calls;
}
