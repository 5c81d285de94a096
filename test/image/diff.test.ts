import { expect } from "chai";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { diffImages, type DiffOptions, type Difference } from "../../lib/image/diff.js";
import { importImage } from "../../lib/image/import.js";
import { openStore, type Store } from "../../lib/store/store.js";
import { tarOf, type Entry } from "./images.js";

describe("the difference of two images", () => {
  let root: string;
  let store: Store;
  beforeEach(async () => {
    root = fs.mkdtempSync(path.join(os.tmpdir(), "stratafs-image-"));
    store = await openStore(path.join(root, "store"), { create: true });
  });
  afterEach(() => fs.rmSync(root, { recursive: true, force: true }));

  async function image(name: string, ...entries: Entry[]): Promise<void> {
    fs.writeFileSync(path.join(root, name), await tarOf(...entries));
    await importImage(store, path.join(root, name), { names: [name] });
  }
  async function difference(from: string, to: string, options: DiffOptions = {}): Promise<string[]> {
    const found: string[] = [];
    const line = (of: Difference): string => `${of.kind} ${of.path} ${of.mode.toString(8)}${of.kind === "changed" ? ` ${of.parts.join(" ")}` : ""}`;
    for await (const one of diffImages(store, from, to, options)) found.push(line(one));
    return found;
  }
  const long = "x".repeat(100);
  const dir = (name: string, more: Partial<Entry> = {}): Entry => ({ name, kind: "directory", mode: 0o755, ...more });

  it("is nothing between an image and itself", async () => {
    await image("a", dir("d"), { name: "d/f", body: long });
    expect(await difference("a", "a")).to.deep.equal([]);
  });

  it("names what was added, removed and changed, and how, in the order of names", async () => {
    await image("a", dir("./"), dir("d"), { name: "d/gone", body: long }, dir("d/sub"), { name: "d/sub/deep" }, { name: "body", body: long }, { name: "small", body: "1" }, { name: "grown", body: "1" }, { name: "l", kind: "symlink", linkName: "x" },
      { name: "own" }, { name: "perm" }, { name: "time" }, { name: "same", body: long }, { name: "dev", kind: "character", devMajor: 1, devMinor: 3 }, { name: "kind", body: "f" }, { name: "x", xattrs: new Map([["user.a", Buffer.from("1")]]) }, { name: "one" });
    await image("b", dir("./"), dir("d"), { name: "d-new" }, { name: "body", body: long.replace("x", "y") }, { name: "small", body: "2" }, { name: "grown", body: long }, { name: "l", kind: "symlink", linkName: "y" },
      { name: "own", uid: 1 }, { name: "perm", mode: 0o600 }, { name: "time", mtime: { sec: 1, nsec: 5 } }, { name: "same", body: long }, { name: "dev", kind: "character", devMajor: 1, devMinor: 5 }, dir("kind"), { name: "kind/in" }, { name: "x", xattrs: new Map([["user.a", Buffer.from("2")]]) },
      { name: "one" }, { name: "two", kind: "hardlink", linkName: "one" });
    const expected = [
      "changed /body 100644 content", "removed /d/gone 100644", "removed /d/sub 40755", "removed /d/sub/deep 100644", "added /d-new 100644", "changed /dev 20644 device", "changed /grown 100644 content", "changed /kind 40755 type",
      "added /kind/in 100644", "changed /l 120644 target", "changed /one 100644 links", "changed /own 100644 owner", "changed /perm 100600 mode", "changed /small 100644 content", "changed /time 100644 mtime",
      "added /two 100644", "changed /x 100644 xattrs",
    ];
    expect(await difference("a", "b")).to.deep.equal(expected);
    expect(await difference("a", "b", { times: false })).to.deep.equal(expected.filter((line) => !line.endsWith("mtime")));
    expect((await difference("b", "a")).filter((line) => line.includes("/kind"))).to.deep.equal(["changed /kind 100644 type", "removed /kind/in 100644"]);
  });

  it("says what is missing, stops when left, and ends its leases", async () => {
    await image("a", { name: "f" }, { name: "g" });
    await image("b", dir("./"));
    const code = await difference("a", "none").then(() => "no error", (error: { code: string }) => error.code);
    expect(code).to.equal("ERR_STORE_MISSING");
    for await (const _ of diffImages(store, "a", "b")) break;
    expect(await store.leases()).to.deep.equal([]);
    expect(await difference("a", "b", { tmies: true } as DiffOptions).then(() => "no error", (error: Error) => error.message)).to.include("tmies");
  });
});
