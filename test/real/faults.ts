/**
 * Many rounds of trouble (test/faults/rounds.ts): the server killed with SIGKILL, and the power cut, at random moments under load. `npm test` runs a few of
 * them; this runs as many as asked. Needs root and Linux 6.16, and a mount namespace of its own: a filesystem that lost its power is as new only when no other
 * namespace has a copy of its mount.
 *
 *   npm run test:faults [-- --rounds N] [--minutes N] [--seed N] [--only WORDS] [--data passthrough|cached] [--supervised]
 *
 * --only takes the troubles with these words in them; --supervised has all mounts supervised, as every second is otherwise, and servers killed one after the
 * other. It ends after so many rounds, or with the round in which so many minutes have passed.
 */
import { parseArgs } from "node:util";
import { Random } from "../model/random.js";
import { runRound, type Round } from "../faults/rounds.js";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "100" }, minutes: { type: "string", default: "Infinity" }, seed: { type: "string", default: String(Date.now() % 2 ** 31) }, only: { type: "string", default: "" }, data: { type: "string" }, supervised: { type: "boolean" } } });
const modes = ["passthrough", "cached"] as const;
if (values.data !== undefined && !modes.some((mode) => mode === values.data)) throw new Error(`--data is ${modes.join(" or ")}`);
const troubles: readonly Pick<Round, "trouble" | "filesystem">[] = [
  { trouble: "kill" }, { trouble: "kill" }, { trouble: "kill" }, { trouble: "kill of servers" },
  { trouble: "power cut", filesystem: "ext4" }, { trouble: "power cut", filesystem: "xfs" },
  { trouble: "power cut, journal flushed", filesystem: "ext4" }, { trouble: "power cut, journal flushed", filesystem: "xfs" },
];
const random = new Random(Number(values.seed));
const counts = { passed: 0, failed: 0 };
console.log(`seed ${values.seed}`);
const started = Date.now();
for (let i = 0; i < Number(values.rounds) && Date.now() - started < Number(values.minutes) * 60_000; i++) {
  const trouble = random.pick(troubles.filter(({ trouble }) => trouble.includes(values.only)));
  const supervised = values.supervised === true || trouble.trouble === "kill of servers" || random.below(2) === 0;
  const round: Round = { ...trouble, supervised, data: random.pick(modes.filter((mode) => mode === (values.data ?? mode))), marks: random.below(2) === 0, loadMs: 1500 };
  const title = `${i}: ${supervised ? "supervised, " : ""}${round.trouble}${round.filesystem === undefined ? "" : ` on ${round.filesystem}`}, ${round.data}, marks ${round.marks ? "on" : "off"}`;
  let problems: string[];
  try {
    problems = await runRound(round, random);
  } catch (error) {
    problems = [error instanceof Error ? error.stack ?? error.message : String(error)];
  }
  counts[problems.length === 0 ? "passed" : "failed"]++;
  console.log([`${problems.length === 0 ? "ok    " : "FAILED"} ${title}`, ...problems].join("\n         "));
}
console.log(`${counts.passed} passed, ${counts.failed} failed`);
// The patience of the last round still runs.
process.exit(counts.failed === 0 ? 0 : 1);
