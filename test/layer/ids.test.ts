import { expect } from "chai";
import { closeSync, openSync } from "node:fs";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, makedev } from "../../lib/base/mode.js";
import { idMap } from "../../lib/layer/ids.js";
import { formatOverride, parseOverride } from "../../lib/layer/stat-override.js";
import { isIdMapped } from "../../lib/layer/idmapped-mount.js";
import { codeOf } from "./disk-world.js";

describe("id maps", () => {
  const rootless = [{ presented: 0, onDisk: 1000, length: 1 }, { presented: 1, onDisk: 110000, length: 65536 }];

  it("translate both ways by ranges", () => {
    const { uid, gid, identity } = idMap({ uids: rootless });
    expect(identity).to.equal(false);
    const cases: [number, number][] = [[1000, 0], [110000, 1], [110099, 100], [175535, 65536]];
    for (const [onDisk, presented] of cases) {
      expect(uid.presented(onDisk)).to.equal(presented);
      expect(uid.onDisk(presented)).to.equal(onDisk);
    }
    expect(gid.presented(5)).to.equal(5);
  });

  it("present what has no range as the overflow id, and refuse to write it", () => {
    const { uid } = idMap({ uids: rootless });
    expect(uid.presented(0)).to.equal(65534);
    expect(uid.presented(175536)).to.equal(65534);
    expect(codeOf(() => uid.onDisk(70000))).to.equal("EINVAL");
  });

  it("let a user outside every range act as the overflow id", () => {
    const { uid, gid } = idMap({ uids: [{ onDisk: 0, presented: 100000, length: 65536 }] });
    expect([uid.actsAs(0), uid.actsAs(100000), uid.actsAs(165536), gid.actsAs(0)]).to.deep.equal([65534, 100000, 65534, 0]);
    expect(idMap({ squashUid: 7 }).uid.actsAs(0)).to.equal(0);
    expect(codeOf(() => uid.onDisk(0))).to.equal("EINVAL");
  });

  it("squash every owner to one", () => {
    const { uid, gid } = idMap({ squashUid: 0, squashGid: 5 });
    expect([uid.presented(77), uid.onDisk(88), gid.presented(77), gid.onDisk(88)]).to.deep.equal([0, 0, 5, 5]);
  });

  it("leave ids alone without options", () => {
    expect(idMap().identity).to.equal(true);
    expect(idMap().uid.presented(4294967294)).to.equal(4294967294);
  });
});

describe("idmapped mounts", () => {
  it("are not what an ordinary directory lies on, nor a file of no mount", () => {
    for (const path of ["/", "/proc/self/ns/mnt"]) {
      const fd = openSync(path, "r");
      expect(isIdMapped(fd), path).to.equal(false);
      closeSync(fd);
    }
  });
});

describe("stat override", () => {
  it("reads every form that is in use", () => {
    const cases: [string, object][] = [
      ["0:0:0755", { uid: 0, gid: 0, permissions: 0o755, type: 0, rdev: 0 }],
      ["1000:100:04711:file", { uid: 1000, gid: 100, permissions: 0o4711, type: S_IFREG, rdev: 0 }],
      ["0:0:0100644", { uid: 0, gid: 0, permissions: 0o644, type: 0, rdev: 0 }],
      ["1:2:01777:dir", { uid: 1, gid: 2, permissions: 0o1777, type: S_IFDIR, rdev: 0 }],
      ["1:2:0777:symlink", { uid: 1, gid: 2, permissions: 0o777, type: S_IFLNK, rdev: 0 }],
      ["1:2:0600:pipe", { uid: 1, gid: 2, permissions: 0o600, type: S_IFIFO, rdev: 0 }],
      ["0:6:0660:block-8-300", { uid: 0, gid: 6, permissions: 0o660, type: S_IFBLK, rdev: makedev(8, 300) }],
      ["0:0:0666:char-1-3", { uid: 0, gid: 0, permissions: 0o666, type: S_IFCHR, rdev: makedev(1, 3) }],
      ["4294967294:0:00", { uid: 4294967294, gid: 0, permissions: 0, type: 0, rdev: 0 }],
    ];
    for (const [value, override] of cases) expect(parseOverride(value), value).to.deep.equal(override);
  });

  it("refuses everything else with EIO", () => {
    for (const value of ["", "0:0", "0:0:0888", "a:0:0755", "0:0:0755:", "0:0:0755:char", "0:0:0755:char-1", "0:0:0755:thing", "-1:0:0755", "0:0:0755\n"]) {
      expect(codeOf(() => parseOverride(value)), JSON.stringify(value)).to.equal("EIO");
    }
  });

  it("writes what it reads, the type only where the object is another", () => {
    expect(formatOverride(1, 2, S_IFREG | 0o4755, 0, S_IFREG)).to.equal("1:2:04755");
    expect(formatOverride(0, 0, S_IFDIR | 0o700, 0, S_IFDIR)).to.equal("0:0:0700");
    expect(formatOverride(0, 0, S_IFCHR | 0o666, makedev(1, 300), S_IFREG)).to.equal("0:0:0666:char-1-300");
    expect(formatOverride(0, 0, S_IFIFO | 0o600, 0, S_IFREG)).to.equal("0:0:0600:pipe");
  });
});
