/** `stratafs import`: an image, a root filesystem's tar or a directory into the store. */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { importDirectory, importImage, parsePlatform, type CommitEvent, type ImportedImage, type ImportEvent } from "../index.js";
import { oneOfWords, readArguments, sourceDateEpoch, takeArguments } from "./arguments.js";
import { complain, print } from "./output.js";
import { printEvent, ProgressBar, sizeText, untilInterrupted } from "./progress.js";
import { shownPath } from "./shown-path.js";
import { storeFor, storeOption } from "./store-options.js";
import { placeOf } from "./transport.js";
import { UsageError } from "./usage.js";

const options = {
  ...storeOption, name: { type: "string", multiple: true }, reference: { type: "string" }, platform: { type: "string" },
  "absolute-names": { type: "string" }, "keep-blobs": { type: "boolean" }, json: { type: "boolean" },
} as const;

/** Throws UsageError, ImageError, TarError, StoreError. */
export async function importCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("import", args, options);
  const [text] = takeArguments("import", positionals, "SOURCE");
  const { transport, path: source, name } = placeOf("import", text);
  if (name !== undefined && values.reference !== undefined) throw new UsageError(`import: which image is it, ${JSON.stringify(name)} or that of --reference?`);
  const absoluteNames = oneOfWords("import", "absolute-names", values["absolute-names"], ["refuse", "strip"]);
  if (source === "-" && process.stdin.isTTY) throw new UsageError("import: the image is expected on standard input, which is a terminal");
  const platform = values.platform === undefined ? undefined : parsePlatform(values.platform);
  const store = await storeFor(values.store, true);
  const json = values.json === true;
  const bar = new ProgressBar("import", json ? false : undefined);
  const { signal, stop } = untilInterrupted();
  const onEvent = (event: ImportEvent | CommitEvent): void => {
    if (json) printEvent(event);
    else if (event.type === "start") bar.total = event.total;
    else if (event.type === "progress") bar.update(event.bytes);
    else if (event.type === "skipped") complain(`socket ${shownPath(event.path)} left out: no layer can hold it`);
  };
  try {
    let images: readonly Pick<ImportedImage, "names" | "layers" | "addedBytes">[];
    if (transport === undefined && isPlainDirectory(source)) {
      if (values.name === undefined) throw new UsageError("import: a directory has no name of its own; give one with --name");
      images = [await importDirectory(store, source, { names: values.name, epochSec: sourceDateEpoch("import"), signal, onEvent })];
    } else {
      images = await importImage(store, source === "-" ? process.stdin : source, {
        ...(values.name === undefined ? {} : { names: values.name }), reference: values.reference ?? name, platform, absoluteNames, keepBlobs: values["keep-blobs"] ?? false, signal, onEvent,
      });
    }
    bar.end();
    if (!json) for (const { names, layers, addedBytes } of images) print(`${names.join(", ")}: ${layers.length} layer${layers.length === 1 ? "" : "s"}, ${sizeText(addedBytes)} new`);
    return 0;
  } finally {
    bar.end();
    stop();
  }
}

function isPlainDirectory(path: string): boolean {
  return path !== "-" && statSync(path, { throwIfNoEntry: false })?.isDirectory() === true && !existsSync(join(path, "oci-layout"));
}
