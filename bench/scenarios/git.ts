/** A checkout: git clone of a local repository, then git status in it. */
import { join } from "node:path";
import { inBoth } from "./goals.js";
import { expect, type Scenario } from "./scenario.js";

const environment = { GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null", GIT_CONFIG_COUNT: "1", GIT_CONFIG_KEY_0: "safe.directory", GIT_CONFIG_VALUE_0: "*" };

export const git: Scenario = {
  name: "git-clone-status",
  group: "Real work",
  about: "git clone of a local repository of 3,000 files, then git status",
  unit: "ms",
  fixture: "tree",
  layered: true,
  needs: ["git"],
  inputs: ["repository"],
  goals: inBoth(1.3),
  run(cell) {
    const clone = join(cell.scratch, "clone");
    const cloned = cell.command(["git", "clone", "-q", "--no-local", join(cell.input("repository"), "repository"), clone], { environment });
    const status = cell.command(["git", "-C", clone, "status", "--porcelain"], { environment });
    return { value: cloned.ms + status.ms, operations: cell.sizes.repositoryFiles, output: status.output };
  },
  check(cell, { output }) {
    expect("git status", output, "");
    expect("files", cell.work("read-all", join(cell.scratch, "clone/project")).ops, cell.sizes.repositoryFiles);
    cell.command(["git", "-C", join(cell.scratch, "clone"), "fsck"], { environment });
  },
};
