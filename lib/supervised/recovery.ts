/**
 * From the journal of the process before to a session that goes on. The layers are open again and nothing has been served yet.
 * Order: the log is read; changes of names that were announced are looked for on disk; every object that the kernel knows is found again,
 * by its names or by what stands for them; the entries are entered; what was only on the way to them is let go.
 * An object that cannot be found (somebody else has changed a layer) is left out: its users get ESTALE.
 */
import type { Channel } from "../fuse/channel.js";
import type { NodeEntry } from "../fuse/nodes.js";
import type { Resumption } from "../fuse/recorder.js";
import type { Session } from "../fuse/session.js";
import { MESSAGE_SIZE, OUT_HEADER } from "../fuse/wire/abi.js";
import type { LastingFileSystem, Name, Nameless } from "../vfs.js";
import { ANSWER, COUNTERS, ENTRY, FORGOTTEN, GONE, INTENT, type Journal, NODE, NOTE, PERFORMED, type RecordReader } from "./journal.js";
import { FLAG, type MountRecorder, uniqueOf } from "./recorder.js";
import { componentIn, type Intent, malformed, readIntent, readNameless, ROOT } from "./words.js";

interface EntryRecord {
  readonly nodeid: number;
  readonly node: number;
  readonly lookups: number;
  readonly opens: number;
  readonly flags: number;
  readonly backing: { readonly id: number; readonly ino: number; readonly inoHigh: number; readonly dev: number } | undefined;
}

interface NodeRecord {
  readonly ino: number;
  names: readonly { readonly dir: number; readonly name: string }[];
  nameless: Nameless | undefined;
}

/** What the log says when it is read to its end. */
interface Remembered {
  readonly entries: Map<number, EntryRecord>;
  readonly nodes: Map<number, NodeRecord>;
  readonly notes: string[];
  /** Announced and not answered, by unique. */
  readonly intents: Map<string, Intent>;
  /** Known to be made, and not answered. */
  readonly performed: Set<string>;
  answer: { readonly unique: string; readonly bytes: Buffer; readonly stale: readonly number[] } | undefined;
  /** Number of the read whose request without answer was performed last. */
  forgotten: number;
  nextNodeid: number;
  nextId: number;
}

/**
 * What the log says. It has the descriptors that objects without names are found by: the layers are to be opened with them still open.
 * Throws EIO for a damaged log.
 */
export function remembered(journal: Journal): Remembered {
  const state: Remembered = {
    entries: new Map(), nodes: new Map(), notes: [], intents: new Map(), performed: new Set(), answer: undefined, forgotten: -1, nextNodeid: 2, nextId: ROOT + 1,
  };
  journal.replay((record) => readRecord(state, record));
  return state;
}

/** Throws EIO for a record that is not what a recorder writes. */
function readRecord(state: Remembered, record: RecordReader): void {
  switch (record.kind) {
    case ENTRY: {
      const nodeid = record.whole(ROOT);
      const [node, lookups, opens, flags, id] = [record.whole(ROOT), record.whole(), record.whole(), record.whole(), record.whole()];
      const backing = id === 0 ? undefined : { id, ino: record.whole(), inoHigh: record.whole(), dev: record.whole() };
      state.entries.set(nodeid, { nodeid, node, lookups, opens, flags, backing });
      state.nextNodeid = Math.max(state.nextNodeid, nodeid + 1);
      return;
    }
    case GONE:
      state.entries.delete(record.whole());
      return;
    case NODE: {
      const id = record.whole(ROOT);
      const ino = record.whole();
      const names = Array.from({ length: record.count() }, () => ({ dir: record.whole(ROOT), name: componentIn(record) }));
      const nameless = names.length > 0 ? undefined : readNameless(record);
      state.nodes.set(id, { ino, names, nameless });
      state.nextId = Math.max(state.nextId, id + 1);
      return;
    }
    case ANSWER: {
      const bytes = record.bytes();
      if (bytes.length < OUT_HEADER.SIZE || bytes.readUInt32LE(OUT_HEADER.len) !== bytes.length || bytes.length > MESSAGE_SIZE) malformed("an answer");
      const unique = uniqueOf(bytes);
      state.answer = { unique, bytes, stale: Array.from({ length: record.count() }, () => record.whole()) };
      state.intents.delete(unique);
      state.performed.delete(unique);
      return;
    }
    case INTENT:
      state.intents.set(record.text(), readIntent(record));
      return;
    case PERFORMED:
      state.performed.add(record.text());
      return;
    case NOTE:
      state.notes.push(record.text());
      return;
    case FORGOTTEN:
      state.forgotten = record.whole(-1);
      return;
    case COUNTERS:
      state.nextNodeid = Math.max(state.nextNodeid, record.whole());
      state.nextId = Math.max(state.nextId, record.whole());
      return;
    default:
      malformed(`a record of kind ${record.kind}`);
  }
}

