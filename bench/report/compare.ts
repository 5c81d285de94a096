/**
 * Results turned into what the reports show. Ratios are always of times: 1 is the baseline's time, below 1 is faster, whatever
 * the scenario's unit; a throughput is turned over for that.
 */
import { higherIsBetter } from "../scenarios/scenario.js";
import type { Result, Results, ScenarioRecord } from "./results.js";

const KERNEL = "kernel-overlayfs";
const isFuseOverlayfs = (name: string): boolean => name === "fuse-overlayfs" || name.startsWith("fuse-overlayfs-");

/** What others are compared with: kernel overlayfs, and fuse-overlayfs in each version there is, peers before Debian's. */
export function baselines(results: Results): string[] {
  const names = measuredSubjects(results);
  return [...names.filter((name) => name === KERNEL), ...names.filter(isFuseOverlayfs).sort((a, b) => b.length - a.length)];
}

/** One scenario over one number of lowers, with what each subject did. */
export interface Row {
  readonly scenario: ScenarioRecord;
  readonly lowers: number;
  readonly of: ReadonlyMap<string, Result>;
}

export interface Ratio {
  readonly median: number;
  /** Of the middle half of the subject's samples, against the baseline's median. */
  readonly low: number;
  readonly high: number;
}

export function rowsOf(results: Results): Row[] {
  const rows: Row[] = [];
  for (const scenario of results.scenarios) {
    const own = results.results.filter((each) => each.scenario === scenario.name);
    for (const lowers of [...new Set(own.map((each) => each.lowers))].sort((a, b) => a - b)) {
      rows.push({ scenario, lowers, of: new Map(own.filter((each) => each.lowers === lowers).map((each) => [each.subject, each])) });
    }
  }
  return rows;
}

/** Subjects that have numbers, in the order of the report. */
export const measuredSubjects = (results: Results): string[] =>
  results.subjects.map(({ name }) => name).filter((name) => results.results.some((each) => each.subject === name && each.summary !== undefined));

/** Undefined where one of them has no number, or the baseline's is nothing. */
export function ratio(row: Row, subject: string, baseline: string): Ratio | undefined {
  const own = row.of.get(subject)?.summary;
  const base = row.of.get(baseline)?.summary?.median;
  if (own === undefined || base === undefined || base <= 0 || own.median <= 0) return undefined;
  if (higherIsBetter(row.scenario.unit)) return { median: base / own.median, low: base / own.q3, high: base / own.q1 };
  return { median: own.median / base, low: own.q1 / base, high: own.q3 / base };
}

/** Subjects other than the baseline that have a row in common with it. */
export const comparedWith = (rows: readonly Row[], subjects: readonly string[], baseline: string): string[] =>
  subjects.filter((name) => name !== baseline && rows.some((row) => ratio(row, name, baseline) !== undefined));

export interface Standing {
  readonly subject: string;
  readonly baseline: string;
  readonly rows: number;
  /** The rows in which the subject takes longer, or more, the worst first. */
  readonly behind: readonly { readonly row: Row; readonly ratio: number }[];
}

/** How each of our subjects stands against each fuse-overlayfs, over all rows. The host fuse-native is a baseline itself. */
export function standings(results: Results): Standing[] {
  const rows = rowsOf(results);
  const ours = measuredSubjects(results).filter((name) => name.startsWith("stratafs-") && name !== "stratafs-fuse-native");
  return baselines(results).filter(isFuseOverlayfs).flatMap((baseline) =>
    comparedWith(rows, ours, baseline).map((subject) => {
      const found = rows.flatMap((row) => {
        const of = ratio(row, subject, baseline);
        return of === undefined ? [] : [{ row, ratio: of.median }];
      });
      return { subject, baseline, rows: found.length, behind: found.filter((each) => each.ratio > 1).sort((a, b) => b.ratio - a.ratio) };
    }),
  );
}

/** One line of words for it. */
export const standingLine = ({ subject, baseline, rows, behind }: Standing): string =>
  `${subject} is ahead of ${baseline} in ${rows - behind.length} of ${rows} rows${behind.length === 0 ? "" : `; behind in ${behind.map((each) => `${rowName(each.row)} (${times(each.ratio)})`).join(", ")}`}`;

export interface GoalLine {
  readonly scenario: string;
  readonly lowers: number;
  readonly subject: string;
  readonly against: string;
  readonly wanted: number;
  readonly found: number;
}

/** Speeds to reach. Those against another subject are taken over ten lowers, or over what there is where ten were not measured. */
export function goalLines(results: Results): GoalLine[] {
  const rows = rowsOf(results);
  const out: GoalLine[] = [];
  for (const scenario of results.scenarios) {
    const own = rows.filter((each) => each.scenario === scenario);
    const row = own.find(({ lowers }) => lowers === 10) ?? own[0];
    if (row === undefined) continue;
    for (const goal of scenario.goals) {
      if (goal.against === "ten-lowers") {
        const [ten, hundred] = [10, 100].map((count) => own.find(({ lowers }) => lowers === count)?.of.get(goal.subject)?.summary?.median);
        if (ten === undefined || hundred === undefined) continue;
        out.push({ scenario: scenario.name, lowers: 100, subject: goal.subject, against: "itself over 10 lowers", wanted: goal.ratio, found: hundred / ten });
        continue;
      }
      if (goal.unprivileged === true && results.environment.user !== "unprivileged") continue;
      const against = goal.against === KERNEL ? KERNEL : baselines(results).find(isFuseOverlayfs);
      const found = against === undefined ? undefined : ratio(row, goal.subject, against);
      if (against !== undefined && found !== undefined) out.push({ scenario: scenario.name, lowers: row.lowers, subject: goal.subject, against, wanted: goal.ratio, found: found.median });
    }
  }
  return out;
}

/** Three significant digits, without an exponent. */
export function number(value: number): string {
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return digits === 0 ? String(Math.round(value)) : value.toFixed(Math.min(digits, 4));
}

/** Two digits are what a ratio can bear. */
export const times = (value: number): string => (value >= 9.95 ? value.toFixed(0) : value.toFixed(value >= 0.095 ? 2 : 3));

export const rowName = (row: Row): string => `${row.scenario.name}, ${row.lowers} ${row.lowers === 1 ? "lower" : "lowers"}`;
