import { expect } from "chai";
import { changesOf, type Change } from "../../lib/cli/changes.js";
import { jsonLine, plainLine } from "../../lib/cli/diff.js";
import { memoryLayer, openLayer, overlay } from "../../lib/index.js";
import { entry, whiteout, type TreeDescription } from "../../lib/layer/tree-description.js";

async function changes(upper: TreeDescription, lower?: TreeDescription): Promise<Change[]> {
  const layer = openLayer(memoryLayer(upper));
  const below = lower === undefined ? undefined : overlay({ lowers: [memoryLayer(lower)] });
  try {
    return await changesOf(layer, below);
  } finally {
    await below?.close();
    layer.close();
  }
}
const lines = async (upper: TreeDescription, lower?: TreeDescription) => (await changes(upper, lower)).map(plainLine);

describe("the changes of an upper layer", () => {
  it("are added, changed and deleted names, against known lowers", async () => {
    expect(await lines({ a: "new", b: "changed", c: whiteout, d: { e: "new" } }, { b: "before", c: "gone", d: { f: "kept" }, g: "kept" })).to.deep.equal([
      "A /a", "C /b", "D /c", "A /d/e",
    ]);
  });

  it("leave out what is the same as below, directories that merely hold changes, and whiteouts of nothing", async () => {
    expect(await lines({ same: "1", dir: { same: "2" }, nothing: whiteout }, { same: "1", dir: { same: "2" } })).to.deep.equal([]);
  });

  it("name what differs", async () => {
    const lower = { data: "1", mode: "1", owner: "1", times: "1", xattrs: "1", kind: "1", link: entry({ target: "a" }) };
    const upper = {
      data: "2", mode: entry({ content: "1", mode: 0o600 }), owner: entry({ content: "1", uid: 5 }), times: entry({ content: "1", mtime: 9 }),
      xattrs: entry({ content: "1", xattrs: { "user.a": "b" } }), kind: {}, link: entry({ target: "b" }),
    };
    const found = new Map((await changes(upper, lower)).map((change) => [change.path, change.parts]));
    expect(Object.fromEntries(found)).to.deep.equal({
      "/data": ["data"], "/mode": ["mode"], "/owner": ["owner"], "/times": ["times"], "/xattrs": ["xattrs"], "/kind": ["kind"], "/link": ["target"],
    });
  });

  it("delete what an opaque directory does not name, at every depth", async () => {
    const upper = { d: entry({ opaque: true, entries: { kept: "1", sub: { new: "2" } } }) };
    expect(await lines(upper, { d: { kept: "1", gone: "3", sub: { old: "4", deep: { x: "5" } } } })).to.deep.equal(["D /d/gone", "D /d/sub/deep", "A /d/sub/new", "D /d/sub/old"]);
  });

  it("tell a renamed directory as one line, and what changed in it as changes of the old one", async () => {
    const upper = { old: whiteout, new: entry({ redirect: "/old", entries: { edited: "2", gone: whiteout } }) };
    expect(await lines(upper, { old: { edited: "1", gone: "1", kept: "1" } })).to.deep.equal(["R /new/ <- /old", "C /new/edited", "D /new/gone"]);
  });

  it("take a file's redirect for a rename only when the old name is gone", async () => {
    const file = entry({ content: "", redirect: "/old", metacopy: true });
    expect(await lines({ new: file, old: whiteout }, { old: "1" })).to.deep.equal(["R /new <- /old"]);
    expect(await lines({ new: file }, { old: "1" })).to.deep.equal(["A /new"]);
  });

  it("are only what is there when the lowers are unknown", async () => {
    expect(await lines({ a: "1", b: whiteout, d: entry({ opaque: true, entries: { e: "" } }) })).to.deep.equal(["U /a", "D /b", "U /d/", "U /d/e"]);
  });

  it("are a line each, whatever is in a name", async () => {
    const [change] = await changes({ "a\nb": "é" });
    expect(plainLine(change!)).to.equal("U /a\\x0ab");
    expect(JSON.parse(jsonLine(change!))).to.deep.equal({ change: "upper", path: "/a\nb", type: "file" });
  });

  it("carry kinds, parts and marks as JSON", async () => {
    const [change] = await changes({ d: entry({ opaque: true, mode: 0o700, entries: {} }) }, { d: {} });
    expect(JSON.parse(jsonLine(change!))).to.deep.equal({ change: "changed", path: "/d", type: "directory", parts: ["mode"], opaque: true });
  });
});
