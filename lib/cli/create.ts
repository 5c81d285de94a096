/** `stratafs create`: a container above an image. */
import { createContainer, imageOf } from "../index.js";
import { readArguments, takeArguments } from "./arguments.js";
import { print } from "./output.js";
import { storeFor, storeOption } from "./store-options.js";

/** Prints the container's name. Throws UsageError, StoreError. */
export async function createCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("create", args, { ...storeOption, name: { type: "string" } } as const);
  const [image] = takeArguments("create", positionals, "IMAGE");
  const store = await storeFor(values.store);
  print((await createContainer(store, imageOf(store, image), { name: values.name })).name);
  return 0;
}
