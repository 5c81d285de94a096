/** The same random calls on node:fs in a directory and on a tree: same results, same error codes, same tree in the end. */
import { expect } from "chai";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nodeFs, type NodeFs } from "../../lib/node-fs/node-fs.js";
import { directoryLayer, directoryUpper, memoryUpper, openLayer, openUpper } from "../../lib/layer/description.js";
import { Overlay } from "../../lib/overlay/overlay.js";
import type { FileSystem } from "../../lib/vfs.js";
import { MemoryTree } from "./tree.js";

/** A small generator with 32 bits of state, so that a seed replays a run. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

type Call = (on: NodeFs, at: (path: string) => string) => unknown;

/** What a call came to, without what cannot be equal (times, inode and descriptor numbers, where the directory is). */
function outcome(run: () => unknown, base: string): unknown {
  try {
    return plain(run(), base);
  } catch (error) {
    const { code, syscall, path, dest, message } = error as NodeJS.ErrnoException & { dest?: string };
    if (code === undefined) throw error;
    const without = (text: string | undefined): string | undefined => text?.replaceAll(base, "");
    return { code, syscall, path: without(path), dest: without(dest), message: code.startsWith("ERR_") ? undefined : without(message) };
  }
}

function plain(value: unknown, base: string): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("latin1");
  if (typeof value === "string") return value.replace(base, "");
  if (Array.isArray(value)) return value.map((each) => plain(each, base));
  if (typeof value === "object" && value !== null && "isFile" in value) {
    const { mode, nlink, uid, gid, size } = value as fs.Stats;
    const entry = value as fs.Dirent;
    if ("parentPath" in entry) return { name: entry.name, parent: entry.parentPath.replace(base, ""), file: entry.isFile(), link: entry.isSymbolicLink(), directory: entry.isDirectory() };
    const directory = (value as fs.Stats).isDirectory();
    return { mode, uid, gid, nlink: directory ? 0 : nlink, size: directory ? 0 : size };
  }
  return value;
}

const names = ["a", "b", "c", "d", "e"];

function callsFrom(next: (below: number) => number): { text: string; call: Call } {
  const pick = <T>(of: readonly T[]): T => of[next(of.length)]!;
  const path = (): string => {
    const parts = Array.from({ length: 1 + next(3) }, () => pick(names));
    if (next(12) === 0) parts.splice(next(parts.length + 1), 0, pick([".", ".."]));
    return `1/2/3/w/${parts.join(next(20) === 0 ? "//" : "/")}${next(10) === 0 ? "/" : ""}`;
  };
  const one = path();
  const two = path();
  const mode = pick([0o777, 0o755, 0o640, 0o4755, 0o1777]);
  const text = "x".repeat(next(40));
  const flags = pick(["r", "r+", "w", "wx", "w+", "a", "ax", "a+"]);
  const target = pick([two, pick(names), "../a", "/proc/nowhere", `./${pick(names)}/`, "."]);
  const number = next(64);
  const all: Record<string, Call> = {
    mkdir: (on, at) => on.mkdirSync(at(one), { mode }),
    mkdirp: (on, at) => on.mkdirSync(at(one), { recursive: true }),
    rmdir: (on, at) => on.rmdirSync(at(one)),
    unlink: (on, at) => on.unlinkSync(at(one)),
    rm: (on, at) => on.rmSync(at(one)),
    rmForce: (on, at) => on.rmSync(at(one), { force: true }),
    rename: (on, at) => on.renameSync(at(one), at(two)),
    link: (on, at) => on.linkSync(at(one), at(two)),
    symlink: (on, at) => on.symlinkSync(target, at(one)),
    readlink: (on, at) => on.readlinkSync(at(one)),
    writeFile: (on, at) => on.writeFileSync(at(one), text, { mode, flag: flags === "r" ? "w" : flags }),
    appendFile: (on, at) => on.appendFileSync(at(one), text),
    readFile: (on, at) => on.readFileSync(at(one), { flag: flags.startsWith("w") ? "r" : flags }),
    readdir: (on, at) => on.readdirSync(at(one)),
    readdirTypes: (on, at) => on.readdirSync(at(one), { withFileTypes: true }),
    // With names alone Node follows links to directories, round and round; with types neither does, but ".." confuses Node.
    readdirDeep: (on, at) => on.readdirSync(on.realpathSync.native(at(one)), { recursive: true, withFileTypes: true }),
    stat: (on, at) => on.statSync(at(one)),
    lstat: (on, at) => on.lstatSync(at(one)),
    statMissing: (on, at) => on.statSync(at(one), { throwIfNoEntry: false }),
    chmod: (on, at) => on.chmodSync(at(one), mode),
    chown: (on, at) => on.chownSync(at(one), number, number + 1),
    lchown: (on, at) => on.lchownSync(at(one), number, 7),
    truncate: (on, at) => on.truncateSync(at(one), number),
    utimes: (on, at) => {
      on.utimesSync(at(one), number, number * 1000 + 0.5);
      return on.statSync(at(one)).mtimeMs;
    },
    lutimes: (on, at) => {
      on.lutimesSync(at(one), new Date(number), new Date(-1000 * number));
      return on.lstatSync(at(one)).mtimeMs;
    },
    access: (on, at) => on.accessSync(at(one), number & 7),
    exists: (on, at) => on.existsSync(at(one)),
    realpath: (on, at) => on.realpathSync.native(at(one)),
    copyFile: (on, at) => {
      // libuv deletes the target when the source turns out to be a directory; nodeFs does not.
      if (on.statSync(at(one)).isFile()) on.copyFileSync(at(one), at(two), number % 2);
    },
    descriptor: (on, at) => {
      const fd = on.openSync(at(one), flags, mode);
      try {
        const seen: unknown[] = [];
        const buffer = Buffer.alloc(16);
        for (let i = 0; i < 4; i++) {
          seen.push(outcome(() => on.writeSync(fd, text.slice(0, 9), i === 2 ? 5 : null), ""));
          seen.push(outcome(() => on.readSync(fd, buffer, 1, 12, i === 1 ? 3 : null), ""));
          seen.push(outcome(() => on.ftruncateSync(fd, number), ""));
          if (i === 1) seen.push(outcome(() => on.unlinkSync(at(one)), at("").slice(0, -1)));
          seen.push(outcome(() => on.fchmodSync(fd, mode), ""));
          seen.push(outcome(() => on.fstatSync(fd), ""));
        }
        return [...seen, buffer];
      } finally {
        on.closeSync(fd);
      }
    },
  };
  const kind = pick(Object.keys(all));
  return { text: `${kind} ${one} ${two} ${flags} ${mode.toString(8)} ${target} ${number}`, call: all[kind]! };
}

