/**
 * A disk that fails in the middle of an operation of the merged view. Every call that changes the disk or looks at it is counted; the operation is run again for each of
 * them, which fails once. Always true: the error is the disk's; what the mount goes on to show is what a new mount shows, the state before or after;
 * the same operation then works; and nothing is left in the work directory.
 */
import { expect } from "chai";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errnoOf, FsError, type ErrnoName } from "../../lib/base/errors.js";
import { directoryUpper, memoryLayer, openLayer, openUpper, Overlay } from "../../lib/index.js";
import { entry } from "../../lib/layer/tree-description.js";
import { native } from "../../lib/sys/binding.js";
import { at, n, now, overwrite, root, treeOf } from "../helpers/worlds.js";

const failing = [
  "mkdir", "mknod", "symlink", "link", "unlink", "rename", "chmod", "chown", "utimens", "setxattr", "removexattr", "ftruncate", "fallocate", "pwrite", "copyRange", "clone", "fdatasync", "fsync", "open",
  "statx", "getdents", "readlink", "getxattr", "listxattr", "pread", "lseek", "extents",
] as const;
const lower = { f: "lower bytes", g: "other", d: { x: "1", y: "2" }, linked: entry({ content: "linked" }), second: entry({ link: "/linked" }), empty: {} };

interface Operation {
  readonly title: string;
  /** Before the failure. */
  readonly prepare?: (fs: Overlay) => void;
  readonly run: (fs: Overlay) => unknown;
  /** Only where there are redirects and metadata-only copies. */
  readonly marks?: true;
}

const operations: readonly Operation[] = [
  { title: "chmod of a lower file", run: (fs) => now(fs.setAttr(at(fs, "f"), { mode: 0o600 }, root)) },
  { title: "chmod of a lower hard link", run: (fs) => now(fs.setAttr(at(fs, "second"), { mode: 0o600 }, root)) },
  { title: "an open for writing of a lower file", run: (fs) => now(fs.open(at(fs, "f"), 2)).close() },
  { title: "an open for writing of a file with metadata alone in the upper", prepare: (fs) => now(fs.setAttr(at(fs, "f"), { mode: 0o600 }, root)), run: (fs) => now(fs.open(at(fs, "f"), 2)).close(), marks: true },
  { title: "truncation of a lower file", run: (fs) => now(fs.setAttr(at(fs, "f"), { size: 5 }, root)) },
  { title: "setxattr on a lower directory", run: (fs) => now(fs.setXattr(at(fs, "d"), "user.k", Buffer.from("v"))) },
  { title: "create in a lower directory", run: (fs) => fs.create(at(fs, "d"), n("new"), { mode: 0o100644 }, root) },
  { title: "mkdir over a whiteout", prepare: (fs) => fs.unlink(fs.root, n("f")), run: (fs) => fs.create(fs.root, n("f"), { mode: 0o040755 }, root) },
  { title: "symlink", run: (fs) => fs.create(at(fs, "d"), n("new"), { mode: 0o120777, target: "to" }, root) },
  { title: "unlink of a lower file", run: (fs) => fs.unlink(at(fs, "d"), n("x")) },
  { title: "unlink of a file in both", prepare: (fs) => overwrite(fs, at(fs, "f"), "upper"), run: (fs) => fs.unlink(fs.root, n("f")) },
  { title: "unlink of a lower hard link", run: (fs) => fs.unlink(fs.root, n("linked")) },
  { title: "rmdir of an emptied lower directory", prepare: (fs) => ["x", "y"].forEach((name) => fs.unlink(at(fs, "d"), n(name))), run: (fs) => fs.rmdir(fs.root, n("d")) },
  { title: "link of a lower file", run: (fs) => now(fs.link(at(fs, "f"), at(fs, "d"), n("new"))) },
  { title: "rename of a lower file", run: (fs) => now(fs.rename(fs.root, n("f"), at(fs, "d"), n("new"), "replace")) },
  { title: "rename of a lower file over another", run: (fs) => now(fs.rename(fs.root, n("f"), at(fs, "d"), n("x"), "replace")) },
  { title: "exchange of a file and a directory", run: (fs) => now(fs.rename(fs.root, n("f"), fs.root, n("d"), "exchange")), marks: true },
  { title: "rename of a lower directory over an empty one", run: (fs) => now(fs.rename(fs.root, n("d"), fs.root, n("empty"), "replace")), marks: true },
];

