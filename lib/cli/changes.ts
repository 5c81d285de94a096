/**
 * What an upper layer does to the layers below it: the walk behind `stratafs diff`.
 * Always true: with the lowers at hand a change is only reported when the merged view differs from them, and the list is complete;
 * without them, what is there is all that can be told ("upper"). A deleted directory stands for all that was in it.
 * Reads only. Ordered by path, parents before their children.
 */
import { constants } from "node:fs";
import type { Attr, FileSystem, Layer, LayerNode, Name } from "../index.js";

export type ChangedPart = "kind" | "data" | "mode" | "owner" | "times" | "xattrs" | "device" | "target";

export interface Change {
  /** "upper": added or changed, nobody can say which without the lowers. */
  readonly change: "added" | "changed" | "deleted" | "renamed" | "upper";
  /** Absolute in the merged view; latin1. */
  readonly path: string;
  /** S_IF* bits; undefined for a deletion. */
  readonly type?: number;
  /** Where a renamed object was; latin1. */
  readonly from?: string;
  /** What differs, of a changed object. */
  readonly parts?: readonly ChangedPart[];
  /** A directory that hides everything below it. */
  readonly opaque?: true;
  /** A regular file whose data is still in a lower layer. */
  readonly metadataOnly?: true;
}

/** `lowers` is the merged view of the layers below, without the upper. */
export async function changesOf(upper: Layer, lowers: FileSystem | undefined): Promise<Change[]> {
  const walk = new Walk(upper, lowers);
  await walk.directory({ node: upper.root, path: "", lower: lowers?.root, lowerPath: "", replaced: false });
  return walk.result();
}

interface Directory {
  readonly node: LayerNode;
  /** Without a slash at its end: "" for the root. */
  readonly path: string;
  /** What the lowers have in its place, whatever the kind. */
  readonly lower: object | undefined;
  /** Where that is in the lowers: another path below a renamed directory. */
  readonly lowerPath: string;
  /** It, or a directory above it, is opaque: what it does not name is gone. */
  readonly replaced: boolean;
}

class Walk {
  private readonly upper: Layer;
  private readonly lowers: FileSystem | undefined;
  private readonly found: Change[] = [];

  constructor(upper: Layer, lowers: FileSystem | undefined) {
    this.upper = upper;
    this.lowers = lowers;
  }

