/** All scenarios, in the order of the report. */
import { aptInstall } from "./apt-install.js";
import { chmodTree } from "./chmod-tree.js";
import { copyUp } from "./copy-up.js";
import { create, mkdirs } from "./create.js";
import { cBuild } from "./c-build.js";
import { git } from "./git.js";
import { imageAgain, imageCommit, imageImport, storeSize } from "./images.js";
import { mapCold, mapWarm, readCold, readWarm } from "./large-read.js";
import { append, writeRandom, writeSequential, writeSync } from "./large-write.js";
import { memoryPerMount, memoryUsed, pageCache, pageCacheMany } from "./memory.js";
import { missingAgain, missingFirst } from "./missing-names.js";
import { npmCi } from "./npm-ci.js";
import { openReadClose } from "./open-read-close.js";
import { parallel } from "./parallel.js";
import { pythonCold, pythonWarm } from "./python.js";
import { removeTree, renameLower, renameNew, unlinkLower, unlinkNew } from "./remove.js";
import type { Scenario } from "./scenario.js";
import { smallFilesCold, smallFilesWarm } from "./small-files.js";
import { containerStart, mountAndWalk, mountChain, mountLatency } from "./start.js";
import { unpack } from "./unpack.js";
import { walkCold, walkWarm } from "./walk.js";
import { wideListCold, wideListWarm, wideStatCold } from "./wide-directory.js";

export const SCENARIOS: readonly Scenario[] = [
  ...[walkCold, walkWarm, missingFirst, missingAgain, wideListCold, wideListWarm, wideStatCold],
  ...[smallFilesCold, smallFilesWarm, openReadClose, readCold, readWarm, mapCold, mapWarm],
  ...[writeSequential, writeRandom, append, writeSync, copyUp],
  ...[create, mkdirs, unlinkNew, unlinkLower, removeTree, renameNew, renameLower, chmodTree],
  ...parallel,
  ...[unpack, git, npmCi, pythonCold, pythonWarm, cBuild, aptInstall],
  ...[mountLatency, mountAndWalk, mountChain, containerStart],
  ...[imageImport, imageAgain, imageCommit, storeSize],
  ...memoryPerMount,
  ...[memoryUsed, pageCache, pageCacheMany],
];
