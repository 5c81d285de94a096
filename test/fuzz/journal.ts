/**
 * Fuzz target: the journal of a supervised mount, read by the server that takes over. An input is a byte of choices, the unique of the request
 * that is sent again, and the log. Either the log is refused, in an error of ours, or what comes of it is a session: it answers each request
 * once, asks the tree for nothing but single components, and writes a journal that can be read again.
 */
import { linkSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FsError } from "../../lib/base/errors.js";
import { isComponent } from "../../lib/base/name.js";
import type { Policy } from "../../lib/fuse/policy.js";
import { Session } from "../../lib/fuse/session.js";
import * as abi from "../../lib/fuse/wire/abi.js";
import { directoryLayer, directoryUpper } from "../../lib/layer/description.js";
import { overlay } from "../../lib/mount.js";
import { Overlay } from "../../lib/overlay/overlay.js";
import { checksumOf, head, Journal } from "../../lib/supervised/journal.js";
import { OnceTree } from "../../lib/supervised/once-tree.js";
import { MountRecorder } from "../../lib/supervised/recorder.js";
import { remembered, restore } from "../../lib/supervised/recovery.js";
import { native } from "../../lib/sys/binding.js";
import { message, ScriptedChannel, str, u32, u64 } from "../fuse/scripted-kernel.js";
import { expectThat, refusedBy, scratchFolder, type Target } from "./fuzz.js";

/** Bits of the first byte. */
const OTHER_HALF = 1;
const BAD_HEAD = 2;
const FORGET_READ = 4;
const BODY = 5;
const PUNCH_HOLE = 3;
/** Of records, and one that is none. */
const KINDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
const NODEIDS = 12;

const f64 = (value: number): string => Buffer.from(Float64Array.of(value).buffer).toString("latin1");
/** Fields of a record. */
const fields = (...values: readonly (number | string)[]): string =>
  values.map((value) => (typeof value === "number" ? f64(value) : f64(value.length) + value.padEnd(Math.ceil(value.length / 8) * 8, "\0"))).join("");

