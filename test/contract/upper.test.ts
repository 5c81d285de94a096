import { mkdirSync } from "node:fs";
import { DirectoryUpper } from "../../lib/layer/directory-upper.js";
import type { DirectoryUpperOptions } from "../../lib/layer/directory-upper.js";
import { MemoryUpper } from "../../lib/layer/memory-upper.js";
import { describeAsRoot, removeFolder, temporaryFolder, writeTree } from "../layer/disk-world.js";
import { upperContract } from "./upper.js";
import type { UpperUnderTest } from "./upper.js";

const folders: string[] = [];

after(() => {
  for (const folder of folders.splice(0)) removeFolder(folder);
});

function directory(options: DirectoryUpperOptions, differs: Partial<UpperUnderTest> = {}): UpperUnderTest {
  let folder = "";
  const spelling = options.whiteouts === undefined || options.whiteouts === "auto" ? "device" : options.whiteouts;
  return {
    open: (tree) => {
      folder = temporaryFolder();
      folders.push(folder);
      mkdirSync(`${folder}/upper`);
      mkdirSync(`${folder}/workdir`);
      writeTree(`${folder}/upper`, tree, spelling, options.xattrPrefix ?? "trusted");
      return DirectoryUpper.open(`${folder}/upper`, { workdir: `${folder}/workdir`, ...options });
    },
    reopen: () => DirectoryUpper.open(`${folder}/upper`, { workdir: `${folder}/workdir`, ...options }),
    marks: true, linkOwners: true, acls: true, trusted: true,
    ...differs,
  };
}

upperContract("memory", { open: (tree) => new MemoryUpper(tree), marks: true, linkOwners: true, acls: true, trusted: true });
describeAsRoot("on disk (needs root: devices, owners)", () => {
  upperContract("a directory", directory({}));
  upperContract("a directory in user.* with .wh. files and sentinels", directory({ xattrPrefix: "user", whiteouts: "dotwh", opaqueSentinel: true }));
  upperContract("a directory with xattr whiteouts", directory({ whiteouts: "xattr" }));
  upperContract("a directory with owners in user.* xattrs", directory({ xattrPermissions: 2 }, { linkOwners: false, acls: false }));
  upperContract("a directory with owners in security.* xattrs", directory({ xattrPermissions: 1 }, { acls: false }));
});
