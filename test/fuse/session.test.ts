import { expect } from "chai";
import { FsError } from "../../lib/base/errors.js";
import { S_IFREG } from "../../lib/base/mode.js";
import { name } from "../../lib/base/name.js";
import type { OpenFile } from "../../lib/vfs.js";
import { ScriptedKernel, str, u16, u32, u64, message, type Answer } from "./scripted-kernel.js";

const LOOKUP = 1, FORGET = 2, GETATTR = 3, SETATTR = 4, OPEN = 14, READ = 15, WRITE = 16, RELEASE = 18, SETXATTR = 21, GETXATTR = 22, FLUSH = 25;
const INIT = 26, OPENDIR = 27, READDIR = 28, ACCESS = 34, CREATE = 35, INTERRUPT = 36, IOCTL = 39, BATCH_FORGET = 42, READDIRPLUS = 44;
const FSYNC = 20, FSYNCDIR = 30, LSEEK = 46, COPY_FILE_RANGE = 47;
const ROOT = 1;

const openIn = (flags: number): Buffer => Buffer.concat([u32(flags), u32(0)]);
const readIn = (offset: number, size: number): Buffer => Buffer.concat([u64(0), u64(offset), u32(size), u32(0), u64(0), u32(0), u32(0)]);
const writeIn = (offset: number, text: string): Buffer =>
  Buffer.concat([u64(0), u64(offset), u32(text.length), u32(0), u64(0), u32(0), u32(0), Buffer.from(text)]);
const getattrIn = Buffer.alloc(16);
const releaseIn = Buffer.alloc(24);

/** Names, offsets and nodeids of a READDIRPLUS (or READDIR) answer. */
function entriesOf(answer: Answer | undefined, plus = true): { name: string; next: number; nodeid: number }[] {
  const found = [];
  const body = answer?.body ?? Buffer.alloc(0);
  const head = plus ? 128 : 0;
  for (let at = 0; at < body.length; ) {
    const length = body.readUInt32LE(at + head + 16);
    found.push({
      name: body.toString("latin1", at + head + 24, at + head + 24 + length),
      next: Number(body.readBigUInt64LE(at + head + 8)),
      nodeid: plus ? Number(body.readBigUInt64LE(at)) : 0,
    });
    at += head + ((24 + length + 7) & ~7);
  }
  return found;
}

describe("INIT", () => {
  it("agrees on the newest version both speak and on what both want, cached", async () => {
    const kernel = new ScriptedKernel();
    const body = kernel.init()?.body;
    expect(body).to.have.length(64);
    expect(body?.readUInt32LE(4)).to.equal(45);
    const flags = body?.readUInt32LE(12) ?? 0;
    for (const bit of [0, 5, 6, 13, 15, 16, 17, 18, 20, 22, 23, 24, 28, 29, 30]) expect(flags & (1 << bit), `bit ${bit}`).to.not.equal(0);
    for (const bit of [1, 3, 4, 7, 8, 9, 10, 12, 14, 19]) expect(flags & (1 << bit), `bit ${bit}`).to.equal(0);
    expect(body?.readUInt32LE(32)).to.equal(1 << 4 | 1 << 6);
    expect([body?.readUInt16LE(16), body?.readUInt16LE(18), body?.readUInt32LE(20), body?.readUInt32LE(24), body?.readUInt16LE(28)])
      .to.deep.equal([64, 48, 1 << 20, 1, 256]);
    expect(await kernel.session.ready).to.include({ zeroOpen: true, writeback: true, passthrough: false });
  });

  it("asks for passthrough with its stacking depth, and then for no writeback and no zero-request opens", async () => {
    const kernel = new ScriptedKernel({ dataMode: "passthrough", maxStackDepth: 2, acl: false });
    const body = kernel.init()?.body;
    expect(body?.readUInt32LE(12) ?? 0).to.satisfy((flags: number) => (flags & (1 << 3)) !== 0 && (flags & (1 << 16 | 1 << 17 | 1 << 20)) === 0);
    expect(body?.readUInt32LE(32)).to.equal(1 << 4 | 1 << 5 | 1 << 6);
    expect(body?.readUInt32LE(36)).to.equal(2);
    expect(await kernel.session.ready).to.include({ passthrough: true, zeroOpen: false });
  });

  it("falls back to ordinary opens where the kernel does not offer passthrough, and says so", async () => {
    const kernel = new ScriptedKernel({ dataMode: "passthrough" });
    kernel.init(39, 0, 1 << 5);
    expect(await kernel.session.ready).to.include({ minor: 39, passthrough: false, zeroOpen: false, writeback: false, maxStackDepth: 0 });
    expect(kernel.logged).to.have.length(1);
  });

  it("understands a kernel of the oldest version, whose INIT is short", async () => {
    const kernel = new ScriptedKernel();
    const answer = kernel.ask(INIT, 0, u32(7), u32(31), u32(65536), u32(0x01ff_ffff));
    expect(answer?.error).to.equal(0);
    expect(await kernel.session.ready).to.include({ minor: 31, flags2: 0, setxattrExt: false });
  });

  it("refuses an older one with EPROTO and a line that says so", async () => {
    for (const [major, minor] of [[7, 30], [6, 99]] as const) {
      const kernel = new ScriptedKernel();
      expect(kernel.ask(INIT, 0, u32(major), u32(minor), u32(0), u32(0))?.error).to.equal(-71);
      expect(kernel.logged).to.deep.equal([`the kernel speaks FUSE ${major}.${minor}; 7.31 or later is needed`]);
      expect(await kernel.session.ready.catch((error: Error) => error.message)).to.include("7.31 or later");
    }
  });

  it("tells a newer major which one it speaks and waits for another INIT", () => {
    const kernel = new ScriptedKernel();
    const answer = kernel.ask(INIT, 0, u32(8), u32(0), u32(0), u32(0));
    expect(answer?.error).to.equal(0);
    expect([answer?.body.readUInt32LE(0), answer?.body.readUInt32LE(4)]).to.deep.equal([7, 45]);
    expect(kernel.init()?.body.readUInt32LE(4)).to.equal(45);
  });
});

