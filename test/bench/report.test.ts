import { expect } from "chai";
import { baselines, goalLines, number, ratio, rowsOf, standingLine, standings, times } from "../../bench/report/compare.js";
import { htmlReport } from "../../bench/report/html.js";
import { markdownReport } from "../../bench/report/markdown.js";
import { PRESETS } from "../../bench/presets.js";
import { readmeTable, withTable } from "../../bench/report/readme-table.js";
import { added, type Result, type Results } from "../../bench/report/results.js";
import { SCENARIOS } from "../../bench/scenarios/scenarios.js";
import { allSubjects } from "../../bench/subjects/subjects.js";
import { seeded, shuffled } from "../../bench/measure/random.js";
import { summarize } from "../../bench/measure/statistics.js";

function result(scenario: string, subject: string, lowers: number, samples: readonly number[], failures: readonly string[] = []): Result {
  const summary = summarize(samples);
  return { scenario, subject, lowers, samples, ...(summary === undefined ? {} : { summary }), daemonCpuMs: 0, daemonPssKiB: 0, daemonPeakRssKiB: 0, failures };
}

const results: Results = {
  format: 1,
  command: "npm run bench",
  startedAt: "2026-01-02T03:04:05.000Z",
  finishedAt: "2026-01-02T04:04:05.000Z",
  complete: true,
  seed: 1,
  runs: 5,
  sizes: "full",
  environment: { kernel: "6.18", cpu: "some CPU", cpus: 2, memoryMiB: 1024, node: "v20.0.0", commit: "abc", user: "root", filesystem: "ext4", fuse: {}, load: [0, 0, 0] },
  subjects: [
    { name: "stratafs-cached", about: "ours", version: "1" },
    { name: "kernel-overlayfs", about: "theirs", version: "2" },
    { name: "fuse-overlayfs", about: "theirs too", skipped: "<not> installed" },
  ],
  scenarios: [
    {
      name: "walk",
      group: "Looking around",
      about: "a walk",
      unit: "ms",
      cold: true,
      goals: [
        { subject: "stratafs-cached", ratio: 0.5, against: "kernel-overlayfs" },
        { subject: "stratafs-cached", ratio: 1.1, against: "ten-lowers" },
      ],
    },
    { name: "read", group: "Reading", about: "a read", unit: "MB/s", cold: false, goals: [{ subject: "stratafs-cached", ratio: 1.1, against: "kernel-overlayfs" }] },
  ],
  results: [
    result("walk", "stratafs-cached", 10, [10, 20, 30, 40, 50]),
    result("walk", "stratafs-cached", 100, [45]),
    result("walk", "kernel-overlayfs", 10, [100]),
    result("walk", "kernel-overlayfs", 100, [], ["it broke | badly"]),
    result("read", "stratafs-cached", 10, [500]),
    result("read", "kernel-overlayfs", 10, [1000]),
  ],
};

describe("results that are added to earlier ones", () => {
  const now: Results = {
    ...results, command: "npm run bench -- --scenario read", startedAt: "2026-01-03T00:00:00.000Z", seed: 2, environment: { ...results.environment, commit: "def" },
    subjects: [{ name: "stratafs-cached", about: "ours", version: "2" }, { name: "newer", about: "new", version: "1" }],
    scenarios: [results.scenarios[1]!],
    results: [result("read", "stratafs-cached", 10, [700]), result("read", "newer", 10, [800])],
  };

  it("replace the rows that they measure and keep the others, with the run that those are from", () => {
    const both = added(results, now);
    expect(both.results.map(({ scenario, subject, lowers, samples }) => `${scenario} ${subject} ${lowers} ${samples.join()}`)).to.deep.equal([
      "walk stratafs-cached 10 10,20,30,40,50", "walk stratafs-cached 100 45", "walk kernel-overlayfs 10 100", "walk kernel-overlayfs 100 ", "read stratafs-cached 10 700", "read newer 10 800",
    ]);
    expect(both.subjects.map(({ name, version }) => `${name} ${version}`)).to.deep.equal(["stratafs-cached 2", "kernel-overlayfs 2", "fuse-overlayfs undefined", "newer 1"]);
    expect(both.scenarios.map(({ name }) => name)).to.deep.equal(["walk", "read"]);
    expect(both.earlier?.map(({ environment, scenarios }) => `${environment.commit}: ${scenarios.join()}`)).to.deep.equal(["abc: walk"]);
    expect(markdownReport(both)).to.include("From an earlier run (2026-01-02 03:04, commit abc").and.include("commit def");
  });

  it("can be added to again: a run of which nothing is left is not named", () => {
    const third: Results = { ...now, environment: { ...now.environment, commit: "ghi" } };
    expect(added(added(results, now), third).earlier?.map(({ environment, scenarios }) => `${environment.commit}: ${scenarios.join()}`)).to.deep.equal(["abc: walk"]);
    const walk: Results = { ...third, results: [result("walk", "stratafs-cached", 10, [1])] };
    expect(added(added(results, now), walk).earlier?.map(({ environment, scenarios }) => `${environment.commit}: ${scenarios.join()}`)).to.deep.equal(["abc: walk", "def: read"]);
  });
});

