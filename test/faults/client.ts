/**
 * Who lives in a mount that is about to fail, and who looks at what is left. One process for each call, because a look at a mount may hang.
 *
 *   write ROOT LOG SEED   changes files without end, and appends to LOG (outside of the mount) what is durable; ends at the first error
 *   check ROOT LOG [cut]  prints what is not as it may be, one line each; "cut": after a loss of power
 *   list ROOT             prints every object with mode, size and content
 *
 * Always true: every content says what it is: a line `NAME VERSION SIZE` repeated to that size. A file is one version, whole.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Random } from "../model/random.js";

const FILES = 8;
const BIG_BYTES = 3 << 20;

/** The lower layer that all of it begins with. */
export function prepareLower(root: string): void {
  for (const dir of ["replaced", "appended", "kept", "removed"]) fs.mkdirSync(join(root, dir));
  for (let i = 0; i < FILES; i++) {
    fs.writeFileSync(join(root, `replaced/f${i}`), content(`f${i}`, 0, 10_000 * i));
    fs.writeFileSync(join(root, `appended/f${i}`), content(`f${i}`, 0, i === 0 ? BIG_BYTES : 1000 * i));
    fs.writeFileSync(join(root, `kept/f${i}`), content(`f${i}`, 0, 100_000));
    fs.mkdirSync(join(root, `moved-a${i}`));
    fs.writeFileSync(join(root, `moved-a${i}/inside`), content(`f${i}`, 0, 5000));
  }
  for (let i = 0; i < 100; i++) fs.writeFileSync(join(root, `removed/f${i}`), content(`f${i}`, 0, 10));
}

function content(name: string, version: number, size: number): Buffer {
  return Buffer.alloc(size, `${name} ${version} ${size}\n`);
}

const record = (file: number, index: number): string => `record ${String(index).padStart(8)} of appended file ${file}\n`;

function write(root: string, log: string, seed: number): void {
  const random = new Random(seed);
  const out = fs.openSync(log, "a");
  const durable = (...words: (string | number)[]): void => void fs.writeSync(out, `${process.hrtime.bigint()} ${words.join(" ")}\n`);
  const appended = new Array<number>(FILES).fill(0);
  let removed = 0;
  const whole = (path: string, bytes: Buffer): void => {
    const fd = fs.openSync(path, "w");
    fs.writeSync(fd, bytes);
    fs.fsyncSync(fd);
    fs.closeSync(fd);
  };
  const syncDirectory = (path: string): void => {
    const fd = fs.openSync(path, "r");
    fs.fsyncSync(fd);
    fs.closeSync(fd);
  };
  durable("started");
  for (let version = 1; ; version++) {
    const i = random.below(FILES);
    switch (random.below(6)) {
      case 0: {
        whole(join(root, "replaced/new"), content(`f${i}`, version, random.below(200_000)));
        fs.renameSync(join(root, "replaced/new"), join(root, `replaced/f${i}`));
        syncDirectory(join(root, "replaced"));
        durable("replaced", i, version);
        break;
      }
      case 1: {
        const fd = fs.openSync(join(root, `appended/f${i}`), "a");
        fs.writeSync(fd, record(i, appended[i]!++));
        if (random.below(2) === 0) {
          fs.fsyncSync(fd);
          durable("appended", i, appended[i]!);
        }
        fs.closeSync(fd);
        break;
      }
      case 2:
        fs.chmodSync(join(root, `kept/f${i}`), 0o600 + random.below(64));
        break;
      case 3: {
        if (removed === 100) break;
        fs.unlinkSync(join(root, `removed/f${removed}`));
        if (random.below(2) === 0) {
          syncDirectory(join(root, "removed"));
          durable("removed", removed);
        }
        removed++;
        break;
      }
      case 4: {
        const [from, to] = fs.existsSync(join(root, `moved-a${i}`)) ? ["a", "b"] : ["b", "a"];
        try {
          fs.renameSync(join(root, `moved-${from}${i}`), join(root, `moved-${to}${i}`));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "EXDEV") throw error; // redirects are off
        }
        break;
      }
      case 5:
        fs.rmSync(join(root, `linked${i}`), { force: true });
        fs.linkSync(join(root, `kept/f${i}`), join(root, `linked${i}`));
        break;
    }
  }
}

/**
 * `cut`: when the power went, in ns of CLOCK_MONOTONIC. What was said to be durable after that does not count: on their own, too, ext4 and xfs let an
 * fsync succeed that FS_IOC_SHUTDOWN has overtaken, in two to four of a hundred shutdowns under load.
 */
