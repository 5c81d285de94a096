/** The results as one self-contained page: no script, no network, plots as inline SVG. Ratios first, absolute numbers second. */
import { GROUPS } from "../scenarios/scenario.js";
import { baselines, comparedWith, goalLines, measuredSubjects, number, ratio, rowsOf, standingLine, standings, times, type Row } from "./compare.js";
import { describe, requestsOf } from "./markdown.js";
import { escaped, domainOf, growthPlot, mark, ratioPlot } from "./plot.js";
import type { Results } from "./results.js";

/** By the order of the subjects; on a light and on a dark page. */
const COLOURS: readonly (readonly [string, string])[] = [
  ["#1667d9", "#6aa8ff"],
  ["#0a8f7b", "#3fd0b6"],
  ["#8b3fd1", "#c59bff"],
  ["#3c4650", "#c9d1d9"],
  ["#d9480f", "#ff9a62"],
  ["#b8860b", "#e8c04a"],
  ["#c2255c", "#ff86ab"],
  ["#8a949e", "#78828c"],
  ["#5f7a00", "#a9cf3a"],
  ["#0b7fab", "#58c8f0"],
  ["#a8326d", "#f08fc0"],
  ["#7a4b1e", "#c99566"],
  ["#4b3fb5", "#a49bff"],
  ["#2e7d32", "#7bc67f"],
  ["#b5473c", "#f29c92"],
];

const colour = (index: number): readonly [string, string] => COLOURS[index % COLOURS.length] ?? ["#000", "#fff"];

function style(subjects: readonly string[]): string {
  const classes = (dark: 0 | 1) => subjects.map((_, i) => `.s${i}{fill:${colour(i)[dark]};stroke:${colour(i)[dark]}}`).join("");
  return `
:root{color-scheme:light dark;--ink:#1b2229;--soft:#5b6670;--line:#dfe4e8;--paper:#fff;--card:#f7f9fa;--faster:#eef6f1;--good:#0a7a4b;--bad:#b3261e}
${classes(0)}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaee;--soft:#9aa5af;--line:#2f3740;--paper:#14181c;--card:#1b2026;--faster:#17241d;--good:#4cc38a;--bad:#ff8a80}${classes(1)}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1060px;padding:28px 24px 80px;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{font-size:26px;margin:0 0 8px}h2{font-size:20px;margin:44px 0 4px}h3{font-size:15px;margin:22px 0 4px}
p{margin:4px 0 10px;color:var(--soft);max-width:80ch}code{font-size:13px;overflow-wrap:anywhere}
svg{display:block;width:100%;height:auto}svg text{fill:var(--ink);font:12px system-ui,sans-serif;stroke:none}
svg text.tick,svg .hint,svg text.count{fill:var(--soft);font-size:11px}svg text.label{font-size:12.5px;font-weight:600}svg tspan.hint{font-weight:400}
.grid{stroke:var(--line)}.between{stroke:var(--line);stroke-dasharray:2 3}.one{stroke:var(--ink);stroke-width:1.4}.faster{fill:var(--faster)}
.bar{stroke-width:3;opacity:.45}circle,rect[class^=s],polygon{fill-opacity:.85}.line{fill:none!important;stroke-width:1.8}
.legend{position:sticky;top:0;z-index:3;display:flex;flex-wrap:wrap;gap:4px 18px;background:var(--paper);padding:10px 0;border-bottom:1px solid var(--line);font-size:13px}
.legend span{display:inline-flex;align-items:center;gap:6px}.legend svg{width:14px;height:14px}
.small{display:grid;grid-template-columns:repeat(auto-fill,minmax(290px,1fr));gap:14px}.small>div{background:var(--card);border-radius:8px;padding:8px}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px;margin-top:8px}table{border-collapse:collapse;font-size:13px;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}th{background:var(--card);font-weight:600;vertical-align:bottom}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--paper)}thead th:first-child{background:var(--card)}tr:last-child td{border-bottom:0}td small{color:var(--soft)}
td.group{font-weight:600;background:var(--card)!important;text-align:left}.good{color:var(--good)}.bad{color:var(--bad)}li{margin:2px 0}`;
}

