/** `stratafs diff`: what an upper directory or a container changes, or what differs between two images, as lines or as JSON. */
import { constants, statSync } from "node:fs";
import { join } from "node:path";
import { diffImages, directoryLayer, openLayer, overlay, storeLayer, textOf, type Difference, type LayerDescription, type Store, type StoredContainer } from "../index.js";
import { readArguments } from "./arguments.js";
import { changesOf, type Change } from "./changes.js";
import { asRoot } from "./inside.js";
import { print } from "./output.js";
import { shownPath } from "./shown-path.js";
import { storeFor, storeIds, storeOption, targetOf } from "./store-options.js";
import { UsageError } from "./usage.js";

/** Throws UsageError; FsError when a directory cannot be read; StoreError. */
export async function diffCommand(args: readonly string[]): Promise<number> {
  const options = { ...storeOption, lower: { type: "string", multiple: true }, "no-times": { type: "boolean" }, json: { type: "boolean" } } as const;
  const { values, positionals } = readArguments("diff", args, options);
  const [first, second, third] = positionals;
  if (first === undefined || first === "") throw new UsageError("diff: no upper directory, container or image given");
  if (third !== undefined) throw new UsageError(`diff: expected at most two names, found also ${JSON.stringify(third)}`);
  const say = (change: Change): void => print(values.json === true ? jsonLine(change) : plainLine(change));
  const isUpper = values.lower !== undefined || (second === undefined && statSync(first, { throwIfNoEntry: false })?.isDirectory() === true);
  if (isUpper) {
    if (second !== undefined) throw new UsageError(`diff: expected one upper directory, found also ${JSON.stringify(second)}`);
    // An ordinary user's upper has one owner, whoever owns the lowers: that is no change of his.
    const ids = process.getuid!() === 0 ? {} : { ids: { squashUid: 0, squashGid: 0 } };
    const lowers = (values.lower ?? []).map((path) => directoryLayer(path, ids));
    for (const change of await diffOf(directoryLayer(first, ids), lowers)) say(change);
    return 0;
  }
  return await asRoot("diff", args, async () => {
    const store = await storeFor(values.store);
    const a = targetOf(store, first);
    if (second === undefined) {
      if (a.kind === "image") throw new UsageError(`diff: ${first} is an image; give another to compare it with, or a container`);
      for (const change of await containerChanges(store, a.container)) say(change);
      return 0;
    }
    const b = targetOf(store, second);
    if (a.kind === "container") throw new UsageError(`diff: ${first} is a container; the image goes first`);
    if (b.kind === "container") {
      if (b.container.layers.join() !== a.image.layers.join()) throw new Error(`diff: container ${second} is not above ${first} but above another image, once called ${b.container.image}`);
      for (const change of await containerChanges(store, b.container)) say(change);
      return 0;
    }
    for await (const difference of diffImages(store, first, second, { times: values["no-times"] !== true })) {
      const change = changeOf(difference);
      if (change !== undefined) say(change);
    }
    return 0;
  });
}

/** What a container changes in its image. */
async function containerChanges(store: Store, { name, layers }: StoredContainer): Promise<Change[]> {
  return await diffOf(directoryLayer(join(store.folder("containers"), name, "upper"), storeIds()), [await storeLayer(store.path, layers, storeIds())]);
}

const partNames = {
  type: "kind", mode: "mode", owner: "owner", content: "data", target: "target", device: "device", xattrs: "xattrs", mtime: "times", links: undefined,
} as const;

/** In the words of a directory's diff, where a directory's time says only that its names changed, and link counts nothing; undefined then. */
function changeOf(difference: Difference): Change | undefined {
  const { path } = difference;
  const type = difference.mode & constants.S_IFMT;
  if (difference.kind !== "changed") return difference.kind === "added" ? { change: "added", path, type } : { change: "deleted", path };
  const parts = difference.parts.filter((part) => part !== "mtime" || type !== constants.S_IFDIR).map((part) => partNames[part]).filter((part) => part !== undefined);
  return parts.length === 0 ? undefined : { change: "changed", path, type, parts };
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
  const from = change.from === undefined || change.change !== "renamed" ? "" : ` <- ${shownPath(change.from)}`;
  return `${letters[change.change]} ${shownPath(change.path)}${change.type === constants.S_IFDIR ? "/" : ""}${from}`;
}

/** One JSON object without line breaks. */
export function jsonLine({ change, path, type, from, parts, opaque, metadataOnly }: Change): string {
  return JSON.stringify({
    change, path: textOf(path), type: type === undefined ? undefined : typeName(type), from: from === undefined ? undefined : textOf(from),
    parts, opaque, metadataOnly,
  });
}

function typeName(type: number): string {
  const { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK } = constants;
  const names: Readonly<Record<number, string>> = {
    [S_IFSOCK]: "socket", [S_IFLNK]: "symlink", [S_IFREG]: "file", [S_IFBLK]: "block device", [S_IFDIR]: "directory", [S_IFCHR]: "character device", [S_IFIFO]: "fifo",
  };
  return names[type] ?? "unknown";
}
