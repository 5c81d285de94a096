/**
 * What is on disk after a crash between any two steps of a call, and after a failure of any one step.
 * Every mutating system call of a scenario is counted; the scenario is then run again for each of them, which fails (alone, or
 * together with all that follow, as if the process had died there), and the directory is read by a fresh upper.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { expect } from "chai";
import { O_CREAT, S_IFDIR, S_IFREG } from "../../lib/base/mode.js";
import type { WhiteoutSpelling } from "../../lib/layer/dialect.js";
import { DirectoryUpper } from "../../lib/layer/directory-upper.js";
import { entry, whiteout } from "../../lib/layer/tree-description.js";
import type { TreeDescription } from "../../lib/layer/tree-description.js";
import { native } from "../../lib/sys/binding.js";
import { describeAsRoot, n, nodeAt, temporaryFolder, treeOf, writeTree } from "./disk-world.js";
import type { Shown } from "./disk-world.js";

const root = { uid: 7, gid: 8, pid: 1, umask: 0o022 };
const plain = { exchange: false, leaveWhiteout: false, overWhiteout: false };
const leave = { ...plain, leaveWhiteout: true };
const over = { overWhiteout: true, hidesLower: true };
const lower: Tree = { f: "lower", d: { x: "lower" }, g: "lower", e: { y: "lower" } };
const EIO = -5;
const mutating = ["mkdir", "mknod", "symlink", "link", "unlink", "rename", "chmod", "chown", "utimens", "setxattr", "removexattr", "ftruncate", "pwrite"] as const;

type Tree = { [name: string]: Shown };
interface Scenario {
  readonly title: string;
  readonly upper: TreeDescription;
  readonly act: (upper: DirectoryUpper) => void | Promise<void>;
  /** States besides the old and the new one, as the README's table of steps has them; only where a step-by-step rename is needed. */
  readonly between?: readonly Tree[];
}

const scenarios: readonly Scenario[] = [
  { title: "unlink", upper: { f: "upper" }, act: (u) => u.remove(u.root, n("f"), true) },
  { title: "rmdir", upper: { d: { x: whiteout } }, act: (u) => u.remove(u.root, n("d"), true) },
  { title: "rmdir of an opaque directory", upper: { d: entry({ entries: {}, opaque: true }) }, act: (u) => u.remove(u.root, n("d"), true) },
  { title: "whiteout", upper: {}, act: (u) => u.whiteout(u.root, n("f")) },
  { title: "create over a whiteout", upper: { f: whiteout }, act: (u) => void u.create(u.root, n("f"), { mode: S_IFREG | 0o4755 }, root, over) },
  { title: "mkdir over a whiteout", upper: { d: whiteout }, act: (u) => void u.create(u.root, n("d"), { mode: S_IFDIR | 0o755 }, root, over) },
  { title: "mkdir of an opaque directory", upper: {}, act: (u) => void u.create(u.root, n("d"), { mode: S_IFDIR | 0o755 }, root, { overWhiteout: false, hidesLower: true }) },
  { title: "link over a whiteout", upper: { a: "upper", f: whiteout }, act: (u) => u.link(nodeAt(u, "a"), u.root, n("f"), over) },
  {
    title: "rename of a file", upper: { f: "upper" }, act: (u) => u.rename(u.root, n("f"), u.root, n("new"), leave),
    between: [{ ...lower, f: "upper", new: "upper" }],
  },
  {
    title: "rename of a file over another", upper: { f: "upper", g: "other" }, act: (u) => u.rename(u.root, n("f"), u.root, n("g"), leave),
    between: [{ ...lower, f: "upper", g: "upper" }],
  },
  { title: "rename of a file over a whiteout", upper: { f: "upper", g: whiteout }, act: (u) => u.rename(u.root, n("f"), u.root, n("g"), { ...leave, overWhiteout: true }) },
  { title: "rename of a directory", upper: { d: entry({ entries: { z: "upper" }, opaque: true }) }, act: (u) => u.rename(u.root, n("d"), u.root, n("new"), leave) },
  {
    title: "rename of a directory over one with whiteouts",
    upper: { d: entry({ entries: { z: "upper" }, opaque: true }), e: { y: whiteout } },
    act: (u) => u.rename(u.root, n("d"), u.root, n("e"), leave),
    between: [{ f: "lower", g: "lower", d: { z: "upper" } }],
  },
  {
    title: "rename of a directory over a whiteout", upper: { d: entry({ entries: { z: "upper" }, opaque: true }), e: whiteout },
    act: (u) => u.rename(u.root, n("d"), u.root, n("e"), { ...leave, overWhiteout: true }),
  },
  { title: "setOpaque over whiteouts", upper: { d: { x: whiteout } }, act: (u) => u.setOpaque(nodeAt(u, "d")) },
  {
    title: "copy-up", upper: { e: {} },
    act: (u) => {
      const staged = u.stage({ ...u.attr(u.root), mode: S_IFREG | 0o4755, size: 5 });
      try {
        void staged.copyFrom({ fd: -1, read: (into) => into.fill(120).length, seek: (at, whence) => (whence === 3 ? at : 5), close: () => undefined }, 5);
        staged.setOrigin(5);
        staged.publish(nodeAt(u, "e"), n("y"));
      } catch (error) {
        staged.discard();
        throw error;
      }
    },
  },
];