describe("a session", () => {
  let kernel: ScriptedKernel;
  beforeEach(() => {
    kernel = new ScriptedKernel();
    kernel.init();
    kernel.tree.put("dir/file", "content");
  });

  it("answers a lookup with a lifetime that does not end, also for a missing name", () => {
    const found = kernel.ask(LOOKUP, ROOT, str("dir"))?.body;
    expect(found?.readBigUInt64LE(0)).to.equal(2n);
    expect(found?.readBigUInt64LE(16)).to.equal(0x7fff_ffffn);
    expect(found?.readBigUInt64LE(24)).to.equal(0x7fff_ffffn);
    const missing = kernel.ask(LOOKUP, ROOT, str("missing"));
    expect(missing?.error).to.equal(0);
    expect(missing?.body.readBigUInt64LE(0)).to.equal(0n);
    expect(missing?.body.readBigUInt64LE(16)).to.equal(0x7fff_ffffn);
  });

  it("limits lifetimes to the option", () => {
    const limited = new ScriptedKernel({ timeoutSec: 3 });
    limited.init();
    expect(limited.ask(LOOKUP, ROOT, str("missing"))?.body.readBigUInt64LE(16)).to.equal(3n);
  });

  it("answers ESTALE for a nodeid it never gave or has been told to forget", () => {
    expect(kernel.ask(GETATTR, 99, getattrIn)?.error).to.equal(-116);
    const dir = kernel.lookup(ROOT, "dir");
    expect(kernel.ask(FORGET, dir, u64(1))).to.equal(undefined);
    expect(kernel.ask(GETATTR, dir, getattrIn)?.error).to.equal(-116);
    expect(kernel.tree.forgotten).to.have.length(1);
  });

  it("forgets many at once and sends no answer", () => {
    const dir = kernel.lookup(ROOT, "dir");
    const file = kernel.lookup(dir, "file");
    const before = kernel.channel.answers.length;
    expect(kernel.ask(BATCH_FORGET, 0, u32(3), u32(0), u64(file), u64(1), u64(dir), u64(1), u64(777), u64(1))).to.equal(undefined);
    expect(kernel.channel.answers).to.have.length(before);
    expect(kernel.session.nodes.size).to.equal(1);
  });

  it("answers ENOSYS where the kernel is to remember it, and nowhere else", () => {
    const file = kernel.lookup(kernel.lookup(ROOT, "dir"), "file");
    for (const opcode of [FLUSH, OPENDIR, ACCESS, 37, 40, 31, 32, 33]) expect(kernel.ask(opcode, file, Buffer.alloc(48))?.error).to.equal(-38);
    expect(kernel.ask(OPEN, file, openIn(0))?.error).to.equal(-38);
    expect(kernel.ask(CREATE, ROOT, u32(2), u32(0o644), u32(0), u32(0), str("new"))?.error).to.equal(-38);
    expect(kernel.ask(LSEEK, file, u64(0), u64(0), u32(3), u32(0))?.error).to.equal(-38);
    expect(kernel.ask(IOCTL, file, Buffer.alloc(32))?.error).to.equal(-25);
    expect(kernel.ask(4242, file, Buffer.alloc(32))?.error).to.equal(-38);
    kernel.tree.getXattr = () => {
      throw new FsError("ENOSYS", "getxattr");
    };
    expect(kernel.ask(GETXATTR, file, u32(0), u32(0), str("user.x"))?.error).to.equal(-95);
  });

  it("leaves fsync to the kernel when nothing is to be synced, for good", () => {
    const unsynced = new ScriptedKernel({ fsync: false });
    unsynced.init();
    for (const opcode of [FSYNC, FSYNCDIR]) expect(unsynced.ask(opcode, ROOT, Buffer.alloc(16))?.error).to.equal(-38);
    expect(kernel.ask(FSYNCDIR, ROOT, Buffer.alloc(16))?.error).to.equal(0);
  });

  it("turns an unexpected exception into EIO once, and logs it with opcode and nodeid", () => {
    kernel.tree.getAttr = () => {
      throw new TypeError("a bug");
    };
    expect(kernel.ask(GETATTR, ROOT, getattrIn)?.error).to.equal(-5);
    expect(kernel.logged).to.have.length(1);
    expect(kernel.logged[0]).to.match(/^GETATTR of nodeid 1 failed unexpectedly: TypeError: a bug/);
  });

  it("survives a log that throws", () => {
    const bad = new ScriptedKernel({ log: () => { throw new Error("log"); } });
    expect(bad.ask(GETATTR, ROOT, u32(0))?.error).to.equal(-22);
  });

  it("answers a truncated request with EINVAL", () => {
    for (const opcode of [SETATTR, READ, WRITE, LOOKUP, READDIRPLUS, GETXATTR, COPY_FILE_RANGE, INIT]) {
      expect(kernel.ask(opcode, ROOT)?.error, String(opcode)).to.equal(-22);
    }
    expect(kernel.ask(LOOKUP, ROOT, Buffer.from("no end"))?.error).to.equal(-22);
    expect(kernel.ask(LOOKUP, ROOT, str("a/b"))?.error).to.equal(-22);
    expect(kernel.ask(LOOKUP, ROOT, str("x".repeat(256)))?.error).to.equal(-36);
    const file = kernel.lookup(kernel.lookup(ROOT, "dir"), "file");
    expect(kernel.ask(WRITE, file, u64(0), u64(0), u32(100), u32(0), u64(0), u32(0), u32(0), Buffer.from("short"))?.error).to.equal(-22);
    expect(kernel.ask(SETXATTR, file, u32(50), u32(0), u32(0), u32(0), str("user.x"), Buffer.from("short"))?.error).to.equal(-22);
  });

  it("answers a message that does not say its own length with EIO when it has a unique", () => {
    const bytes = message(GETATTR, 1000, ROOT, getattrIn);
    bytes.writeUInt32LE(5000, 0);
    kernel.channel.deliver(bytes);
    expect(kernel.channel.answers.at(-1)).to.include({ unique: 1000, error: -5 });
  });

  it("does not set an mtime that the kernel flushes although it is so already", () => {
    const node = kernel.tree.put("flushed", "");
    const nodeid = kernel.lookup(ROOT, "flushed");
    let calls = 0;
    const setAttr = kernel.tree.setAttr.bind(kernel.tree);
    kernel.tree.setAttr = (target, changes) => {
      calls++;
      return setAttr(target, changes);
    };
    const flush = (sec: number): Answer | undefined => kernel.ask(SETATTR, nodeid, u32(1 << 5 | 1 << 10), Buffer.alloc(36), u64(sec), u64(0), u32(0),
      u32(node.mtime.nsec), Buffer.alloc(24));
    expect(flush(node.mtime.sec)?.body.readBigUInt64LE(0)).to.equal(0x7fff_ffffn);
    expect(calls).to.equal(0);
    expect(flush(5)?.body.readBigUInt64LE(16 + 32)).to.equal(5n);
    expect(calls).to.equal(1);
  });

  it("counts what it served by name", () => {
    const counting = new ScriptedKernel();
    counting.init();
    counting.ask(GETATTR, ROOT, getattrIn);
    counting.ask(GETATTR, ROOT, getattrIn);
    counting.ask(999, ROOT);
    expect(counting.session.counters()).to.deep.equal({ INIT: 1, GETATTR: 2, UNKNOWN: 1 });
  });

  it("closes files and resolves closed when the connection ends", async () => {
    const file = kernel.lookup(kernel.lookup(ROOT, "dir"), "file");
    kernel.ask(READ, file, readIn(0, 10));
    expect(kernel.session.files.size).to.equal(1);
    kernel.channel.end();
    await kernel.session.closed;
    expect(kernel.session.files.size).to.equal(0);
  });

  it("rejects closed when the device breaks, and ready when INIT never came", async () => {
    const early = new ScriptedKernel();
    early.channel.end(new Error("broken"));
    expect(await early.session.ready.catch((error: Error) => error.message)).to.equal("broken");
    expect(await early.session.closed.catch((error: Error) => error.message)).to.equal("broken");
  });
});