  async directory(dir: Directory): Promise<void> {
    const lowerIsDirectory = dir.lower !== undefined && isType(this.attrBelow(dir.lower), S_IFDIR);
    const lowerDir = lowerIsDirectory ? dir.lower : undefined;
    const named = new Set<string>();
    const entries = [...this.upper.list(dir.node)].sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      named.add(entry.name);
      const path = `${dir.path}/${entry.name}`;
      const below = lowerDir === undefined ? undefined : this.lowers?.lookup(lowerDir, entry.name);
      if (entry.whiteout) {
        if (this.lowers === undefined || below !== undefined) this.found.push({ change: "deleted", path });
        continue;
      }
      const node = this.upper.lookup(dir.node, entry.name);
      if (node === undefined) continue;
      if (node.type === S_IFDIR) await this.subdirectory(dir, entry.name, node, below, lowerDir);
      else await this.leaf(dir, path, node, below);
    }
    if (!dir.replaced || lowerDir === undefined || this.lowers === undefined) return;
    for (const entry of this.lowers.openDir(lowerDir)) {
      if (!named.has(entry.name)) this.found.push({ change: "deleted", path: `${dir.path}/${entry.name}` });
    }
  }

  private async subdirectory(dir: Directory, name: Name, node: LayerNode, below: object | undefined, lowerDir: object | undefined): Promise<void> {
    const path = `${dir.path}/${name}`;
    const marks = this.upper.marks(node);
    const opaque = marks.opaque ? { opaque: true as const } : {};
    let next: Directory = { node, path, lower: below, lowerPath: `${dir.lowerPath}/${name}`, replaced: dir.replaced || marks.opaque };
    if (marks.redirect !== undefined && !next.replaced) {
      const from = marks.redirect.startsWith("/") ? marks.redirect : `${dir.lowerPath}/${marks.redirect}`;
      this.found.push({ change: "renamed", path, type: node.type, from });
      const origin = marks.redirect.startsWith("/") ? this.lowerAt(marks.redirect) : this.lowerChild(lowerDir, marks.redirect as Name);
      next = { ...next, lower: origin, lowerPath: from };
    } else if (this.lowers === undefined) {
      this.found.push({ change: "upper", path, type: node.type, ...opaque });
    } else if (below === undefined) {
      this.found.push({ change: "added", path, type: node.type });
    } else {
      const parts = await this.compare(node, below, "own");
      if (parts.length > 0) this.found.push({ change: "changed", path, type: node.type, parts, ...opaque });
    }
    await this.directory(next);
  }

  private async leaf(dir: Directory, path: string, node: LayerNode, below: object | undefined): Promise<void> {
    const { metacopy, redirect } = this.upper.marks(node);
    const metadataOnly = metacopy ? { metadataOnly: true as const } : {};
    const from = redirect === undefined ? {} : { from: redirect.startsWith("/") ? redirect : `${dir.lowerPath}/${redirect}` };
    if (this.lowers === undefined) {
      this.found.push({ change: "upper", path, type: node.type, ...metadataOnly, ...from });
    } else if (below === undefined) {
      this.found.push({ change: "added", path, type: node.type, ...metadataOnly, ...from });
    } else {
      const parts = await this.compare(node, below, !metacopy ? "own" : redirect === undefined ? "hidden" : "moved");
      if (parts.length > 0) this.found.push({ change: "changed", path, type: node.type, parts, ...metadataOnly });
    }
  }

  /**
   * The list, with a deletion and an arrival made from it told as one rename. A file's redirect alone does not prove that
   * it was renamed: a hard link has one too, and then the old name is still there.
   */
  result(): Change[] {
    const deleted = new Set(this.found.filter((c) => c.change === "deleted").map((c) => c.path));
    const renamedFrom = new Set<string>();
    const told = this.found.map((change): Change => {
      if (change.from === undefined) return change;
      const gone = deleted.has(change.from) && !renamedFrom.has(change.from);
      if (change.change === "renamed" || gone) {
        renamedFrom.add(change.from);
        return { ...change, change: "renamed" };
      }
      const { from: _kept, ...rest } = change;
      return rest;
    });
    return told
      .filter((change) => change.change !== "deleted" || !renamedFrom.has(change.path))
      .sort((a, b) => comparePaths(a.path, b.path));
  }

  // ── the two sides of a comparison ──

  /**
   * What differs between the upper's object and the one it hides. Of a directory, times say only that its names changed.
   * `data`: the upper has its "own", or uses that of the "hidden" object, or of another that "moved" here.
   */
  private async compare(node: LayerNode, below: object, data: "own" | "hidden" | "moved"): Promise<ChangedPart[]> {
    const a = this.upper.attr(node);
    const b = this.attrBelow(below);
    if ((a.mode & S_IFMT) !== (b.mode & S_IFMT)) return ["kind"];
    const parts: ChangedPart[] = [];
    if (isType(a, S_IFREG) && data !== "hidden") {
      if (data === "moved" || a.size !== b.size || !(await this.sameData(node, below, a.size))) parts.push("data");
    }
    if (isType(a, S_IFLNK) && this.upper.readlink(node) !== this.lowers?.readlink(below)) parts.push("target");
    if (a.rdev !== b.rdev) parts.push("device");
    if (a.mode !== b.mode) parts.push("mode");
    if (a.uid !== b.uid || a.gid !== b.gid) parts.push("owner");
    if (!isType(a, S_IFDIR) && (a.mtimeSec !== b.mtimeSec || a.mtimeNsec !== b.mtimeNsec)) parts.push("times");
    if (!this.sameXattrs(node, below)) parts.push("xattrs");
    return parts;
  }

  private async sameData(node: LayerNode, below: object, size: number): Promise<boolean> {
    const mine = this.upper.open(node);
    try {
      const theirs = await this.lowers!.open(below, 0);
      try {
        const a = Buffer.allocUnsafe(Math.min(size, 1 << 20));
        const b = Buffer.allocUnsafe(a.length);
        for (let position = 0; position < size; ) {
          const count = mine.read(a, position);
          const other = await theirs.read(b, position);
          if (count !== other || !a.subarray(0, count).equals(b.subarray(0, count))) return false;
          if (count === 0) return true;
          position += count;
        }
        return true;
      } finally {
        theirs.close();
      }
    } finally {
      mine.close();
    }
  }

  private sameXattrs(node: LayerNode, below: object): boolean {
    const mine = [...this.upper.listXattr(node)].sort();
    const theirs = [...this.lowers!.listXattr(below)].sort();
    return mine.length === theirs.length && mine.every((key, i) => {
      if (key !== theirs[i]) return false;
      const a = this.upper.getXattr(node, key);
      const b = this.lowers!.getXattr(below, key);
      return a !== undefined && b !== undefined && Buffer.compare(a, b) === 0;
    });
  }

  private attrBelow(node: object): Attr {
    return this.lowers!.getAttr(node);
  }

  private lowerChild(dir: object | undefined, name: Name): object | undefined {
    if (this.lowers === undefined || dir === undefined || !isType(this.attrBelow(dir), S_IFDIR)) return undefined;
    return this.lowers.lookup(dir, name);
  }

  private lowerAt(path: string): object | undefined {
    let at: object | undefined = this.lowers?.root;
    for (const part of path.split("/")) {
      if (part !== "") at = this.lowerChild(at, part as Name);
    }
    return at;
  }
}

const { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } = constants;

function isType(attr: Attr, type: number): boolean {
  return (attr.mode & S_IFMT) === type;
}

/** As a walk meets them: "/a" before "/a/b" before "/a.b". */
function comparePaths(a: string, b: string): number {
  const left = a.replaceAll("/", "\0");
  const right = b.replaceAll("/", "\0");
  return left < right ? -1 : left > right ? 1 : 0;
}
