import { expect } from "chai";
import { goalLines, number, ratio, rowsOf, times } from "../../bench/report/compare.js";
import { htmlReport } from "../../bench/report/html.js";
import { markdownReport } from "../../bench/report/markdown.js";
import type { Result, Results } from "../../bench/report/results.js";
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
});
