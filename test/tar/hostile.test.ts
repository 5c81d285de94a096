/** Archives that must be refused, each with the code it must be refused with. */
import { expect } from "chai";
import { TarError, type TarCode } from "../../lib/tar/errors.js";
import { readTar, type TarReadOptions } from "../../lib/tar/reader.js";
import { block, chunks, end, long, padded, pax, readAll, sealed } from "./archive.js";

const join = (...parts: Buffer[]): Buffer => Buffer.concat(parts);
const gnu = "ustar  \0";
const spoilt = (at: number, byte: number): Buffer => { const header = block(); header[at] = byte; return header; };
const sparse1 = (map: string, size: number, realSize = "4096"): Buffer =>
  join(pax([["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"], ["GNU.sparse.realsize", realSize]]), block({ size }), padded(map));
const sparse0 = (records: [string, string][], size = 512): Buffer => join(pax(records), block({ size }), Buffer.alloc(512));
const octal = (value: number): string => value.toString(8).padStart(11, "0") + "\0";
const oldSparse = (extents: [number, number][], realSize: number, size: number, more = "\0"): Buffer =>
  block({ type: "S", magic: gnu, size, put: [[386, extents.map(([offset, length]) => octal(offset) + octal(length)).join("")], [482, more], [483, octal(realSize)]] });

