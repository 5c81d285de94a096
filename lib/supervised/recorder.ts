/**
 * Keeps the journal of one session: which object each nodeid stands for, by its names, and what has been answered.
 * Always true: what the kernel has been told is in the journal before it is told; an object that is known has a number (its id here), and the
 * directories of its names are known too; an object without a name has in its place what finds it (Nameless).
 * Order: intend(), the change on disk, answering(), the answer. Between the first two lies one call, so at most what the last intents
 * say can have happened without being in the journal.
 */
import type { NodeEntry, NodeTable } from "../fuse/nodes.js";
import type { Recorder } from "../fuse/recorder.js";
import { FUSE_UNIQUE_RESEND, OUT_HEADER } from "../fuse/wire/abi.js";
import type { LastingFileSystem, Named, Nameless } from "../vfs.js";
import { ANSWER, COUNTERS, ENTRY, FORGOTTEN, GONE, INTENT, type Journal, NODE, NOTE, PERFORMED } from "./journal.js";
import { type Intent, ROOT, writeIntent, writeNameless } from "./words.js";

/** A known object of the tree. */
export interface Known {
  readonly id: number;
  readonly node: object;
  /** The directories of its names, as they were written last. */
  dirs: readonly Known[];
  /** Nodeids that stand for it, and names in it. */
  uses: number;
  /** While it has no name. */
  nameless: Nameless | undefined;
  /** A list of this one alone, as the `dirs` of what is in it and nowhere else. */
  alone: readonly Known[] | undefined;
}

const NOTHING: readonly Known[] = [];
/** Deaths in one request after which it is answered EIO instead. */
const STRIKES = 3;
/** Requests whose client went away are never sent again; their uniques need not be kept for ever. */
const KEPT_PERFORMED = 256;
const FLAG = { detached: 1, wasPassthrough: 2, mappedUnseen: 4, cached: 8, passthrough: 16 } as const;
export { FLAG };

export class MountRecorder implements Recorder {
  readonly journal: Journal;
  /** Uniques of requests whose change was made by the process before, without an answer. */
  readonly performed = new Set<string>();
  /** The last answer of the process before, which may not have been sent. */
  earlier: { readonly unique: string; readonly bytes: Uint8Array } | undefined;
  readonly #tree: LastingFileSystem;
  readonly #known = new Map<object, Known>();
  readonly #notes = new Map<string, string>();
  readonly #entries = new Set<NodeEntry>();
  readonly #renamed = new Set<object>();
  readonly #gaveUp: (reason: Error) => void;
  #nodes: NodeTable | undefined;
  #nextId = ROOT + 1;
  #uniqueLo = 0;
  #uniqueHi = 0;
  #broken = false;
  #fresh = true;

  /** `gaveUp` is told when the journal can no longer say everything: the mount must not be handed on then. */
  constructor(journal: Journal, tree: LastingFileSystem, gaveUp: (reason: Error) => void) {
    this.journal = journal;
    this.#tree = tree;
    this.#gaveUp = gaveUp;
    this.#known.set(tree.root, { id: ROOT, node: tree.root, dirs: NOTHING, uses: 1, nameless: undefined, alone: undefined });
    tree.takeNotes();
  }

  /** The table whose entries are journaled; before anything else. */
  watch(nodes: NodeTable): void {
    this.#nodes = nodes;
  }

  /** The request being performed. */
  get unique(): string {
    return `${this.#uniqueLo} ${this.#uniqueHi}`;
  }

  /** Whether the process before has made the change of the request that is being performed. */
  get isPerformed(): boolean {
    return this.performed.size > 0 && this.performed.has(this.unique);
  }

  begin(uniqueLo: number, uniqueHi: number, sentBefore: boolean): Uint8Array | undefined {
    const { journal } = this;
    this.#uniqueLo = uniqueLo;
    this.#uniqueHi = uniqueHi;
    journal.serving(uniqueLo, uniqueHi);
    if (!sentBefore) return undefined;
    if (this.earlier?.unique === this.unique) return this.earlier.bytes;
    const [lo, hi] = journal.dying;
    return journal.strikes >= STRIKES && lo === uniqueLo && hi === uniqueHi ? refusal(uniqueLo, uniqueHi) : undefined;
  }

  touched(entry: NodeEntry): void {
    this.#entries.add(entry);
  }