function check(root: string, log: string, cut: bigint | undefined): string[] {
  const problems: string[] = [];
  const says = new Map<string, number>();
  /** When that was said, before the cut. */
  const since = new Map<string, string>();
  for (const line of fs.readFileSync(log, "utf8").split("\n").slice(0, -1)) {
    const [at = "", what = "", i = "", value = "1"] = line.split(" ");
    if (cut !== undefined && BigInt(at) >= cut) continue;
    says.set(`${what} ${i}`, Number(value));
    if (cut !== undefined) since.set(`${what} ${i}`, `, ${(cut - BigInt(at)) / 1000n} us before the cut`);
  }
  const wholeVersion = (path: string, name: string): number => {
    let bytes: Buffer;
    try {
      bytes = fs.readFileSync(join(root, path));
    } catch (error) {
      problems.push(`${path}: ${(error as Error).message}`);
      return Number.MAX_SAFE_INTEGER;
    }
    const [, version = "0"] = bytes.toString("latin1", 0, 100).split(/[ \n]/);
    if (!bytes.equals(content(name, Number(version), bytes.length))) problems.push(`${path} is not one version, whole: ${bytes.length} bytes, it begins ${JSON.stringify(bytes.toString("latin1", 0, 30))}`);
    return bytes.length === 0 ? Number.MAX_SAFE_INTEGER : Number(version);
  };
  for (let i = 0; i < FILES; i++) {
    const version = wholeVersion(`replaced/f${i}`, `f${i}`);
    if (version < (says.get(`replaced ${i}`) ?? 0)) problems.push(`replaced/f${i} is version ${version}, and ${says.get(`replaced ${i}`)} was durable${since.get(`replaced ${i}`) ?? ""}`);
    if (wholeVersion(`kept/f${i}`, `f${i}`) !== 0) problems.push(`kept/f${i} is not what it was`);
    const found = ["a", "b"].filter((letter) => fs.existsSync(join(root, `moved-${letter}${i}`)));
    if (found.length !== 1) problems.push(`moved-${i} is there ${found.length} times`);
    else if (wholeVersion(`moved-${found[0]}${i}/inside`, `f${i}`) !== 0) problems.push(`moved-${found[0]}${i}/inside is not what it was`);
    checkAppended(root, i, says.get(`appended ${i}`) ?? 0, cut !== undefined, problems);
  }
  for (let i = 0; i < 100; i++) {
    if (!fs.existsSync(join(root, `removed/f${i}`))) continue;
    if (says.has(`removed ${i}`)) problems.push(`removed/f${i} was removed for good${since.get(`removed ${i}`) ?? ""}, and is there`);
    else wholeVersion(`removed/f${i}`, `f${i}`);
  }
  return problems;
}

/**
 * What a lower file held, then records in their order; the last may be cut when it was not synced. A filesystem may have journaled a size before
 * it wrote the bytes: after a loss of power what was not synced may be zeros.
 */
function checkAppended(root: string, i: number, synced: number, cut: boolean, problems: string[]): void {
  const bytes = fs.readFileSync(join(root, `appended/f${i}`));
  const old = content(`f${i}`, 0, i === 0 ? BIG_BYTES : 1000 * i);
  if (!bytes.subarray(0, old.length).equals(old)) return void problems.push(`appended/f${i} has lost what it held below`);
  const tail = bytes.toString("latin1", old.length);
  const one = record(i, 0).length;
  let expected = "";
  for (let k = 0; expected.length < Math.max(tail.length, synced * one); k++) expected += record(i, k);
  if (tail.length < synced * one) problems.push(`appended/f${i} has ${tail.length / one} records, and ${synced} were synced`);
  const certain = synced * one;
  const rest = cut ? tail.slice(certain).replace(/\0+$/, "") : tail.slice(certain);
  if (!expected.startsWith(tail.slice(0, certain) + rest)) problems.push(`appended/f${i} has something else than its records at the end`);
}

function list(root: string): string[] {
  const lines: string[] = [];
  const visit = (path: string): void => {
    for (const name of fs.readdirSync(join(root, path)).sort()) {
      const at = join(path, name);
      const stat = fs.lstatSync(join(root, at));
      const hash = stat.isFile() ? createHash("sha256").update(fs.readFileSync(join(root, at))).digest("hex") : "";
      lines.push(`${at} ${stat.mode.toString(8)} ${stat.isDirectory() ? "" : `${stat.nlink} ${stat.size}`} ${hash}`);
      if (stat.isDirectory()) visit(at);
    }
  };
  visit("");
  return lines;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [word, root = "", log = "", more = ""] = process.argv.slice(2);
  if (word === "write") write(root, log, Number(more));
  else for (const line of word === "check" ? check(root, log, more === "" ? undefined : BigInt(more)) : list(root)) console.log(line);
}
