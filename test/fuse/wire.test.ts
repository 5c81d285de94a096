import { expect } from "chai";
import * as abi from "../../lib/fuse/wire/abi.js";
import { Reply } from "../../lib/fuse/wire/reply.js";
import { Request } from "../../lib/fuse/wire/request.js";
import { message, str, u32, u64 } from "./scripted-kernel.js";

describe("Request", () => {
  it("reads the header, the ids and each kind of field", () => {
    const request = new Request();
    const bytes = message(15, 0x1_0000_0002, 7, u32(5), u64(-3), str("näme"), Buffer.from("rest"));
    expect(request.parse(bytes, bytes.length)).to.equal(true);
    expect(request).to.include({ opcode: 15, uniqueLo: 2, uniqueHi: 1, nodeid: 7, bodyLength: 21 });
    expect(request.caller).to.deep.equal({ uid: 1000, gid: 100, pid: 42, umask: 0 });
    expect(request.u32(0)).to.equal(5);
    expect(request.s64(4)).to.equal(-3);
    expect(request.name(12)).to.equal("n\xe4me");
    expect(request.after(12)).to.equal(17);
    expect(Buffer.from(request.bytes(17, 4)).toString()).to.equal("rest");
  });

  it("leaves extensions at the end out of the body", () => {
    const bytes = message(1, 1, 1, str("name"), Buffer.from("1234567"));
    bytes.writeUInt16LE(1, 36);
    const request = new Request();
    expect(request.parse(bytes, bytes.length)).to.equal(true);
    expect(request.bodyLength).to.equal(4);
  });

  it("reads nothing past the end", () => {
    const request = new Request();
    const bytes = Buffer.concat([message(1, 1, 1, Buffer.from("abc")), Buffer.from("def\0")]);
    expect(request.parse(bytes, 43)).to.equal(true);
    for (const read of [() => request.u32(0), () => request.u64(0), () => request.s64(0), () => request.string(0), () => request.string(3),
      () => request.after(0), () => request.bytes(0, 4), () => request.bytes(4, 0)]) {
      expect(read).to.throw().with.property("code", "EINVAL");
    }
  });

  it("does not take a message that is shorter than it says, or has more extensions than body", () => {
    const request = new Request();
    const whole = message(1, 9, 1, str("abc"));
    expect(request.parse(whole, whole.length - 1)).to.equal(false);
    expect(request).to.include({ opcode: 1, uniqueLo: 9 });
    for (const length of [0, 3, 15, 39]) expect(request.parse(whole, length)).to.equal(false);
    whole.writeUInt16LE(100, 36);
    expect(request.parse(whole, whole.length)).to.equal(false);
  });
});

