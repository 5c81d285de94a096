/** Options in the `--name VALUE` style, for every command but mount: node:util's parser, with one-line errors. */
import { parseArgs, type ParseArgsConfig } from "node:util";
import { suggestion, UsageError } from "./usage.js";

type Options = NonNullable<ParseArgsConfig["options"]>;

export interface Arguments<T extends Options> {
  readonly values: ReturnType<typeof parseArgs<{ options: T; strict: true; allowPositionals: true }>>["values"];
  readonly positionals: readonly string[];
}

/** Throws UsageError, which begins with the command's name. */
export function readArguments<T extends Options>(command: string, args: readonly string[], options: T): Arguments<T> {
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, strict: true, allowPositionals: true });
    return { values, positionals };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const unknown = /^Unknown option '(-[^']*)'/.exec(error.message)?.[1];
    if (unknown !== undefined) {
      throw new UsageError(`${command}: unknown option ${unknown}${suggestion(unknown, Object.keys(options).map((name) => `--${name}`))}`);
    }
    // Node's message goes on to explain itself after the first sentence.
    throw new UsageError(`${command}: ${error.message.replace(/[.\n].*$/s, "").replace(/^Option/, "option")}`);
  }
}

/** Exactly the arguments that `names` calls, none empty. Throws UsageError that names the first missing or the first too many. */
export function takeArguments<N extends readonly string[]>(command: string, positionals: readonly string[], ...names: N): { [K in keyof N]: string } {
  const missing = names.findIndex((_, i) => (positionals[i] ?? "") === "");
  if (missing !== -1) throw new UsageError(`${command}: no ${names[missing] as string} given; it is stratafs ${command} ${names.join(" ")}`);
  if (positionals.length > names.length) throw new UsageError(`${command}: expected ${names.join(" ") || "no arguments"}, found also ${JSON.stringify(positionals[names.length])}`);
  return positionals as unknown as { [K in keyof N]: string };
}

/** One of the words, or the first when the option was not given. Throws UsageError. */
export function oneOfWords<W extends string>(command: string, option: string, value: string | undefined, words: readonly [W, ...W[]]): W {
  const found = value === undefined ? words[0] : words.find((word) => word === value);
  if (found === undefined) throw new UsageError(`${command}: --${option} is one of ${words.join(", ")}; found ${JSON.stringify(value)}`);
  return found;
}

/** SOURCE_DATE_EPOCH in Unix seconds; undefined when it is not set. Throws UsageError for anything but digits. */
export function sourceDateEpoch(command: string, env: NodeJS.ProcessEnv = process.env): number | undefined {
  const text = env["SOURCE_DATE_EPOCH"];
  if (text === undefined || text === "") return undefined;
  if (!/^\d{1,11}$/.test(text)) throw new UsageError(`${command}: SOURCE_DATE_EPOCH needs seconds since 1970, found ${JSON.stringify(text)}`);
  return Number(text);
}