const refused: [name: string, archive: Buffer, code: TarCode, options?: TarReadOptions][] = [
  ["something that is no archive", Buffer.from("#!/bin/sh\n".repeat(100)), "ERR_TAR_CHECKSUM"],
  ["a header with one bit turned", spoilt(0, 0x6d), "ERR_TAR_CHECKSUM"],
  ["a header with a checksum that is no number", spoilt(148, 0x78), "ERR_TAR_CHECKSUM"],
  ["a header that is cut off", block().subarray(0, 511), "ERR_TAR_TRUNCATED"],
  ["a body that is cut off", join(block({ size: 1000 }), Buffer.alloc(999)), "ERR_TAR_TRUNCATED"],
  ["a body that is missing", block({ size: 1 }), "ERR_TAR_TRUNCATED"],
  ["padding that is cut off", join(block({ size: 10 }), Buffer.alloc(20)), "ERR_TAR_TRUNCATED"],
  ["a pax header that is cut off", join(block({ type: "x", size: 100 }), Buffer.alloc(50)), "ERR_TAR_TRUNCATED"],
  ["a pax header with nothing behind it", pax([["path", "x"]]), "ERR_TAR_TRUNCATED"],
  ["a pax header with the end behind it", join(pax([["path", "x"]]), end), "ERR_TAR_TRUNCATED"],
  ["a long name with nothing behind it", long("L", "x".repeat(200)), "ERR_TAR_TRUNCATED"],
  ["a sparse map that is cut off", join(oldSparse([[0, 512]], 512, 512, "\x01"), Buffer.alloc(100)), "ERR_TAR_TRUNCATED"],
  ["a single block of zeros between entries", join(block(), Buffer.alloc(512), block(), end), "ERR_TAR_HEADER"],
  ["two long names for one entry", join(long("L", "a"), long("L", "b"), block(), end), "ERR_TAR_HEADER"],
  ["two pax headers for one entry", join(pax([["path", "a"]]), pax([["path", "b"]]), block(), end), "ERR_TAR_HEADER"],
  ["a global header between a pax header and its entry", join(pax([["path", "a"]]), pax([["comment", "b"]], "g"), block(), end), "ERR_TAR_HEADER"],
  ["a negative size", block({ put: [[124, "\xff".repeat(12)]] }), "ERR_TAR_NUMBER"],
  ["a size that is no number", block({ put: [[124, "12345678x90\0"]] }), "ERR_TAR_NUMBER"],
  ["a size beyond 2^53", block({ put: [[124, "\x80\0\0\0\x7f" + "\xff".repeat(7)]] }), "ERR_TAR_NUMBER"],
  ["a negative user id", block({ put: [[108, "\xff".repeat(8)]] }), "ERR_TAR_NUMBER"],
  ["a negative size of a pax header", block({ type: "x", put: [[124, "\xff".repeat(12)]] }), "ERR_TAR_NUMBER"],
  ["a negative pax size", join(pax([["size", "-1"]]), block()), "ERR_TAR_NUMBER"],
  ["a pax size beyond 2^53", join(pax([["size", "9007199254740993"]]), block()), "ERR_TAR_NUMBER"],
  ["a pax user id that is no number", join(pax([["uid", "root"]]), block()), "ERR_TAR_NUMBER"],
  ["a pax time that is no number", join(pax([["mtime", "yesterday"]]), block()), "ERR_TAR_NUMBER"],
  ["a multi-volume continuation", block({ type: "M", magic: gnu }), "ERR_TAR_TYPE"],
  ["an incremental dump directory", block({ type: "D", magic: gnu }), "ERR_TAR_TYPE"],
  ["an unknown type", block({ type: "Z" }), "ERR_TAR_TYPE"],
  ["an empty name", block({ name: "\0" }), "ERR_TAR_NAME"],
  ["an empty link target", block({ type: "2" }), "ERR_TAR_NAME"],
  ["a pax path with NUL", join(pax([["path", "etc/passwd\0.txt"]]), block()), "ERR_TAR_NAME"],
  ["a pax link target with NUL", join(pax([["linkpath", "a\0b"]]), block({ type: "2" })), "ERR_TAR_NAME"],
  ["an empty long name", join(long("L", ""), block()), "ERR_TAR_NAME"],
  ["a long name and another pax path", join(long("L", "a"), pax([["path", "b"]]), block()), "ERR_TAR_NAME"],
  ["a long link and another pax target", join(pax([["linkpath", "a"]]), long("K", "b"), block({ type: "1" })), "ERR_TAR_NAME"],
  ["a pax header that is no record", join(block({ type: "x", size: 9 }), padded("rubbish!!"), block()), "ERR_TAR_PAX"],
  ["a global path", join(pax([["path", "/etc/passwd"]], "g"), block()), "ERR_TAR_PAX"],
  ["a global size", join(pax([["size", "0"]], "g"), block()), "ERR_TAR_PAX"],
  ["a global sparse map", join(pax([["GNU.sparse.major", "1"]], "g"), block()), "ERR_TAR_PAX"],
  ["an attribute without a name", join(pax([["SCHILY.xattr.", "x"]]), block()), "ERR_TAR_PAX"],
  ["a pax header above the limit", block({ type: "x", size: 2 ** 21 + 1 }), "ERR_TAR_LIMIT"],
  ["a pax header of eight gigabytes", block({ type: "x", size: 8 ** 11 - 1 }), "ERR_TAR_LIMIT"],
  ["a long name above the limit", block({ type: "L", size: 65_538, magic: gnu }), "ERR_TAR_LIMIT"],
  ["a pax path above the limit", join(pax([["path", "x".repeat(65_537)]]), block()), "ERR_TAR_LIMIT"],
  ["global headers that pile up", join(pax([["a", "x".repeat(600)]], "g"), pax([["b", "x".repeat(600)]], "g"), block()), "ERR_TAR_LIMIT", { maxPaxSize: 1000 }],
  ["more headers than allowed", join(block(), block(), block(), end), "ERR_TAR_LIMIT", { maxHeaders: 2 }],
  ["an archive larger than allowed", join(block({ size: 4000 }), Buffer.alloc(4096), end), "ERR_TAR_LIMIT", { maxArchiveSize: 4096 }],
  ["an archive whose first file is larger than allowed", block({ size: 8 ** 11 - 1 }), "ERR_TAR_LIMIT", { maxArchiveSize: 8 ** 11 - 1 }],
  ["an archive that goes on after its end", join(end, Buffer.alloc(100_000)), "ERR_TAR_LIMIT", { maxArchiveSize: 50_000 }],
  ["files larger than allowed in all", join(block({ size: 512 }), Buffer.alloc(512), block({ size: 512 }), Buffer.alloc(512)), "ERR_TAR_LIMIT", { maxContentSize: 1000 }],
  ["a sparse file that unpacks to more than allowed", oldSparse([[0, 0]], 2 ** 33 - 1, 0), "ERR_TAR_LIMIT", { maxContentSize: 2 ** 30 }],
  ["a sparse map with more extents than allowed", sparse1("3000\n", 1024), "ERR_TAR_LIMIT", { maxExtents: 2000 }],
  ["a sparse map in pax with more extents than allowed", sparse0([["GNU.sparse.size", "9"], ["GNU.sparse.numblocks", "3"], ["GNU.sparse.map", "0,0,1,0,2,0"]]), "ERR_TAR_LIMIT", { maxExtents: 2 }],
  ["extents that overlap", oldSparse([[0, 512], [256, 512]], 4096, 1024), "ERR_TAR_SPARSE"],
  ["extents out of order", oldSparse([[512, 512], [0, 512]], 4096, 1024), "ERR_TAR_SPARSE"],
  ["an extent beyond the end", oldSparse([[4096, 512]], 4096, 512), "ERR_TAR_SPARSE"],
  ["extents that do not add up to the size", oldSparse([[0, 512]], 4096, 1024), "ERR_TAR_SPARSE"],
  ["an old sparse member without the GNU magic", block({ type: "S" }), "ERR_TAR_SPARSE"],
  ["an extent that is no number", block({ type: "S", magic: gnu, put: [[386, "0000000000x\x0000000000000\0"], [483, octal(0)]] }), "ERR_TAR_SPARSE"],
  ["a real size that is no number", block({ type: "S", magic: gnu, put: [[483, "abc"]] }), "ERR_TAR_SPARSE"],
  ["an unknown sparse version", join(pax([["GNU.sparse.major", "2"], ["GNU.sparse.minor", "0"]]), block()), "ERR_TAR_SPARSE"],
  ["a sparse map with a lone number", sparse0([["GNU.sparse.size", "9"], ["GNU.sparse.numblocks", "1"], ["GNU.sparse.map", "0"]]), "ERR_TAR_SPARSE"],
  ["a sparse map with something else", sparse0([["GNU.sparse.size", "9"], ["GNU.sparse.numblocks", "1"], ["GNU.sparse.map", "0,,1"]]), "ERR_TAR_SPARSE"],
  ["a sparse map without its count", sparse0([["GNU.sparse.size", "512"], ["GNU.sparse.map", "0,512"]]), "ERR_TAR_SPARSE"],
  ["a sparse map without its size", sparse0([["GNU.sparse.numblocks", "1"], ["GNU.sparse.map", "0,512"]]), "ERR_TAR_SPARSE"],
  ["two lengths for one offset", sparse0([["GNU.sparse.size", "9"], ["GNU.sparse.offset", "0"], ["GNU.sparse.numbytes", "1"], ["GNU.sparse.numbytes", "1"]]), "ERR_TAR_SPARSE"],
  ["two spellings of one map", sparse0([["GNU.sparse.size", "512"], ["GNU.sparse.numblocks", "1"], ["GNU.sparse.map", "0,512"], ["GNU.sparse.offset", "0"], ["GNU.sparse.numbytes", "512"]]), "ERR_TAR_SPARSE"],
  ["a sparse map longer than its body", sparse1("2\n0\n", 512), "ERR_TAR_SPARSE"],
  ["a sparse map of one endless line", sparse1("1".repeat(512), 512), "ERR_TAR_SPARSE"],
  ["a sparse map with letters", sparse1("1\n0\nx\n", 512), "ERR_TAR_SPARSE"],
  ["a sparse directory", join(pax([["GNU.sparse.size", "0"], ["GNU.sparse.numblocks", "0"]]), block({ type: "5" })), "ERR_TAR_SPARSE"],
];