/** Puts `session`, which has not started, in the state of the one before it. */
export function restore(
  state: Remembered, journal: Journal, tree: LastingFileSystem, recorder: MountRecorder, session: Session, log: (line: string) => void,
): Omit<Resumption, "policy"> {
  for (const note of state.notes) {
    tree.recall(note);
    recorder.restoredNote(note);
  }
  const finder = new Finder(state, journal, tree);
  for (const unique of state.performed) recorder.performed.add(unique);
  for (const [unique, intent] of state.intents) if (finder.carriedOut(intent)) recorder.performed.add(unique);
  recorder.nextId = state.nextId;
  session.nodes.reserve(state.nextNodeid);
  const held = new Set<object>([tree.root]);
  for (const record of state.entries.values()) {
    const node = finder.find(record.node);
    if (node === undefined) {
      if (!finder.isClosed(record.node)) log(`nodeid ${record.nodeid} cannot be found again: somebody else has changed a layer`);
      continue;
    }
    held.add(node);
    enter(session, node, record);
  }
  finder.tell(recorder);
  for (const entry of session.nodes.entries()) recorder.restoredEntry(entry);
  finder.letGo(held);
  const stale = (state.answer?.stale ?? []).map((nodeid) => entryOf(session, nodeid)).filter((entry) => entry !== undefined);
  recorder.restored(state.answer?.bytes, stale, state.forgotten);
  const length = journal.request.readUInt32LE(0);
  return {
    stale,
    unread: length >= OUT_HEADER.SIZE && length <= MESSAGE_SIZE && state.forgotten !== journal.reads ? { bytes: journal.request, length } : undefined,
  };
}

function enter(session: Session, node: object, record: EntryRecord): void {
  const { nodeid, lookups, opens, flags, backing } = record;
  const entry = session.nodes.restore(nodeid, node, lookups, (flags & FLAG.detached) !== 0);
  entry.opens = opens;
  entry.wasPassthrough = (flags & FLAG.wasPassthrough) !== 0;
  entry.mappedUnseen = (flags & FLAG.mappedUnseen) !== 0;
  entry.ioMode = (flags & FLAG.cached) !== 0 ? "cached" : (flags & FLAG.passthrough) !== 0 ? "passthrough" : "closed";
  entry.backing = backing;
  session.backings.restore(entry);
}

function entryOf(session: Session, nodeid: number): NodeEntry | undefined {
  try {
    return session.nodes.get(nodeid);
  } catch {
    return undefined; // it was forgotten
  }
}

/** A backing id given to a process that died before it could write it down; the file would stay open to the end of the mount. */
export function closeStrayBacking(journal: Journal, channel: Channel): void {
  const last = journal.backing;
  const probe = channel.backingOpen(journal.fd);
  if (probe <= 0) return;
  channel.backingClose(probe);
  // Ids go up; the one before is the one that was given last.
  if (probe - 1 > last) channel.backingClose(probe - 1);
  journal.backing = probe;
}

/** Finds objects by the numbers that they have in the journal. */
class Finder {
  readonly #state: Remembered;
  readonly #journal: Journal;
  readonly #tree: LastingFileSystem;
  /** In the order found: directories before what is in them. */
  readonly #found = new Map<number, object | undefined>();

  constructor(state: Remembered, journal: Journal, tree: LastingFileSystem) {
    this.#state = state;
    this.#journal = journal;
    this.#tree = tree;
    this.#found.set(ROOT, tree.root);
  }

  /** The object, found under all of its names; without recursion, for a tree may be deeper than the stack. */
  find(id: number): object | undefined {
    const pending = [id];
    for (let next = pending.at(-1); next !== undefined; next = pending.at(-1)) {
      const record = this.#state.nodes.get(next);
      const missing = this.#found.has(next) ? [] : (record?.names ?? []).map(({ dir }) => dir).filter((dir) => !this.#found.has(dir) && !pending.includes(dir));
      if (missing.length > 0) {
        pending.push(...missing);
        continue;
      }
      if (!this.#found.has(next)) this.#found.set(next, record === undefined ? undefined : this.#look(record));
      pending.pop();
    }
    return this.#found.get(id);
  }

  #look(record: NodeRecord): object | undefined {
    const node = record.nameless === undefined ? this.#byNames(record) : this.#adopt(record.nameless);
    if (node !== undefined) this.#tree.renumber(node, record.ino);
    return node;
  }

