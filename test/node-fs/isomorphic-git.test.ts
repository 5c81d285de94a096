/** isomorphic-git, a tool that accepts an `fs`, works on a tree; the real git agrees with what it left there. */
import { expect } from "chai";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import git from "isomorphic-git";
import { nodeFs, type NodeFs } from "../../lib/node-fs/node-fs.js";
import { MemoryTree } from "./tree.js";

const author = { name: "Ada", email: "ada@example.org", timestamp: 1_700_000_000, timezoneOffset: 0 };

/** Writes out a directory of the tree, so that real programs can look at it. */
function extract(from: NodeFs, source: string, target: string): void {
  fs.mkdirSync(target);
  for (const entry of from.readdirSync(source, { withFileTypes: true })) {
    const inside = join(source, entry.name);
    const outside = join(target, entry.name);
    if (entry.isDirectory()) extract(from, inside, outside);
    else if (entry.isSymbolicLink()) fs.symlinkSync(from.readlinkSync(inside), outside);
    else fs.writeFileSync(outside, from.readFileSync(inside), { mode: from.statSync(inside).mode & 0o777 });
  }
}

describe("isomorphic-git on nodeFs", () => {
  for (const slow of [false, true]) {
    it(`commits, branches and checks out on a tree that answers ${slow ? "later" : "at once"}`, async function () {
      this.timeout(20_000);
      const tree = new MemoryTree(slow);
      const on = nodeFs(tree, { nodesKept: 16 });
      const repository = { fs: on, dir: "/repo" };
      await on.promises.mkdir("/repo");
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
      expect(tree.openFiles).to.equal(0);
      expect(tree.forgets).to.be.greaterThan(0);
      if (slow) return; // extract() is synchronous

      const dir = fs.mkdtempSync(join(tmpdir(), "stratafs-git-"));
      try {
        extract(on, "/repo", join(dir, "repo"));
        const real = (...args: string[]): string =>
          execFileSync("git", ["-c", "safe.directory=*", "-C", join(dir, "repo"), ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
        expect(real("fsck", "--strict")).to.equal("");
        expect(real("rev-parse", "HEAD")).to.equal(first);
        expect(real("status", "--porcelain")).to.equal("");
        expect(real("log", "--format=%s", "side")).to.equal("second\nfirst");
        expect(real("ls-tree", "-r", "--name-only", "main")).to.equal("README\nsrc/deep/tool\nsrc/link");
      } finally {
        fs.rmSync(dir, { recursive: true, force: true });
      }
    });
  }
});
