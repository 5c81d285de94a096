/** The short table of the project's README: over ten lowers, what kernel overlayfs takes, and every other subject relative to it. */
import { measuredSubjects, number, ratio, rowsOf, times } from "./compare.js";
import type { Results } from "./results.js";
import { describe, table } from "./markdown.js";

const BASELINE = "kernel-overlayfs";

/** Markdown. Every scenario that has a number of the baseline is in it; where ten lowers were not measured, the first number that was. */
export function readmeTable(results: Results): string {
  const others = measuredSubjects(results).filter((name) => name !== BASELINE && name !== "plain");
  const rows = rowsOf(results);
  const lines = results.scenarios.flatMap(({ name, unit, about }) => {
    const own = rows.filter((row) => row.scenario.name === name);
    const row = own.find(({ lowers }) => lowers === 10) ?? own[0];
    const base = row?.of.get(BASELINE)?.summary;
    if (row === undefined || base === undefined) return [];
    return [
      [
        about,
        `${number(base.median)} ${unit}`,
        ...others.map((subject) => {
          const found = ratio(row, subject, BASELINE);
          return found === undefined ? "" : `${times(found.median)}×`;
        }),
      ],
    ];
  });
  return [...describe(results), table(["over 10 lowers", BASELINE, ...others], lines)].join("\n\n");
}
