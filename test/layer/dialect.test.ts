import { expect } from "chai";
import { checkRedirect, hiddenBy, markKey, readMarks } from "../../lib/layer/dialect.js";
import { shownKey, storedKey } from "../../lib/layer/private-keys.js";
import { codeOf } from "./disk-world.js";

describe("the dialects", () => {
  it("know what a .wh. name hides", () => {
    const cases: [string, string | undefined][] = [
      [".wh.file", "file"], [".wh..hidden", ".hidden"], [".wh.", undefined], [".wh..", undefined], [".wh...", undefined],
      [".wh..wh..opq", undefined], [".wh..wh.plnk", undefined], [".wh..wh.orph", undefined], ["file", undefined], ["x.wh.y", undefined],
    ];
    for (const [name, hidden] of cases) expect(hiddenBy(name), name).to.equal(hidden);
  });

  it("read marks in every spelling", () => {
    const read = (xattrs: Record<string, string>): object => readMarks(Object.keys(xattrs), (key) => xattrs[key]);
    const none = { opaque: "", redirect: undefined, metacopy: false, origin: undefined, impure: false };
    const cases: [Record<string, string>, object][] = [
      [{}, none],
      [{ "user.mime": "text/plain" }, none],
      [{ "trusted.overlay.opaque": "y" }, { ...none, opaque: "y" }],
      [{ "user.overlay.opaque": "y" }, { ...none, opaque: "y" }],
      [{ "user.fuseoverlayfs.opaque": "y" }, { ...none, opaque: "y" }],
      [{ "user.fuseoverlayfs.opaque": "n" }, none],
      [{ "trusted.overlay.opaque": "x" }, { ...none, opaque: "x" }],
      [{ "trusted.overlay.opaque": "yes" }, none],
      [{ "trusted.overlay.redirect": "/a", "user.overlay.redirect": "/b" }, { ...none, redirect: "/a" }],
      [{ "user.overlay.metacopy": "" }, { ...none, metacopy: true }],
      [{ "trusted.overlay.metacopy": "\x00\x04\x00\x00" }, { ...none, metacopy: true }],
      [{ "trusted.overlay.stratafs.origin": "12" }, { ...none, origin: 12 }],
      [{ "trusted.overlay.stratafs.origin": "-1" }, none],
      [{ "trusted.overlay.stratafs.origin": "9999999999999999" }, none],
      [{ "trusted.overlay.impure": "y" }, { ...none, impure: true }],
      [{ "trusted.overlay.overlay.opaque": "y" }, none],
    ];
    for (const [xattrs, marks] of cases) expect(read(xattrs), JSON.stringify(xattrs)).to.deep.equal(marks);
  });

  it("accept only redirects that stay inside", () => {
    for (const good of ["name", "/a", "/a/b c/d", "..."]) expect(checkRedirect(good)).to.equal(good);
    for (const bad of ["", "/", "//a", "/a/", "/a//b", "a/b", "..", "/..", "/a/../b", "/./a", "a\0b", "/".padEnd(300, "x")]) {
      expect(codeOf(() => checkRedirect(bad)), JSON.stringify(bad)).to.equal("EIO");
    }
  });

  it("spell marks as the kernel does", () => {
    expect(markKey("trusted", "redirect")).to.equal("trusted.overlay.redirect");
    expect(markKey("user", "opaque")).to.equal("user.overlay.opaque");
  });
});

describe("private keys", () => {
  it("are hidden from users, escaped ones unescaped", () => {
    const cases: [string, string | undefined][] = [
      ["user.mime", "user.mime"],
      ["trusted.overlay.opaque", undefined],
      ["user.overlay.origin", undefined],
      ["trusted.overlay.overlay.opaque", "trusted.overlay.opaque"],
      ["user.overlay.overlay.overlay.x", "user.overlay.overlay.x"],
      ["trusted.overlayed", "trusted.overlayed"],
      ["user.fuseoverlayfs.opaque", undefined],
      ["security.fuseoverlayfs.override_stat", undefined],
      ["user.containers.override_stat", undefined],
      ["user.containers.other", "user.containers.other"],
      ["security.capability", "security.capability"],
    ];
    for (const [stored, shown] of cases) expect(shownKey(stored, false), stored).to.equal(shown);
  });

  it("move security.* aside where xattrs stand in for permissions", () => {
    expect(storedKey("security.capability", true)).to.equal("user.containers.override_security.capability");
    expect(shownKey("user.containers.override_security.capability", true)).to.equal("security.capability");
    expect(storedKey("user.containers.override_security.capability", true)).to.equal(undefined);
  });

  it("come back as they were set, whatever they look like", () => {
    const keys = ["user.a", "trusted.overlay.opaque", "user.overlay.", "trusted.overlay.overlay.overlay.", "security.x", "system.posix_acl_access"];
    for (const override of [false, true]) for (const key of keys) expect(shownKey(storedKey(key, override)!, override), key).to.equal(key);
  });
});
