/** The harness itself, run as a person runs it, with small sizes: what it writes, and that it leaves nothing behind. */
import { expect } from "chai";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RequestCounter } from "../../bench/counting/requests.js";
import type { Results } from "../../bench/report/results.js";
import type { Scenario } from "../../bench/scenarios/scenario.js";
import { SCENARIOS } from "../../bench/scenarios/scenarios.js";

const HARNESS = fileURLToPath(new URL("../../bench/bench.js", import.meta.url));

/** Unprivileged users may lack user namespaces, as in some containers. */
const canMount = process.getuid?.() === 0 || spawnSync("unshare", ["--user", "--map-root-user", "--mount", "true"]).status === 0;

/** Processes that carry the mark of a cell below `work`. */
function leftProcesses(work: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, "latin1").includes(`STRATAFS_BENCH_CELL=${work}`);
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

  it("runs every scenario, checks the work and leaves nothing behind", async () => {
    const only = (subjects: string, scenarios: readonly Scenario[]) => ["--subject", subjects, "--scenario", scenarios.map(({ name }) => name).join(",")];
    const [trees, others] = [SCENARIOS.filter(({ fixture }) => fixture === "tree"), SCENARIOS.filter(({ fixture }) => fixture !== "tree")];
    const copying = SCENARIOS.filter(({ name }) => ["walk-warm", "chmod-tree", "append"].includes(name));
    // Side by side, as time is not what is looked at.
    const parts = await Promise.all([
      session("trees", only("kernel-overlayfs", trees.filter(({ only: daemons }) => daemons !== "daemons"))),
      session("others", only("kernel-overlayfs,stratafs-images", others)),
      session("daemons", [...only("stratafs-passthrough", trees.filter(({ only: daemons }) => daemons === "daemons"))]),
      session("plain", only("plain", copying)),
    ]);

    const results = parts.flatMap((part) => part.results.results);
    const skipped = new Set(parts.flatMap((part) => [...part.results.scenarios, ...part.results.subjects].filter((each) => each.skipped !== undefined).map(({ name }) => name)));
    for (const { name, only } of SCENARIOS) {
      const subject = only === "daemons" ? "stratafs-passthrough" : only === "images" ? "stratafs-images" : "kernel-overlayfs";
      if (skipped.has(name) || skipped.has(subject)) continue;
      expect(results.filter((each) => each.scenario === name).map((each) => each.subject), name).to.include(subject);
    }
    expect(results.filter(({ subject }) => subject === "plain").map(({ scenario }) => scenario)).to.have.members(copying.map(({ name }) => name));
    for (const row of results) {
      expect(row.failures, `${row.scenario} on ${row.subject}`).to.deep.equal([]);
      expect(row.samples, row.scenario).to.have.length(1);
      expect(row.summary?.median, row.scenario).to.equal(row.samples[0]);
    }
    for (const { results: part, markdown, html } of parts) {
      expect(part).to.include({ format: 1, complete: true, seed: 7, runs: 1, sizes: "quick" });
      expect(part.environment).to.include({ node: process.version });
      expect(part.environment.load).to.have.length(3);
      expect(markdown).to.include(", 3 lowers |");
      expect(html).to.match(/^<!doctype html>[^]*<\/html>\n$/).and.not.match(/<script|(?:src|href)=/);
    }
  });

  /** One session with small sizes, which must end well and leave nothing behind, and what it wrote. */
  async function session(part: string, args: readonly string[]) {
    const own = join(work, part);
    const child = spawn(process.execPath, [HARNESS, "--quick", "--seed", "7", "--work", own, "--json", join(own, "out.json"), ...args], { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => void (said += text));
    const status = await new Promise<number | null>((resolve) => child.once("close", resolve));
    expect(status, said).to.equal(0);
    expect(leftovers(own)).to.deep.equal(NOTHING);
    const read = (extension: string) => readFileSync(join(own, `out.${extension}`), "utf8");
    return { results: JSON.parse(read("json")) as Results, markdown: read("md"), html: read("html") };
  }

  it("counts the same requests by the kernel's tracepoint and by the server", async function () {
    const opened = RequestCounter.open();
    if (typeof opened === "string") return this.skip();
    opened.close();
    const { results } = await session("counts", ["--count", "--subject", "stratafs-cached", "--scenario", "unlink-new"]);
    const skipped = results.subjects[0]?.skipped;
    if (skipped !== undefined) return this.skip();
    const counts = results.results[0]?.counts;
    expect(counts).to.include({ lost: 0, operations: 300 });
    expect(counts?.requests).to.include({ UNLINK: 300 });
    expect(counts?.served).to.deep.equal(counts?.requests);
    expect(counts?.daemonSyscalls).to.be.greaterThan(300);
  });

  it("unmounts and removes everything when it is interrupted", async () => {
    const json = join(work, "out.json");
    const args = ["--quick", "--runs", "3", "--subject", "kernel-overlayfs", "--scenario", "missing-names,python", "--work", work, "--json", json];
    const child = spawn(process.execPath, [HARNESS, ...args], { stdio: "ignore" });
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    const cells = join(work, "cells");
    // In the middle of a run, whose mounts are in a namespace of its own.
    const begun = () => existsSync(json) && readdirSync(cells).some((cell) => leftProcesses(join(cells, cell)).length > 0);
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
      [["--preset", "all"], /^bench: no preset is called all; there are readme, unprivileged\n$/],
      [["--colour"], /^bench: .*--colour.*\n$/],
    ] as const) {
      const done = spawnSync(process.execPath, [HARNESS, ...args, "--work", work], { encoding: "utf8" });
      expect({ status: done.status, stderr: done.stderr }).to.have.property("status", 2);
      expect(done.stderr).to.match(words);
    }
  });
});
