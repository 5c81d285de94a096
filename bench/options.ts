/** The harness's command line. Throws OptionError with one line. */
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { PRESETS, type Preset } from "./presets.js";
import type { Peer } from "./subjects/subjects.js";

export interface Options {
  /** What is named by options stands before what the preset says. */
  readonly preset: Preset | undefined;
  /** Names, or beginnings of names; empty for all. */
  readonly scenarios: readonly string[];
  readonly subjects: readonly string[];
  readonly runs: number;
  /** Undefined: what the preset says for each scenario. */
  readonly lowers: readonly number[] | undefined;
  readonly json: string | undefined;
  /** Results that this run's are added to. */
  readonly addTo: string | undefined;
  readonly peers: readonly Peer[];
  readonly quick: boolean;
  /** Begin with a run that is discarded and counts. */
  readonly count: boolean;
  readonly unprivileged: boolean;
  readonly work: string;
  readonly seed: number;
  readonly timeoutMs: number;
  /** Only: list, make a report of this file, or help. */
  readonly list: boolean;
  /** Make the fixtures and end. */
  readonly prepare: boolean;
  readonly report: string | undefined;
  readonly table: string | undefined;
  /** A Markdown file with a place for the tables. */
  readonly into: string | undefined;
  readonly help: boolean;
}

export class OptionError extends Error {}

export const HELP = `npm run bench -- [OPTIONS]

  --preset NAME      a plan: ${PRESETS.map(({ name, about }) => `${name}, ${about}`).join("; ")}; other options change it
  --scenario NAME    only this scenario, or, where there is none, all whose name begins with NAME-; may be repeated, or a,b
  --subject NAME     only this subject; the same
  --lowers 1,10,100  numbers of lower layers
  --runs N           counted runs of each cell (5), after one that is discarded and counts requests
  --json FILE        where results go (bench/results/DATE.json); FILE's .md and .html beside it
  --add-to FILE      keep in FILE what this run does not measure, and put its results there too: a plan in several parts
  --peer NAME=PATH   one more subject: a mount program that takes fuse-overlayfs's options; may be repeated
  --unprivileged     run every subject as an ordinary user in a user namespace
  --quick            small sizes, one run: shows that everything works, measures nothing
  --prepare          only make the fixtures, which takes minutes and is kept
  --count            count requests in a quick session too
  --work DIR         where fixtures are kept and mounts are made (TMPDIR/stratafs-bench)
  --seed N           order of the subjects
  --timeout SECONDS  longest time of one run (600)
  --report FILE      make the reports of FILE again, measure nothing
  --table FILE       print the tables for the project's README from FILE
  --into README.md   write them into this file, between its marks <!-- bench PRESET: begin --> and <!-- bench PRESET: end -->, after
                     measuring or from --table
  --list             list scenarios and subjects`;

function positive(text: string, option: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new OptionError(`--${option} takes a whole number from 1, found "${text}"`);
  return value;
}

const names = (values: readonly string[] | undefined): string[] => (values ?? []).flatMap((value) => value.split(",")).filter((name) => name !== "");

export function readOptions(args: readonly string[]): Options {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        preset: { type: "string" },
        scenario: { type: "string", multiple: true },
        subject: { type: "string", multiple: true },
        runs: { type: "string" },
        lowers: { type: "string" },
        json: { type: "string" },
        "add-to": { type: "string" },
        peer: { type: "string", multiple: true },
        quick: { type: "boolean", default: false },
        count: { type: "boolean", default: false },
        unprivileged: { type: "boolean", default: false },
        work: { type: "string" },
        seed: { type: "string" },
        timeout: { type: "string" },
        report: { type: "string" },
        table: { type: "string" },
        into: { type: "string" },
        list: { type: "boolean", default: false },
        prepare: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }));
  } catch (error) {
    throw new OptionError(error instanceof Error ? error.message : String(error));
  }
  const peers = (values.peer ?? []).map((value): Peer => {
    const at = value.indexOf("=");
    if (at < 1 || at === value.length - 1) throw new OptionError(`--peer takes NAME=PATH, found "${value}"`);
    return { name: value.slice(0, at), path: value.slice(at + 1).includes("/") ? resolve(value.slice(at + 1)) : value.slice(at + 1) };
  });
  const preset = PRESETS.find(({ name }) => name === values.preset);
  if (values.preset !== undefined && preset === undefined) throw new OptionError(`no preset is called ${values.preset}; there are ${PRESETS.map(({ name }) => name).join(", ")}`);
  const [scenarios, subjects] = [names(values.scenario), names(values.subject)];
  const lowers = values.quick ? [3] : preset === undefined ? [1, 10, 100] : undefined;
  return {
    preset,
    scenarios: scenarios.length > 0 ? scenarios : Object.keys(preset?.scenarios ?? {}),
    subjects: subjects.length > 0 ? subjects : (preset === undefined ? [] : [...preset.subjects, ...peers.map(({ name }) => name)]),
    runs: values.runs === undefined ? (values.quick ? 1 : preset?.runs ?? 5) : positive(values.runs, "runs"),
    lowers: values.lowers === undefined ? lowers : names([values.lowers]).map((each) => positive(each, "lowers")),
    json: values.json === undefined ? undefined : resolve(values.json),
    addTo: values["add-to"] === undefined ? undefined : resolve(values["add-to"]),
    peers,
    quick: values.quick,
    count: values.count || !values.quick,
    unprivileged: values.unprivileged || preset?.unprivileged === true || process.getuid?.() !== 0,
    work: resolve(values.work ?? join(tmpdir(), "stratafs-bench")),
    seed: values.seed === undefined ? (Date.now() % 1_000_000) + 1 : positive(values.seed, "seed"),
    timeoutMs: (values.timeout === undefined ? 600 : positive(values.timeout, "timeout")) * 1000,
    list: values.list,
    prepare: values.prepare,
    report: values.report,
    table: values.table,
    into: values.into === undefined ? undefined : resolve(values.into),
    help: values.help,
  };
}

/** Those that are named. Throws for a name that is nobody's. */
export function chosen<T extends { readonly name: string }>(all: readonly T[], wanted: readonly string[], what: string): readonly T[] {
  if (wanted.length === 0) return all;
  const exact = new Set(all.map(({ name }) => name));
  const fits = (name: string, want: string) => name === want || (!exact.has(want) && name.startsWith(`${want}-`));
  for (const want of wanted) {
    if (!all.some(({ name }) => fits(name, want))) throw new OptionError(`no ${what} is called ${want}; there are ${all.map(({ name }) => name).join(", ")}`);
  }
  return all.filter(({ name }) => wanted.some((want) => fits(name, want)));
}
