/**
 * What a change costs in system calls on disk: exact, and a budget, as requests are counted in test/mount/requests.test.ts.
 * Directories are open already, as they are for all changes but the first.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { expect } from "chai";
import { S_IFCHR } from "../../lib/base/mode.js";
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