  /** The names of `node` have changed. */
  renamed(node: object): void {
    if (this.#known.has(node)) this.#renamed.add(node);
  }

  answering(bytes: Buffer, length: number, once: boolean, stale: readonly NodeEntry[]): void {
    if (this.#broken) return;
    if (this.#fresh) {
      this.#fresh = false;
      this.journal.succeeded();
    }
    if (!once && this.#entries.size === 0 && this.#renamed.size === 0) return;
    this.#attempt(() => {
      this.#changes();
      this.journal.record(ANSWER);
      this.journal.bytes(bytes, length);
      this.journal.number(stale.length);
      for (const { nodeid } of stale) this.journal.number(nodeid);
      this.journal.commit();
      if (this.journal.isLong) this.#rewrite(bytes, length, stale);
    });
  }

  ended(): void {
    if (!this.#broken && this.#entries.size > 0 && this.#nodes !== undefined) {
      this.#attempt(() => {
        this.#changes();
        this.journal.record(FORGOTTEN);
        this.journal.number(this.journal.reads);
        this.journal.commit();
        if (this.journal.isLong) this.#rewrite(undefined, 0, []);
      });
    }
    this.journal.serving(0, 0);
  }

  /** `unique` is about to change something in a way that must not be repeated. */
  intend(unique: string, intent: (numberOf: (node: object) => number) => Intent): void {
    if (this.#broken) return;
    this.#attempt(() => {
      const announced = intent((node) => this.#know(node).id);
      this.journal.record(INTENT);
      this.journal.text(unique);
      writeIntent(this.journal, announced);
      this.journal.commit();
    });
  }

  knows(node: object): boolean {
    return this.#known.has(node);
  }

  /** What finds `node` once its last name is gone. From here on the descriptor is kept, whatever happens. */
  hold(node: object, before?: Nameless): Nameless {
    const nameless = this.#tree.hold(node, before);
    if (nameless.fd >= 0) this.journal.keep(nameless.fd);
    return nameless;
  }

  /** `node` has no name, and may have been copied up since that was written down. */
  changedNameless(node: object): void {
    if (this.#known.get(node)?.nameless !== undefined) this.#renamed.add(node);
  }

  /** `node` has no name any more. */
  losing(node: object, nameless: Nameless): void {
    this.#know(node).nameless = nameless;
  }

  // ── taking over ──

  /** An object as the process before knew it; its directories first, one that was not found first is left out. */
  restore(id: number, node: object, dirs: readonly object[], nameless: Nameless | undefined): void {
    const known: Known = { id, node, dirs: dirs.map((dir) => this.#known.get(dir)).filter((dir) => dir !== undefined), uses: 0, nameless, alone: undefined };
    for (const dir of known.dirs) dir.uses++;
    this.#known.set(node, known);
  }

  restoredEntry(entry: NodeEntry): void {
    this.#known.get(entry.node)!.uses++;
    entry.recorded = true;
  }

  restoredNote(note: string): void {
    this.#note(note);
  }

  set nextId(id: number) {
    this.#nextId = Math.max(this.#nextId, id);
  }

  /** Everything is restored: the log says so from here on, in place of what the process before has left. */
  restored(answer: Buffer | undefined, stale: readonly NodeEntry[], forgotten: number): void {
    if (answer !== undefined) this.earlier = { unique: uniqueOf(answer), bytes: answer };
    this.#attempt(() => this.#rewrite(answer, answer?.length ?? 0, stale, forgotten));
  }

  // ── writing ──

  #attempt(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#broken = true;
      this.#gaveUp(error as Error);
    }
  }

  #changes(): void {
    const { journal } = this;
    for (const entry of this.#entries) {
      if (entry.lookups > 0) {
        const known = this.#know(entry.node);
        this.#entry(entry, known);
      } else {
        journal.record(GONE);
        journal.number(entry.nodeid);
        const known = this.#known.get(entry.node);
        if (known !== undefined && entry.recorded) this.#release(known);
        entry.recorded = false;
      }
    }
    this.#entries.clear();
    for (const node of this.#renamed) {
      const known = this.#known.get(node);
      if (known !== undefined) this.#names(known);
    }
    this.#renamed.clear();
    for (const note of this.#tree.takeNotes()) {
      this.#note(note);
      journal.record(NOTE);
      journal.text(note);
    }
  }

  #note(note: string): void {
    this.#notes.set(note.slice(0, note.indexOf("=")), note);
  }

  #entry(entry: NodeEntry, known: Known): void {
    const { journal } = this;
    if (!entry.recorded) {
      entry.recorded = true;
      known.uses++;
    }
    const { backing } = entry;
    journal.record(ENTRY);
    journal.number(entry.nodeid);
    journal.number(known.id);
    journal.number(entry.lookups);
    journal.number(entry.opens);
    journal.number(flagsOf(entry));
    journal.number(backing?.id ?? 0);
    if (backing === undefined) return;
    journal.number(backing.ino);
    journal.number(backing.inoHigh);
    journal.number(backing.dev);
  }

  /** Its number; written down with its names, and with the directories that they are in, when it had none. */
  #know(node: object): Known {
    const present = this.#known.get(node);
    if (present !== undefined) return present;
    const made: Known = { id: this.#nextId++, node, dirs: NOTHING, uses: 0, nameless: undefined, alone: undefined };
    this.#known.set(node, made);
    this.#names(made);
    return made;
  }

  #names(known: Known): void {
    if (known.id === ROOT) return;
    const { journal } = this;
    const names = this.#tree.namesOf(known.node);
    const dirs = this.#dirsOf(names);
    for (const dir of dirs) dir.uses++;
    for (const dir of known.dirs) this.#release(dir);
    known.dirs = dirs;
    if (names.length > 0 && known.nameless !== undefined) {
      if (known.nameless.fd >= 0) journal.drop(known.nameless.fd);
      known.nameless = undefined;
    } else if (names.length === 0) {
      known.nameless = this.hold(known.node, known.nameless);
    }
    journal.record(NODE);
    journal.number(known.id);
    journal.number(this.#tree.numberOf(known.node));
    journal.number(names.length);
    for (let i = 0; i < names.length; i++) {
      journal.number(dirs[i]!.id);
      journal.text(names[i]!.name);
    }
    if (known.nameless !== undefined) writeNameless(journal, known.nameless);
  }

  #dirsOf(names: readonly Named[]): readonly Known[] {
    if (names.length !== 1) return names.map(({ dir }) => this.#know(dir));
    const dir = this.#know(names[0]!.dir);
    return (dir.alone ??= [dir]);
  }

  /** One use less of a known object. Without any it is known no more, and then its directories are used less. */
  #release(start: Known): void {
    const pending = [start];
    for (let known = pending.pop(); known !== undefined; known = pending.pop()) {
      known.uses--;
      if (known.uses > 0 || known.id === ROOT) continue;
      this.#known.delete(known.node);
      if (known.nameless !== undefined && known.nameless.fd >= 0) this.journal.drop(known.nameless.fd);
      pending.push(...known.dirs);
    }
  }

  /** `forgotten`: the last read that is performed, if it was one without an answer. */
  #rewrite(answer: Buffer | undefined, length: number, stale: readonly NodeEntry[], forgotten = this.journal.reads): void {
    const { journal } = this;
    const nodes = this.#nodes!;
    journal.rewrite(() => {
      journal.record(COUNTERS);
      journal.number(nodes.next);
      journal.number(this.#nextId);
      journal.record(FORGOTTEN);
      journal.number(forgotten);
      for (const unique of [...this.performed].slice(-KEPT_PERFORMED)) {
        journal.record(PERFORMED);
        journal.text(unique);
      }
      for (const note of this.#notes.values()) {
        journal.record(NOTE);
        journal.text(note);
      }
      journal.commit();
      for (const known of [...this.#known.values()]) {
        this.#names(known);
        journal.commit();
      }
      for (const entry of nodes.entries()) {
        this.#entry(entry, this.#known.get(entry.node)!);
        journal.commit();
      }
      if (answer === undefined) return;
      journal.record(ANSWER);
      journal.bytes(answer, length);
      journal.number(stale.length);
      for (const { nodeid } of stale) journal.number(nodeid);
    });
  }
}

function flagsOf(entry: NodeEntry): number {
  return (entry.detached ? FLAG.detached : 0) | (entry.wasPassthrough ? FLAG.wasPassthrough : 0) | (entry.mappedUnseen ? FLAG.mappedUnseen : 0)
    | (entry.ioMode === "cached" ? FLAG.cached : entry.ioMode === "passthrough" ? FLAG.passthrough : 0);
}

/** Without the bit that says it was sent before. */
export function uniqueOf(answer: Buffer): string {
  return `${answer.readUInt32LE(OUT_HEADER.unique)} ${(answer.readUInt32LE(OUT_HEADER.unique + 4) & ~FUSE_UNIQUE_RESEND) >>> 0}`;
}

/** EIO, as fuse_out_header. */
function refusal(uniqueLo: number, uniqueHi: number): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32LE(16, 0);
  bytes.writeInt32LE(-5, 4);
  bytes.writeUInt32LE(uniqueLo, 8);
  bytes.writeUInt32LE(uniqueHi, 12);
  return bytes;
}