const section = (title: string, about: string, body: string): string => (body === "" ? "" : `<h2>${title}</h2>${about === "" ? "" : `<p>${about}</p>`}${body}`);

const byGroup = (rows: readonly Row[], each: (rows: Row[], group: string) => string): string =>
  GROUPS.map((group) => {
    const own = rows.filter((row) => row.scenario.group === group);
    return own.length === 0 ? "" : each(own, group);
  }).join("");

function table(head: readonly string[], body: string): string {
  return `<div class="scroll"><table><thead><tr>${head.map((cell) => `<th>${escaped(cell)}</th>`).join("")}</tr></thead><tbody>${body}</tbody></table></div>`;
}

const label = (row: Row): string => `<td title="${escaped(row.scenario.about)}">${escaped(row.scenario.name)} <small>${row.lowers}</small></td>`;

/** A table over all rows, headed by their groups. */
function rowsTable(rows: readonly Row[], subjects: readonly string[], cell: (row: Row, subject: string) => string): string {
  const body = byGroup(rows, (own, group) => {
    const lines = own.map((row) => `<tr>${label(row)}${subjects.map((name) => `<td>${cell(row, name)}</td>`).join("")}</tr>`);
    return `<tr><td class="group" colspan="${subjects.length + 1}">${group}</td></tr>${lines.join("")}`;
  });
  return table(["scenario, lowers", ...subjects], body);
}

/** `all` gives each subject its mark; `subjects` are those with numbers. */
function ratios(rows: readonly Row[], all: readonly string[], subjects: readonly string[], baseline: string): string {
  const domain = domainOf(rows, all, baseline);
  const plots = byGroup(rows, (own, group) => {
    const plot = ratioPlot(own, all, baseline, domain);
    return plot === "" ? "" : `<h3>${group}</h3>${plot}`;
  });
  const others = comparedWith(rows, subjects, baseline);
  const numbers = rowsTable(rows.filter((row) => row.of.get(baseline)?.summary !== undefined), others, (row, name) => {
    const found = ratio(row, name, baseline);
    return found === undefined ? "" : `${times(found.median)} <small>${times(found.low)}–${times(found.high)}</small>`;
  });
  return plots === "" ? "" : `${plots}<details><summary>as numbers</summary>${numbers}</details>`;
}

function growth(rows: readonly Row[], subjects: readonly string[]): string {
  const names = [...new Set(rows.map((row) => row.scenario.name))];
  const plots = names.map((name) => growthPlot(rows.filter((row) => row.scenario.name === name), subjects)).filter((plot) => plot !== "");
  return plots.length === 0 ? "" : `<div class="small">${plots.map((plot) => `<div>${plot}</div>`).join("")}</div>`;
}

function goals(results: Results): string {
  const lines = goalLines(results).map((goal) => {
    const reached = goal.found <= goal.wanted;
    return `<tr><td>${escaped(goal.scenario)} <small>${goal.lowers}</small></td><td>${escaped(goal.subject)}</td><td>${escaped(goal.against)}</td><td>${times(goal.wanted)}</td><td>${times(goal.found)}</td><td class="${reached ? "good" : "bad"}">${reached ? "reached" : "missed"}</td></tr>`;
  });
  return lines.length === 0 ? "" : table(["scenario, lowers", "subject", "against", "at most", "measured", ""], lines.join(""));
}

