/**
 * The other names of a hard-linked lower file. A copy-up gives all of them to the upper, so that the group stays one file
 * for every reader of the upper: this mount, the next one, kernel overlayfs, a commit.
 * Limit: a name below a directory that a lower layer itself moved (redirect) is not found; it keeps the old content.
 */
import { S_IFDIR } from "../base/mode.js";
import type { Name } from "../base/name.js";
import type { Layer, LayerEntry, LayerNode } from "../layer/layer.js";
import type { Node } from "./node.js";
import type { Tree } from "./tree.js";

/**
 * Makes every visible name of a lower file a place of its node. Lists directories of that layer until all links are found,
 * those of the known names first: links mostly stand side by side. True when none is missing.
 */
export function findLinks(tree: Tree, node: Node): boolean {
  const part = node.lowers[0]!;
  const layer = tree.stack.layer(part.layer);
  const { nlink, ino } = layer.attr(part.node);
  const links = nlink - tree.hiddenLinksOf(node);
  const take = (entries: readonly LayerEntry[], dir: Node): boolean => {
    for (const entry of entries) {
      if (entry.ino !== ino || entry.type !== node.type) continue;
      const found = tree.child(dir, entry.name);
      if (found !== undefined && found !== node) tree.dropUnused(found);
    }
    return node.places().length >= links;
  };
  if (node.places().length >= links) return true;
  for (const dir of new Set(node.places().map((place) => place.dir))) {
    const near = dir.lowers.find((candidate) => candidate.layer === part.layer);
    if (near !== undefined && take(layer.list(near.node), dir)) return true;
  }
  let moved: Moved[] | undefined;
  for (const { path, dir, entries } of directories(layer)) {
    if (!entries.some((entry) => entry.ino === ino && entry.type === node.type)) continue;
    const dirIno = layer.attr(dir).ino;
    let merged = mergedAt(tree, tree.root, path, part.layer, dirIno);
    if (merged === undefined) {
      moved ??= movedDirectories(tree);
      const from = moved.find(({ was }) => was.every((name, i) => path[i] === name));
      if (from !== undefined) merged = mergedAt(tree, from.dir, path.slice(from.was.length), part.layer, dirIno);
    }
    if (merged !== undefined && take(entries, merged)) return true;
  }
  return false;
}

interface Moved {
  readonly dir: Node;
  /** Where its lower part lives. */
  readonly was: readonly Name[];
}

/** The directories that the upper shows elsewhere than the lower layers do; the deepest first, so that the first match is the nearest. */
function movedDirectories(tree: Tree): Moved[] {
  const { upper } = tree.stack;
  const moved: Moved[] = [];
  if (upper === undefined) return moved;
  for (const { path, dir } of directories(upper)) {
    if (upper.marks(dir).redirect === undefined) continue;
    const node = walk(tree, tree.root, path);
    if (node?.redirect !== undefined) moved.push({ dir: node, was: node.redirect.split("/").filter((part) => part !== "") as Name[] });
  }
  return moved.sort((a, b) => b.was.length - a.was.length);
}

/** Every directory of a layer with its listing, parents first. */
function* directories(layer: Layer): Generator<{ path: readonly Name[]; dir: LayerNode; entries: readonly LayerEntry[] }> {
  const queue: { dir: LayerNode; path: readonly Name[] }[] = [{ dir: layer.root, path: [] }];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    const entries = layer.list(next.dir);
    yield { ...next, entries };
    for (const entry of entries) {
      if (entry.type !== S_IFDIR) continue;
      const child = layer.lookup(next.dir, entry.name);
      if (child !== undefined) queue.push({ dir: child, path: [...next.path, entry.name] });
    }
  }
}

/** The merged directory in which a layer's directory shows, looked for from `start`; undefined where it is hidden or moved away. */
function mergedAt(tree: Tree, start: Node, path: readonly Name[], layer: number, ino: number): Node | undefined {
  const at = walk(tree, start, path);
  if (at === undefined) return undefined;
  tree.table(at);
  const part = at.lowers.find((candidate) => candidate.layer === layer);
  return part !== undefined && tree.stack.layer(layer).attr(part.node).ino === ino ? at : undefined;
}

function walk(tree: Tree, start: Node, path: readonly Name[]): Node | undefined {
  let at = start;
  for (const name of path) {
    const next = tree.child(at, name);
    if (next === undefined || !next.isDirectory) return undefined;
    at = next;
  }
  return at;
}