/** Runs `act` while the call number `failAt` fails with `code`; the number of such calls. */
function failingOnce(failAt: number, code: ErrnoName, act: () => void): number {
  let calls = 0;
  const binding = native as unknown as Record<string, (...args: unknown[]) => number>;
  const originals = failing.map((call) => [call, binding[call]!] as const);
  for (const [call, original] of originals) {
    binding[call] = (...args) => {
      return ++calls === failAt ? -errnoOf(code) : original(...args);
    };
  }
  try {
    act();
  } finally {
    for (const [call, original] of originals) binding[call] = original;
  }
  return calls;
}

(process.geteuid?.() === 0 ? describe : describe.skip)("a disk that fails once (needs root: marks are trusted xattrs)", () => {
  let scratch: string;
  let worlds = 0;
  before(() => void (scratch = mkdtempSync(join(tmpdir(), "stratafs-failures-"))));
  after(() => rmSync(scratch, { recursive: true, force: true }));

  const world = (marks: boolean): { open: () => Overlay; work: string } => {
    const path = join(scratch, String(worlds++));
    for (const name of ["upper", "work"]) mkdirSync(join(path, name), { recursive: true });
    const upper = directoryUpper(join(path, "upper"), { workdir: join(path, "work"), blocking: true, redirect: marks, metacopy: marks });
    return { open: () => new Overlay(openUpper(upper), [openLayer(memoryLayer(lower))]), work: join(path, "work/work") };
  };
  /** Content and modes, as a text. */
  const shown = (fs: Overlay): string => {
    const modes = ["f", "d", "linked", "second", "d/x"].map((path) => {
      try {
        return fs.getAttr(at(fs, path)).mode;
      } catch {
        return 0;
      }
    });
    return JSON.stringify([treeOf(fs), modes]);
  };
  const shownAnew = (open: () => Overlay): string => {
    const fs = open();
    try {
      return shown(fs);
    } finally {
      fs.close();
    }
  };

  for (const marks of [true, false]) {
    for (const { title, prepare, run } of operations.filter((operation) => marks || operation.marks === undefined)) {
      it(`during ${title} (redirects and metadata-only copies ${marks ? "on" : "off"})`, () => {
        const good = world(marks);
        const first = good.open();
        prepare?.(first);
        const old = shown(first);
        const count = failingOnce(0, "EIO", () => run(first));
        const done = shown(first);
        first.close();
        expect(count).to.be.greaterThan(0);

        for (let failAt = 1; failAt <= count; failAt++) {
          const code = (["ENOSPC", "EDQUOT", "EIO", "ENOMEM"] as const)[failAt % 4]!;
          const { open, work } = world(marks);
          const fs = open();
          prepare?.(fs);
          let failed = false;
          failingOnce(failAt, code, () => {
            try {
              run(fs);
            } catch (error) {
              if (!(error instanceof FsError)) throw error;
              expect(error.code, `call ${failAt}`).to.equal(code);
              failed = true;
            }
          });
          const now = shown(fs);
          expect([old, done], `call ${failAt} failed with ${code}`).to.include(now);
          if (!failed) expect(now, `call ${failAt}, whose failure was made good`).to.equal(done);
          if (failed && now === old) {
            run(fs);
            expect(shown(fs), `after call ${failAt} failed once`).to.equal(done);
          }
          const last = shown(fs);
          fs.close();
          expect(readdirSync(work), `call ${failAt}`).to.deep.equal([]);
          expect(shownAnew(open), `a new mount after call ${failAt}`).to.equal(last);
        }
      });
    }
  }
});
