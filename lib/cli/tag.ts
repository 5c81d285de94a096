/** `stratafs tag`: one more name for an image. */
import { readArguments, takeArguments } from "./arguments.js";
import { storeFor, storeOption } from "./store-options.js";

/** Throws UsageError, StoreError. */
export async function tagCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("tag", args, storeOption);
  const [from, to] = takeArguments("tag", positionals, "IMAGE", "NAME");
  await (await storeFor(values.store)).tag(from, to);
  return 0;
}
