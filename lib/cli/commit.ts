/** `stratafs commit` and `stratafs squash`: new images from what the store has. */
import { commitContainer, squashImage, type CommitEvent, type CommitOptions, type Store } from "../index.js";
import { readArguments, sourceDateEpoch, takeArguments } from "./arguments.js";
import { asRoot } from "./inside.js";
import { complain, print } from "./output.js";
import { printEvent, ProgressBar, sizeText, untilInterrupted } from "./progress.js";
import { shownPath } from "./shown-path.js";
import { storeFor, storeIds, storeOption } from "./store-options.js";
import { UsageError } from "./usage.js";

const options = {
  ...storeOption, message: { type: "string", short: "m" }, author: { type: "string", short: "a" }, cmd: { type: "string" }, entrypoint: { type: "string" },
  env: { type: "string", multiple: true }, workdir: { type: "string" }, user: { type: "string" }, json: { type: "boolean" },
} as const;

/** Throws UsageError, StoreError, ImageError. */
export async function commitCommand(args: readonly string[]): Promise<number> {
  const { source, name, values } = read("commit", args, "CONTAINER");
  // An ordinary user's container holds files of his subordinate ids, which only their own namespace may read.
  return await asRoot("commit", args, () => make("commit", values, source, name, commitContainer));
}

/** Throws UsageError, StoreError, ImageError. */
export async function squashCommand(args: readonly string[]): Promise<number> {
  const { source, name, values } = read("squash", args, "IMAGE");
  return await make("squash", values, source, name, squashImage);
}

type Values = ReturnType<typeof readArguments<typeof options>>["values"];

function read(command: string, args: readonly string[], what: string): { source: string; name: string; values: Values } {
  const { values, positionals } = readArguments(command, args, options);
  const [source, name] = takeArguments(command, positionals, what, "IMAGE");
  sourceDateEpoch(command);
  configOf(command, values);
  return { source, name, values };
}

type Make = typeof commitContainer;

async function make(command: string, values: Values, source: string, name: string, run: Make): Promise<number> {
  const store: Store = await storeFor(values.store);
  const json = values.json === true;
  const bar = new ProgressBar(command, json ? false : undefined);
  const { signal, stop } = untilInterrupted();
  const onEvent = (event: CommitEvent): void => {
    if (json) printEvent(event);
    else if (event.type === "progress") bar.update(event.bytes);
    else if (event.type === "skipped") complain(`socket ${shownPath(event.path)} left out: no layer can hold it`);
  };
  const chosen: CommitOptions = { names: [name], message: values.message, author: values.author, epochSec: sourceDateEpoch(command), config: configOf(command, values), ...storeIds(), signal, onEvent };
  try {
    const { layer, layers, addedBytes } = await run(store, source, chosen);
    bar.end();
    const made = layer === undefined ? "nothing had changed, no new layer" : `${layer.entries} entries in the new layer, ${sizeText(layer.tarBytes)}, ${sizeText(addedBytes)} new in the store`;
    if (!json) print(`${name}: ${layers.length} layer${layers.length === 1 ? "" : "s"}; ${made}`);
    return 0;
  } finally {
    bar.end();
    stop();
  }
}

/** What the options change in the configuration; undefined when nothing. Throws UsageError. */
function configOf(command: string, values: Values): Record<string, unknown> | undefined {
  const changes: Record<string, unknown> = {};
  if (values.cmd !== undefined) changes["Cmd"] = wordsOf(command, "cmd", values.cmd);
  if (values.entrypoint !== undefined) changes["Entrypoint"] = wordsOf(command, "entrypoint", values.entrypoint);
  if (values.env !== undefined) changes["Env"] = values.env.map((text) => {
    if (text.indexOf("=") < 1) throw new UsageError(`${command}: --env needs NAME=VALUE, found ${JSON.stringify(text)}`);
    return text;
  });
  if (values.workdir !== undefined) changes["WorkingDir"] = values.workdir;
  if (values.user !== undefined) changes["User"] = values.user;
  return Object.keys(changes).length === 0 ? undefined : changes;
}

/** A list in JSON, or the words between spaces. */
export function wordsOf(command: string, option: string, text: string): string[] {
  if (!text.trimStart().startsWith("[")) return text.split(" ").filter((word) => word !== "");
  try {
    const words = JSON.parse(text) as unknown;
    if (Array.isArray(words) && words.every((word) => typeof word === "string")) return words as string[];
  } catch {
    // Said below.
  }
  throw new UsageError(`${command}: --${option} needs words, or a JSON list of strings, found ${JSON.stringify(text)}`);
}
