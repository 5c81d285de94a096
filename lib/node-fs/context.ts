/** What one object shaped like node:fs carries: the tree and what a process would add to it. */
import type { KeptNodes } from "../base/kept-nodes.js";
import type { Caller, FileSystem } from "../vfs.js";
import type { Descriptors } from "./descriptors.js";
import { lastly, type Maybe } from "./maybe.js";
import type { Walker } from "./walk.js";

export interface Context {
  readonly tree: FileSystem;
  readonly walker: Walker;
  readonly kept: KeptNodes;
  readonly caller: Caller;
  readonly descriptors: Descriptors;
  /** st_dev of everything in this tree. */
  readonly dev: number;
}

/** Keeps nodes from being forgotten while a call that may wait uses them. */
export function holding<T>(kept: KeptNodes, nodes: readonly object[], run: () => Maybe<T>): Maybe<T> {
  for (const node of nodes) kept.pin(node);
  return lastly(run, () => {
    for (const node of nodes) kept.unpin(node);
  });
}
