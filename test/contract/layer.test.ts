import { mkdirSync } from "node:fs";
import { DirectoryLayer } from "../../lib/layer/directory-layer.js";
import { DirectoryUpper } from "../../lib/layer/directory-upper.js";
import { MemoryLayer } from "../../lib/layer/memory-layer.js";
import { MemoryUpper } from "../../lib/layer/memory-upper.js";
import type { TreeDescription } from "../../lib/layer/tree-description.js";
import { describeAsRoot, removeFolder, temporaryFolder, writeTree } from "../layer/disk-world.js";
import type { WhiteoutOnDisk } from "../layer/disk-world.js";
import { layerContract } from "./layer.js";

const folders: string[] = [];
const written = (tree: TreeDescription, whiteouts: WhiteoutOnDisk, prefix: string): string => {
  const folder = temporaryFolder();
  folders.push(folder);
  mkdirSync(`${folder}/layer`);
  writeTree(`${folder}/layer`, markedImpure(tree), whiteouts, prefix);
  return `${folder}/layer`;
};
/** An upper reads marks of files only where the directory says that there are some. */
const markedImpure = (tree: TreeDescription): TreeDescription => ({ "/": { entries: tree, xattrs: { "trusted.overlay.impure": "y" } } }) as unknown as TreeDescription;

after(() => {
  for (const folder of folders.splice(0)) removeFolder(folder);
});

layerContract("a tree in memory", (tree) => new MemoryLayer(tree));
layerContract("an upper in memory", (tree) => new MemoryUpper(tree));
describeAsRoot("on disk (needs root: devices, owners)", () => {
  layerContract("a directory with devices as whiteouts", (tree) => DirectoryLayer.open(written(tree, "device", "trusted")));
  layerContract("a directory with .wh. files", (tree) => DirectoryLayer.open(written(tree, "dotwh", "trusted")));
  layerContract("a directory with xattr whiteouts in user.*", (tree) => DirectoryLayer.open(written(tree, "xattr", "user"), { honour: { userXattrs: true } }));
  layerContract("an upper directory", (tree) => DirectoryUpper.open(written(tree, "device", "trusted")));
});
