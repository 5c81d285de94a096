/**
 * Other people's conformance and stress suites on real mounts of the built command, in both data modes, as root and in a user namespace that an ordinary
 * user has made, each beside kernel overlayfs on the same filesystem. Ends with 1 when something fails that kernel overlayfs passes.
 *
 *   npm run test:conformance -- [--pjdfstest DIR] [--unionmount DIR] [--xfstests DIR]   built copies of pjdfstest, unionmount-testsuite and xfstests
 *       [--mode passthrough,cached] [--supervised] [--as root,user]                     what is tried
 *       [--filesystem ext4,xfs] [--work DIR]                                            layers on a loop device with that; or in DIR, wherever that is
 *       [--seconds N] [--minutes N] [--seed N] [--only WORDS] [--no-kernel]              how long each stressor, and a run of xfstests
 *
 * Needs root. Nothing is downloaded: a suite whose directory is not given, or whose programs are not installed, is skipped with a reason.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { ConformanceSuite, Ground, Outcome, Subject } from "./conformance/ground.js";
import { pjdfstest } from "./conformance/pjdfstest.js";
import { stressSuites } from "./conformance/stress.js";
import { unionmount } from "./conformance/unionmount.js";
import { xfstests } from "./conformance/xfstests.js";
import { makeUser, removeUser, unusable } from "./ordinary-user.js";

const suites: readonly ConformanceSuite[] = [
  pjdfstest,
  ...["--ov", "--ov --xdev", "--ov=5", "--ov=5 --xdev", "--ov=5 --maxfs=2"].map(unionmount),
  ...stressSuites,
  // overlay/058 (NFS export) can leave a process behind that holds the mount: what comes after it cannot run then.
  ...["-g overlay/quick -e overlay/058", "-g generic/quick"].map(xfstests),
];

interface Row {
  readonly suite: string;
  readonly subject: string;
  readonly passed: number;
  readonly failed: number;
  /** What fails here and not on kernel overlayfs. */
  readonly beyond: number;
  readonly skipped: number;
}
const rows: Row[] = [];

function main(): number {
  const { values } = parseArgs({
    options: {
      pjdfstest: { type: "string" }, unionmount: { type: "string" }, xfstests: { type: "string" },
      mode: { type: "string", default: "passthrough,cached" }, supervised: { type: "boolean", default: false }, as: { type: "string", default: "root,user" },
      filesystem: { type: "string", default: "ext4" }, work: { type: "string" }, program: { type: "string" },
      seconds: { type: "string", default: "20" }, minutes: { type: "string", default: "100" }, seed: { type: "string", default: String(Date.now() % 2 ** 31) }, only: { type: "string", default: "" }, "no-kernel": { type: "boolean", default: false },
    },
  });
  if (process.getuid?.() !== 0) {
    console.error("test:conformance needs root: it mounts, and makes a user and a loop device");
    return 1;
  }
  const top = mkdtempSync(join(values.work ?? tmpdir(), "stratafs-conformance-"));
  chmodSync(top, 0o755);
  const user = `stratafs-${process.pid}`;
  const program = values.program ?? fileURLToPath(new URL("../../stratafs.js", import.meta.url));
  const given = { pjdfstest: values.pjdfstest, unionmount: values.unionmount, xfstests: values.xfstests };
  const dirs = Object.fromEntries(Object.entries(given).flatMap(([name, dir]) => (dir === undefined ? [] : [[name, resolve(dir)]])));
  console.log(`seed ${values.seed}`);
  try {
    const noUser = makeUser(user, top) ?? unusable(program, user) ?? noNamespace(user);
    for (const filesystem of values.work === undefined ? list(values.filesystem) : [undefined]) {
      const dir = join(top, "layers");
      mkdirSync(dir);
      const unmount = filesystem === undefined ? (): void => {} : loopDevice(filesystem, join(top, "image"), dir);
      chmodSync(dir, 0o755);
      spawnSync("chown", [`${user}:`, dir]);
      const ground: Ground = { program, dir, user, noUser, seconds: Number(values.seconds), minutes: Number(values.minutes), seed: Number(values.seed), suites: dirs };
      try {
        for (const as of list(values.as) as Subject["as"][]) for (const suite of suites) {
          if (suite.title.includes(values.only) && suite.as.includes(as)) carryOut(suite, ground, subjects(as, list(values.mode), values.supervised, !values["no-kernel"]), filesystem ?? dir);
        }
      } finally {
        unmount();
      }
    }
  } finally {
    removeUser(user);
    rmSync(top, { recursive: true, force: true });
  }
  printTable();
  return rows.some(({ beyond }) => beyond > 0) ? 1 : 0;
}

