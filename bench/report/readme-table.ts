/**
 * The tables of the project's README: what kernel overlayfs takes and every other subject relative to it; then, of what has no such
 * baseline (daemons, images), the numbers themselves.
 */
import { measuredSubjects, number, ratio, rowsOf, times, type Row } from "./compare.js";
import { describe, table } from "./markdown.js";
import type { Results } from "./results.js";

const BASELINE = "kernel-overlayfs";

const label = ({ scenario, lowers }: Row): string => `${scenario.about}${lowers === 10 ? "" : ` (${lowers} ${lowers === 1 ? "lower" : "lowers"})`}`;
const median = (row: Row, subject: string): number | undefined => row.of.get(subject)?.summary?.median;

/** Markdown. Every row that has a number is in one of the tables. */
export function readmeTable(results: Results): string {
  const rows = rowsOf(results);
  const subjects = measuredSubjects(results);
  const compared = rows.filter((row) => median(row, BASELINE) !== undefined);
  const alone = rows.filter((row) => !compared.includes(row) && subjects.some((name) => median(row, name) !== undefined));
  const out = describe(results);
  if (compared.length > 0) {
    const others = subjects.filter((name) => name !== BASELINE && name !== "plain" && compared.some((row) => ratio(row, name, BASELINE) !== undefined));
    const lines = compared.map((row) => [
      label(row),
      `${number(median(row, BASELINE) ?? 0)} ${row.scenario.unit}`,
      ...others.map((subject) => {
        const found = ratio(row, subject, BASELINE);
        return found === undefined ? "" : `${times(found.median)}×`;
      }),
    ]);
    out.push(`Medians over ten lowers. Of ${BASELINE} the number itself, of the others the time relative to it: below 1 is faster (throughputs are turned over).`, table(["", BASELINE, ...others], lines));
  }
  if (alone.length > 0) {
    const own = subjects.filter((name) => alone.some((row) => median(row, name) !== undefined));
    const cell = (row: Row, subject: string) => {
      const value = median(row, subject);
      return value === undefined ? "" : `${number(value)} ${row.scenario.unit}`;
    };
    out.push("What has nothing to be compared with in the kernel, as medians:", table(["", ...own], alone.map((row) => [label(row), ...own.map((subject) => cell(row, subject))])));
  }
  return out.join("\n\n");
}

/** Where a file has its place for these results. */
export function marks({ preset }: Results): readonly [string, string] {
  const name = preset === undefined ? "bench" : `bench ${preset}`;
  return [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
}

/** The text with its tables replaced, or undefined where it has no place for them. */
export function withTable(text: string, results: Results): string | undefined {
  const [opening, closing] = marks(results);
  const [begin, end] = [text.indexOf(opening), text.indexOf(closing)];
  if (begin < 0 || end < begin) return undefined;
  return `${text.slice(0, begin + opening.length)}\n${readmeTable(results)}\n${text.slice(end)}`;
}
