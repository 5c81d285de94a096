/** Writer to reader and back, with random entries; and archives mutated at random, which must end in an entry list or a TarError. */
import { expect } from "chai";
import { TarError } from "../../lib/tar/errors.js";
import type { TarKind } from "../../lib/tar/entry.js";
import type { Extent } from "../../lib/tar/sparse.js";
import { encodeHeader, writeTar, type NewTarEntry, type TarItem } from "../../lib/tar/writer.js";
import { block, chunks, end, long, padded, pax, randomFrom, readAll } from "./archive.js";
import { readTar } from "../../lib/tar/reader.js";

async function written(items: readonly TarItem[]): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of writeTar(items)) parts.push(part);
  return Buffer.concat(parts);
}

function randomItem(random: () => number): TarItem {
  const below = (n: number): number => Math.floor(random() * n);
  const text = (max: number): string => Array.from({ length: 1 + below(max) }, () => String.fromCharCode(below(12) === 0 ? 0x2f : 1 + below(255))).join("");
  const pick = <T>(values: readonly T[]): T => values[below(values.length)] as T;
  const number = (): number => pick([0, below(2 ** 21), 2 ** 21 - 1, 2 ** 21, 2 ** 32 - 2]);
  const time = (): { sec: number; nsec: number } => ({ sec: pick([0, -below(2 ** 31), below(2 ** 33), 8 ** 11 - 1, 8 ** 11]), nsec: pick([0, 1, below(1e9), 999_999_999]) });
  const kind: TarKind = pick(["file", "file", "file", "hardlink", "symlink", "character", "block", "directory", "fifo"]);
  const device = kind === "character" || kind === "block";
  let name = text(pick([20, 100, 101, 255, 256, 400]));
  if (kind !== "directory") name = name.replace(/\/*$/, "x");
  const xattrs = new Map(Array.from({ length: below(3) }, () => [text(40), Buffer.from(text(200), "latin1")] as const));
  let size = 0;
  let extents: Extent[] | undefined;
  let content = Buffer.alloc(0);
  if (kind === "file") {
    content = Buffer.from(text(pick([1, 511, 512, 513, 2000])), "latin1");
    size = content.length;
    if (below(4) === 0) {
      extents = [];
      let at = 0;
      for (let left = content.length; left > 0; ) {
        const length = 1 + below(left);
        at += below(1000);
        extents.push({ offset: at, length });
        at += length;
        left -= length;
      }
      size = at + below(2) * below(5000);
    }
  }
  const entry: NewTarEntry = {
    kind, name, mode: below(0o10000), uid: number(), gid: number(), mtime: time(), size, extents, xattrs,
    linkName: kind === "hardlink" || kind === "symlink" ? text(pick([10, 100, 101, 300])) : "",
    atime: below(2) === 0 ? time() : undefined, ctime: below(2) === 0 ? time() : undefined,
    userName: below(2) === 0 ? "" : text(40), groupName: below(2) === 0 ? "" : text(33),
    devMajor: device ? below(4096) : 0, devMinor: device ? below(2 ** 20) : 0,
  };
  return { entry, body: kind === "file" ? [content] : undefined };
}

/** What the reader must say of `item`. */
function expected({ entry, body }: TarItem): unknown {
  const extents = entry.extents;
  const last = extents?.at(-1);
  const closed = extents === undefined || (last !== undefined && last.offset + last.length === entry.size) ? extents : [...extents, { offset: entry.size, length: 0 }];
  const content = Buffer.concat([...(body as Iterable<Uint8Array> ?? [])]).toString("latin1");
  return {
    ...entry,
    name: entry.kind === "directory" && !entry.name.endsWith("/") ? `${entry.name}/` : entry.name,
    extents: closed,
    storedSize: content.length,
    xattrs: Object.fromEntries([...(entry.xattrs ?? [])].map(([key, value]) => [key, Buffer.from(value).toString("latin1")])),
    content,
  };
}

describe("tar round trips", () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    it(`gives back random entries as they were written (seed ${seed})`, async () => {
      const random = randomFrom(seed * 7919);
      const items = Array.from({ length: 60 }, () => randomItem(random));
      const archive = await written(items);
      const { entries, rebuilt } = await readAll(archive, {}, 1 + Math.floor(random() * 3000));
      expect(entries).to.deep.equal(items.map(expected));
      expect(rebuilt.equals(archive)).to.equal(true);
      expect((await written(entries.map(({ content, xattrs, ...entry }) => ({
        entry: { ...entry, xattrs: new Map(Object.entries(xattrs).map(([key, value]) => [key, Buffer.from(value, "latin1")])) },
        body: [Buffer.from(content, "latin1")],
      })))).equals(archive)).to.equal(true);
    });
  }

  it("writes plain entries in plain ustar, without a pax header", () => {
    const plain = { kind: "file", mode: 0o644, uid: 0, gid: 0, mtime: { sec: 1, nsec: 0 } } as const;
    expect(encodeHeader({ ...plain, name: `${"p".repeat(155)}/${"n".repeat(100)}` }).length).to.equal(512);
    expect(encodeHeader({ ...plain, name: `${"p".repeat(156)}/${"n".repeat(99)}` }).length).to.equal(1536);
    expect(encodeHeader({ ...plain, name: "n", mtime: { sec: 1, nsec: 1 } }).toString("latin1", 512, 540)).to.equal("21 mtime=1.000000001\n\0\0\0\0\0\0\0");
  });

  it("refuses to write what is no entry", () => {
    const good: NewTarEntry = { kind: "file", name: "n", mode: 0o644, uid: 0, gid: 0, mtime: { sec: 0, nsec: 0 } };
    for (const [fields, code] of [
      [{ name: "" }, "ERR_TAR_NAME"], [{ name: "a\0b" }, "ERR_TAR_NAME"], [{ kind: "symlink" }, "ERR_TAR_NAME"], [{ userName: "\0" }, "ERR_TAR_NAME"],
      [{ mode: 0o10000 }, "ERR_TAR_NUMBER"], [{ uid: -1 }, "ERR_TAR_NUMBER"], [{ size: 1.5 }, "ERR_TAR_NUMBER"], [{ mtime: { sec: 0, nsec: 1e9 } }, "ERR_TAR_NUMBER"],
      [{ xattrs: new Map([["", Buffer.alloc(0)]]) }, "ERR_TAR_PAX"], [{ size: 1, extents: [{ offset: 1, length: 1 }] }, "ERR_TAR_SPARSE"],
    ] as [Partial<NewTarEntry>, string][]) {
      expect(() => encodeHeader({ ...good, ...fields }), JSON.stringify(fields)).to.throw().with.property("code", code);
    }
  });

  for (const [what, body] of [["shorter", ["ab"]], ["longer", ["ab", "cd"]], ["missing", undefined]] as const) {
    it(`refuses a body that is ${what} than its entry says`, async () => {
      const item: TarItem = { entry: { kind: "file", name: "n", mode: 0, uid: 0, gid: 0, mtime: { sec: 0, nsec: 0 }, size: 3 }, body: body?.map((text) => Buffer.from(text)) };
      const error = await written([item]).then(() => undefined, (reason: unknown) => reason);
      expect(error).to.have.property("code", "ERR_TAR_SIZE");
    });
  }
});

