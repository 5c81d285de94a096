/**
 * A disk, or a kernel short of memory or descriptors, that fails once while the merged view is read. Every call that looks at a layer is counted; the whole
 * tree is read again for each of them, which fails once. Always true: whoever read is told the error or sees the tree as it is, never a part of it
 * as the whole; and what is read afterwards, from the same mount, is the tree as it is.
 */
import { expect } from "chai";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { errnoOf, FsError, type ErrnoName } from "../../lib/base/errors.js";
import { directoryLayer, directoryUpper, openLayer, openUpper, Overlay } from "../../lib/index.js";
import { native } from "../../lib/sys/binding.js";
import { at, n, now, overwrite, root, treeOf } from "../helpers/worlds.js";

const looking = ["open", "openat2", "statx", "getdents", "readlink", "getxattr", "listxattr", "pread", "nameToHandle", "statfs"] as const;
const codes: readonly ErrnoName[] = ["EIO", "ENOMEM", "EMFILE"];

(process.geteuid?.() === 0 ? describe : describe.skip)("layers of which a call fails once while they are read (needs root: marks are trusted xattrs)", () => {
  let scratch: string;
  before(() => {
    scratch = mkdtempSync(join(tmpdir(), "stratafs-reading-"));
    write("a", { "both/a": "a", "both/covered": "of a", "moved/inside": "inside", "sealed/.wh..wh..opq": "", "sealed/shown": "", "replaced/old": "old", "file": "metadata changed", "unlinked": "" });
    write("b", { "both/b": "b", "both/covered": "of b", "only/b/deep": "deep", "both/.wh.c": "", "sealed/below": "" });
    write("c", { "both/c": "hidden by b", "only/c": "c" });
    symlinkSync("both/a", join(scratch, "a/link"));
    for (const name of ["upper", "work"]) mkdirSync(join(scratch, name));
    const fs = stack();
    fs.unlink(fs.root, n("unlinked"));
    fs.create(at(fs, "both"), n("new"), { mode: 0o100644 }, root);
    overwrite(fs, at(fs, "both/new"), "new");
    now(fs.setAttr(at(fs, "file"), { mode: 0o600 }, root));
    now(fs.rename(fs.root, n("moved"), at(fs, "only"), n("here"), "replace"));
    fs.unlink(at(fs, "replaced"), n("old"));
    fs.rmdir(fs.root, n("replaced"));
    fs.create(fs.root, n("replaced"), { mode: 0o040755 }, root);
    fs.close();
  });
  after(() => rmSync(scratch, { recursive: true, force: true }));

  function write(layer: string, files: Readonly<Record<string, string>>): void {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(scratch, layer, path)), { recursive: true });
      writeFileSync(join(scratch, layer, path), text);
    }
    chmodSync(join(scratch, layer), 0o755);
  }
  const stack = (): Overlay => new Overlay(
    openUpper(directoryUpper(join(scratch, "upper"), { workdir: join(scratch, "work"), blocking: true, redirect: true, metacopy: true })),
    ["a", "b", "c"].map((name) => openLayer(directoryLayer(join(scratch, name)))),
  );
  const shown = (fs: Overlay): string => JSON.stringify([treeOf(fs), ["file", "link", "both", "only/here"].map((path) => fs.getAttr(at(fs, path)).mode), now(fs.getXattr(at(fs, "file"), "user.none") as never) ?? null]);

  /** Runs `act` while looking call number `failAt` fails; how many there were. */
  function failingOnce(failAt: number, code: ErrnoName, act: () => void): { calls: number; failed: string } {
    let calls = 0;
    let failed = "";
    const binding = native as unknown as Record<string, ((...args: unknown[]) => number) | undefined>;
    const originals = looking.flatMap((call) => (binding[call] === undefined ? [] : [[call, binding[call]] as const]));
    for (const [call, original] of originals) {
      binding[call] = (...args) => {
        if (++calls !== failAt) return original(...args);
        failed = call;
        return -errnoOf(code);
      };
    }
    try {
      act();
    } finally {
      for (const [call, original] of originals) binding[call] = original;
    }
    return { calls, failed };
  }

  for (const code of codes) {
    it(`says ${code}, or shows all`, () => {
      const good = stack();
      let expected = "";
      const { calls } = failingOnce(0, code, () => (expected = shown(good)));
      good.close();
      expect(calls).to.be.greaterThan(40);
      for (let failAt = 1; failAt <= calls; failAt++) {
        const fs = stack();
        let seen: string | undefined;
        const { failed } = failingOnce(failAt, code, () => {
          try {
            seen = shown(fs);
          } catch (error) {
            if (!(error instanceof FsError)) throw error;
            expect(error.code, `call ${failAt}`).to.equal(code);
          }
        });
        if (seen !== undefined) expect(seen, `call ${failAt}, ${failed}, failed and nobody was told`).to.equal(expected);
        expect(shown(fs), `after call ${failAt}, ${failed}, had failed`).to.equal(expected);
        fs.close();
      }
    });
  }
});
