/** The merged view: what each operation shows, what it leaves in the upper, and that the lower stays as it was. */
import { expect } from "chai";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { directoryUpper, memoryLayer, memoryUpper, nodeFs, openLayer, openUpper, Overlay } from "../../lib/index.js";
import type { Layer, UpperLayer } from "../../lib/index.js";
import { entry, whiteout as hidden } from "../../lib/layer/tree-description.js";
import type { TaggedEntry, TreeDescription } from "../../lib/layer/tree-description.js";
import type { Shown } from "../helpers/worlds.js";
import { at, contentOf, layerTree, n, now, overwrite, root, treeOf, whiteout } from "../helpers/worlds.js";

interface World {
  readonly fs: Overlay;
  readonly upper: UpperLayer;
  readonly lower: Layer;
}

const hosts = "127.0.0.1 localhost\n";
const tree: TreeDescription = { etc: { hosts, passwd: "root\n", "ssl": { "a.pem": "A", "b.pem": "B" } }, bin: { sh: "#!" }, empty: {} };

function suite(kind: string, makeUpper: (path: string) => UpperLayer): void {
  describe(`the merged view over a ${kind} upper`, () => {
    let scratch: string;
    let open: Overlay[];
    beforeEach(() => {
      scratch = mkdtempSync(join(tmpdir(), "stratafs-overlay-"));
      open = [];
    });
    afterEach(() => {
      for (const fs of open) fs.close();
      rmSync(scratch, { recursive: true, force: true });
    });

    function world(...lowers: TreeDescription[]): World {
      const layers = (lowers.length > 0 ? lowers : [tree]).map((description) => openLayer(memoryLayer(description)));
      const upper = makeUpper(join(scratch, "upper"));
      const fs = new Overlay(upper, layers);
      open.push(fs);
      return { fs, upper, lower: layers[0]! };
    }

    it("shows the union of its layers, upper things first", () => {
      const { fs } = world({ a: "top", d: { x: "1" } }, { a: "bottom", d: { y: "2" }, b: "b" });
      expect(treeOf(fs)).to.deep.equal({ a: "top", b: "b", d: { x: "1", y: "2" } });
    });

    it("hides a lower file behind a whiteout and keeps the lower layer as it was", () => {
      const { fs, upper, lower } = world();
      fs.unlink(at(fs, "etc"), n("hosts"));
      expect(fs.lookup(at(fs, "etc"), n("hosts"))).to.equal(undefined);
      expect(layerTree(upper)).to.deep.equal({ etc: { hosts: whiteout } });
      expect((layerTree(lower) as { etc: Shown }).etc).to.have.property("hosts", hosts);
    });

    it("makes a name again where a whiteout stands, and removes it again", () => {
      const { fs, upper } = world();
      const etc = at(fs, "etc");
      fs.unlink(etc, n("hosts"));
      overwrite(fs, fs.create(etc, n("hosts"), { mode: 0o100644 }, root), "new");
      expect(layerTree(upper)).to.deep.equal({ etc: { hosts: "new" } });
      fs.unlink(etc, n("hosts"));
      expect(layerTree(upper)).to.deep.equal({ etc: { hosts: whiteout } });
    });

    it("leaves no whiteout for what only the upper has", () => {
      const { fs, upper } = world();
      fs.create(fs.root, n("f"), { mode: 0o100644 }, root);
      fs.unlink(fs.root, n("f"));
      expect(layerTree(upper)).to.deep.equal({});
    });

    it("makes a directory opaque where the lower has one of that name that was removed", () => {
      const { fs, upper } = world();
      const etc = at(fs, "etc");
      for (const name of ["a.pem", "b.pem"]) fs.unlink(at(fs, "etc/ssl"), n(name));
      fs.rmdir(etc, n("ssl"));
      fs.create(etc, n("ssl"), { mode: 0o040755 }, root);
      expect(treeOf(fs, at(fs, "etc/ssl"))).to.deep.equal({});
      expect(layerTree(upper)).to.deep.equal({ etc: { ssl: { "(opaque)": "" } } });
    });

    it("refuses to remove a directory that still shows something", () => {
      const { fs } = world();
      expect(() => fs.rmdir(fs.root, n("etc"))).to.throw().with.property("code", "ENOTEMPTY");
      expect(() => fs.unlink(fs.root, n("etc"))).to.throw().with.property("code", "EISDIR");
      expect(() => fs.rmdir(at(fs, "etc"), n("hosts"))).to.throw().with.property("code", "ENOTDIR");
      expect(() => fs.unlink(fs.root, n("none"))).to.throw().with.property("code", "ENOENT");
      expect(treeOf(fs)).to.deep.equal(tree);
    });

    it("copies up attributes alone for chmod, and data for a write", async () => {
      const { fs, upper } = world();
      const file = at(fs, "etc/hosts");
      const before = fs.getAttr(file);
      await fs.setAttr(file, { mode: 0o600 }, root);
      if (upper.can.metacopy) expect(layerTree(upper)).to.deep.equal({ etc: { hosts: "(metadata only)" } });
      expect(fs.getAttr(file)).to.include({ ino: before.ino, size: before.size, mode: 0o100600, mtimeSec: before.mtimeSec });
      expect(contentOf(fs, file)).to.equal(hosts);
      const writing = await fs.open(file, 2);
      await writing.write(Buffer.from("8"), 8);
      writing.close();
      expect(layerTree(upper)).to.deep.equal({ etc: { hosts: "127.0.0.8 localhost\n" } });
      expect(fs.getAttr(file).ino).to.equal(before.ino);
    });

    it("changes a mode as it copies up, or after it where more is to be kept: links, directories, xattrs, setuid", async () => {
      const { fs, upper } = world({
        d: { f: "1", e: "", x: entry({ content: "2", xattrs: { "user.note": "n" } }), s: entry({ content: "3", mode: 0o4755 }), a: "4", b: entry({ link: "d/a" }) },
      });
      const before = new Map(["d", "d/f", "d/e", "d/x", "d/s", "d/a"].map((path) => [path, fs.getAttr(at(fs, path))] as const));
      for (const path of before.keys()) {
        const mode = path === "d/s" ? 0o2710 : path === "d" ? 0o700 : 0o640;
        expect(await fs.setAttr(at(fs, path), { mode }, root), path).to.include({ mode: (before.get(path)!.mode & 0o170000) | mode });
      }
      for (const [path, { ino, size, mtimeSec, mtimeNsec, nlink, uid }] of before) {
        expect(fs.getAttr(at(fs, path)), path).to.deep.include({ ino, uid, mtimeSec, mtimeNsec, ...(path === "d" ? {} : { size, nlink }) });
      }
      expect(fs.getAttr(at(fs, "d/b")).mode).to.equal(0o100640);
      expect(Buffer.from(fs.getXattr(at(fs, "d/x"), "user.note")!).toString()).to.equal("n");
      expect(treeOf(fs)).to.deep.equal({ d: { a: "4", b: "4", e: "", f: "1", s: "3", x: "2" } });
      expect(upper.attr(upper.lookup(upper.lookup(upper.root, n("d"))!, n("f"))!).mode).to.equal(0o100640);
    });

    it("lets a reader that was open before see what is written after", async () => {
      const { fs } = world();
      const file = at(fs, "etc/passwd");
      const reader = now(fs.open(file, 0));
      const writer = await fs.open(file, 1);
      await writer.write(Buffer.from("R"), 0);
      const into = Buffer.alloc(5);
      expect(now(reader.read(into, 0))).to.equal(5);
      expect(into.toString()).to.equal("Root\n");
      reader.close();
      writer.close();
    });

    it("copies nothing of a file that is truncated as it is opened", async () => {
      const { fs, upper } = world();
      const file = await fs.open(at(fs, "etc/hosts"), 0o1001);
      file.close();
      expect(layerTree(upper)).to.deep.equal({ etc: { hosts: "" } });
    });

    it("renames a lower file", async () => {
      const { fs, upper } = world();
      const { ino } = fs.getAttr(at(fs, "etc/hosts"));
      await fs.rename(at(fs, "etc"), n("hosts"), at(fs, "bin"), n("h"), "replace");
      expect(contentOf(fs, at(fs, "bin/h"))).to.equal(hosts);
      expect(fs.getAttr(at(fs, "bin/h")).ino).to.equal(ino);
      expect((layerTree(upper) as { etc: Shown }).etc).to.deep.equal({ hosts: whiteout });
    });

    it("renames a lower directory by redirect, also twice, and what is in it is found", async function () {
      const { fs, upper } = world();
      if (!upper.can.redirect) this.skip(); // this dialect cannot say where the lower part is; EXDEV is tested below
      await fs.rename(at(fs, "etc"), n("ssl"), fs.root, n("certs"), "replace");
      await fs.rename(fs.root, n("certs"), at(fs, "bin"), n("c"), "replace");
      expect(treeOf(fs)).to.deep.equal({ etc: { hosts, passwd: "root\n" }, bin: { sh: "#!", c: { "a.pem": "A", "b.pem": "B" } }, empty: {} });
      const c = upper.lookup(upper.lookup(upper.root, n("bin"))!, n("c"))!;
      expect(upper.marks(c).redirect).to.equal("/etc/ssl");
    });

    it("replaces an empty directory by a renamed one, whiteouts inside or not", async function () {
      const { fs, upper } = world();
      if (!upper.can.redirect) this.skip(); // a directory with a lower part is not renamed without redirects
      for (const name of ["a.pem", "b.pem"]) fs.unlink(at(fs, "etc/ssl"), n(name));
      await fs.rename(fs.root, n("bin"), at(fs, "etc"), n("ssl"), "replace");
      expect(treeOf(fs)).to.deep.equal({ etc: { hosts, passwd: "root\n", ssl: { sh: "#!" } }, empty: {} });
      await fs.rename(at(fs, "etc"), n("ssl"), fs.root, n("empty"), "replace");
      expect(treeOf(fs)).to.deep.equal({ etc: { hosts, passwd: "root\n" }, empty: { sh: "#!" } });
    });

    it("exchanges a lower file and an upper directory", async () => {
      const { fs } = world();
      const dir = fs.create(fs.root, n("new"), { mode: 0o040755 }, root);
      fs.create(dir, n("f"), { mode: 0o100644 }, root);
      await fs.rename(fs.root, n("new"), at(fs, "etc"), n("hosts"), "exchange");
      expect(treeOf(fs, at(fs, "etc/hosts"))).to.deep.equal({ f: "" });
      expect(contentOf(fs, at(fs, "new"))).to.equal(hosts);
    });

    it("answers a rename that may not be with the code of rename(2)", () => {
      const { fs } = world();
      const etc = at(fs, "etc");
      const code = (act: () => unknown): string => {
        try {
          act();
          return "none";
        } catch (error) {
          return (error as { code: string }).code;
        }
      };
      expect(code(() => fs.rename(etc, n("hosts"), etc, n("passwd"), "noreplace"))).to.equal("EEXIST");
      expect(code(() => fs.rename(etc, n("hosts"), etc, n("none"), "exchange"))).to.equal("ENOENT");
      expect(code(() => fs.rename(etc, n("hosts"), etc, n("ssl"), "replace"))).to.equal("EISDIR");
      expect(code(() => fs.rename(fs.root, n("empty"), etc, n("hosts"), "replace"))).to.equal("ENOTDIR");
      expect(code(() => fs.rename(fs.root, n("empty"), etc, n("ssl"), "replace"))).to.equal("ENOTEMPTY");
      expect(treeOf(fs)).to.deep.equal(tree);
    });

    it("keeps an unlinked lower file usable for who holds it, with no links", async () => {
      const { fs, upper } = world();
      const file = at(fs, "etc/hosts");
      fs.unlink(at(fs, "etc"), n("hosts"));
      expect(fs.getAttr(file).nlink).to.equal(0);
      expect(contentOf(fs, file)).to.equal(hosts);
      const writer = await fs.open(file, 2);
      await writer.write(Buffer.from("X"), 0);
      writer.close();
      expect(contentOf(fs, file)).to.equal(`X${hosts.slice(1)}`);
      expect(layerTree(upper)).to.deep.equal({ etc: { hosts: whiteout } });
      fs.forget(file);
    });

    it("links a lower file: one file under two names", async () => {
      const { fs } = world();
      const file = at(fs, "etc/hosts");
      await fs.link(file, fs.root, n("h"));
      expect(fs.getAttr(at(fs, "h"))).to.include({ nlink: 2, ino: fs.getAttr(file).ino });
      const writer = await fs.open(at(fs, "h"), 1);
      await writer.write(Buffer.from("9"), 0);
      writer.close();
      expect(contentOf(fs, file)).to.equal(`9${hosts.slice(1)}`);
    });

    it("gives an unnamed file a name", () => {
      const { fs } = world();
      const file = fs.createUnnamed(at(fs, "etc"), 0o100640, root);
      expect(fs.getAttr(file).nlink).to.equal(0);
      overwrite(fs, file, "late");
      now(fs.link(file, at(fs, "etc"), n("late")));
      expect(contentOf(fs, at(fs, "etc/late"))).to.equal("late");
      expect(fs.getAttr(file).nlink).to.equal(1);
    });

    it("changes nothing when a missing attribute is removed", () => {
      const { fs, upper } = world();
      expect(() => fs.setXattr(at(fs, "etc/hosts"), "user.none", undefined)).to.throw().with.property("code", "ENODATA");
      expect(layerTree(upper)).to.deep.equal({});
    });

    it("says another version whenever a listing changes, and only then", () => {
      const { fs } = world();
      const etc = at(fs, "etc");
      const before = fs.dirVersion(etc);
      contentOf(fs, at(fs, "etc/hosts"));
      expect(fs.dirVersion(etc)).to.equal(before);
      fs.unlink(etc, n("hosts"));
      expect(fs.dirVersion(etc)).to.not.equal(before);
    });

    it("keeps a removed directory usable and takes nothing new in it", () => {
      const { fs } = world();
      const empty = at(fs, "empty");
      fs.rmdir(fs.root, n("empty"));
      expect(fs.openDir(empty)).to.have.length(0);
      expect(() => fs.create(empty, n("f"), { mode: 0o100644 }, root)).to.throw().with.property("code", "ENOENT");
    });
  });
}