export const journalTarget: Target = {
  name: "journal",
  words: [
    ...[0, 1, 2, 3, 4, -1, 0.5, NaN, Infinity, 1e300, 2 ** 53].map(f64), "file", "dir", "..", "a/b",
    ...Array.from({ length: 11 }, (_, kind) => `\x10\0\0\0${String.fromCharCode(kind)}\0\0\0`),
    fields("make", 1, "file"), fields("remove", 1, "gone", 3, 0), fields("setXattr", 2, "user.k", 1), fields("rename", 1, "file", 3, 0, 2, "sub", 1, 4, 5),
    fields(0o100000, 5, -1, 1, "/dir/file", 0), fields(0o100000, 5, 9, 0, "", 0),
  ],
  maxBytes: 8192,
  // What looks like a record, wherever it has moved to, in a group with a checksum. One that is refused hides all of the others: few of these.
  mend(input) {
    const groups: Buffer[] = [];
    for (let at = BODY; at + 16 <= input.length; ) {
      const size = input.readUInt32LE(at);
      if (size < 16 || size % 8 !== 0 || at + size > input.length || !KINDS.includes(input.readUInt32LE(at + 4))) {
        at++;
        continue;
      }
      const group = new Uint8Array(8 + size);
      group.set(input.subarray(at, at + size), 8);
      const words = new Int32Array(group.buffer);
      words[0] = group.length;
      words[1] = checksumOf(words, 0, group.length);
      if ((words[1] & 31) === 0 || isRead(group)) groups.push(Buffer.from(group));
      at += size;
    }
    return groups.length === 0 ? input : Buffer.concat([input.subarray(0, BODY), ...groups]);
  },
  async run(input) {
    const place = (opened ??= makePlace());
    try {
      await takeOver(place, input);
    } finally {
      native.fallocate(place.fd, PUNCH_HOLE, 0, head.memory);
    }
  },
  async samples() {
    const place = (opened ??= makePlace());
    const samples: Record<string, Uint8Array> = {};
    const record = (name: string, unique: number, ...messages: readonly Buffer[]): void => {
      const journal = fresh(place);
      const { tree, session, channel } = served(place, journal);
      session.start();
      for (const one of [init, ...messages]) channel.deliver(one);
      const log = Buffer.from(new Uint8Array(place.memory, head.log[0], new Float64Array(place.memory)[head.tail >> 3]!));
      samples[name] = Buffer.concat([Buffer.from([0]), u32(unique), log]);
      tree.close();
      native.fallocate(place.fd, PUNCH_HOLE, 0, head.memory);
    };
    const lookups = [message(abi.FUSE_LOOKUP, 4, 1, str("dir")), message(abi.FUSE_LOOKUP, 6, 2, str("file")), message(abi.FUSE_LOOKUP, 8, 1, str("made"))];
    record("lookups", 6, ...lookups, message(abi.FUSE_FORGET, 10, 3, u64(1)));
    record("created", 14, ...lookups, message(abi.FUSE_MKNOD, 12, 1, u32(0o100644), u32(0), u32(0o22), u32(0), str("fresh")), message(abi.FUSE_SETXATTR, 14, 4, u32(5), u32(1), u32(0), u32(0), str("user.k"), Buffer.from("value")));
    record("moved", 18, ...lookups, message(abi.FUSE_RENAME, 16, 1, u64(1), str("made"), str("moved")), message(abi.FUSE_RENAME2, 18, 1, u64(1), u32(2), u32(0), str("moved"), str("empty")));
    record("removed", 22, ...lookups, message(abi.FUSE_UNLINK, 20, 2, str("file")), message(abi.FUSE_UNLINK, 22, 1, str("moved")), message(abi.FUSE_RMDIR, 24, 1, str("empty")));
    return samples;
  },
};

interface Place {
  readonly fd: number;
  readonly memory: ArrayBuffer;
  readonly top: string;
}
let opened: Place | undefined;
let policy: Policy | undefined;
const init = message(abi.FUSE_INIT, 2, 0, u32(7), u32(45), u32(131072), u32(0xffffffff), u32(0xffffffff), Buffer.alloc(44));

/** One memory for all inputs: a mapping lasts as long as the process. */
function makePlace(): Place {
  const top = scratchFolder();
  for (const dir of ["lower/dir", "upper", "work"]) mkdirSync(join(top, dir), { recursive: true });
  writeFileSync(join(top, "lower/dir/file"), "lower");
  writeFileSync(join(top, "outside"), "outside");
  const fd = native.memfd("stratafs-fuzz", head.memory);
  return { fd, memory: native.mapShared(fd, head.memory) as ArrayBuffer, top };
}

/** A journal that says nothing, in a memory of zeros, and an upper as it was at first. */
function fresh({ fd, memory, top }: Place): Journal {
  rmSync(join(top, "upper"), { recursive: true, force: true });
  mkdirSync(join(top, "upper/empty"), { recursive: true });
  writeFileSync(join(top, "upper/made"), "made");
  linkSync(join(top, "upper/made"), join(top, "upper/twin"));
  return Journal.make(memory, fd);
}

/** Whether a group is a log that is not refused. */
function isRead(group: Uint8Array): boolean {
  const { memory, fd } = (opened ??= makePlace());
  const journal = Journal.make(memory, fd);
  const bytes = Buffer.from(memory);
  bytes.set(group, head.log[0]);
  bytes.writeDoubleLE(group.length, head.tail);
  bytes.writeUInt32LE(0, head.half);
  try {
    remembered(Journal.in(memory, journal.fd));
    return true;
  } catch {
    return false;
  }
}

interface Served {
  readonly tree: Overlay;
  readonly recorder: MountRecorder;
  readonly session: Session;
  readonly channel: ScriptedChannel;
  /** What the server has said. */
  readonly said: string[];
}

