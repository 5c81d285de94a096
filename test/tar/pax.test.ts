import { expect } from "chai";
import { formatPax, parsePax, xattrKey, xattrsOf } from "../../lib/tar/pax.js";

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

describe("pax records", () => {
  it("carry any bytes as a value, and read back what was written, at every length", () => {
    for (const length of [0, 1, 5, 80, 89, 90, 91, 985, 990, 991, 992, 9_980, 9_990, 99_990]) {
      const value = Buffer.alloc(length);
      for (let i = 0; i < length; i++) value[i] = (i * 7) & 0xff;
      const record = formatPax("key", value);
      expect(record.toString("latin1", 0, record.indexOf(0x20))).to.equal(String(record.length));
      expect(parsePax(record, 0)).to.deep.equal([{ key: "key", value }]);
    }
  });

  it("keep their order and their repetitions", () => {
    const body = Buffer.concat([formatPax("b", bytes("1")), formatPax("a", bytes("=\n\0\xff")), formatPax("b", bytes(""))]);
    expect(parsePax(body, 0).map(({ key, value }) => [key, value.toString("latin1")])).to.deep.equal([["b", "1"], ["a", "=\n\0\xff"], ["b", ""]]);
  });

  for (const [what, body] of [
    ["no length", "path=x\n"], ["a length of zero", "0 a=b\n"], ["a leading zero", "06 a=b\n"], ["a sign", "+6 a=b\n"], ["a length beyond the body", "99 a=b\n"],
    ["a length that ends early", "5 a=b\n"], ["a length within its own digits", "1 a=b\n"], ["no newline", "6 a=bc"], ["no equals sign", "5 ab\n"], ["an equals sign behind the end", "5 ab\n6 c=d\n"],
    ["an empty key", "5 =b\n"], ["padding instead of a record", "6 a=b\n\0\0\0"], ["an endless number", "123456789012345678901234567890 a=b\n"],
  ] as const) {
    it(`with ${what} are refused`, () => {
      expect(() => parsePax(bytes(body), 1024)).to.throw().with.property("code", "ERR_TAR_PAX");
    });
  }
});

describe("extended attributes in pax records", () => {
  const read = (...records: [string, string][]) =>
    Object.fromEntries([...xattrsOf(records.map(([key, value]) => ({ key, value: bytes(value) })), 0)].map(([key, value]) => [key, value.toString("latin1")]));

  it("are raw bytes behind SCHILY.xattr", () => {
    expect(read(["SCHILY.xattr.security.capability", "\x01\0\0\x02\0 \0\0"], ["path", "x"], ["SCHILY.xattr.user.empty", ""]))
      .to.deep.equal({ "security.capability": "\x01\0\0\x02\0 \0\0", "user.empty": "" });
  });
  it("are base64 behind LIBARCHIVE.xattr, and then count only where the raw form is missing", () => {
    expect(read(["LIBARCHIVE.xattr.user.a%20b", "AAH/"], ["LIBARCHIVE.xattr.user.c", "AAH/"], ["SCHILY.xattr.user.c", "raw"]))
      .to.deep.equal({ "user.a b": "\0\x01\xff", "user.c": "raw" });
  });
  it("keep names that hold = or %, in the escape of GNU tar and only where it is needed", () => {
    expect(["user.a", "user.100%", "user.a=b", "user.%3D", "user.%25"].map(xattrKey)).to.deep.equal(
      ["SCHILY.xattr.user.a", "SCHILY.xattr.user.100%", "SCHILY.xattr.user.a%3Db", "SCHILY.xattr.user.%253D", "SCHILY.xattr.user.%2525"]);
    for (const name of ["user.a", "user.100%", "user.a=b", "user.%3D", "user.%25", "user.%253D=%", "user.\xff"]) {
      expect(Object.keys(read([xattrKey(name), ""]))).to.deep.equal([name]);
    }
  });
  it("without a name, or with NUL in it, are refused", () => {
    for (const key of ["SCHILY.xattr.", "SCHILY.xattr.user.\0", "LIBARCHIVE.xattr.user.%00"]) {
      expect(() => read([key, ""])).to.throw().with.property("code", "ERR_TAR_PAX");
    }
  });
});