suite("memory", () => openUpper(memoryUpper()));
suite("memory without marks", () => openUpper(memoryUpper({}, { redirect: false, metacopy: false })));
if (process.getuid?.() === 0) {
  suite("directory", (path) => openUpper(directoryUpper(makeDirectory(path), { volatile: true })));
  suite("blocking directory", (path) => openUpper(directoryUpper(makeDirectory(path), { blocking: true })));
}

function makeDirectory(path: string): string {
  mkdirSync(path);
  return path;
}

describe("a tree on a blocking upper", () => {
  it("does in a synchronous call what another upper would have to wait for: large copies, and syncs", function () {
    if (process.getuid?.() !== 0) this.skip(); // keeps owners
    const scratch = mkdtempSync(join(tmpdir(), "stratafs-blocking-"));
    try {
      const large = "x".repeat(3 << 20);
      const open = (blocking: boolean): Overlay =>
        new Overlay(openUpper(directoryUpper(makeDirectory(join(scratch, `${blocking}`)), { blocking })), [openLayer(memoryLayer({ large }))]);
      const [waiting, blocking] = [open(false), open(true)];
      expect(() => nodeFs(waiting).writeFileSync("/large", "!", { flag: "r+" })).to.throw().with.property("code", "EAGAIN");
      const fs = nodeFs(blocking);
      fs.writeFileSync("/large", "!", { flag: "r+" });
      const fd = fs.openSync("/large", "r+");
      fs.fsyncSync(fd);
      fs.closeSync(fd);
      expect(fs.readFileSync("/large", "latin1")).to.equal(`!${large.slice(1)}`);
      blocking.close();
      waiting.close();
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  });
});

describe("the merged view without an upper", () => {
  it("shows everything and changes nothing (EROFS)", () => {
    const fs = new Overlay(undefined, [openLayer(memoryLayer(tree))]);
    expect(treeOf(fs)).to.deep.equal(tree);
    const refused = [
      () => fs.create(fs.root, n("f"), { mode: 0o100644 }, root),
      () => fs.unlink(at(fs, "etc"), n("hosts")),
      () => fs.rename(fs.root, n("etc"), fs.root, n("x"), "replace"),
      () => fs.setAttr(at(fs, "etc"), { mode: 0o700 }, root),
      () => fs.open(at(fs, "etc/hosts"), 1),
      () => fs.setXattr(at(fs, "etc"), "user.a", Buffer.from("")),
    ];
    for (const act of refused) expect(act).to.throw().with.property("code", "EROFS");
    fs.close();
  });

  it("serves 500 lowers, the topmost first", () => {
    const layers = Array.from({ length: 500 }, (_, i) => openLayer(memoryLayer({ all: { [`only${i}`]: `${i}`, top: `${i}` } })));
    const fs = new Overlay(undefined, layers);
    expect(fs.openDir(at(fs, "all"))).to.have.length(501);
    expect(contentOf(fs, at(fs, "all/top"))).to.equal("0");
    expect(contentOf(fs, at(fs, "all/only499"))).to.equal("499");
    fs.close();
  });

  it("tells objects apart that were copied in the upper directory with the marks of where they came from", () => {
    const lower = memoryLayer({ f: "1", d: { x: "2" } });
    const origin = 2 ** 40 + 7;
    const moved = entry({ redirect: "d", entries: { x: entry({ content: "3", origin }) } });
    const fs = new Overlay(openUpper(memoryUpper({ moved, again: moved, d: hidden })), [openLayer(lower)]);
    const inos = (): number[] => ["moved", "again", "moved/x", "again/x"].map((path) => fs.getAttr(at(fs, path)).ino);
    const first = inos();
    expect(new Set(first).size).to.equal(4);
    expect(first[2]).to.equal(origin);
    for (const path of ["moved/x", "moved", "again/x", "again"]) fs.forget(at(fs, path));
    expect(inos().reverse()).to.deep.equal([...first].reverse());
    treeOf(fs);
    fs.close();
  });

  it("finds the data of metadata-only files in data layers by absolute redirects alone", () => {
    const meta = (redirect?: string): TaggedEntry => entry({ content: "", metacopy: true, ...(redirect === undefined ? {} : { redirect }) });
    const lower = { byName: meta(), relative: meta("byName"), absolute: meta("/o/1"), lost: meta("/o/2") };
    const fs = new Overlay(undefined, [openLayer(memoryLayer(lower))], { dataLayers: [openLayer(memoryLayer({ byName: "no", o: { 1: "data" } }))] });
    const code = (act: () => unknown): string => {
      try {
        return JSON.stringify(act());
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(code(() => fs.lookup(fs.root, n("byName")))).to.equal("EIO");
    expect(code(() => fs.lookup(fs.root, n("relative")))).to.equal("EIO");
    const read = (name: string): string => {
      const file = now(fs.open(at(fs, name), 0));
      const bytes = Buffer.alloc(8);
      const count = now(file.read(bytes, 0));
      file.close();
      return bytes.toString("latin1", 0, count);
    };
    expect(read("absolute")).to.equal("data");
    expect(code(() => read("lost"))).to.equal("ENOENT");
    fs.close();
  });

  it("frees nodes that are forgotten, and finds them again as they were", () => {
    const fs = new Overlay(undefined, [openLayer(memoryLayer(tree))]);
    const etc = at(fs, "etc");
    const hostsNode = at(fs, "etc/hosts");
    const { ino } = fs.getAttr(hostsNode);
    fs.forget(hostsNode);
    fs.forget(etc);
    expect(fs.lookup(fs.root, n("etc"))).to.not.equal(etc);
    expect(fs.getAttr(at(fs, "etc/hosts")).ino).to.equal(ino);
    fs.close();
  });
});
