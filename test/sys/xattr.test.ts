import { expect } from "chai";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FsError, errnoName } from "../../lib/base/errors.js";
import { native } from "../../lib/sys/binding.js";
import { O_NOFOLLOW, O_PATH, XATTR_CREATE, XATTR_REPLACE } from "../../lib/sys/flags.js";
import { getXattr, listXattr, removeXattr, setXattr } from "../../lib/sys/xattr.js";
import { itAsRoot, openAt, scratch } from "./world.js";

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe("extended attributes", () => {
  const world = scratch();

  function eachWay(name: string): [string, number, string][] {
    return [
      ["by name", world.fd, name],
      ["by descriptor", openAt(world.fd, name, 0), ""],
      ["by O_PATH descriptor", openAt(world.fd, name, O_PATH | O_NOFOLLOW), ""],
    ];
  }

  it("are written, read, listed and removed by name, by descriptor and by O_PATH descriptor", () => {
    writeFileSync(join(world.path, "f"), "");
    for (const [way, fd, path] of eachWay("f")) {
      setXattr(fd, path, "user.b", bytes(0, 255, 0));
      setXattr(fd, path, "user.empty", bytes());
      expect(getXattr(fd, path, "user.b"), way).to.deep.equal(bytes(0, 255, 0));
      expect(getXattr(fd, path, "user.empty"), way).to.deep.equal(bytes());
      expect(listXattr(fd, path).sort(), way).to.deep.equal(["user.b", "user.empty"]);
      expect(getXattr(fd, path, "user.none"), way).to.equal(undefined);
      expect(removeXattr(fd, path, "user.b"), way).to.equal(true);
      expect(removeXattr(fd, path, "user.b"), way).to.equal(false);
      expect(removeXattr(fd, path, "user.empty"), way).to.equal(true);
      expect(listXattr(fd, path), way).to.deep.equal([]);
      if (fd !== world.fd) native.close(fd);
    }
  });

  it("are read whole whatever their length and number", () => {
    writeFileSync(join(world.path, "f"), "");
    for (const length of [255, 256, 257, 1000, 3000]) {
      setXattr(world.fd, "f", "user.long", new Uint8Array(length).fill(length & 255));
      expect(getXattr(world.fd, "f", "user.long")).to.deep.equal(new Uint8Array(length).fill(length & 255));
    }
    setXattr(world.fd, "f", "user.long", bytes(1));
    const keys = Array.from({ length: 40 }, (_, i) => `user.number-${i}`);
    for (const key of keys) setXattr(world.fd, "f", key, bytes());
    expect(listXattr(world.fd, "f").sort()).to.deep.equal(["user.long", ...keys].sort());
  });

  it("are only made, or only replaced, when asked so", () => {
    writeFileSync(join(world.path, "f"), "");
    for (const [way, fd, path] of eachWay("f")) {
      expect(() => setXattr(fd, path, "user.a", bytes(1), XATTR_REPLACE), way).to.throw(FsError).with.property("code", "ENODATA");
      setXattr(fd, path, "user.a", bytes(1), XATTR_CREATE);
      expect(() => setXattr(fd, path, "user.a", bytes(2), XATTR_CREATE), way).to.throw(FsError).with.property("code", "EEXIST");
      removeXattr(fd, path, "user.a");
      if (fd !== world.fd) native.close(fd);
    }
  });

  itAsRoot("belong to the symbolic link itself, never to its target", () => {
    writeFileSync(join(world.path, "f"), "");
    symlinkSync("f", join(world.path, "l"));
    setXattr(world.fd, "l", "trusted.by-name", bytes(1));
    const fd = openAt(world.fd, "l", O_PATH | O_NOFOLLOW);
    setXattr(fd, "", "trusted.by-fd", bytes(2));
    expect(listXattr(fd, "").sort()).to.deep.equal(["trusted.by-fd", "trusted.by-name"]);
    expect(listXattr(world.fd, "l").sort()).to.deep.equal(["trusted.by-fd", "trusted.by-name"]);
    expect(listXattr(world.fd, "f")).to.deep.equal([]);
    native.close(fd);
  });

  it("say ERANGE for a key that is too long or a buffer that is too small", () => {
    writeFileSync(join(world.path, "f"), "");
    setXattr(world.fd, "f", "user.a", bytes(1, 2, 3));
    expect(errnoName(native.getxattr(world.fd, "f", "user.a", new Uint8Array(2)))).to.equal("ERANGE");
    expect(errnoName(native.getxattr(world.fd, "f", `user.${"a".repeat(300)}`, new Uint8Array(2)))).to.equal("ERANGE");
    expect(errnoName(native.setxattr(world.fd, "f", `user.${"a".repeat(5000)}`, new Uint8Array(2), 0))).to.equal("ERANGE");
  });
});
