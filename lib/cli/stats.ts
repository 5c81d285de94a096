/** `stratafs stats`: what the store holds, and what storing equal files once saves. */
import { storeStats } from "../index.js";
import { readArguments, takeArguments } from "./arguments.js";
import { print } from "./output.js";
import { sizeText } from "./progress.js";
import { storeFor, storeOption } from "./store-options.js";
import { printTable } from "./table.js";

/** Throws UsageError, StoreError. */
export async function statsCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("stats", args, { ...storeOption, json: { type: "boolean" } } as const);
  takeArguments("stats", positionals);
  const store = await storeFor(values.store);
  const stats = storeStats(store);
  if (values.json === true) {
    print(JSON.stringify({ store: store.path, ...stats }));
    return 0;
  }
  const saved = stats.logicalBytes === 0 ? 0 : Math.round(100 * (1 - stats.dedupedBytes / stats.logicalBytes));
  print(`store      ${store.path}`);
  print(`files      ${stats.files} in all layers of images, ${sizeText(stats.logicalBytes)}`);
  print(`stored     ${stats.objects} objects, ${sizeText(stats.dedupedBytes)}: ${saved} % less`);
  print(`on disk    ${sizeText(stats.objectDiskBytes)} objects, ${sizeText(stats.indexDiskBytes)} indexes and recipes`);
  if (stats.images.length === 0) return 0;
  print("");
  printTable(["IMAGE", "SIZE", "UNIQUE", "SHARED"], stats.images.map(({ name, logicalBytes, uniqueBytes, sharedBytes }) => [name, sizeText(logicalBytes), sizeText(uniqueBytes), sizeText(sharedBytes)]));
  return 0;
}