describe("unusual but good archives", () => {
  const names = async (archive: Buffer): Promise<string[]> => (await readAll(archive)).entries.map(({ name, kind }) => `${kind} ${name}`);

  it("may lack the end marker, have half of one, or have anything behind it", async () => {
    expect(await names(Buffer.alloc(0))).to.deep.equal([]);
    expect(await names(block())).to.deep.equal(["file name"]);
    expect(await names(Buffer.concat([block(), Buffer.alloc(512)]))).to.deep.equal(["file name"]);
    const trailed = Buffer.concat([block(), end, Buffer.from("anything")]);
    expect(await names(trailed)).to.deep.equal(["file name"]);
    expect((await readAll(trailed)).rebuilt.equals(trailed)).to.equal(true);
  });
  it("may name directories by a trailing slash alone, and give links and directories a size without a body", async () => {
    expect(await names(Buffer.concat([block({ name: "old/", type: "\0", size: 512, magic: "" }), block({ type: "1", linkName: "a", size: 99 }), block({ name: "d", type: "5", size: 4096 }), end])))
      .to.deep.equal(["directory old/", "hardlink name", "directory d"]);
  });
  it("may carry a ustar prefix under the GNU magic, as Go once wrote it", async () => {
    expect(await names(Buffer.concat([block({ magic: "ustar  \0", put: [[345, "usr/share/deep"]] }), end]))).to.deep.equal(["file usr/share/deep/name"]);
  });
  it("may be star's, with times behind a shorter prefix", async () => {
    const { entries } = await readAll(Buffer.concat([block({ put: [[345, "pre"], [476, "00000000012\0"], [488, "00000000013\0"], [508, "tar\0"]] }), end]));
    expect(entries[0]).to.deep.include({ name: "pre/name", atime: { sec: 10, nsec: 0 }, ctime: { sec: 11, nsec: 0 } });
  });
  it("may repeat a long name in pax, in any order", async () => {
    const path = "x".repeat(150);
    expect(await names(Buffer.concat([long("L", path), pax([["path", path]]), block(), pax([["path", path]]), long("L", path), block(), end]))).to.deep.equal([`file ${path}`, `file ${path}`]);
  });
  it("take a header's field back with an empty pax value", async () => {
    const { entries } = await readAll(Buffer.concat([pax([["uname", "all"], ["gname", "all"]], "g"), pax([["uname", ""], ["path", "a"], ["path", ""]]), block(), end]));
    expect(entries[0]).to.deep.include({ name: "name", userName: "", groupName: "all" });
  });
  it("may have bodies that nobody reads, or reads in part", async () => {
    const archive = Buffer.concat([block({ name: "a", size: 3000 }), padded("x".repeat(3000)), block({ name: "b", size: 5 }), padded("12345"), end]);
    const found: string[] = [];
    for await (const { name, body } of readTar(chunks(archive, 1000))) {
      found.push(name);
      for await (const _ of body) break;
    }
    expect(found).to.deep.equal(["a", "b"]);
  });
  it("may have bodies that are taken whole, in one chunk or several, or not at all", async () => {
    const archive = Buffer.concat([block({ name: "a", size: 3000 }), padded("x".repeat(2999) + "y"), block({ name: "b", size: 5 }), padded("12345"), block({ name: "c", size: 7 }), padded("skipped"), block({ name: "d", size: 0 }), end]);
    for (const size of [7, 1000, 100_000]) {
      const found: string[] = [];
      for await (const { name, body } of readTar(chunks(archive, size))) if (name !== "c") found.push(`${name} ${(await body.whole()).toString("latin1")}`);
      expect(found).to.deep.equal([`a ${"x".repeat(2999)}y`, "b 12345", "d "]);
    }
  });
  it("may come in chunks that their source uses again", async () => {
    const body = "0123456789abcdef".repeat(200);
    const archive = Buffer.concat([pax([["comment", "c".repeat(2000)], ["path", "x".repeat(300)]]), block({ size: body.length }), padded(body), block({ name: "b", size: 5 }), padded("12345"), end]);
    for (const size of [100, 700, 1500]) {
      async function* source(): AsyncGenerator<Uint8Array> {
        const chunk = Buffer.alloc(size);
        for (let at = 0; at < archive.length; at += size) {
          yield chunk.subarray(0, archive.copy(chunk, 0, at, at + size));
          chunk.fill(0xee);
        }
      }
      const found: string[] = [];
      for await (const { name, body: bytes } of readTar(source())) found.push(`${name} ${(await bytes.whole()).toString("latin1")}`);
      expect(found).to.deep.equal([`${"x".repeat(300)} ${body}`, "b 12345"]);
    }
  });
  it("close their source when the reader is left early, and pass its errors on", async () => {
    let closed = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        yield block();
        yield block();
        throw new RangeError("from the source");
      } finally {
        closed = true;
      }
    }
    for await (const _ of readTar(source())) break;
    expect(closed).to.equal(true);
    const all = async (): Promise<void> => { for await (const _ of readTar(source())); };
    expect(await all().then(() => undefined, (reason: unknown) => reason)).to.be.instanceOf(RangeError);
  });
});