const list = (text: string): string[] => text.split(",").filter((item) => item !== "");

/** Kernel overlayfs first: what it fails is not counted against the others. */
function subjects(as: Subject["as"], modes: readonly string[], supervised: boolean, kernel: boolean): Subject[] {
  const ours = modes.filter((mode) => as === "root" || mode === "cached").map((mode): Subject => ({
    title: `stratafs ${mode}${supervised ? " supervised" : ""}`, type: "stratafs", as, options: [`data=${mode}`, `supervised=${supervised ? "on" : "off"}`],
  }));
  return [...(kernel ? [{ title: "kernel overlayfs", type: "overlay", as, options: as === "user" ? ["userxattr"] : [] } as const] : []), ...ours];
}

function carryOut(suite: ConformanceSuite, ground: Ground, all: readonly Subject[], where: string): void {
  const title = `${suite.title}, ${all[0]?.as ?? ""}, ${where}`;
  const reason = suite.missing(ground) ?? (all[0]?.as === "user" ? ground.noUser : undefined);
  console.log(`\n${title}${reason === undefined ? "" : `: skipped (${reason})`}`);
  if (reason !== undefined) return;
  let kernel: Outcome | undefined;
  for (const subject of all) {
    const started = Date.now();
    let found: Outcome;
    try {
      found = suite.run(ground, subject);
    } catch (error) {
      found = { passed: 0, failed: new Map([["the suite runs", error instanceof Error ? error.message : String(error)]]), skipped: new Map() };
    }
    if (subject.type === "overlay") kernel = found;
    const beyond = subject.type === "overlay" ? [] : [...found.failed].filter(([name]) => kernel?.failed.has(name) !== true);
    rows.push({ suite: title, subject: subject.title, passed: found.passed, failed: found.failed.size, beyond: beyond.length, skipped: found.skipped.size });
    console.log(`  ${subject.title}: ${found.passed} passed, ${found.failed.size} failed, ${found.skipped.size} skipped, ${((Date.now() - started) / 1000).toFixed(0)} s`);
    const shown = subject.type === "overlay" ? [...found.failed].slice(0, 5) : beyond;
    for (const [name, said] of shown) console.log(`    ${subject.type === "overlay" ? "fails" : "FAILED"} ${name}: ${said.trimEnd().replace(/\n/g, "\n      ")}`);
    if (subject.type === "overlay" && found.failed.size > shown.length) console.log(`    and ${found.failed.size - shown.length} more`);
  }
}

function printTable(): void {
  const head = ["suite", "subject", "passed", "failed", "beyond kernel overlayfs", "skipped"];
  const lines = rows.map(({ suite, subject, passed, failed, beyond, skipped }) => [suite, subject, passed, failed, beyond, skipped].map(String));
  const widths = head.map((title, i) => Math.max(title.length, ...lines.map((line) => line[i]!.length)));
  console.log("");
  for (const line of [head, ...lines]) console.log(line.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  "));
}

function noNamespace(user: string): string | undefined {
  const { status, stderr } = spawnSync("runuser", ["-u", user, "--", "unshare", "--map-auto", "--map-root-user", "-m", "true"], { encoding: "utf8", cwd: "/" });
  return status === 0 ? undefined : `no user namespace with subordinate ids: ${stderr.trim()}`;
}

/** A filesystem of 6 GiB, sparse, mounted on `dir`. Returns what takes it away again. */
function loopDevice(filesystem: string, image: string, dir: string): () => void {
  const run = (program: string, ...args: string[]): void => {
    const { status, stderr } = spawnSync(program, args, { encoding: "utf8" });
    if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
  };
  run("truncate", "-s", "6G", image);
  run(`mkfs.${filesystem}`, filesystem === "ext4" ? "-qF" : "-qf", image);
  run("mount", "-o", "loop", image, dir);
  return () => {
    // The last server of a suite may still be ending.
    for (let tries = 0; readFileSync("/proc/self/mounts", "latin1").includes(` ${dir} `) && tries < 100; tries++) {
      if (spawnSync("umount", [dir], { stdio: "ignore" }).status !== 0) spawnSync("sleep", ["0.2"]);
    }
    rmSync(dir, { recursive: true, force: true });
    rmSync(image, { force: true });
  };
}

process.exitCode = main();
