/** isomorphic-git, a tool that accepts an `fs`, works on a tree; the real git agrees with what it left in the upper directory. */
import { expect } from "chai";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import git from "isomorphic-git";
import { directoryLayer, directoryUpper, openLayer, openUpper } from "../../lib/layer/description.js";
import { nodeFs, type NodeFs } from "../../lib/node-fs/node-fs.js";
import { Overlay } from "../../lib/overlay/overlay.js";
import { MemoryTree } from "./tree.js";

const author = { name: "Ada", email: "ada@example.org", timestamp: 1_700_000_000, timezoneOffset: 0 };

/** Two commits on two branches in /repo, ending on the first; the first commit's id. */
async function work(on: NodeFs): Promise<string> {
  const repository = { fs: on, dir: "/repo" };
  await git.init({ ...repository, defaultBranch: "main" });
  await on.promises.mkdir("/repo/src/deep", { recursive: true });
  await on.promises.writeFile("/repo/README", "first\n");
  await on.promises.writeFile("/repo/src/deep/tool", "#!/bin/sh\n", { mode: 0o755 });
  await on.promises.symlink("deep/tool", "/repo/src/link");
  for (const filepath of ["README", "src/deep/tool", "src/link"]) await git.add({ ...repository, filepath });
  const first = await git.commit({ ...repository, author, message: "first" });

  await git.branch({ ...repository, ref: "side", checkout: true });
  await on.promises.writeFile("/repo/README", "second, longer\n");
  expect(await git.status({ ...repository, filepath: "README" })).to.equal("*modified");
  await git.add({ ...repository, filepath: "README" });
  await git.remove({ ...repository, filepath: "src/link" });
  await on.promises.unlink("/repo/src/link");
  await git.commit({ ...repository, author, message: "second" });
  expect((await git.log(repository)).map(({ commit }) => commit.message.trim())).to.deep.equal(["second", "first"]);

  await git.checkout({ ...repository, ref: "main" });
  expect(await on.promises.readFile("/repo/README", "utf8")).to.equal("first\n");
  expect(await on.promises.readlink("/repo/src/link")).to.equal("deep/tool");
  expect(await git.statusMatrix(repository)).to.deep.equal([["README", 1, 1, 1], ["src/deep/tool", 1, 1, 1], ["src/link", 1, 1, 1]]);
  return first;
}

describe("isomorphic-git on nodeFs", function () {
  this.timeout(20_000);

  for (const slow of [false, true]) {
    it(`commits, branches and checks out on a tree that answers ${slow ? "later" : "at once"}`, async () => {
      const tree = new MemoryTree(slow);
      const on = nodeFs(tree, { nodesKept: 16 });
      await on.promises.mkdir("/repo");
      await work(on);
      expect(tree.openFiles).to.equal(0);
      expect(tree.forgets).to.be.greaterThan(0);
    });
  }

  it("leaves a repository in the upper directory that the real git accepts, and the lower one alone", async () => {
    const dir = fs.mkdtempSync(join(tmpdir(), "stratafs-git-"));
    const at = (name: string): string => join(dir, name);
    try {
      for (const name of ["lower/repo", "upper", "work"]) fs.mkdirSync(at(name), { recursive: true });
      fs.writeFileSync(at("lower/repo/README"), "from below\n");
      const tree = new Overlay(openUpper(directoryUpper(at("upper"), { workdir: at("work") })), [openLayer(directoryLayer(at("lower")))]);
      const first = await work(nodeFs(tree, { uid: process.getuid!(), gid: process.getgid!(), nodesKept: 16 }));
      await tree.sync();
      await tree.close();

      const real = (...args: string[]): string =>
        execFileSync("git", ["-C", at("upper/repo"), ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
      expect(real("fsck", "--strict")).to.equal("");
      expect(real("rev-parse", "HEAD")).to.equal(first);
      expect(real("status", "--porcelain")).to.equal("");
      expect(real("log", "--format=%s", "side")).to.equal("second\nfirst");
      expect(real("ls-tree", "-r", "--name-only", "main")).to.equal("README\nsrc/deep/tool\nsrc/link");
      expect(fs.readdirSync(at("lower/repo"))).to.deep.equal(["README"]);
      expect(fs.readFileSync(at("lower/repo/README"), "utf8")).to.equal("from below\n");
    } finally {
      fs.rmSync(dir, { recursive: true, force: true });
    }
  });
});