describe("the benchmark's numbers", () => {
  it("are a median and a spread", () => {
    expect(summarize([5, 1, 4, 2, 3])).to.deep.equal({ count: 5, median: 3, q1: 2, q3: 4, min: 1, max: 5 });
    expect(summarize([1, 2])).to.deep.equal({ count: 2, median: 1.5, q1: 1.25, q3: 1.75, min: 1, max: 2 });
    expect(summarize([])).to.equal(undefined);
  });

  it("come in an order that the seed repeats", () => {
    const items = [1, 2, 3, 4, 5, 6, 7, 8];
    expect(shuffled(items, seeded(42))).to.deep.equal(shuffled(items, seeded(42))).and.to.have.members(items);
    expect(shuffled(items, seeded(42))).to.not.deep.equal(shuffled(items, seeded(43)));
  });

  it("are written with three digits, ratios with two", () => {
    expect([0, 0.0123, 1.234, 12.34, 123.4, 12_345].map(number)).to.deep.equal(["0", "0.0123", "1.23", "12.3", "123", "12345"]);
    expect([0.0123, 0.456, 1.2, 12.3].map(times)).to.deep.equal(["0.012", "0.46", "1.20", "12"]);
  });

  it("compare as times, throughputs turned over", () => {
    const [walk, , read] = rowsOf(results);
    if (walk === undefined || read === undefined) throw new Error("rows are missing");
    expect(ratio(walk, "stratafs-cached", "kernel-overlayfs")).to.deep.equal({ median: 0.3, low: 0.2, high: 0.4 });
    expect(ratio(read, "stratafs-cached", "kernel-overlayfs")).to.deep.equal({ median: 2, low: 2, high: 2 });
    expect(ratio(walk, "stratafs-cached", "fuse-overlayfs")).to.equal(undefined);
  });

  it("are held against the speeds to reach, won or lost", () => {
    expect(goalLines(results).map(({ scenario, against, wanted, found }) => [scenario, against, wanted, found])).to.deep.equal([
      ["walk", "kernel-overlayfs", 0.5, 0.3],
      ["walk", "itself over 10 lowers", 1.1, 1.5],
      ["read", "kernel-overlayfs", 1.1, 2],
    ]);
    expect(markdownReport(results)).to.include("| missed |").and.to.include("| reached |");
  });

  it("show failures and skipped subjects, with what would be markup escaped", () => {
    expect(markdownReport(results)).to.include("skipped: <not> installed").and.to.include("it broke | badly").and.to.include("| failed |");
    expect(htmlReport(results)).to.include("skipped: &lt;not&gt; installed").and.to.include("it broke | badly");
  });

  it("are compared with the newest fuse-overlayfs first, row by row", () => {
    const more: Results = {
      ...results,
      environment: { ...results.environment, user: "unprivileged" },
      subjects: [...results.subjects.slice(0, 2), { name: "fuse-overlayfs", about: "", version: "1" }, { name: "fuse-overlayfs-2", about: "", version: "2" }],
      scenarios: results.scenarios.map((each) => ({ ...each, goals: [{ subject: "stratafs-cached", ratio: 0.2, against: "fuse-overlayfs", unprivileged: true }] })),
      results: [...results.results, result("walk", "fuse-overlayfs", 10, [60]), result("walk", "fuse-overlayfs-2", 10, [15]), result("read", "fuse-overlayfs-2", 10, [250])],
    };
    expect(baselines(more)).to.deep.equal(["kernel-overlayfs", "fuse-overlayfs-2", "fuse-overlayfs"]);
    expect(standings(more).map(standingLine)).to.deep.equal([
      "stratafs-cached is ahead of fuse-overlayfs-2 in 1 of 2 rows; behind in walk, 10 lowers (2.00)",
      "stratafs-cached is ahead of fuse-overlayfs in 1 of 1 rows",
    ]);
    expect(goalLines(more).map(({ scenario, against, wanted, found }) => [scenario, against, wanted, found])).to.deep.equal([["walk", "fuse-overlayfs-2", 0.2, 2], ["read", "fuse-overlayfs-2", 0.2, 0.5]]);
    expect(goalLines({ ...more, environment: results.environment })).to.deep.equal([]);
  });

  it("become the README's tables, the rows without a baseline as they are", () => {
    const more: Results = { ...results, scenarios: [...results.scenarios, { name: "memory", group: "Memory", about: "memory", unit: "MiB", cold: false, goals: [] }], results: [...results.results, result("memory", "stratafs-cached", 10, [12])] };
    const table = readmeTable(more);
    expect(table).to.include("| a walk | 100 ms | 0.30× |\n| a read | 1000 MB/s | 2.00× |").and.to.include("| memory | 12.0 MiB |");
    const text = "before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n";
    expect(withTable(text, more)).to.equal(`before\n<!-- bench: begin -->\n${table}\n<!-- bench: end -->\nafter\n`);
    expect(withTable(text.replaceAll("bench:", "bench readme:"), { ...more, preset: "readme" })).to.include(`<!-- bench readme: begin -->\n${table}\n`);
    expect(withTable(text, { ...more, preset: "readme" })).to.equal(undefined);
  });
});

describe("the benchmark's presets", () => {
  for (const { name, scenarios, subjects, narrowed } of PRESETS) {
    it(`name only what there is: ${name}`, () => {
      expect(SCENARIOS.map((each) => each.name)).to.include.members(Object.keys(scenarios));
      expect(allSubjects([]).map((each) => each.name)).to.include.members([...subjects]);
      expect(subjects).to.include.members(Object.keys(narrowed));
      expect(Object.keys(scenarios)).to.include.members(Object.values(narrowed).flat());
    });
  }
});