/** What the upper over the lower would show; redirects aside. */
function merged(below: Tree, upper: Tree): Tree {
  const result: Tree = "(opaque)" in upper ? {} : { ...below };
  for (const [name, shown] of Object.entries(upper)) {
    const under = result[name];
    if (name === "(opaque)") continue;
    if (shown === "(whiteout)") delete result[name];
    else if (typeof shown === "string") result[name] = shown;
    else result[name] = merged(typeof under === "object" ? under : {}, shown);
  }
  return result;
}

/** Runs `act` while the mutating call number `failAt` fails (and all after it, when `forever`); the number of calls made. */
function withFailure(failAt: number, forever: boolean, act: () => void): number {
  let calls = 0;
  const originals = [...mutating, "open" as const].map((call) => [call, native[call]] as const);
  const binding = native as unknown as Record<string, (...args: unknown[]) => number>;
  for (const [call, original] of originals) {
    binding[call] = (...args) => {
      if (call === "open" && (Number(args[2]) & O_CREAT) === 0) return (original as (...all: unknown[]) => number)(...args);
      calls++;
      if (calls === failAt || (forever && calls > failAt)) return EIO;
      return (original as (...all: unknown[]) => number)(...args);
    };
  }
  try {
    act();
  } finally {
    for (const [call, original] of originals) binding[call] = original as (...args: unknown[]) => number;
  }
  return calls;
}

for (const spelling of ["device", "xattr", "dotwh"] as const satisfies readonly WhiteoutSpelling[]) {
  describeAsRoot(`a crash of an upper with ${spelling} whiteouts (needs root: trusted xattrs)`, () => {
    let folder: string;
    let worlds = 0;
    const world = (tree: TreeDescription): { path: string; open: () => DirectoryUpper } => {
      const path = `${folder}/${worlds++}`;
      mkdirSync(`${path}/upper`, { recursive: true });
      mkdirSync(`${path}/workdir`);
      writeTree(`${path}/upper`, tree, spelling);
      return { path, open: () => DirectoryUpper.open(`${path}/upper`, { workdir: `${path}/workdir`, whiteouts: spelling, volatile: false }) };
    };
    const shown = (open: () => DirectoryUpper): Tree => {
      const upper = open();
      try {
        return merged(lower, treeOf(upper));
      } finally {
        upper.close();
      }
    };
    before(() => {
      folder = temporaryFolder();
    });
    after(() => {
      execFileSync("rm", ["-rf", folder]);
    });

    for (const { title, upper: tree, act, between = [] } of scenarios) {
      it(`during ${title} leaves the old state or the new`, () => {
        const old = shown(world(tree).open);
        const good = world(tree);
        const first = good.open();
        let calls = 0;
        calls = withFailure(0, false, () => void act(first));
        first.close();
        const done = shown(good.open);
        expect(calls).to.be.greaterThan(0);
        const allowed = [old, done, ...between].map((state) => JSON.stringify(sorted(state)));
        for (let failAt = 1; failAt <= calls; failAt++) {
          for (const forever of [false, true]) {
            const place = `call ${failAt} of ${calls}${forever ? " and all that follow" : ""}`;
            const { open } = world(tree);
            const upper = open();
            let threw = false;
            withFailure(failAt, forever, () => {
              try {
                void act(upper);
              } catch {
                threw = true;
              }
              if (forever) upper.close();
            });
            upper.close();
            const state = JSON.stringify(sorted(shown(open)));
            expect(allowed, place).to.include(state);
            if (!forever) expect(state, `${place}, ${threw ? "a call that throws leaves no trace" : "a call that returns has happened"}`).to.equal(allowed[threw ? 0 : 1]);
          }
        }
      });
    }
  });
}

function sorted(tree: Tree): Tree {
  return Object.fromEntries(Object.entries(tree).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, shown]) => [name, typeof shown === "string" ? shown : sorted(shown)]));
}

describeAsRoot("the spare whiteout (needs root: trusted xattrs)", () => {
  for (const [code, errno] of [["EMLINK", -31], ["EPERM", -1]] as const) {
    it(`is replaced or done without when a link says ${code}`, () => {
      const folder = temporaryFolder();
      mkdirSync(`${folder}/upper`);
      const upper = DirectoryUpper.open(`${folder}/upper`);
      const original = native.link;
      let refused = 0;
      try {
        native.link = (...args) => (refused++ === 0 ? errno : original(...args));
        for (const name of ["a", "b"]) upper.whiteout(upper.root, n(name));
      } finally {
        native.link = original;
      }
      expect(treeOf(upper)).to.deep.equal({ a: "(whiteout)", b: "(whiteout)" });
      upper.close();
      execFileSync("rm", ["-rf", folder]);
    });
  }
});
