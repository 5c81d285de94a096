/** Changes of names that are announced, and objects without names, as records of the journal have them: each is written and read here. */
import { FsError } from "../base/errors.js";
import { isComponent } from "../base/name.js";
import type { Nameless } from "../vfs.js";
import type { Journal, RecordReader } from "./journal.js";

/** What is about to be done to names, in numbers of known objects; 0 for one that is not known. `lost` is what finds an object that loses its last name. */
export type Intent =
  | { readonly op: "make"; readonly dir: number; readonly name: string }
  | { readonly op: "remove"; readonly dir: number; readonly name: string; readonly node: number; readonly lost: Nameless | undefined }
  | {
    readonly op: "rename"; readonly dir: number; readonly name: string; readonly toDir: number; readonly toName: string; readonly exchange: boolean;
    readonly node: number; readonly target: number; readonly targetIdentity: number; readonly lost: Nameless | undefined;
  }
  | { readonly op: "setXattr"; readonly node: number; readonly key: string; readonly removes: boolean };

export const ROOT = 1;

export function writeIntent(journal: Journal, intent: Intent): void {
  journal.text(intent.op);
  if (intent.op === "setXattr") {
    journal.number(intent.node);
    journal.text(intent.key);
    journal.number(Number(intent.removes));
    return;
  }
  journal.number(intent.dir);
  journal.text(intent.name);
  if (intent.op === "make") return;
  journal.number(intent.node);
  journal.number(Number(intent.lost !== undefined));
  if (intent.lost !== undefined) writeNameless(journal, intent.lost);
  if (intent.op === "remove") return;
  journal.number(intent.toDir);
  journal.text(intent.toName);
  journal.number(Number(intent.exchange));
  journal.number(intent.target);
  journal.number(intent.targetIdentity);
}

/** Throws EIO for what nobody writes. */
export function readIntent(record: RecordReader): Intent {
  const op = record.text();
  if (op === "setXattr") return { op, node: record.whole(ROOT), key: record.text(), removes: flagIn(record) };
  if (op !== "make" && op !== "remove" && op !== "rename") return malformed("an intent");
  const dir = record.whole(ROOT);
  const name = componentIn(record);
  if (op === "make") return { op, dir, name };
  const node = record.whole();
  const lost = flagIn(record) ? readNameless(record) : undefined;
  if (op === "remove") return { op, dir, name, node, lost };
  return { op, dir, name, node, lost, toDir: record.whole(ROOT), toName: componentIn(record), exchange: flagIn(record), target: record.whole(), targetIdentity: record.whole() };
}

export function writeNameless(journal: Journal, { type, ino, fd, layer, path, metacopy }: Nameless): void {
  journal.number(type);
  journal.number(ino);
  journal.number(fd);
  journal.number(layer);
  journal.text(path);
  journal.number(Number(metacopy));
}

/** Throws EIO. */
export function readNameless(record: RecordReader): Nameless {
  return { type: record.whole(), ino: record.whole(), fd: record.whole(-1), layer: record.whole(), path: record.text(), metacopy: flagIn(record) };
}

/** A text that can be a name in a directory. Throws EIO. */
export function componentIn(record: RecordReader): string {
  const name = record.text();
  return isComponent(name) ? name : malformed("a name");
}

function flagIn(record: RecordReader): boolean {
  const value = record.whole();
  return value > 1 ? malformed("a flag") : value === 1;
}

export function malformed(what: string): never {
  throw new FsError("EIO", "journal", `holds ${what} that nobody writes`);
}