  #byNames(record: NodeRecord): object | undefined {
    let node: object | undefined;
    for (const { dir, name } of record.names) {
      const parent = this.#found.get(dir);
      if (parent === undefined) continue;
      const found = quietly(() => this.#tree.lookup(parent, name as Name));
      node ??= found;
    }
    return node;
  }

  /** A descriptor that was not inherited was closed with its node; here its number may be anything's. */
  #adopt(nameless: Nameless): object | undefined {
    if (nameless.fd >= 0 && !this.#journal.isKept(nameless.fd)) return undefined;
    return quietly(() => this.#tree.adopt(nameless));
  }

  /** Whether it was being forgotten when the process ended: its descriptor was closed, and that is all there was of it. */
  isClosed(id: number): boolean {
    const fd = this.#state.nodes.get(id)?.nameless?.fd ?? -1;
    return fd >= 0 && !this.#journal.isKept(fd);
  }

  /** Has the recorder know what was found. */
  tell(recorder: MountRecorder): void {
    for (const [id, node] of this.#found) {
      if (id === ROOT || node === undefined) continue;
      const record = this.#state.nodes.get(id)!;
      const dirs = record.names.map(({ dir }) => this.#found.get(dir)).filter((dir) => dir !== undefined);
      recorder.restore(id, node, dirs, record.nameless);
    }
  }

  /** Lets go of everything that was found and is not in `held`, what is in directories before these. */
  letGo(held: ReadonlySet<object>): void {
    for (const node of [...this.#found.values()].reverse()) if (node !== undefined && !held.has(node)) this.#tree.forget(node);
  }

  /** Whether a change that was announced is on disk. If so, the names in the records are made to say so. */
  carriedOut(intent: Intent): boolean {
    const tree = this.#tree;
    if (intent.op === "setXattr") {
      const node = this.find(intent.node);
      return node !== undefined && (tree.getXattr(node, intent.key) === undefined) === intent.removes;
    }
    const dir = this.find(intent.dir);
    if (dir === undefined) return false;
    const there = tree.has(dir, intent.name as Name);
    if (intent.op === "make") return there;
    if (intent.op === "remove") {
      if (there) return false;
      this.#unname(intent.node, intent.dir, intent.name, intent.lost);
      return true;
    }
    const toDir = this.find(intent.toDir);
    if (toDir === undefined || !this.#hasMoved(intent, dir, toDir, there)) return false;
    if (intent.exchange) this.#move(intent.target, intent.toDir, intent.toName, intent.dir, intent.name);
    else this.#unname(intent.target, intent.toDir, intent.toName, intent.lost);
    this.#move(intent.node, intent.dir, intent.name, intent.toDir, intent.toName);
    return true;
  }

  #hasMoved(intent: Intent & { op: "rename" }, dir: object, toDir: object, there: boolean): boolean {
    const tree = this.#tree;
    const from = intent.name as Name;
    const to = intent.toName as Name;
    if (!there || !tree.has(toDir, to)) return !there;
    // Both names stand: an exchange before or after, or a rename in steps between the second and the third (layer/README.md).
    const first = tree.lookup(dir, from)!;
    const second = tree.lookup(toDir, to)!;
    const exchanged = intent.exchange && tree.identity(first) === intent.targetIdentity;
    const half = !intent.exchange && first === second;
    if (half) tree.unlink(dir, from);
    for (const node of [first, second]) if (![...this.#found.values()].includes(node)) tree.forget(node);
    return exchanged || half;
  }

  #unname(id: number, dir: number, name: string, lost: Nameless | undefined): void {
    const record = this.#state.nodes.get(id);
    if (record === undefined || !record.names.some((place) => place.dir === dir && place.name === name)) return;
    record.names = record.names.filter((place) => place.dir !== dir || place.name !== name);
    if (record.names.length === 0) record.nameless = lost;
  }

  #move(id: number, dir: number, name: string, toDir: number, toName: string): void {
    const record = this.#state.nodes.get(id);
    if (record === undefined) return;
    const rest = record.names.filter((place) => (place.dir !== dir || place.name !== name) && (place.dir !== toDir || place.name !== toName));
    record.names = [...rest, { dir: toDir, name: toName }];
  }
}

/** Undefined also for what cannot be read. */
function quietly<T>(look: () => T | undefined): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}
