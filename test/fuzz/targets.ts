/** Every fuzz target, by name. */
import type { Target } from "./fuzz.js";
import { aclTarget } from "./acl.js";
import { documentsTarget } from "./documents.js";
import { fuseTarget } from "./fuse.js";
import { imageTarget } from "./image.js";
import { indexTarget } from "./index.js";
import { journalTarget } from "./journal.js";
import { marksTarget } from "./marks.js";
import { optionsTarget } from "./options.js";
import { paxTarget } from "./pax.js";
import { recipeTarget } from "./recipe.js";
import { tarTarget } from "./tar.js";

export const targets: readonly Target[] = [
  tarTarget, paxTarget, indexTarget, recipeTarget, documentsTarget, fuseTarget, optionsTarget, imageTarget, aclTarget, marksTarget, journalTarget,
];