function served({ top }: Place, journal: Journal): Served {
  const said: string[] = [];
  const log = (line: string): void => void said.push(line);
  const tree = overlay({ lowers: [directoryLayer(join(top, "lower"))], upper: directoryUpper(join(top, "upper"), { workdir: join(top, "work"), whole: true }) }, log);
  for (const call of ["lookup", "has", "unlink"] as const) {
    const original = Overlay.prototype[call] as (this: Overlay, dir: never, name: never) => never;
    tree[call] = (dir: unknown, name: string): never => {
      if (!isComponent(name)) said.push(`${call} of ${JSON.stringify(name)}`);
      return original.call(tree, dir as never, name as never);
    };
  }
  const recorder = new MountRecorder(journal, tree, (reason) => log(`gave up: ${reason.message}`));
  const channel = new ScriptedChannel();
  const session = new Session(new OnceTree(tree, recorder), channel, { dataMode: "cached", recorder, lasting: true, log, openFiles: 64 });
  recorder.watch(session.nodes);
  return { tree, recorder, session, channel, said };
}

async function takeOver(place: Place, input: Buffer): Promise<void> {
  const choices = input[0] ?? 0;
  const unique = input.length < BODY ? 0 : input.readUInt32LE(1);
  const log = input.subarray(BODY);
  policy ??= await agreed(place);
  fresh(place);
  const half = (choices & OTHER_HALF) === 0 ? 0 : 1;
  const memory = Buffer.from(place.memory);
  memory.writeUInt32LE(half, head.half);
  memory.writeDoubleLE(log.length & ~7, head.tail + 8 * half);
  log.copy(memory, head.log[half]);
  // A header of the input's own, after what says that it is one.
  if ((choices & BAD_HEAD) !== 0) log.copy(memory, head.half, 0, 120);
  if ((choices & FORGET_READ) !== 0) message(abi.FUSE_BATCH_FORGET, 2, 0, u32(2), u32(0), u64(2), u64(1), u64(3), u64(unique)).copy(memory, head.request);
  let journal: Journal;
  let state: ReturnType<typeof remembered>;
  try {
    journal = Journal.in(place.memory, place.fd);
    journal.begin(1);
    state = remembered(journal);
  } catch (error) {
    return refusedBy(error, FsError);
  }
  const { tree, recorder, session, channel, said } = served(place, journal);
  try {
    session.resume({ policy, ...restore(state, journal, tree, recorder, session, (line) => expectThat(line.includes("cannot be found again"), () => line)) });
    const sentAgain = message(abi.FUSE_LOOKUP, unique, 1, str("dir"));
    sentAgain.writeUInt32LE(abi.FUSE_UNIQUE_RESEND, 12);
    const asked = Array.from({ length: NODEIDS }, (_, i) => [
      message(abi.FUSE_GETATTR, 1e6 + 4 * i, i + 1, Buffer.alloc(16)), message(abi.FUSE_LOOKUP, 1e6 + 4 * i + 2, i + 1, str("file")),
    ]).flat();
    channel.answers.length = 0;
    for (const one of [sentAgain, ...asked]) channel.deliver(one);
    for (const one of asked) expectThat(channel.answers.filter((answer) => answer.unique === Number(one.readBigUInt64LE(8))).length === 1, () => "not one answer");
    remembered(Journal.in(place.memory, place.fd));
    expectThat(said.length === 0, () => said[0]!);
  } catch (error) {
    refusedBy(error, FsError);
  } finally {
    await session.stop();
    tree.close();
  }
}

/** What a kernel and a session agree on. */
async function agreed(place: Place): Promise<Policy> {
  const { tree, session, channel } = served(place, fresh(place));
  session.start();
  channel.deliver(init);
  const policy = await session.ready;
  await session.stop();
  tree.close();
  native.fallocate(place.fd, PUNCH_HOLE, 0, head.memory);
  return policy;
}
