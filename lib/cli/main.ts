/**
 * The command `stratafs`: finds out what is asked and loads only that. Exit status: 0, 1 when it failed, 2 for a wrong command
 * line; `run` ends with its command's own.
 */
import { basename } from "node:path";
import { endWith } from "./ending.js";
import { mountForm } from "./mount-arguments.js";
import { print } from "./output.js";
import { suggestion, UsageError } from "./usage.js";

type Command = (args: readonly string[]) => Promise<number>;

const commands: Readonly<Record<string, () => Promise<Command>>> = {
  mount: async () => (await import("./mount.js")).mountCommand,
  status: async () => (await import("./status.js")).statusCommand,
  upgrade: async () => (await import("./upgrade.js")).upgradeCommand,
  umount: async () => (await import("./umount.js")).umountCommand,
  run: async () => (await import("./run.js")).runCommand,
  diff: async () => (await import("./diff.js")).diffCommand,
  import: async () => (await import("./import.js")).importCommand,
  export: async () => (await import("./export.js")).exportCommand,
  images: async () => (await import("./images.js")).imagesCommand,
  tag: async () => (await import("./tag.js")).tagCommand,
  inspect: async () => (await import("./inspect.js")).inspectCommand,
  ls: async () => (await import("./ls.js")).lsCommand,
  cat: async () => (await import("./cat.js")).catCommand,
  create: async () => (await import("./create.js")).createCommand,
  ps: async () => (await import("./ps.js")).psCommand,
  rm: async () => (await import("./rm.js")).rmCommand,
  commit: async () => (await import("./commit.js")).commitCommand,
  squash: async () => (await import("./commit.js")).squashCommand,
  bundle: async () => (await import("./bundle.js")).bundleCommand,
  stats: async () => (await import("./stats.js")).statsCommand,
  fsck: async () => (await import("./fsck.js")).fsckCommand,
  dedup: async () => (await import("./dedup.js")).dedupCommand,
  sweep: async () => (await import("./sweep.js")).sweepCommand,
};

async function main(): Promise<number> {
  const args = process.argv.slice(2);
  if (basename(process.argv[1] ?? "") === "umount.fuse.stratafs") return (await import("./umount.js")).umountHelper(args);
  const form = mountForm(basename(process.argv[1] ?? ""), args, Object.keys(commands));
  if (form !== undefined) return (await import("./mount.js")).mountCommand(args, form);

  const [word, ...rest] = args;
  if (word === undefined || word === "help" || word === "--help" || word === "-h") return help(rest[0]);
  if (word === "--version" || word === "-V") return version();
  const load = Object.hasOwn(commands, word) ? commands[word] : undefined;
  if (load === undefined) {
    const kind = word.startsWith("-") ? "option" : "command";
    throw new UsageError(`unknown ${kind} ${word}${suggestion(word, Object.keys(commands)) || "; stratafs --help lists them"}`);
  }
  if (word !== "mount" && helpAsked(rest)) return help(word);
  return (await load())(rest);
}

/** --help or -h among a command's own arguments, not among those of what it runs. */
function helpAsked(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  return args.slice(0, end === -1 ? args.length : end).some((arg) => arg === "--help" || arg === "-h");
}

async function help(topic: string | undefined): Promise<number> {
  const { helpText } = await import("./help.js");
  print(helpText(topic));
  return 0;
}

async function version(): Promise<number> {
  const { packageVersion } = await import("./version.js");
  print(`stratafs: version ${packageVersion()}`);
  return 0;
}

endWith(main());
