/**
 * Random operations of one process on a tree, for comparing two mounts: the same seed does the same on both.
 * What an operation returned is recorded as text: "ok", an errno, or what was read.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { errnoName } from "../../lib/base/errors.js";
import { native } from "../../lib/sys/binding.js";
import type { Random } from "./random.js";

const AT_FDCWD = -100;
const { O_APPEND, O_CREAT, O_NONBLOCK, O_TRUNC, O_WRONLY } = fs.constants;
/** A fifo that nobody reads is an error (ENXIO) and not a wait. Node takes numeric flags where its types say text. */
const TRUNCATE = (O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK) as unknown as string;
const APPEND = (O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK) as unknown as string;
const names = ["a", "b", "c", "d", "e"] as const;
const directories = ["p", "q", "r"] as const;
/** Kinds of operation that make something new. */
const makes = new Set([0, 1, 5, 6, 12, 18, 23, 24, 25]);
/** Set explicitly, so that a time in a snapshot tells whether it was kept. */
const oldTimes = [100, 2000, 30000.5, 999_999_999] as const;

export interface Record {
  readonly what: string;
  readonly result: string;
}

function randomDirectory(random: Random): string {
  const depth = random.below(4);
  return Array.from({ length: depth }, () => random.pick(directories)).join("/");
}

/** Half of the time something that exists, so that operations meet what others made; the same on trees that are the same. */
function randomPath(random: Random, root: string): string {
  if (random.below(2) === 0) {
    let path = "";
    for (let depth = 0; depth < 6; depth++) {
      let entries: fs.Dirent[];
      try {
        entries = fs.readdirSync(join(root, path), { withFileTypes: true });
      } catch {
        break;
      }
      if (entries.length === 0) break;
      const entry = random.pick(entries.sort((x, y) => (x.name < y.name ? -1 : 1)));
      path = join(path, entry.name);
      if (!entry.isDirectory() || random.below(3) === 0) break;
    }
    if (path !== "") return path;
  }
  return join(randomDirectory(random), randomName(random));
}

const randomName = (random: Random): string => (random.below(4) === 0 ? random.pick(directories) : random.pick(names));

/** Mostly a name in a directory that exists. */
function randomNewPath(random: Random, root: string): string {
  const path = randomPath(random, root);
  return join(isDirectory(join(root, path)) ? path : dirname(path), randomName(random));
}

function isDirectory(at: string): boolean {
  try {
    return fs.lstatSync(at).isDirectory();
  } catch {
    return false;
  }
}

function attempt(what: string, act: () => string | void): Record {
  try {
    return { what, result: act() ?? "ok" };
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === undefined) throw error;
    return { what, result: code };
  }
}

function raw(result: number): void {
  if (result < 0) throw Object.assign(new Error("native"), { code: errnoName(result) });
}

