/**
 * Plots as inline SVG. Colours come from the page's CSS classes (s0, s1, … in the order of the subjects), so that they follow
 * a dark or a light page; every subject also has its own mark, so that nothing is told by colour alone.
 */
import { ratio, times, type Row } from "./compare.js";

export const escaped = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

const SHAPES = 6;

/** A mark of the subject's shape and class, centred. `tip` is shown on hover. */
export function mark(index: number, x: number, y: number, tip: string): string {
  const r = 4.5;
  const points = (...list: number[]) => `<polygon points="${list.map((v, i) => (v + (i % 2 === 0 ? x : y)).toFixed(1)).join(" ")}"`;
  const shapes = [
    `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${r}"`,
    `<rect x="${(x - 4).toFixed(1)}" y="${(y - 4).toFixed(1)}" width="8" height="8"`,
    points(0, -5.5, 5.5, 0, 0, 5.5, -5.5, 0),
    points(0, -5, 5, 4, -5, 4),
    points(0, 5, 5, -4, -5, -4),
    points(-5, 0, -2, -5, 2, -5, 5, 0, 2, 5, -2, 5),
  ];
  return `${shapes[index % SHAPES]} class="s${index}"><title>${escaped(tip)}</title></${["circle", "rect"][index % SHAPES] ?? "polygon"}>`;
}

const LABEL_WIDTH = 250;
const WIDTH = 940;
const ROW = 24;
/** On both sides of the axis: room for arrows and numbers of what lies beyond it. */
const MARGIN = 46;

/** The axis, in powers of two. */
export interface Domain {
  readonly low: number;
  readonly high: number;
}

/**
 * One axis for all plots of a page, so that 1 is always at the same place. What lies beyond 1/32 or 64 is drawn at the edge
 * with an arrow and its number.
 */
export function domainOf(rows: readonly Row[], subjects: readonly string[], baseline: string): Domain {
  const exponents = rows.flatMap((row) => subjects.flatMap((name) => (name === baseline ? [] : Math.log2(ratio(row, name, baseline)?.median ?? 1))));
  return { low: Math.max(-5, Math.floor(Math.min(-1, ...exponents) - 0.15)), high: Math.min(6, Math.ceil(Math.max(1, ...exponents) + 0.15)) };
}

const powerName = (exponent: number): string => (exponent < 0 ? `1/${2 ** -exponent}` : `${2 ** exponent}`);

/** One line per row; each subject a mark at its time relative to the baseline, with the middle half of its samples as a bar. */
export function ratioPlot(rows: readonly Row[], subjects: readonly string[], baseline: string, { low, high }: Domain): string {
  const shown = rows.filter((row) => subjects.some((name) => name !== baseline && ratio(row, name, baseline) !== undefined));
  if (shown.length === 0) return "";
  const left = LABEL_WIDTH + MARGIN;
  const x = (value: number) => left + ((Math.min(high, Math.max(low, Math.log2(value))) - low) / (high - low)) * (WIDTH - left - MARGIN);
  const top = 34;
  const height = top + shown.length * ROW + 8;
  const out: string[] = [];
  const one = x(1);
  out.push(`<rect class="faster" x="${LABEL_WIDTH}" y="${top - 4}" width="${(one - LABEL_WIDTH).toFixed(1)}" height="${height - top}"/>`);
  out.push(`<text class="hint" x="${one - 6}" y="12" text-anchor="end">← faster</text><text class="hint" x="${one + 6}" y="12">slower →</text>`);
  for (let e = low; e <= high; e++) {
    const at = x(2 ** e);
    out.push(`<line class="${e === 0 ? "one" : "grid"}" x1="${at}" x2="${at}" y1="${top - 4}" y2="${height - 4}"/>`);
    out.push(`<text class="tick" x="${at}" y="26" text-anchor="middle">${powerName(e)}</text>`);
  }
  let before = "";
  shown.forEach((row, i) => {
    const y = top + i * ROW + ROW / 2;
    const { name } = row.scenario;
    if (name !== before) {
      if (i > 0) out.push(`<line class="between" x1="0" x2="${WIDTH}" y1="${y - ROW / 2}" y2="${y - ROW / 2}"/>`);
      out.push(`<text class="label" x="4" y="${y + 4}"><title>${escaped(row.scenario.about)}</title>${escaped(name)}</text>`);
    }
    before = name;
    out.push(`<text class="count" x="${LABEL_WIDTH - 12}" y="${y + 4}" text-anchor="end">${row.lowers}</text>`);
    subjects.forEach((subject, index) => {
      const found = subject === baseline ? undefined : ratio(row, subject, baseline);
      if (found === undefined) return;
      const tip = `${subject}: ${times(found.median)} (${times(found.low)}–${times(found.high)}) of the time of ${baseline}; ${name}, ${row.lowers} lowers`;
      out.push(`<line class="bar s${index}" x1="${x(found.low).toFixed(1)}" x2="${x(found.high).toFixed(1)}" y1="${y}" y2="${y}"/>`);
      out.push(mark(index, x(found.median), y, tip));
      const exponent = Math.log2(found.median);
      if (exponent < low) out.push(`<text class="tick" x="${x(found.median) - 8}" y="${y + 4}" text-anchor="end">‹${times(found.median)}</text>`);
      if (exponent > high) out.push(`<text class="tick" x="${x(found.median) + 8}" y="${y + 4}">${times(found.median)}›</text>`);
    });
  });
  out.push(`<text class="hint" x="${LABEL_WIDTH - 12}" y="${top - 8}" text-anchor="end">lowers</text>`);
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Time relative to ${escaped(baseline)}">${out.join("")}</svg>`;
}

