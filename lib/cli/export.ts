/** `stratafs export`: an image as an OCI layout (a directory or a tar) or a docker archive. */
import { createWriteStream, renameSync, rmSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { exportLayout, imageTar, type ExportEvent } from "../index.js";
import { oneOfWords, readArguments, takeArguments } from "./arguments.js";
import { complain } from "./output.js";
import { printEvent, ProgressBar, untilInterrupted } from "./progress.js";
import { storeFor, storeOption } from "./store-options.js";
import { placeOf, type Place } from "./transport.js";
import { UsageError } from "./usage.js";

const options = { ...storeOption, format: { type: "string" }, compression: { type: "string" }, reference: { type: "string" }, json: { type: "boolean" } } as const;

/** Throws UsageError, ImageError, StoreError. */
export async function exportCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("export", args, options);
  const [image, text] = takeArguments("export", positionals, "IMAGE", "TARGET");
  const { transport, path: target, name } = placeOf("export", text);
  const format = formatOf(values.format, transport);
  if (name !== undefined && values.reference !== undefined) throw new UsageError(`export: what is the image to be called, ${JSON.stringify(name)} or as --reference says?`);
  const reference = values.reference ?? name;
  const compression = oneOfWords("export", "compression", values.compression, ["original", "gzip", "none"]);
  const isTar = target === "-" || format !== "oci";
  if (target === "-" && process.stdout.isTTY) throw new UsageError("export: an image does not go to a terminal");
  if (target === "-" && values.json === true) throw new UsageError("export: --json and the image cannot both go to standard output");
  const store = await storeFor(values.store);
  const json = values.json === true;
  const bar = new ProgressBar("export", json ? false : undefined);
  const { signal, stop } = untilInterrupted();
  let inexact = 0;
  const onEvent = (event: ExportEvent): void => {
    if (event.type === "layer" && event.exact === false) inexact++;
    if (json) printEvent(event);
    else if (event.type === "start") bar.total = event.total;
    else if (event.type === "progress") bar.update(event.bytes);
  };
  try {
    if (!isTar) await exportLayout(store, image, target, { compression, reference, signal, onEvent });
    else {
      const tar = Readable.from(imageTar(store, image, { format: format === "docker" ? "docker" : "oci", compression, reference, signal, onEvent }), { objectMode: false });
      if (target === "-") await pipeline(tar, process.stdout);
      else await toFile(tar, target);
    }
    bar.end();
    if (inexact > 0 && !json) complain(`${inexact} layer${inexact === 1 ? " is" : "s are"} compressed anew: the layers are the same, their blobs are not those of the import (import --keep-blobs has the store keep them)`);
    return 0;
  } finally {
    bar.end();
    stop();
  }
}

/** Throws UsageError when both say something. */
function formatOf(asked: string | undefined, transport: Place["transport"]): "oci" | "oci-tar" | "docker" {
  if (transport === undefined) return oneOfWords("export", "format", asked, ["oci", "oci-tar", "docker"]);
  if (asked !== undefined) throw new UsageError(`export: ${transport}: is a format, and so is --format ${asked}`);
  return ({ oci: "oci", "oci-archive": "oci-tar", "docker-archive": "docker" } as const)[transport];
}

/** The file appears when it is whole. */
async function toFile(tar: Readable, path: string): Promise<void> {
  const partial = `${path}.${process.pid}.partial`;
  try {
    await pipeline(tar, createWriteStream(partial, { flags: "wx" }));
    renameSync(partial, path);
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  }
}
