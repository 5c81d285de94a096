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