describe("mutated archives", () => {
  const seeds = process.env["STRATAFS_FUZZ_SEED"] === undefined ? [11, 12, 13, 14] : [Number(process.env["STRATAFS_FUZZ_SEED"])];
  for (const seed of seeds) {
    it(`end in entries or in a TarError, quickly, and rebuild exactly when they are read (seed ${seed})`, async () => {
      const random = randomFrom(seed * 104_729);
      const below = (n: number): number => Math.floor(random() * n);
      const items = Array.from({ length: 6 }, () => randomItem(random));
      const limits = { maxContentSize: 2 ** 32, maxArchiveSize: 2 ** 32 };
      const source = Buffer.concat([long("L", "y".repeat(120)), pax([["GNU.sparse.size", "4096"], ["GNU.sparse.numblocks", "1"], ["GNU.sparse.map", "0,512"]]), block({ size: 512 }), padded("s".repeat(512)), await written(items)]);
      let good = 0;
      for (let run = 0; run < 400; run++) {
        let archive = Buffer.from(source);
        for (let change = below(3); change >= 0; change--) {
          const at = below(archive.length);
          const kind = below(5);
          if (kind === 0) archive[at] = below(256);
          if (kind === 1) archive = archive.subarray(0, at);
          if (kind === 2) archive = Buffer.concat([archive.subarray(0, at), archive.subarray(Math.min(archive.length, at + 512 * below(3)))]);
          if (kind === 3) archive.copy(archive, below(archive.length), at, at + below(600));
          if (kind === 4) archive.fill("0123456789"[below(10)] as string, at, Math.min(archive.length, at + below(13)));
          // Half of the time the checksums are made right again, so that what is behind them is reached.
          if (below(2) === 0) for (let b = 0; b + 512 <= archive.length; b += 512) if (archive.toString("latin1", b + 257, b + 262) === "ustar") reseal(archive.subarray(b, b + 512));
        }
        const started = performance.now();
        try {
          const { rebuilt } = await readAll(archive, limits, 1 + below(5000));
          expect(rebuilt.equals(archive)).to.equal(true);
          good++;
        } catch (error) {
          if (!(error instanceof TarError)) throw error;
        }
        expect(performance.now() - started).to.be.below(2000);
      }
      expect(good).to.be.within(10, 390);
    });
  }
});

function reseal(header: Buffer): void {
  let sum = 8 * 32;
  for (let i = 0; i < 512; i++) if (i < 148 || i >= 156) sum += header[i] as number;
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
}