describe("Reply", () => {
  const attr = {
    ino: 2 ** 40 + 5, mode: 0o100644, nlink: 2, uid: 3, gid: 4, rdev: 0x12345678, size: 2 ** 33, blocks: 6, atimeSec: -1, atimeNsec: 7,
    mtimeSec: 8, mtimeNsec: 9, ctimeSec: 10, ctimeNsec: 11, btimeSec: 12, btimeNsec: 13,
  };

  it("writes an entry of 128 bytes with every field in its place", () => {
    const reply = new Reply();
    reply.bytes.fill(0xff);
    expect(reply.entry(0, 77, attr, 5, 6)).to.equal(128);
    const expected = Buffer.concat([
      u64(77), u64(0), u64(5), u64(6), u32(0), u32(0), u64(attr.ino), u64(attr.size), u64(6), u64(-1), u64(8), u64(10), u32(7), u32(9), u32(11),
      u32(0o100644), u32(2), u32(3), u32(4), u32(0x12345678), u32(4096), u32(0),
    ]);
    expect(Buffer.from(reply.body(128))).to.deep.equal(expected);
    expect(reply.attributes(attr, 6)).to.equal(104);
    expect(Buffer.from(reply.body(104))).to.deep.equal(Buffer.concat([u64(6), u64(0), expected.subarray(40)]));
  });

  it("writes statx with the birth time only where it is known", () => {
    const reply = new Reply();
    expect(reply.statx(attr, 6)).to.equal(288);
    const body = Buffer.from(reply.body(288));
    expect(body.readUInt32LE(32)).to.equal(0xfff);
    expect(body.readBigInt64LE(112)).to.equal(12n);
    expect([body.readUInt32LE(160), body.readUInt32LE(164)]).to.deep.equal([0x456, 0x12378]);
    reply.statx({ ...attr, btimeNsec: -1 }, 6);
    expect(Buffer.from(reply.body(288)).readUInt32LE(32)).to.equal(0x7ff);
  });

  it("says the largest size of all, which as a number is one more, as the kernel may have it (generic/564 of xfstests)", () => {
    const reply = new Reply();
    reply.attributes({ ...attr, size: 2 ** 63 }, 6);
    expect(Buffer.from(reply.body(104)).readBigUInt64LE(16 + 8)).to.equal(2n ** 63n - 1n);
    reply.statx({ ...attr, size: 2 ** 63 }, 6);
    const body = Buffer.from(reply.body(288));
    expect(body.readBigUInt64LE(abi.STATX_OUT.size)).to.equal(2n ** 63n - 1n);
  });

  it("pads directory entries to 8 bytes with zeros", () => {
    const reply = new Reply();
    reply.bytes.fill(0xff);
    expect(reply.dirent(0, "abc", 9, 0o040755, 3)).to.equal(32);
    expect(Buffer.from(reply.body(32))).to.deep.equal(Buffer.concat([u64(9), u64(3), u32(3), u32(4), Buffer.from("abc\0\0\0\0\0")]));
    expect(reply.dirent(0, "12345678", 9, 0o100644, 3)).to.equal(32);
  });

  it("sends no body with an error", () => {
    const reply = new Reply();
    expect(reply.seal(1, 2, -5, 100)).to.equal(16);
    expect(reply.bytes.subarray(0, 16)).to.deep.equal(Buffer.concat([u32(16), u32(-5), u32(1), u32(2)]));
  });

  it("names an inode whose attributes are out of date, not its data", () => {
    const reply = new Reply();
    expect(reply.invalidateAttributes(9)).to.equal(40);
    expect(reply.bytes.subarray(0, 40)).to.deep.equal(Buffer.concat([u32(40), u32(2), u64(0), u64(9), u64(-1), u64(0)]));
  });
});

describe("structs of the protocol", () => {
  it("end where their last field does", () => {
    expect(abi.IN_HEADER.totalExtlen + 4).to.equal(abi.IN_HEADER.SIZE);
    expect(abi.OUT_HEADER.unique + 8).to.equal(abi.OUT_HEADER.SIZE);
    expect(abi.ATTR.flags + 4).to.equal(abi.ATTR.SIZE);
    expect(abi.ENTRY_OUT.attr + abi.ATTR.SIZE).to.equal(abi.ENTRY_OUT.SIZE);
    expect(abi.ATTR_OUT.attr + abi.ATTR.SIZE).to.equal(abi.ATTR_OUT.SIZE);
    expect(abi.OPEN_OUT.backingId + 4).to.equal(abi.OPEN_OUT.SIZE);
    expect(abi.INIT_OUT.requestTimeout + 2 + 22).to.equal(abi.INIT_OUT.SIZE);
    expect(abi.STATX_OUT.rdevMinor + 4 + 8 + 112).to.equal(abi.STATX_OUT.SIZE);
    expect(abi.SETATTR_IN.gid + 8).to.equal(abi.SETATTR_IN.SIZE);
    expect(abi.COPY_FILE_RANGE_IN.flags + 8).to.equal(abi.COPY_FILE_RANGE_IN.SIZE);
  });
});
