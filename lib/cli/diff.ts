/** `stratafs diff`: what an upper directory changes, as lines or as JSON. */
import { directoryLayer, openLayer, overlay, textOf, type LayerDescription } from "../index.js";
import { readArguments } from "./arguments.js";
import { changesOf, type Change } from "./changes.js";
import { print } from "./output.js";
import { UsageError } from "./usage.js";

/** Throws UsageError; FsError when a directory cannot be read. */
export async function diffCommand(args: readonly string[]): Promise<number> {
  const options = { lower: { type: "string", multiple: true }, json: { type: "boolean" } } as const;
  const { values, positionals } = readArguments("diff", args, options);
  const [upper, second] = positionals;
  if (upper === undefined || upper === "") throw new UsageError("diff: no upper directory given");
  if (second !== undefined) throw new UsageError(`diff: expected one upper directory, found also ${JSON.stringify(second)}`);
  // An ordinary user's upper has one owner, whoever owns the lowers: that is no change of his.
  const ids = process.getuid!() === 0 ? {} : { ids: { squashUid: 0, squashGid: 0 } };
  const lowers = (values.lower ?? []).map((path) => directoryLayer(path, ids));
  for (const change of await diffOf(directoryLayer(upper, ids), lowers)) print(values.json === true ? jsonLine(change) : plainLine(change));
  return 0;
}

/** The changes of `upper` over `lowers`, topmost first; over nothing known when there are none. */
export async function diffOf(upper: LayerDescription, lowers: readonly LayerDescription[]): Promise<Change[]> {
  const layer = openLayer(upper);
  const below = lowers.length === 0 ? undefined : overlay({ lowers });
  try {
    return await changesOf(layer, below);
  } finally {
    await below?.close();
    layer.close();
  }
}

const letters = { added: "A", changed: "C", deleted: "D", renamed: "R", upper: "U" } as const;

/** "R /new <- /old"; a directory ends in a slash, and a control character is \xHH so that a line stays a line. */
export function plainLine(change: Change): string {
  const from = change.from === undefined || change.change !== "renamed" ? "" : ` <- ${shown(change.from)}`;
  return `${letters[change.change]} ${shown(change.path)}${change.type === 0o040000 ? "/" : ""}${from}`;
}

/** One JSON object without line breaks. */
export function jsonLine({ change, path, type, from, parts, opaque, metadataOnly }: Change): string {
  return JSON.stringify({
    change, path: textOf(path), type: type === undefined ? undefined : typeName(type), from: from === undefined ? undefined : textOf(from),
    parts, opaque, metadataOnly,
  });
}

function shown(path: string): string {
  return textOf(path).replace(/[\x00-\x1f\x7f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

function typeName(type: number): string {
  const names: Readonly<Record<number, string>> = {
    0o140000: "socket", 0o120000: "symlink", 0o100000: "file", 0o060000: "block device", 0o040000: "directory", 0o020000: "character device", 0o010000: "fifo",
  };
  return names[type] ?? "unknown";
}