describe("the tar reader", () => {
  for (const [name, archive, code, options] of refused) {
    for (const size of [65_536, 7]) {
      it(`refuses ${name}${size === 7 ? ", also when it comes in small pieces" : ""}`, async () => {
        const error = await readAll(archive, options, size).then(() => undefined, (reason: unknown) => reason);
        expect(error).to.be.instanceOf(TarError);
        expect((error as TarError).code).to.equal(code);
        expect((error as TarError).offset).to.be.within(0, archive.length);
      });
    }
  }

  it("says what it expected, what it found and where", async () => {
    const archive = join(block(), oldSparse([[0, 512], [256, 512]], 4096, 1024));
    const error = await readAll(archive).then(() => undefined, (reason: unknown) => reason);
    expect((error as TarError).message).to.equal("ERR_TAR_SPARSE: expected an extent at 512 or later, found one at 256 (at byte 512 of the archive)");
  });

  it("refuses options that it does not know", () => {
    expect(() => readTar(chunks(end, 512), { maxPaxsize: 1 } as TarReadOptions)).to.throw(TypeError, "maxPaxsize");
    expect(() => readTar(chunks(end, 512), { maxPaxSize: -1 })).to.throw(TypeError, "maxPaxSize");
  });

  it("refuses a body that is read too late or twice", async () => {
    const reader = readTar(chunks(join(block({ size: 600 }), Buffer.alloc(1024), block({ size: 5 }), Buffer.alloc(512), end), 512));
    const first = (await reader.next()).value;
    await reader.next();
    const late = await first.body[Symbol.asyncIterator]().next().then(() => undefined, (reason: unknown) => reason);
    expect(late).to.have.property("code", "ERR_TAR_STALE");

    const again = readTar(chunks(join(block({ size: 600 }), Buffer.alloc(1024), end), 512));
    const entry = (await again.next()).value;
    for await (const _ of entry.body);
    const twice = await entry.body[Symbol.asyncIterator]().next().then(() => undefined, (reason: unknown) => reason);
    expect(twice).to.have.property("code", "ERR_TAR_STALE");
  });

  it("refuses a whole body that is taken too late, twice or cut off", async () => {
    const codeOf = async (call: () => unknown): Promise<unknown> => { try { await call(); return "none"; } catch (error) { return (error as { code: unknown }).code; } };
    const reader = readTar(chunks(join(block({ size: 600 }), Buffer.alloc(1024), block({ size: 5 }), Buffer.alloc(512), end), 512));
    const first = (await reader.next()).value;
    const second = (await reader.next()).value;
    expect(await codeOf(() => first.body.whole())).to.equal("ERR_TAR_STALE");
    await second.body.whole();
    expect(await codeOf(() => second.body.whole())).to.equal("ERR_TAR_STALE");
    const cut = (await readTar(chunks(join(block({ size: 600 }), Buffer.alloc(500)), 512)).next()).value;
    expect(await codeOf(() => cut.body.whole())).to.equal("ERR_TAR_TRUNCATED");
  });

  it("accepts signed checksums, as the first tar programs wrote them", async () => {
    const header = sealed(block({ name: "\xe9t\xe9" }));
    const sum = [...header].reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte > 127 ? byte - 256 : byte), 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    expect((await readAll(join(header, end))).entries.map(({ name }) => name)).to.deep.equal(["\xe9t\xe9"]);
  });
});