export function htmlReport(results: Results): string {
  const rows = rowsOf(results);
  // Marks and colours belong to the place in the whole list, so that they stay when one is missing.
  const all = results.subjects.map(({ name }) => name);
  const subjects = measuredSubjects(results);
  const legend = subjects.map((name) => `<span><svg viewBox="0 0 14 14">${mark(all.indexOf(name), 7, 7, name)}</svg>${escaped(name)}</span>`).join("");
  const requests = subjects.filter((name) => rows.some((row) => Object.keys(row.of.get(name)?.counts?.requests ?? {}).length > 0));
  const daemons = subjects.filter((name) => rows.some((row) => (row.of.get(name)?.daemonPeakRssKiB ?? 0) > 0));
  const copied = rows.filter((row) => [...row.of.values()].some(({ counts }) => (counts?.upperBytes ?? 0) > 0));
  const notes = [
    ...results.subjects.map(({ name, about, version, skipped }) => `<li><b>${escaped(name)}</b>: ${escaped(about)}; ${escaped(skipped === undefined ? (version ?? "") : `skipped: ${skipped}`)}</li>`),
    ...results.scenarios.filter(({ skipped }) => skipped !== undefined).map(({ name, skipped }) => `<li><b>${escaped(name)}</b> was skipped: ${escaped(skipped ?? "")}</li>`),
    ...results.results
      .filter(({ failures }) => failures.length > 0)
      .map(({ scenario, subject, lowers, failures }) => `<li class="bad">${escaped(scenario)} on ${escaped(subject)} over ${lowers} failed: ${escaped(failures[0] ?? "")}</li>`),
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>stratafs benchmark ${results.startedAt.slice(0, 10)}</title><style>${style(all)}</style></head><body>
<h1>stratafs benchmark</h1>
${describe(results).map((line) => `<p>${escaped(line).replace(/`([^`]*)`/g, "<code>$1</code>")}</p>`).join("\n")}
<div class="legend">${legend}</div>
${baselines(results).map((baseline) => section(`Time relative to ${baseline}`, "Median time divided by the baseline's median, on a logarithmic axis; 1 is as fast, to the left is faster, throughputs are turned over. Bars span the middle half of the runs.", ratios(rows, all, subjects, baseline))).join("\n")}
${section("Speeds to reach", "Ratios of medians, over ten lowers where they were measured.", goals(results))}
${section("Against fuse-overlayfs, row by row", "", standings(results).length === 0 ? "" : `<ul>${standings(results).map((each) => `<li>${escaped(standingLine(each))}</li>`).join("")}</ul>`)}
${section("As layers are added", "Medians over the number of lower layers, both axes logarithmic.", growth(rows, all))}
${section("Absolute numbers", "Medians, and the middle half of the runs.", rowsTable(rows, subjects, (row, name) => {
    const own = row.of.get(name);
    if (own === undefined) return "";
    return own.summary === undefined ? '<span class="bad">failed</span>' : `${number(own.summary.median)} ${row.scenario.unit} <small>${number(own.summary.q1)}–${number(own.summary.q3)}</small>`;
  }))}
${requests.length === 0 ? "" : section("FUSE requests per operation", "From the kernel's tracepoint, in the discarded run; the three most frequent by name.", rowsTable(rows, requests, (row, name) => escaped(requestsOf(row, name))))}
${daemons.length === 0 ? "" : section("The daemon", "Processor time during the measured step, system calls in the counted run, and the highest resident memory until then.", rowsTable(rows, daemons, (row, name) => {
    const own = row.of.get(name);
    return own?.summary === undefined ? "" : `${number(own.daemonCpuMs)} ms <small>${own.counts?.daemonSyscalls === undefined ? "" : `${own.counts.daemonSyscalls} calls, `}${number(own.daemonPeakRssKiB / 1024)} MiB</small>`;
  }))}
${copied.length === 0 ? "" : section("Bytes in the upper layer", "MiB of regular files after the run, written or copied up: their sizes, and what they take on the disk.", rowsTable(copied, subjects, (row, name) => {
    const counts = row.of.get(name)?.counts;
    return counts === undefined ? "" : `${number(counts.upperBytes / 2 ** 20)} <small>${number(counts.upperDiskBytes / 2 ** 20)}</small>`;
  }))}
<h2>Subjects, and what was skipped or failed</h2><ul>${notes.join("")}</ul>
</body></html>
`;
}
