import { expect } from "chai";
import { mergeChain } from "../../lib/store/chain-merge.js";
import { IndexReader } from "../../lib/store/index-reader.js";
import { LayerTree, type TreeObject } from "../../lib/store/layer-tree.js";
import { randomFrom } from "../tar/archive.js";
import { indexLines, directory, file, hash, id, indexOf, path, symlink } from "./trees.js";

type Build = (tree: LayerTree) => void;

function merged(...builds: Build[]): IndexReader {
  const layers = builds.map((build) => { const tree = new LayerTree(); build(tree); return indexOf(tree); });
  return IndexReader.fromBytes(Buffer.concat(mergeChain(layers, id("chain"), hash)), "chain", hash);
}
const lines = (...builds: Build[]): string[] => indexLines(merged(...builds)).slice(1).map((line) => line.replace(/ 0:0 0.0| nlink \d+/g, ""));

describe("a chain of layers, merged", () => {
  it("shows upper entries over lower ones and joins directories", () => {
    expect(lines(
      (tree) => { tree.put(path("d"), directory({ mode: 0o40700 })); tree.put(path("d/low"), file("l")); tree.put(path("d/both"), file("l")); tree.put(path("x/y"), file("y")); tree.put(path("f"), file("f")); },
      (tree) => { tree.put(path("d/both"), file("u")); tree.put(path("d/up"), file("u")); tree.put(path("x"), file("now a file")); tree.put(path("f/g"), file("now a directory")); },
    )).to.deep.equal(["/d 40700", '/d/both 100644 "u"', '/d/low 100644 "l"', '/d/up 100644 "u"', "/f 40755", '/f/g 100644 "now a directory"', '/x 100644 "now a file"']);
  });

  it("applies whiteouts and opaque directories, and keeps neither", () => {
    const low: Build = (tree) => { for (const name of ["a", "b", "d/1", "d/2", "e/1"]) tree.put(path(name), file(name)); };
    const hide: Build = (tree) => { tree.whiteout(["a"]); tree.whiteout(path("d/1")); tree.opaque(["e"]); tree.put(path("e/new"), file("n")); tree.whiteout(path("never/was")); };
    const again: Build = (tree) => { tree.put(["a"], file("back")); tree.put(path("e/2"), file("2")); tree.whiteout(["d"]); };
    expect(lines(low, hide)).to.deep.equal(['/b 100644 "b"', "/d 40755", '/d/2 100644 "d/2"', "/e 40755", '/e/new 100644 "n"', "/never 40755"]);
    expect(lines(low, hide, again)).to.deep.equal(['/a 100644 "back"', '/b 100644 "b"', "/e 40755", '/e/2 100644 "2"', '/e/new 100644 "n"', "/never 40755"]);
    expect(lines(low, (tree) => { tree.opaque([]); tree.put(["only"], file("")); })).to.deep.equal(['/only 100644 ""']);
    expect(lines((tree) => { tree.whiteout(["a"]); tree.put(["b"], file("b")); })).to.deep.equal(['/b 100644 "b"']);
  });

  it("gives an opaque directory that is only implied the attributes it has below, and one whose name was hidden new ones", () => {
    const low: Build = (tree) => { for (const name of ["d", "e"]) { tree.put([name], directory({ mode: 0o40700, uid: 5 })); tree.put(path(`${name}/low`), file("")); } };
    const again: Build = (tree) => { tree.opaque(["d"]); tree.whiteout(["e"]); tree.put(path("d/new"), file("")); tree.put(path("e/new"), file("")); };
    const expected = ["/d 40700 5:0 0.0", '/d/new 100644 ""', "/e 40755", '/e/new 100644 ""'];
    expect(lines(low, again)).to.deep.equal(expected);
    expect(lines(low, again, again)).to.deep.equal(expected);
    expect(lines(low, (tree) => tree.whiteout(["d"]), again)).to.deep.equal(["/d 40755", ...expected.slice(1)]);
    expect(lines(low, (tree) => tree.put(["d"], file("")), again)).to.deep.equal(["/d 40755", ...expected.slice(1)]);
  });

  it("finds hard links to lower layers as these were below the link", () => {
    const low: Build = (tree) => { tree.put(path("usr/tool"), file("tool")); tree.put(path("usr/other"), file("other")); };
    expect(lines(low, (tree) => tree.link(path("bin/tool"), path("usr/tool")))).to.deep.equal(
      ["/bin 40755", '/bin/tool 100644 "tool" #0', "/usr 40755", '/usr/other 100644 "other"', '/usr/tool 100644 "tool" #0']);
    // The link was made before its own layer hid the name, and later layers link to the link.
    expect(lines(low, (tree) => { tree.link(["t"], path("usr/tool")); tree.whiteout(["usr"]); }, (tree) => { tree.link(["u"], ["t"]); tree.put(["t"], symlink("u")); }))
      .to.deep.equal(["/t 120777 -> u", '/u 100644 "tool"']);
  });

  it("counts links of files and directories anew", () => {
    const index = merged(
      (tree) => { tree.put(["a"], file("x")); tree.link(["b"], ["a"]); tree.link(["c"], ["a"]); tree.put(path("d/1/x"), file("")); tree.put(path("d/2/x"), file("")); },
      (tree) => { tree.whiteout(["a"]); tree.whiteout(path("d/1")); },
    );
    expect(index.nlink(index.find(0, "b"))).to.equal(2);
    expect(index.nlink(index.find(0, "d"))).to.equal(3);
    expect(index.nlink(0)).to.equal(3);
  });

  for (const [what, target] of [["nothing", "none"], ["a directory", "d"], ["a hidden file", "hidden"], ["a file behind a symbolic link", "link/f"]] as const) {
    it(`refuses a hard link to ${what} in the lower layers`, () => {
      const low: Build = (tree) => { tree.put(path("d/f"), file("")); tree.put(["hidden"], file("")); tree.put(["link"], symlink("d")); };
      expect(() => merged(low, (tree) => tree.whiteout(["hidden"]), (tree) => tree.link(["l"], path(target)))).to.throw().with.property("code", "ERR_STORE_TREE");
    });
  }

  it("says of a damaged layer that it is damaged", () => {
    const tree = new LayerTree();
    tree.put(["f"], file("x"));
    const bytes = Buffer.concat(tree.write(hash, id("l")));
    bytes.fill(0xee, 300, 340);
    expect(() => mergeChain([IndexReader.fromBytes(bytes, "test", hash)], id("c"), hash)).to.throw().with.property("code").that.is.oneOf(["EIO", "ERR_STORE_DAMAGED"]);
  });

  for (const seed of [1, 2, 3, 4, 5, 6]) {
    it(`shows what one layer after the other would give (seed ${seed})`, () => {
      const random = randomFrom(seed * 65_537);
      const below = (n: number): number => Math.floor(random() * n);
      const layers: IndexReader[] = [];
      let model: Model = new Map();
      for (let layer = 0; layer < 8; layer++) {
        const tree = new LayerTree();
        const own: Model = new Map();
        const hidden: string[][] = [];
        const opaque: string[][] = [];
        for (let i = 0; i < 25; i++) {
          const where = Array.from({ length: 1 + below(3) }, () => "abcd"[below(4)] as string);
          try {
            const kind = below(8);
            if (kind < 4) {
              const object = kind === 0 ? directory({ mode: 0o40700 + layer, uid: i }) : file(`${layer}.${i}`);
              tree.put(where, object);
              put(own, where, object);
            } else if (kind < 7) {
              tree.whiteout(where);
              if (!isBehindFile(own, where)) put(own, where.slice(0, -1), undefined);
              hidden.push(where);
            } else {
              tree.opaque(where);
              put(own, where, undefined);
              opaque.push(where);
            }
          } catch (error) {
            expect(error).to.have.property("code", "ERR_STORE_TREE");
          }
        }
        layers.push(indexOf(tree));
        for (const where of hidden) remove(model, where);
        for (const where of opaque) remove(model, where, true);
        model = over(model, own);
        const index = IndexReader.fromBytes(Buffer.concat(mergeChain(layers, id("chain"), hash)), "chain", hash);
        expect(indexLines(index).slice(1).map((line) => line.replace(/ nlink \d+/, ""))).to.deep.equal(linesOf(model));
      }
    });
  }
});

