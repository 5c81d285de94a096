/** `stratafs ps`: the containers of the store, used or not. */
import { listContainers } from "../index.js";
import { readArguments, takeArguments } from "./arguments.js";
import { print } from "./output.js";
import { storeFor, storeOption } from "./store-options.js";
import { agoText, printTable } from "./table.js";

/** Throws UsageError, StoreError. */
export async function psCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("ps", args, { ...storeOption, json: { type: "boolean" } } as const);
  takeArguments("ps", positionals);
  const store = await storeFor(values.store);
  const containers = listContainers(store);
  if (values.json === true) {
    for (const { name, image, createdMs, temporary, pid } of containers) print(JSON.stringify({ name, image, created: new Date(createdMs).toISOString(), temporary, pid: pid ?? null }));
  } else {
    printTable(["CONTAINER", "IMAGE", "CREATED", "STATE"], containers.map(({ name, image, createdMs, temporary, pid }) => [
      name, image, agoText(createdMs), pid !== undefined ? `in use by process ${pid}` : temporary ? "left behind; a sweep removes it" : "idle",
    ]));
  }
  return 0;
}