function treeOf(on: NodeFs, dir: string): unknown {
  return on.readdirSync(dir, { withFileTypes: true }).map((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return [entry.name, treeOf(on, path)];
    return [entry.name, entry.isSymbolicLink() ? on.readlinkSync(path) : on.readFileSync(path, "latin1"), on.lstatSync(path).nlink];
  });
}

interface World {
  readonly tree: FileSystem;
  /** After the run, when everything is closed. */
  check?(): void;
}

/** What nodeFs is put on; `lower` is a copy of what the real directory holds at the start. */
const worlds: Record<string, { readonly lower: boolean; make(lower: string, base: string): World }> = {
  "a tree in memory": {
    lower: false,
    make: () => {
      const tree = new MemoryTree();
      return { tree, check: () => expect(tree.openFiles).to.equal(0) };
    },
  },
  "an overlay that writes to memory": {
    lower: true,
    make: (lower) => ({ tree: new Overlay(openUpper(memoryUpper()), [openLayer(directoryLayer(lower))]) }),
  },
  "an overlay that writes to a directory": {
    lower: true,
    make: (lower, base) => {
      fs.mkdirSync(join(base, "upper"));
      fs.mkdirSync(join(base, "work"));
      return { tree: new Overlay(openUpper(directoryUpper(join(base, "upper"), { workdir: join(base, "work"), volatile: true })), [openLayer(directoryLayer(lower))]) };
    },
  },
};

describe("nodeFs beside node:fs", function () {
  this.timeout(20_000);
  const firstSeed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
  const runs = Number(process.env["RUNS"] ?? 15);
  let dir: string | undefined;
  let umask: number;
  before(function () {
    if (process.getuid?.() !== 0) this.skip(); // nodeFs has full rights; so must the process it is compared with
    umask = process.umask(0o022);
    dir = fs.mkdtempSync(join(tmpdir(), "stratafs-node-fs-"));
  });
  after(() => {
    if (dir === undefined) return;
    process.umask(umask);
    fs.rmSync(dir, { recursive: true, force: true });
  });

  for (const [what, world] of Object.entries(worlds)) {
    for (let run = 0; run < runs; run++) {
      const seed = firstSeed + run;
      it(`gives the same answers over ${what} to 300 random calls (SEED=${seed} RUNS=1)`, async () => {
        const around = fs.mkdtempSync(join(dir!, "run-"));
        const base = join(around, "real");
        const lower = join(around, "lower");
        // Deep enough that no ".." of a path or link leads out of it.
        fs.mkdirSync(join(base, "1/2/3/w"), { recursive: true });
        const next = random(seed);
        if (world.lower) {
          for (let i = 0; i < 120; i++) outcome(() => callsFrom(next).call(fs, (path) => `${base}/${path}`), base);
        }
        fs.mkdirSync(lower);
        execFileSync("cp", ["-a", join(base, "1"), lower]);
        const { tree, check } = world.make(lower, around);
        const served = nodeFs(tree, { nodesKept: 8 });
        served.mkdirSync("/1/2/3/w", { recursive: true });

        const history: string[] = [];
        for (let i = 0; i < 300; i++) {
          const { text, call } = callsFrom(next);
          history.push(text);
          const expected = outcome(() => call(fs, (path) => `${base}/${path}`), base);
          const got = outcome(() => call(served, (path) => `/${path}`), "");
          expect(got, `${history.slice(-8).join("\n")}\ngot ${JSON.stringify(got)}\nnot ${JSON.stringify(expected)}\n`).to.deep.equal(expected);
        }
        expect(treeOf(served, "/1")).to.deep.equal(treeOf(fs, join(base, "1")));
        check?.();
        await tree.close();
      });
    }
  }
});