/** A tree as nested maps; a directory is its attributes (undefined: implied) and its entries. */
type Model = Map<string, { object: TreeObject | undefined; entries: Model | undefined }>;

function put(model: Model, where: readonly string[], object: TreeObject | undefined): void {
  let at = model;
  for (const [i, name] of where.entries()) {
    const last = i === where.length - 1;
    const known = at.get(name);
    if (last && object !== undefined) {
      const isDirectory = (object.mode & 0o170000) === 0o40000;
      if (known?.entries !== undefined && isDirectory) known.object = object;
      else at.set(name, { object, entries: isDirectory ? new Map() : undefined });
      return;
    }
    if (known?.entries === undefined) at.set(name, { object: undefined, entries: new Map() });
    at = (at.get(name) as { entries: Model }).entries;
  }
}

function isBehindFile(model: Model, where: readonly string[]): boolean {
  let at: Model | undefined = model;
  for (const name of where.slice(0, -1)) {
    const entry: { entries: Model | undefined } | undefined = at?.get(name);
    if (entry !== undefined && entry.entries === undefined) return true;
    at = entry?.entries;
  }
  return false;
}

function remove(model: Model, where: readonly string[], contentOnly = false): void {
  let at: Model | undefined = model;
  for (const name of where.slice(0, -1)) at = at?.get(name)?.entries;
  const name = where.at(-1) as string;
  if (!contentOnly) at?.delete(name);
  else at?.get(name)?.entries?.clear();
}

function over(low: Model, up: Model): Model {
  const result: Model = new Map(low);
  for (const [name, entry] of up) {
    const below = result.get(name);
    if (entry.entries === undefined || below?.entries === undefined) result.set(name, entry);
    else result.set(name, { object: entry.object ?? below.object, entries: over(below.entries, entry.entries) });
  }
  return result;
}

function linesOf(model: Model, prefix = ""): string[] {
  const lines: string[] = [];
  for (const name of [...model.keys()].sort()) {
    const { object, entries } = model.get(name) as { object: TreeObject | undefined; entries: Model | undefined };
    const shown = object ?? directory();
    const body = shown.content?.kind === "inline" ? ` "${Buffer.from(shown.content.bytes).toString()}"` : "";
    lines.push(`${prefix}/${name} ${shown.mode.toString(8)} ${shown.uid}:${shown.gid} 0.0${body}`);
    if (entries !== undefined) lines.push(...linesOf(entries, `${prefix}/${name}`));
  }
  return lines;
}
