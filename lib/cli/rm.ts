/** `stratafs rm`: containers with their uppers, and names of images, whose layers a sweep frees. */
import { removeContainer } from "../index.js";
import { readArguments } from "./arguments.js";
import { asRoot } from "./inside.js";
import { complain, messageOf } from "./output.js";
import { storeFor, storeOption, targetOf } from "./store-options.js";
import { UsageError } from "./usage.js";

/** Removes as many as it can; 1 when one could not be removed. Throws UsageError, StoreError. */
export async function rmCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("rm", args, { ...storeOption, image: { type: "boolean" } } as const);
  if (positionals.length === 0) throw new UsageError("rm: no image or container given");
  return await asRoot("rm", args, async () => {
    const store = await storeFor(values.store);
    let status = 0;
    for (const name of positionals) {
      try {
        const isImage = values.image === true || targetOf(store, name).kind === "image";
        const removed = isImage ? await store.removeImage(name) : await removeContainer(store, name);
        if (!removed) throw new Error(`no image or container ${name} in ${store.path}`);
      } catch (error) {
        complain(`rm: ${messageOf(error)}`);
        status = 1;
      }
    }
    return status;
  });
}