/** How one scenario's medians grow with the number of lowers; both axes logarithmic. Empty with fewer than two numbers of lowers. */
export function growthPlot(rows: readonly Row[], subjects: readonly string[]): string {
  const first = rows[0];
  if (first === undefined || rows.length < 2) return "";
  const values = rows.flatMap((row) => subjects.flatMap((name) => row.of.get(name)?.summary?.median ?? [])).filter((value) => value > 0);
  if (values.length === 0) return "";
  const [width, height, left, bottom, top] = [300, 190, 46, 24, 24];
  const low = Math.log10(Math.min(...values)) - 0.05;
  const high = Math.max(Math.log10(Math.max(...values)) + 0.05, low + 0.3);
  const counts = rows.map(({ lowers }) => Math.log10(lowers));
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  const x = (lowers: number) => left + ((Math.log10(lowers) - least) / (most - least)) * (width - left - 14);
  const y = (value: number) => height - bottom - ((Math.log10(value) - low) / (high - low)) * (height - bottom - top);
  const out = [`<text class="label" x="4" y="13"><title>${escaped(first.scenario.about)}</title>${escaped(first.scenario.name)} <tspan class="hint">${first.scenario.unit}</tspan></text>`];
  for (const tick of ticks(low, high)) {
    out.push(`<line class="grid" x1="${left}" x2="${width - 8}" y1="${y(tick)}" y2="${y(tick)}"/><text class="tick" x="${left - 5}" y="${y(tick) + 4}" text-anchor="end">${tick >= 1000 ? `${tick / 1000}k` : Number(tick.toPrecision(2))}</text>`);
  }
  for (const row of rows) out.push(`<text class="tick" x="${x(row.lowers)}" y="${height - 7}" text-anchor="middle">${row.lowers}</text>`);
  subjects.forEach((subject, index) => {
    const points = rows.flatMap((row) => {
      const median = row.of.get(subject)?.summary?.median;
      return median === undefined || median <= 0 ? [] : [{ at: x(row.lowers), y: y(median), median, lowers: row.lowers }];
    });
    if (points.length > 1) out.push(`<polyline class="line s${index}" points="${points.map((p) => `${p.at.toFixed(1)},${p.y.toFixed(1)}`).join(" ")}"/>`);
    for (const p of points) out.push(mark(index, p.at, p.y, `${subject}: ${p.median.toPrecision(3)} ${first.scenario.unit}, ${p.lowers} lowers`));
  });
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(first.scenario.name)} by number of lowers">${out.join("")}</svg>`;
}

/** 1, 2, 5 times powers of ten within a range of logarithms; fewer when they would be many. */
function ticks(low: number, high: number): number[] {
  const steps = high - low > 2.2 ? [1] : high - low > 1 ? [1, 3] : [1, 2, 5];
  const out: number[] = [];
  for (let e = Math.floor(low); e <= Math.ceil(high); e++) {
    for (const step of steps) {
      const value = step * 10 ** e;
      if (Math.log10(value) >= low && Math.log10(value) <= high) out.push(value);
    }
  }
  return out;
}