/** Carries out `count` operations below `root` and says what each gave. Files still open at the end are closed. */
export function operate(root: string, random: Random, count: number, options: { exchange: boolean }): Record[] {
  const records: Record[] = [];
  const held: number[] = [];
  for (let i = 0; i < count; i++) {
    const kind = random.below(options.exchange ? 27 : 26);
    const path = makes.has(kind) ? randomNewPath(random, root) : randomPath(random, root);
    const at = join(root, path);
    const other = random.below(3) === 0 ? randomPath(random, root) : randomNewPath(random, root);
    const to = join(root, other);
    const n = random.below(20000);
    switch (kind) {
      case 0:
      case 1:
        records.push(attempt(`write ${path} ${n}`, () => fs.writeFileSync(at, `${i} `.repeat(n % 5000), { mode: 0o600 + (n & 0o77), flag: TRUNCATE })));
        break;
      case 2:
        records.push(attempt(`append ${path}`, () => fs.appendFileSync(at, `+${i}`, { flag: APPEND })));
        break;
      case 3:
        records.push(attempt(`truncate ${path} ${n}`, () => fs.truncateSync(at, n)));
        break;
      case 4:
        records.push(attempt(`unlink ${path}`, () => fs.unlinkSync(at)));
        break;
      case 5:
      case 6:
      case 23:
      case 24:
      case 25:
        records.push(attempt(`mkdir ${path}`, () => fs.mkdirSync(at, 0o755 - (n & 0o22))));
        break;
      case 7:
        records.push(attempt(`rmdir ${path}`, () => fs.rmdirSync(at)));
        break;
      case 8:
      case 9:
      case 10:
        records.push(attempt(`rename ${path} ${other}`, () => fs.renameSync(at, to)));
        break;
      case 11:
        records.push(attempt(`link ${path} ${other}`, () => fs.linkSync(at, to)));
        break;
      case 12:
        records.push(attempt(`symlink ${path}`, () => fs.symlinkSync(`../${other}`, at)));
        break;
      case 13:
        records.push(attempt(`chmod ${path} ${n}`, () => fs.chmodSync(at, 0o400 + (n & 0o377))));
        break;
      case 14:
        records.push(attempt(`chown ${path}`, () => fs.lchownSync(at, 1000 + (n & 3), 100 + (n & 1))));
        break;
      case 15:
        records.push(attempt(`utimes ${path}`, () => fs.lutimesSync(at, random.pick(oldTimes), oldTimes[n & 3]!)));
        break;
      case 16:
        records.push(attempt(`setxattr ${path} ${n & 3}`, () => raw(native.setxattr(AT_FDCWD, at, `user.k${n & 3}`, Buffer.from(`v${n}`), 0))));
        break;
      case 17:
        records.push(attempt(`removexattr ${path} ${n & 3}`, () => raw(native.removexattr(AT_FDCWD, at, `user.k${n & 3}`))));
        break;
      case 18:
        records.push(attempt(`mkfifo ${path}`, () => raw(native.mknod(AT_FDCWD, at, n & 1 ? 0o010644 : 0o020600, n & 1 ? 0 : 0x103))));
        break;
      case 19:
        records.push(attempt(`list ${path}`, () => fs.readdirSync(at).sort().join(" ")));
        break;
      case 20:
        records.push(attempt(`write at ${path} ${n}`, () => {
          const fd = fs.openSync(at, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
          try {
            fs.writeSync(fd, `<${i}>`, n);
          } finally {
            fs.closeSync(fd);
          }
        }));
        break;
      case 21:
        records.push(attempt(`hold ${path}`, () => {
          if (!fs.lstatSync(at).isFile()) return "no file";
          held.push(fs.openSync(at, "r+"));
          return;
        }));
        break;
      case 22: {
        const fd = held[n % Math.max(1, held.length)];
        if (fd === undefined) break;
        records.push(attempt(`held ${n % held.length}`, () => {
          if (n & 1) fs.writeSync(fd, `held ${i}`, n % 3000);
          const stat = fs.fstatSync(fd);
          return `${stat.size} ${digest(fs.readFileSync(`/proc/self/fd/${fd}`))}`;
        }));
        break;
      }
      default:
        records.push(attempt(`exchange ${path} ${other}`, () => raw(native.rename(AT_FDCWD, at, AT_FDCWD, to, 1 + (n & 1)))));
    }
  }
  for (const fd of held) fs.closeSync(fd);
  return records;
}

function digest(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex").slice(0, 12);
}

export interface Snapshot {
  /** Everything visible: one line an object, sorted by path, with the count of its visible names. Times only where they were set explicitly. */
  readonly tree: string[];
  /** Objects whose link count is not the number of their visible names. */
  readonly oddLinks: string[];
}

export function snapshot(root: string): Snapshot {
  const lines: string[] = [];
  const first = new Map<string, { path: string; nlink: number; seen: number }>();
  const buffer = Buffer.alloc(4096);
  const visit = (path: string): void => {
    const at = join(root, path);
    const stat = fs.lstatSync(at);
    const parts = [path === "" ? "." : path, (stat.mode >>> 0).toString(8), `${stat.uid}:${stat.gid}`];
    if (!stat.isDirectory()) {
      const same = first.get(`${stat.dev}:${stat.ino}`);
      if (same === undefined) first.set(`${stat.dev}:${stat.ino}`, { path, nlink: stat.nlink, seen: 1 });
      else {
        same.seen++;
        parts.push(`= ${same.path}`);
      }
    }
    if (stat.isFile()) parts.push(`${stat.size}`, digest(fs.readFileSync(at)));
    if (stat.isSymbolicLink()) parts.push(`-> ${fs.readlinkSync(at)}`);
    if (stat.isCharacterDevice()) parts.push(`rdev ${stat.rdev}`);
    if (stat.mtimeMs < 1e12 && path !== "") parts.push(`mtime ${stat.mtimeMs}`);
    const size = native.listxattr(AT_FDCWD, at, buffer);
    const keys = size > 0 ? buffer.toString("latin1", 0, size - 1).split("\0").sort() : [];
    for (const key of keys.filter((candidate) => candidate.startsWith("user."))) {
      const length = native.getxattr(AT_FDCWD, at, key, buffer);
      parts.push(`${key}=${buffer.toString("latin1", 0, length)}`);
    }
    lines.push(parts.join(" "));
    if (!stat.isDirectory()) return;
    const listed = fs.readdirSync(at, { withFileTypes: true }).sort((x, y) => (x.name < y.name ? -1 : 1));
    for (const entry of listed) visit(path === "" ? entry.name : `${path}/${entry.name}`);
  };
  visit("");
  const oddLinks = [...first.values()].filter(({ nlink, seen }) => nlink !== seen).map(({ path, nlink, seen }) => `${path} nlink ${nlink}, ${seen} names`);
  return { tree: lines, oddLinks };
}
