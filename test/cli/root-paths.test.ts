import { expect } from "chai";
import { missingMountpoints, resolveInTree, type Wanted } from "../../lib/cli/root-paths.js";
import { memoryLayer, overlay } from "../../lib/index.js";
import { entry, type TreeDescription } from "../../lib/layer/tree-description.js";

const link = (target: string) => entry({ target });
const tree = (description: TreeDescription) => overlay({ lowers: [memoryLayer(description)] });

describe("a path inside a tree that becomes a root", () => {
  const root = tree({
    etc: { hosts: "", abs: link("/usr/x"), up: link("../../../usr"), dangling: link("../run/a/b") }, usr: { x: "", self: link("."), loop: link("loop") },
  });
  const cases: [path: string, resolved: string, there: boolean][] = [
    ["/", "/", true], ["/etc/hosts", "/etc/hosts", true], ["//etc/./hosts/", "/etc/hosts", true], ["/etc/abs", "/usr/x", true], ["/etc/up/x", "/usr/x", true],
    ["/etc/../../../etc", "/etc", true], ["/usr/self/self/x", "/usr/x", true], ["/etc/dangling", "/run/a/b", false], ["/no/such", "/no/such", false],
    ["/no/../etc/hosts", "/etc/hosts", true], ["/etc/hosts/x", "/etc/hosts/x", false],
  ];
  for (const [path, resolved, there] of cases) {
    it(`leads from ${path} to ${resolved}, which is ${there ? "there" : "missing"}`, () => {
      const found = resolveInTree(root, path);
      expect({ path: found.path, there: found.type !== undefined }).to.deep.equal({ path: resolved, there });
    });
  }

  it("does not go round in circles", () => expect(() => resolveInTree(root, "/usr/loop")).to.throw("too many symbolic links"));
});

describe("the mountpoints that a root lacks", () => {
  const wanted: Wanted[] = [
    { path: "/proc", kind: "directory" }, { path: "/etc/resolv.conf", kind: "file" }, { path: "/data/a", kind: "directory" }, { path: "/data/b", kind: "file" },
  ];

  it("become a tree to put below the layers", () => {
    expect(missingMountpoints(tree({}), wanted)).to.deep.equal({ proc: {}, etc: { "resolv.conf": "" }, data: { a: {}, b: "" } });
    expect(missingMountpoints(tree({ proc: {}, etc: { "resolv.conf": "x" }, data: { a: {}, b: "" } }), wanted)).to.deep.equal({});
  });

  it("are where the root's own symbolic links lead", () => {
    expect(missingMountpoints(tree({ etc: { "resolv.conf": link("../run/r/conf") }, proc: {}, data: link("/srv") }), wanted)).to.deep.equal({
      run: { r: { conf: "" } }, srv: { a: {}, b: "" },
    });
  });

  it("are refused where something of another kind stands", () => {
    expect(() => missingMountpoints(tree({ proc: "file" }), wanted)).to.throw("/proc in the root is not a directory");
    expect(() => missingMountpoints(tree({ etc: { "resolv.conf": {} } }), wanted)).to.throw("/etc/resolv.conf in the root is a directory");
  });
});
