/** The results as Markdown: ratios first, absolute numbers second, then what is counted exactly. */
import { baselines, comparedWith, goalLines, measuredSubjects, number, ratio, rowName, rowsOf, standingLine, standings, times, type Row } from "./compare.js";
import type { Results } from "./results.js";

export function table(head: readonly string[], body: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...body.map(line)].join("\n");
}

export function describe(results: Results): string[] {
  const { environment: e } = results;
  return [
    `${results.startedAt.slice(0, 10)}, Linux ${e.kernel}, ${e.cpu} (${e.cpus} CPUs, ${Math.round(e.memoryMiB / 1024)} GiB), Node ${e.node}, commit ${e.commit}, ${e.user}, ${e.filesystem}, io_uring for FUSE: ${e.fuse["enable_uring"] ?? "unknown"}, load ${e.load.map((l) => l.toFixed(2)).join(" ")}.`,
    `${results.runs} counted ${results.runs === 1 ? "run" : "runs"} of each cell, seed ${results.seed}, ${results.sizes} sizes${results.complete ? "" : ", interrupted"}. Command: \`${results.command}\`.`,
    ...(results.earlier ?? []).map(({ scenarios, startedAt, environment, seed, command }) =>
      `From an earlier run (${startedAt.slice(0, 16).replace("T", " ")}, commit ${environment.commit}, load ${environment.load.map((l) => l.toFixed(2)).join(" ")}, seed ${seed}): ${scenarios.join(", ")}. Command: \`${command}\`.`),
    ...(results.notCold === undefined ? [] : [`Caches were not dropped before cold runs: ${results.notCold}.`]),
    ...(results.sizes === "quick" ? ["Quick sizes show that everything works; as measurements they mean nothing."] : []),
  ];
}

export function requestsOf(row: Row, subject: string): string {
  const counts = row.of.get(subject)?.counts;
  if (counts === undefined) return "";
  const names = Object.entries(counts.requests).sort((a, b) => b[1] - a[1]);
  const sum = names.reduce((all, [, count]) => all + count, 0);
  // What comes once per run, not per operation, would only be noise.
  const shown = names.filter(([, count]) => count / counts.operations >= 0.005).slice(0, 3).map(([name, count]) => `${name} ${number(count / counts.operations)}`);
  return `${counts.lost > 0 ? "≥ " : ""}${number(sum / counts.operations)}${shown.length > 0 ? ` (${shown.join(", ")})` : ""}`;
}

export function markdownReport(results: Results): string {
  const rows = rowsOf(results);
  const subjects = measuredSubjects(results);
  const parts: string[] = ["# Benchmark results", ...describe(results)];

  for (const baseline of baselines(results)) {
    const others = comparedWith(rows, subjects, baseline);
    parts.push(
      `## Time relative to ${baseline}`,
      `Median time divided by the median of ${baseline}; below 1 is faster. For throughputs the reciprocal, so that it reads the same.`,
      table(
        ["scenario", ...others],
        rows.filter((row) => row.of.get(baseline)?.summary !== undefined).map((row) => [
          rowName(row),
          ...others.map((name) => {
            const found = ratio(row, name, baseline);
            return found === undefined ? "" : times(found.median);
          }),
        ]),
      ),
    );
  }

  const goals = goalLines(results);
  if (goals.length > 0) {
    parts.push(
      "## Speeds to reach",
      table(
        ["scenario, lowers", "subject", "against", "at most", "measured", ""],
        goals.map((goal) => [`${goal.scenario}, ${goal.lowers}`, goal.subject, goal.against, times(goal.wanted), times(goal.found), goal.found <= goal.wanted ? "reached" : "missed"]),
      ),
    );
  }

  const standing = standings(results);
  if (standing.length > 0) parts.push("## Against fuse-overlayfs, row by row", standing.map((each) => `- ${standingLine(each)}`).join("\n"));

  parts.push(
    "## Medians",
    "Median, and the middle half of the samples in brackets.",
    table(
      ["scenario", "unit", ...subjects],
      rows.map((row) => [
        rowName(row),
        row.scenario.unit,
        ...subjects.map((name) => {
          const own = row.of.get(name);
          if (own?.summary === undefined) return own === undefined ? "" : "failed";
          return `${number(own.summary.median)} (${number(own.summary.q1)}–${number(own.summary.q3)})`;
        }),
      ]),
    ),
  );

  const counted = subjects.filter((name) => rows.some((row) => Object.keys(row.of.get(name)?.counts?.requests ?? {}).length > 0));
  if (counted.length > 0) {
    parts.push(
      "## FUSE requests per operation",
      "From the kernel's tracepoint, in the discarded run; the three most frequent by name.",
      table(["scenario", ...counted], rows.map((row) => [rowName(row), ...counted.map((name) => requestsOf(row, name))])),
    );
  }

  const daemons = subjects.filter((name) => rows.some((row) => (row.of.get(name)?.daemonPeakRssKiB ?? 0) > 0));
  if (daemons.length > 0) {
    parts.push(
      "## The daemon",
      "Processor time during the measured step in ms, system calls in the counted run, and the highest resident memory in MiB until then.",
      table(
        ["scenario", ...daemons],
        rows.map((row) => [
          rowName(row),
          ...daemons.map((name) => {
            const own = row.of.get(name);
            if (own?.summary === undefined) return "";
            return `${number(own.daemonCpuMs)} ms, ${own.counts?.daemonSyscalls === undefined ? "" : `${own.counts.daemonSyscalls} calls, `}${number(own.daemonPeakRssKiB / 1024)} MiB`;
          }),
        ]),
      ),
    );
  }

  const copied = rows.filter((row) => [...row.of.values()].some(({ counts }) => (counts?.upperBytes ?? 0) > 0));
  if (copied.length > 0) {
    parts.push(
      "## Bytes in the upper layer",
      "MiB of regular files after the run, written or copied up: their sizes, and what they take on the disk.",
      table(
        ["scenario", ...subjects],
        copied.map((row) => [
          rowName(row),
          ...subjects.map((name) => {
            const counts = row.of.get(name)?.counts;
            return counts === undefined ? "" : `${number(counts.upperBytes / 2 ** 20)}, ${number(counts.upperDiskBytes / 2 ** 20)}`;
          }),
        ]),
      ),
    );
  }

  parts.push("## Subjects", results.subjects.map(({ name, about, version, skipped }) => `- ${name}: ${about}; ${skipped === undefined ? version : `skipped: ${skipped}`}`).join("\n"));
  const notes = [
    ...results.scenarios.filter(({ skipped }) => skipped !== undefined).map(({ name, skipped }) => `- ${name} was skipped: ${skipped}`),
    ...results.results.filter(({ failures }) => failures.length > 0).map(({ scenario, subject, lowers, failures }) => `- ${scenario} on ${subject} over ${lowers} failed: ${failures[0]}`),
  ];
  if (notes.length > 0) parts.push("## Skipped and failed", notes.join("\n"));
  return `${parts.join("\n\n")}\n`;
}
