/** The harness itself, run as a person runs it, with small sizes: what it writes, and that it leaves nothing behind. */
import { expect } from "chai";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Results } from "../../bench/report/results.js";
import { SCENARIOS } from "../../bench/scenarios/scenarios.js";

const HARNESS = fileURLToPath(new URL("../../bench/bench.js", import.meta.url));

/** Unprivileged users may lack user namespaces, as in some containers. */
const canMount = process.getuid?.() === 0 || spawnSync("unshare", ["--user", "--map-root-user", "--mount", "true"]).status === 0;

/** Processes that carry the mark of a cell below `work`. */
function leftProcesses(work: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, "latin1").includes(`STRATAFS_BENCH_CELL=${work}/`);
    } catch {
      return false;
    }
  });
}

const leftovers = (work: string) => ({
  cells: readdirSync(join(work, "cells")),
  mounts: readFileSync("/proc/self/mounts", "latin1").split("\n").filter((line) => line.includes(work)),
  processes: leftProcesses(work),
});

const NOTHING = { cells: [], mounts: [], processes: [] };

describe("the benchmark harness", function () {
  this.timeout(180_000);
  let work: string;

  beforeEach(function () {
    if (!canMount) this.skip();
    work = mkdtempSync(join(tmpdir(), "stratafs-bench-test-"));
  });

  afterEach(() => {
    if (work !== undefined) rmSync(work, { recursive: true, force: true });
  });

  it("runs every scenario on two subjects, checks the work and leaves nothing behind", () => {
    const json = join(work, "out.json");
    const done = spawnSync(process.execPath, [HARNESS, "--quick", "--subject", "plain,kernel-overlayfs", "--seed", "7", "--work", work, "--json", json], { encoding: "utf8" });
    expect(done.status, done.stderr).to.equal(0);

    const results = JSON.parse(readFileSync(json, "utf8")) as Results;
    expect(results).to.include({ format: 1, complete: true, seed: 7, runs: 1, sizes: "quick" });
    expect(results.environment).to.include({ node: process.version });
    expect(results.environment.load).to.have.length(3);
    expect(results.subjects.map(({ name }) => name)).to.deep.equal(["kernel-overlayfs", "plain"]);
    expect(results.scenarios.map(({ name }) => name)).to.deep.equal(SCENARIOS.map(({ name }) => name));
    const skipped = new Set(results.scenarios.filter((each) => each.skipped !== undefined).map(({ name }) => name));
    for (const { name, only } of SCENARIOS) {
      if (skipped.has(name)) continue;
      const rows = results.results.filter(({ scenario }) => scenario === name);
      const expected = only === "daemons" ? [] : only === "mounts" ? ["kernel-overlayfs"] : ["kernel-overlayfs", "plain"];
      const present = expected.filter((subject) => results.subjects.some((each) => each.name === subject && each.skipped === undefined));
      expect(rows.map(({ subject }) => subject), name).to.deep.equal(present);
      for (const row of rows) {
        expect(row.failures, `${name} on ${row.subject}`).to.deep.equal([]);
        expect(row.samples, name).to.have.length(1);
        expect(row.summary?.median, name).to.equal(row.samples[0]);
      }
    }
    expect(readFileSync(join(work, "out.md"), "utf8")).to.include("| walk-warm, 3 lowers |");
    expect(readFileSync(join(work, "out.html"), "utf8")).to.match(/^<!doctype html>[^]*<\/html>\n$/).and.not.match(/<script|(?:src|href)=/);
    expect(leftovers(work)).to.deep.equal(NOTHING);
  });

  it("unmounts and removes everything when it is interrupted", async () => {
    const json = join(work, "out.json");
    const args = ["--quick", "--runs", "3", "--subject", "kernel-overlayfs", "--scenario", "missing-names,python", "--work", work, "--json", json];
    const child = spawn(process.execPath, [HARNESS, ...args], { stdio: "ignore" });
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    const cells = join(work, "cells");
    // In the middle of a run. Mounts of an unprivileged cell are in a namespace of its own.
    const begun = () => existsSync(json) && (process.getuid?.() === 0 ? leftovers(work).mounts.length > 0 : readdirSync(cells).length > 0);
    for (let waited = 0; waited < 60_000 && !begun(); waited += 5) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    child.kill("SIGINT");
    expect(await ended).to.equal(130);
    expect(leftovers(work)).to.deep.equal(NOTHING);
  });

  it("skips a subject that does not work here, with its own words", () => {
    const json = join(work, "out.json");
    const done = spawnSync(process.execPath, [HARNESS, "--quick", "--subject", "broken", "--peer", "broken=/bin/false", "--scenario", "walk-warm", "--work", work, "--json", json], { encoding: "utf8" });
    expect(done.status, done.stderr).to.equal(0);
    const results = JSON.parse(readFileSync(json, "utf8")) as Results;
    expect(results.subjects[0]?.skipped).to.match(/^\/bin\/false: /);
    expect(results.results).to.deep.equal([]);
    expect(leftovers(work)).to.deep.equal(NOTHING);
  });

  it("refuses unknown options and names in one line", () => {
    for (const [args, words] of [
      [["--scenario", "walks"], /^bench: no scenario is called walks;.*\n$/],
      [["--runs", "0"], /^bench: --runs takes a whole number from 1, found "0"\n$/],
      [["--peer", "x"], /^bench: --peer takes NAME=PATH, found "x"\n$/],
      [["--colour"], /^bench: .*--colour.*\n$/],
    ] as const) {
      const done = spawnSync(process.execPath, [HARNESS, ...args, "--work", work], { encoding: "utf8" });
      expect({ status: done.status, stderr: done.stderr }).to.have.property("status", 2);
      expect(done.stderr).to.match(words);
    }
  });
});
