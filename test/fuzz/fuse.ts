/**
 * Fuzz target: the FUSE decoder and session above a merged view in memory. An input is one byte of choices and messages, each behind two bytes
 * of length. Every request that has an answer is answered once, whatever it holds; nothing throws; no operation fails in an unforeseen way.
 */
import { Session } from "../../lib/fuse/session.js";
import * as abi from "../../lib/fuse/wire/abi.js";
import { memoryLayer, memoryUpper } from "../../lib/layer/description.js";
import { entry, whiteout } from "../../lib/layer/tree-description.js";
import { overlay } from "../../lib/mount.js";
import { message, ScriptedChannel, str, u32, u64 } from "../fuse/scripted-kernel.js";
import { expectThat, type Target } from "./fuzz.js";

const PASSTHROUGH = 1;
const NO_INIT = 2;
const silent: ReadonlySet<number> = new Set([abi.FUSE_FORGET, abi.FUSE_BATCH_FORGET, abi.FUSE_INTERRUPT, abi.FUSE_NOTIFY_REPLY]);

export const fuseTarget: Target = {
  name: "fuse",
  words: ["dir\0", "file\0", "hidden\0", "..\0", ".wh.x\0", "a/b\0", "\0", "x".repeat(256) + "\0", "user.k\0", "trusted.overlay.redirect\0", "system.posix_acl_access\0", "\xff\xff\xff\xff\xff\xff\xff\x7f", "\x01\0\0\0\0\0\0\0", "\x02\0\0\0\0\0\0\0"],
  maxBytes: 8192,
  // Lengths that agree with each other, and nodeids that may exist.
  mend(input) {
    const parts: Buffer[] = [input.subarray(0, 1)];
    for (const one of messagesOf(input)) {
      const bytes = Buffer.from(one);
      if (bytes.length >= 40) {
        bytes.writeUInt32LE(bytes.length, 0);
        bytes.writeUInt32LE(bytes.readUInt32LE(4) % abi.OPCODE_COUNT, 4);
        bytes.writeUInt32LE(bytes.readUInt32LE(16) % 24, 16);
        bytes.writeUInt32LE(0, 20);
      }
      parts.push(framed(bytes));
    }
    return Buffer.concat(parts);
  },
  async run(input) {
    const choices = input[0] ?? 0;
    const channel = new ScriptedChannel();
    const tree = overlay({
      lowers: [
        memoryLayer({ dir: { file: "content", sub: { deep: "x" } }, link: entry({ target: "dir" }), hidden: whiteout, moved: entry({ entries: {}, redirect: "/dir" }), twin: entry({ link: "dir/file" }) }),
        memoryLayer({ hidden: "secret", dir: { other: "y".repeat(5000), file: "older" } }),
      ],
      upper: memoryUpper({}, { maxBytes: 1 << 22, redirect: true, metacopy: true }),
    });
    const surprises: string[] = [];
    const session = new Session(tree, channel, { dataMode: (choices & PASSTHROUGH) !== 0 ? "passthrough" : "cached", log: (line) => surprises.push(line), openFiles: 64 });
    session.start();
    if ((choices & NO_INIT) === 0) channel.deliver(init);
    const expected = new Map<number, number>();
    let unique = 1000;
    for (const one of messagesOf(input)) {
      const bytes = Buffer.from(one);
      unique += 2;
      if (bytes.length >= 16) bytes.writeBigUInt64LE(BigInt(unique), 8);
      channel.deliver(bytes);
      if (bytes.length >= 16 && !silent.has(bytes.readUInt32LE(4))) expected.set(unique, bytes.readUInt32LE(4));
    }
    for (let turn = 0; turn < 50 && channel.answers.length < expected.size; turn++) await new Promise((resolve) => setImmediate(resolve));
    for (const [asked, opcode] of expected) {
      const count = channel.answers.filter((answer) => answer.unique === asked).length;
      expectThat(count === 1, () => `${count} answers to opcode ${opcode}`);
    }
    for (const { unique: of } of channel.answers) expectThat(of <= 2 || expected.has(of), () => `an answer to ${of}, which has none`);
    const surprise = surprises.find((line) => !line.startsWith("malformed ") && !line.startsWith("the kernel "));
    expectThat(surprise === undefined, () => surprise ?? "");
    await session.stop();
    tree.close();
  },
  async samples() {
    const read = (offset: number, size: number): Buffer => Buffer.concat([u64(0), u64(offset), u32(size), u32(0), u64(0), u32(0), u32(0)]);
    const script = (choices: number, ...messages: readonly Buffer[]): Buffer => Buffer.concat([Buffer.from([choices]), ...messages.map(framed)]);
    const lookups = [message(abi.FUSE_LOOKUP, 2, 1, str("dir")), message(abi.FUSE_LOOKUP, 2, 2, str("file"))];
    const setattr = Buffer.alloc(88);
    setattr.writeUInt32LE(abi.FATTR_SIZE | abi.FATTR_MODE, 0);
    setattr.writeBigUInt64LE(100n, 16);
    setattr.writeUInt32LE(0o4755, 68);
    return {
      looking: script(0, ...lookups, message(abi.FUSE_GETATTR, 2, 2, Buffer.alloc(16)), message(abi.FUSE_READDIRPLUS, 2, 1, read(0, 4096)), message(abi.FUSE_READDIR, 2, 2, read(0, 300)), message(abi.FUSE_FORGET, 2, 3, u64(1)), message(abi.FUSE_BATCH_FORGET, 2, 0, u32(1), u32(0), u64(2), u64(1)), message(abi.FUSE_STATFS, 2, 1)),
      data: script(0, ...lookups, message(abi.FUSE_READ, 2, 3, read(0, 4096)), message(abi.FUSE_WRITE, 2, 3, u64(0), u64(3), u32(4), u32(0), u64(0), u32(0), u32(0), Buffer.from("more")), message(abi.FUSE_SETATTR, 2, 3, setattr), message(abi.FUSE_FALLOCATE, 2, 3, u64(0), u64(0), u64(64), u32(0), u32(0)), message(abi.FUSE_LSEEK, 2, 3, u64(0), u64(0), u32(3), u32(0)), message(abi.FUSE_FSYNC, 2, 3, u64(0), u32(1), u32(0))),
      opens: script(PASSTHROUGH, ...lookups, message(abi.FUSE_OPEN, 2, 3, u32(2), u32(0)), message(abi.FUSE_CREATE, 2, 1, u32(2), u32(0o644), u32(0o22), u32(0), str("new")), message(abi.FUSE_TMPFILE, 2, 1, u32(2), u32(0o600), u32(0), u32(0), str("t")), message(abi.FUSE_RELEASE, 2, 3, Buffer.alloc(24)), message(abi.FUSE_COPY_FILE_RANGE, 2, 3, u64(0), u64(0), u64(4), u64(0), u64(0), u64(10), u64(0))),
      names: script(0, ...lookups, message(abi.FUSE_MKNOD, 2, 1, u32(0o100644), u32(0), u32(0o22), u32(0), str("made")), message(abi.FUSE_MKDIR, 2, 1, u32(0o755), u32(0o22), str("folder")), message(abi.FUSE_SYMLINK, 2, 1, str("sym"), str("dir/file")), message(abi.FUSE_LINK, 2, 1, u64(3), str("second")), message(abi.FUSE_RENAME, 2, 1, u64(1), str("dir"), str("away")), message(abi.FUSE_RENAME2, 2, 1, u64(1), u32(2), u32(0), str("away"), str("link")), message(abi.FUSE_UNLINK, 2, 1, str("sym")), message(abi.FUSE_RMDIR, 2, 1, str("folder")), message(abi.FUSE_READLINK, 2, 4)),
      xattrs: script(0, ...lookups, message(abi.FUSE_SETXATTR, 2, 3, u32(5), u32(0), u32(0), u32(0), str("user.k"), Buffer.from("value")), message(abi.FUSE_GETXATTR, 2, 3, u32(100), u32(0), str("user.k")), message(abi.FUSE_LISTXATTR, 2, 3, u32(100), u32(0)), message(abi.FUSE_REMOVEXATTR, 2, 3, str("user.k")), message(abi.FUSE_STATX, 2, 3, Buffer.alloc(24))),
      early: script(NO_INIT, message(abi.FUSE_LOOKUP, 2, 1, str("dir")), init, message(abi.FUSE_IOCTL, 2, 1, Buffer.alloc(32)), message(abi.FUSE_INTERRUPT, 2, 0, u64(4)), message(abi.FUSE_DESTROY, 2, 0)),
    };
  },
};

const init = message(abi.FUSE_INIT, 2, 0, u32(7), u32(45), u32(131072), u32(0xffffffff), u32(0xffffffff), Buffer.alloc(44));

function framed(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([bytes.length & 255, bytes.length >> 8]), bytes]);
}

function* messagesOf(input: Buffer): Generator<Buffer, undefined> {
  for (let at = 1; at + 2 <= input.length; ) {
    const length = input.readUInt16LE(at);
    yield input.subarray(at + 2, at + 2 + length);
    at += 2 + length;
  }
  return undefined;
}