describe("INTERRUPT", () => {
  /** What /proc would say of a thread, by its number; every caller here is 42. */
  let killed: Set<number>;
  let asked: number[];
  /** Ends what the tree waits for. */
  let settle: { resolve: (file: OpenFile) => void; reject: (error: Error) => void };
  let gaveUp: number[];
  let kernel: ScriptedKernel;
  let file: number;
  const HIGH = 2n ** 63n;

  beforeEach(() => {
    [killed, asked, gaveUp] = [new Set(), [], []];
    let answer = -11;
    const isKilled = (tid: number): number => {
      const before = answer;
      asked.push(tid);
      answer = 2 * tid + (killed.has(tid) ? 1 : 0);
      return before;
    };
    kernel = new ScriptedKernel({ binding: { statx: () => 0, copyRange: () => -95, isKilled } });
    kernel.init();
    kernel.tree.put("file", "content");
    file = kernel.lookup(ROOT, "file");
    const waiting = new Set<number>();
    kernel.tree.open = () => new Promise((resolve, reject) => {
      waiting.add(kernel.tree.asker!);
      settle = { resolve, reject };
    });
    kernel.tree.giveUp = (asker) => {
      if (!waiting.delete(asker)) return false;
      gaveUp.push(asker);
      return true;
    };
  });

  const deliver = (opcode: number, unique: bigint, nodeid: number, ...body: Buffer[]): void => {
    const bytes = message(opcode, 0, nodeid, ...body);
    bytes.writeBigUInt64LE(unique, 8);
    kernel.channel.deliver(bytes);
  };
  const wide = (value: bigint): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(value);
    return bytes;
  };
  const interrupt = (unique: bigint): void => deliver(INTERRUPT, unique | 1n, 0, wide(unique));
  const write = (unique: bigint): void => deliver(WRITE, unique, file, writeIn(0, "text"));
  const answersTo = (unique: number): number[] => kernel.channel.answers.filter((answer) => answer.unique === unique).map(({ error }) => error);
  const soon = async (what: () => boolean): Promise<void> => {
    while (!what()) await new Promise((resolve) => setTimeout(resolve, 1));
  };
  const looks = (count: number): Promise<void> => soon(() => asked.length >= count);
  const opened = { writable: true, fd: -1, read: () => 0, write: () => 4, allocate: () => undefined, seek: () => 0, sync: () => undefined, close: () => undefined };

  it("answers EINTR, once, when the caller is being killed and the tree gives up what it waits for", async () => {
    write(1000n);
    killed.add(42);
    interrupt(1000n);
    await soon(() => answersTo(1000).length > 0);
    expect(kernel.session.status()).to.deep.include({ waiting: [], waitingCount: 0 });
    settle.reject(new FsError("ECANCELED", "copy"));
    await looks(2);
    await new Promise((resolve) => setImmediate(resolve));
    expect([answersTo(1000), gaveUp, kernel.logged]).to.deep.equal([[-4], [1000], []]);
  });

  it("lets a request whose caller had another signal end as ever", async () => {
    write(1000n);
    interrupt(1000n);
    await looks(4);
    expect(kernel.session.status().waiting).to.have.length(1);
    expect(kernel.session.status().waiting[0]).to.include({ operation: "WRITE", interrupted: true });
    settle.resolve(opened);
    await soon(() => answersTo(1000).length > 0);
    expect([answersTo(1000), gaveUp]).to.deep.equal([[0], []]);
  });

  it("goes on looking: a fatal signal may follow, of which the kernel does not tell", async () => {
    write(1000n);
    interrupt(1000n);
    await looks(3);
    killed.add(42);
    await soon(() => answersTo(1000).length > 0);
    expect(answersTo(1000)).to.deep.equal([-4]);
    settle.reject(new FsError("EINTR", "copy"));
  });

  it("stops looking when the request has ended", async () => {
    write(1000n);
    interrupt(1000n);
    settle.resolve(opened);
    await soon(() => answersTo(1000).length > 0);
    const { length } = asked;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(asked).to.have.length(length);
  });

  it("finishes what the tree cannot give up", async () => {
    kernel.tree.giveUp = () => false;
    write(1000n);
    killed.add(42);
    interrupt(1000n);
    await looks(4);
    expect(answersTo(1000)).to.deep.equal([]);
    settle.resolve(opened);
    await soon(() => answersTo(1000).length > 0);
    expect(answersTo(1000)).to.deep.equal([0]);
  });

  it("need not wait for a sync, which says nothing but that it has ended", async () => {
    let done = (): void => undefined;
    kernel.tree.syncDir = () => new Promise<void>((resolve) => (done = resolve));
    deliver(FSYNCDIR, 1000n, ROOT, Buffer.alloc(16));
    killed.add(42);
    interrupt(1000n);
    await soon(() => answersTo(1000).length > 0);
    let idle = false;
    void kernel.session.pause().then(() => (idle = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(idle, "before the sync has ended").to.equal(false);
    done();
    await soon(() => idle);
    expect(answersTo(1000)).to.deep.equal([-4]);
  });

  it("may come before its request, and after its answer", async () => {
    killed.add(42);
    interrupt(1000n);
    expect(kernel.channel.answers.filter(({ unique }) => unique >= 1000)).to.deep.equal([]);
    write(1000n);
    await soon(() => answersTo(1000).length > 0);
    settle.reject(new FsError("EINTR", "copy"));
    for (let unique = 2000n; unique < 3000n; unique += 2n) interrupt(unique);
    await looks(2);
    expect([answersTo(1000), gaveUp]).to.deep.equal([[-4], [1000]]);
  });

  it("finds a request that was sent again, and answers it by the number that it has now", async () => {
    write(HIGH | 1000n);
    killed.add(42);
    interrupt(HIGH | 1000n);
    await soon(() => gaveUp.length > 0);
    settle.reject(new FsError("EINTR", "copy"));
    expect([kernel.channel.answers.at(-1)?.error, kernel.channel.answers.at(-1)?.unique]).to.deep.equal([-4, Number(HIGH | 1000n)]);
    expect(gaveUp).to.deep.equal([1000]);
  });

  it("looks at nobody whose number the kernel could not give", async () => {
    const bytes = message(WRITE, 1000, file, writeIn(0, "text"));
    bytes.writeUInt32LE(0, 32);
    kernel.channel.deliver(bytes);
    interrupt(1000n);
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(asked).to.deep.equal([]);
    settle.resolve(opened);
    await soon(() => answersTo(1000).length > 0);
  });

  it("counts as an answer for whoever records them", async () => {
    const told: string[] = [];
    const recorder = {
      begin: (lo: number) => void told.push(`begin ${lo}`), touched: () => undefined, ended: () => void told.push("ended"),
      answering: (bytes: Buffer) => void told.push(`answering ${bytes.readUInt32LE(8)} ${bytes.readInt32LE(4)}`),
    };
    const recorded = new ScriptedKernel({ recorder: { ...recorder, begin: (lo) => (recorder.begin(lo), undefined) }, binding: { statx: () => 0, copyRange: () => -95, isKilled: (tid) => 2 * tid + 1 } });
    recorded.init();
    let fail = (_error: Error): void => undefined;
    recorded.tree.put("file", "content");
    const nodeid = recorded.lookup(ROOT, "file");
    recorded.tree.open = () => new Promise((_resolve, reject) => (fail = reject));
    recorded.tree.giveUp = () => true;
    told.length = 0;
    recorded.channel.deliver(message(WRITE, 1000, nodeid, writeIn(0, "text")));
    recorded.channel.deliver(message(INTERRUPT, 1001, 0, wide(1000n)));
    await soon(() => told.some((line) => line.startsWith("answering")));
    fail(new FsError("EINTR", "copy"));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(told.sort()).to.deep.equal(["answering 1000 -4", "begin 1000", "begin 1001", "ended", "ended"]);
  });
});

describe("reading and writing by nodeid", () => {
  it("works without any open, from memory", () => {
    const kernel = new ScriptedKernel();
    kernel.init();
    kernel.tree.put("file", "content");
    const file = kernel.lookup(ROOT, "file");
    expect(kernel.ask(READ, file, readIn(3, 100))?.body.toString()).to.equal("tent");
    expect(kernel.ask(READ, file, readIn(300, 100))?.body.length).to.equal(0);
    expect(kernel.ask(WRITE, file, writeIn(7, "!!"))?.body.readUInt32LE(0)).to.equal(2);
    expect(kernel.ask(READ, file, readIn(0, 100))?.body.toString()).to.equal("content!!");
  });

  it("gives the descriptor to the channel where there is one", () => {
    const kernel = new ScriptedKernel({ descriptors: true });
    kernel.init();
    const node = kernel.tree.put("file", "content");
    const file = kernel.lookup(ROOT, "file");
    expect(kernel.ask(READ, file, readIn(3, 100))?.body.toString()).to.equal(`${node.body?.fd}@3+100`);
    kernel.tree.close();
  });

  it("copies what it needs before it waits, and answers each request when its own promise resolves", async () => {
    const kernel = new ScriptedKernel({ late: true });
    kernel.init();
    kernel.tree.put("file", "content");
    const file = kernel.lookup(ROOT, "file");
    const late = kernel.askLate(WRITE, file, writeIn(0, "CON"));
    const other = kernel.askLate(SETATTR, file, u32(1), Buffer.alloc(64), u32(0o600), Buffer.alloc(16));
    expect(kernel.lookup(ROOT, "missing")).to.equal(0);
    expect((await late).body.readUInt32LE(0)).to.equal(3);
    expect((await other).body.readUInt32LE(16 + 60)).to.equal(0o100600);
    const reads = await Promise.all([kernel.askLate(READ, file, readIn(0, 100)), kernel.askLate(READ, file, readIn(4, 2))]);
    expect(reads.map((answer) => answer.body.toString())).to.deep.equal(["CONtent", "en"]);
  });

  it("finishes what waits after the end of the connection, and closes only then", async () => {
    const kernel = new ScriptedKernel({ late: true });
    kernel.init();
    kernel.tree.put("file", "content");
    const file = kernel.lookup(ROOT, "file");
    const late = kernel.askLate(READ, file, readIn(0, 4));
    kernel.channel.end();
    await kernel.session.closed;
    expect((await late).body.toString()).to.equal("cont");
    expect(kernel.logged).to.deep.equal([]);
  });
});

describe("RENAME2", () => {
  it("is refused with RENAME_WHITEOUT, whose whiteout nobody could see, and with flags that exclude each other", () => {
    const kernel = new ScriptedKernel();
    kernel.init();
    kernel.tree.put("a", "");
    const rename2 = (flags: number): number | undefined => kernel.ask(45, ROOT, u64(ROOT), u32(flags), u32(0), str("a"), str("b"))?.error;
    expect([4, 5, 3, 8].map(rename2)).to.deep.equal([-22, -22, -22, -22]);
    expect(rename2(1)).to.equal(0);
  });
});

describe("READDIRPLUS", () => {
  const kernelWith = (names: readonly string[]): ScriptedKernel => {
    const kernel = new ScriptedKernel();
    kernel.init();
    for (const text of names) kernel.tree.put(text, "");
    return kernel;
  };

  it("sends dots without nodeids, entries with them, each counted as a lookup, and an empty answer at the end", () => {
    const kernel = kernelWith(["a", "b"]);
    const entries = entriesOf(kernel.ask(READDIRPLUS, ROOT, readIn(0, 4096)));
    expect(entries).to.deep.equal([
      { name: ".", next: 1, nodeid: 0 }, { name: "..", next: 2, nodeid: 0 }, { name: "a", next: 3, nodeid: 2 }, { name: "b", next: 4, nodeid: 3 },
    ]);
    expect(kernel.session.nodes.get(2).lookups).to.equal(1);
    expect(kernel.ask(READDIRPLUS, ROOT, readIn(4, 4096))?.body.length).to.equal(0);
  });

  it("counts no lookup for an entry that does not fit", () => {
    const kernel = kernelWith(["a", "b", "c"]);
    const entries = entriesOf(kernel.ask(READDIRPLUS, ROOT, readIn(0, 500)));
    expect(entries.map((entry) => entry.name)).to.deep.equal([".", "..", "a"]);
    expect(kernel.session.nodes.size).to.equal(2);
    expect(entriesOf(kernel.ask(READDIRPLUS, ROOT, readIn(3, 4096))).map((entry) => entry.name)).to.deep.equal(["b", "c"]);
  });

  it("leaves out a name that has gone, and sends one whose lookup fails with nodeid 0", () => {
    const kernel = kernelWith(["a", "b", "c"]);
    kernel.ask(READDIRPLUS, ROOT, readIn(0, 400));
    kernel.tree.unlink(kernel.tree.root, name("b"));
    const lookup = kernel.tree.lookup.bind(kernel.tree);
    kernel.tree.lookup = (dir, text) => {
      if (text === "c") throw new FsError("EIO", "lookup");
      return lookup(dir, text);
    };
    const rest = entriesOf(kernel.ask(READDIRPLUS, ROOT, readIn(2, 4096)));
    expect(rest.map((entry) => [entry.name, entry.nodeid === 0, entry.next])).to.deep.equal([["a", false, 3], ["c", true, 5]]);
  });

  it("does not list a name twice to a reader in the middle when it went and came again", () => {
    const kernel = kernelWith(["a", "b", "c"]);
    const caller = { uid: 0, gid: 0, pid: 0, umask: 0 };
    // Up to "a"; then others make it anew, while somebody lists from the beginning, with it and without.
    expect(entriesOf(kernel.ask(READDIRPLUS, ROOT, readIn(0, 500))).map((entry) => entry.name)).to.deep.equal([".", "..", "a"]);
    kernel.tree.unlink(kernel.tree.root, name("a"));
    kernel.ask(READDIRPLUS, ROOT, readIn(0, 4096));
    kernel.tree.create(kernel.tree.root, name("a"), { mode: S_IFREG | 0o600 }, caller);
    expect(entriesOf(kernel.ask(READDIRPLUS, ROOT, readIn(0, 4096))).map((entry) => entry.name)).to.deep.equal([".", "..", "a", "b", "c"]);
    expect(entriesOf(kernel.ask(READDIRPLUS, ROOT, readIn(3, 4096))).map((entry) => entry.name)).to.deep.equal(["b", "c"]);
  });

  it("lists a directory whose entries' numbers cannot be read", () => {
    const kernel = kernelWith(["a", "b"]);
    const openDir = kernel.tree.openDir.bind(kernel.tree);
    kernel.tree.openDir = (dir) =>
      openDir(dir).map(({ name: text, type }) => ({
        name: text,
        type,
        get ino(): number {
          throw new FsError("EIO", "lookup");
        },
      }));
    expect(entriesOf(kernel.ask(READDIR, ROOT, readIn(0, 4096)), false).map((entry) => entry.name)).to.deep.equal([".", "..", "a", "b"]);
    expect(entriesOf(kernel.ask(READDIRPLUS, ROOT, readIn(0, 4096))).map((entry) => entry.name)).to.deep.equal([".", "..", "a", "b"]);
  });

  it("keeps the positions of what stays when another reader starts again", () => {
    const kernel = kernelWith(["a", "b", "c", "d"]);
    entriesOf(kernel.ask(READDIRPLUS, ROOT, readIn(0, 700)));
    kernel.tree.unlink(kernel.tree.root, name("a"));
    kernel.tree.put("e", "");
    const fresh = entriesOf(kernel.ask(READDIR, ROOT, readIn(0, 4096)), false);
    expect(fresh.map((entry) => entry.name)).to.deep.equal([".", "..", "b", "c", "d", "e"]);
    const rest = entriesOf(kernel.ask(READDIRPLUS, ROOT, readIn(4, 4096)));
    expect(rest.map((entry) => entry.name)).to.deep.equal(["c", "d", "e"]);
  });

  it("answers an error only before the first entry", () => {
    const kernel = kernelWith(["a"]);
    expect(kernel.ask(READDIRPLUS, kernel.lookup(ROOT, "a"), readIn(0, 4096))?.error).to.equal(-20);
  });
});

describe("passthrough opens", () => {
  const kernelWith = (lower: boolean, size = 7): { kernel: ScriptedKernel; file: number } => {
    const statx = (fd: number, _path: string, _flags: number, out: Float64Array): number => {
      out[0] = fd; // one file per descriptor here
      out[6] = size;
      return 0;
    };
    const kernel = new ScriptedKernel({
      dataMode: "passthrough", descriptors: true, idleBackings: 1, binding: { statx: (_dirfd, ...rest) => statx(_dirfd, ...rest), copyRange: () => -95, isKilled: () => -11 },
    });
    kernel.init();
    kernel.tree.put("file", "content", lower);
    return { kernel, file: kernel.lookup(ROOT, "file") };
  };
  const flagsAndId = (answer: Answer | undefined): number[] => [answer?.body.readUInt32LE(8) ?? -1, answer?.body.readInt32LE(12) ?? -1];

  it("are ordinary for who only reads an empty file, and for its writers meanwhile", () => {
    const { kernel, file } = kernelWith(false, 0);
    expect(flagsAndId(kernel.ask(OPEN, file, openIn(0)))[1]).to.equal(0);
    expect(flagsAndId(kernel.ask(OPEN, file, openIn(2)))[1]).to.equal(0);
    kernel.ask(RELEASE, file, releaseIn);
    kernel.ask(RELEASE, file, releaseIn);
    expect(flagsAndId(kernel.ask(OPEN, file, openIn(2)))[1]).to.equal(1);
    expect(kernel.channel.backings).to.have.length(1);
    kernel.tree.close();
  });

  it("share one backing id, which stays for the next open", () => {
    const { kernel, file } = kernelWith(false);
    expect(flagsAndId(kernel.ask(OPEN, file, openIn(0)))).to.deep.equal([1 << 7, 1]);
    expect(flagsAndId(kernel.ask(OPEN, file, openIn(2)))).to.deep.equal([1 << 7, 1]);
    kernel.ask(RELEASE, file, releaseIn);
    kernel.ask(RELEASE, file, releaseIn);
    kernel.ask(RELEASE, file, releaseIn);
    expect(flagsAndId(kernel.ask(OPEN, file, openIn(0)))).to.deep.equal([1 << 7, 1]);
    expect(kernel.channel.backings).to.have.length(1);
    kernel.tree.close();
  });

  it("close the idle ids that are too many, and that of a forgotten node", () => {
    const { kernel, file } = kernelWith(false);
    kernel.tree.put("second", "");
    const second = kernel.lookup(ROOT, "second");
    for (const nodeid of [file, second]) {
      kernel.ask(OPEN, nodeid, openIn(0));
      kernel.ask(RELEASE, nodeid, releaseIn);
    }
    expect(kernel.channel.closedBackings).to.deep.equal([1]);
    kernel.ask(FORGET, second, u64(1));
    expect(kernel.channel.closedBackings).to.deep.equal([1, 2]);
    kernel.tree.close();
  });

  it("answer ESTALE once the file is another one, and the next lookup gives a new nodeid", () => {
    const { kernel, file } = kernelWith(true);
    kernel.ask(OPEN, file, openIn(0));
    const before = kernel.channel.answers.length;
    expect(kernel.ask(OPEN, file, openIn(1))?.error).to.equal(-116);
    expect(kernel.channel.answers[before + 1]).to.include({ unique: 0, error: 2 });
    const current = kernel.lookup(ROOT, "file");
    expect(current).to.not.equal(file);
    expect(flagsAndId(kernel.ask(OPEN, current, openIn(1)))).to.deep.equal([1 << 7, 2]);
    expect(kernel.ask(OPEN, file, openIn(0))?.error).to.equal(-116);
    expect(kernel.ask(GETATTR, file, getattrIn)?.body.readBigUInt64LE(0)).to.equal(0n);
    expect(kernel.ask(GETATTR, current, getattrIn)?.body.readBigUInt64LE(0)).to.equal(0x7fff_ffffn);
    const sent = kernel.channel.answers.length;
    kernel.ask(SETATTR, file, u32(1), Buffer.alloc(64), u32(0o600), Buffer.alloc(16));
    expect(kernel.channel.answers[sent + 1]?.body.readBigUInt64LE(0)).to.equal(BigInt(current));
    kernel.ask(RELEASE, file, releaseIn);
    kernel.ask(FORGET, file, u64(1));
    expect(kernel.tree.forgotten).to.have.length(0);
    kernel.ask(FORGET, current, u64(1));
    expect(kernel.tree.forgotten).to.have.length(1);
    kernel.tree.close();
  });

  it("for reading and writing end the lifetime of attributes, which a mapping may change unseen", () => {
    const { kernel, file } = kernelWith(false);
    const lifetime = (): bigint | undefined => kernel.ask(GETATTR, file, getattrIn)?.body.readBigUInt64LE(0);
    kernel.ask(OPEN, file, openIn(1));
    expect(lifetime()).to.equal(0x7fff_ffffn);
    const sent = kernel.channel.answers.length;
    kernel.ask(OPEN, file, openIn(2));
    kernel.ask(OPEN, file, openIn(2));
    expect(kernel.channel.answers.slice(sent).filter((answer) => answer.unique === 0)).to.have.length(1);
    for (let opens = 3; opens > 0; opens--) kernel.ask(RELEASE, file, releaseIn);
    expect(lifetime()).to.equal(0n);
    const made = kernel.ask(CREATE, ROOT, u32(0o102), u32(0o666), u32(0o022), u32(0), str("new"));
    expect([made?.body.readBigUInt64LE(16), made?.body.readBigUInt64LE(24)]).to.deep.equal([0x7fff_ffffn, 0n]);
    kernel.tree.close();
  });

  it("replace the backing without a word when nobody has the file open", () => {
    const { kernel, file } = kernelWith(true);
    kernel.ask(OPEN, file, openIn(0));
    kernel.ask(RELEASE, file, releaseIn);
    expect(flagsAndId(kernel.ask(OPEN, file, openIn(1)))).to.deep.equal([1 << 7, 2]);
    expect(kernel.channel.closedBackings).to.deep.equal([1]);
    kernel.tree.close();
  });

  it("are ordinary, and stay so while the file is open, when the kernel refuses; EPERM is the last try", () => {
    const { kernel, file } = kernelWith(false);
    kernel.channel.backingErrno = -1;
    expect(flagsAndId(kernel.ask(OPEN, file, openIn(0)))).to.deep.equal([1 << 1, 0]);
    kernel.channel.backingErrno = 0;
    kernel.tree.put("second", "");
    expect(flagsAndId(kernel.ask(OPEN, kernel.lookup(ROOT, "second"), openIn(0)))).to.deep.equal([1 << 1, 0]);
    expect(kernel.logged).to.have.length(1);
    kernel.tree.close();
  });

  it("are ordinary for a writer of a setuid file, so that a write can end it", () => {
    const { kernel, file } = kernelWith(false);
    kernel.ask(SETATTR, file, u32(1), Buffer.alloc(64), u32(0o4755), Buffer.alloc(16));
    expect(flagsAndId(kernel.ask(OPEN, file, openIn(1)))).to.deep.equal([1 << 1, 0]);
    expect(flagsAndId(kernel.ask(OPEN, file, openIn(0)))).to.deep.equal([1 << 1, 0]);
    kernel.tree.close();
  });

  it("create and open in one request", () => {
    const { kernel } = kernelWith(false);
    const answer = kernel.ask(CREATE, ROOT, u32(0o102), u32(0o666), u32(0o022), u32(0), str("new"));
    expect(answer?.body).to.have.length(144);
    expect(answer?.body.readUInt32LE(40 + 60)).to.equal(0o100644);
    expect([answer?.body.readUInt32LE(136), answer?.body.readInt32LE(140)]).to.deep.equal([1 << 7, 1]);
    kernel.tree.close();
  });
});

describe("any bytes at all", () => {
  const seed = Number(process.env["STRATAFS_SEED"] ?? Date.now() % 2 ** 31);
  /** mulberry32 */
  let state = seed;
  const random = (below: number): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
  const silent = new Set([2, 36, 41, 42]);

  it(`are answered, or are of a kind without answer, and never thrown (seed ${seed})`, async () => {
    for (const dataMode of ["cached", "passthrough"] as const) {
      for (const late of [false, true]) {
        const kernel = new ScriptedKernel({ dataMode, late, binding: { statx: () => 0, copyRange: () => -95, isKilled: () => -11 } });
        kernel.init();
        for (const path of ["a", "b", "d/e", "d/f"]) kernel.tree.put(path, "some content", path === "a");
        for (const text of ["a", "b", "d"]) kernel.lookup(ROOT, text);
        const expected = new Set<number>();
        for (let round = 0; round < 5000; round++) {
          const opcode = random(20) === 0 ? random(2 ** 31) : 1 + random(54);
          if (opcode === INIT) continue;
          const body = Buffer.alloc(random(4) === 0 ? random(400) : [0, 8, 16, 24, 40, 56, 88, 100][random(8)] ?? 0);
          for (let i = 0; i < body.length; i++) body[i] = random(3) === 0 ? random(256) : [0, 0, 97, 1][random(4)] ?? 0;
          const unique = 100_000 + round * 2;
          const bytes = message(opcode, unique, random(8), body);
          if (random(30) === 0) bytes.writeUInt32LE(random(2 ** 20), 0);
          if (random(30) === 0) u16(random(65536)).copy(bytes, 36);
          const cut = random(30) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes;
          kernel.channel.deliver(cut);
          if (cut.length >= 16 && !silent.has(opcode)) expected.add(unique);
        }
        for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
        const answered = kernel.channel.answers.map((answer) => answer.unique).filter((unique) => unique >= 100_000);
        expect(new Set(answered).size, "answered once").to.equal(answered.length);
        expect([...expected].filter((unique) => !answered.includes(unique)), "not answered").to.deep.equal([]);
        expect(answered.filter((unique) => !expected.has(unique)), "answered unasked").to.deep.equal([]);
        expect(kernel.logged.filter((line) => !line.startsWith("malformed") && !line.includes("page cache")), "unexpected").to.deep.equal([]);
      }
    }
  }).timeout(30_000);
});
