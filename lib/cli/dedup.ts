/** `stratafs dedup`: equal files in plain directories share their data on the disk. */
import { dedupDirectories, textOf, type DedupEvent } from "../index.js";
import { readArguments } from "./arguments.js";
import { asRoot } from "./inside.js";
import { complain, print } from "./output.js";
import { printEvent, ProgressBar, sizeText, untilInterrupted } from "./progress.js";
import { shownPath } from "./shown-path.js";
import { UsageError } from "./usage.js";

/** 0 also when some files had to be left as they are. Throws UsageError, FsError. */
export async function dedupCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("dedup", args, { "dry-run": { type: "boolean" }, json: { type: "boolean" } } as const);
  if (positionals.length === 0 || positionals.includes("")) throw new UsageError("dedup: no DIRECTORY given; it is stratafs dedup DIRECTORY...");
  return await asRoot("dedup", args, () => dedup(positionals, values["dry-run"] ?? false, values.json ?? false));
}

async function dedup(directories: readonly string[], dryRun: boolean, json: boolean): Promise<number> {
  const bar = new ProgressBar("dedup", json ? false : undefined);
  const { signal, stop } = untilInterrupted();
  const onEvent = (event: DedupEvent): void => {
    if (json) printEvent("path" in event ? { ...event, path: textOf(event.path), ...("with" in event ? { with: textOf(event.with) } : {}) } : event);
    else if (event.type === "start") bar.total = event.total;
    else if (event.type === "progress") bar.update(event.bytes);
    else if (event.type === "left") complain(`dedup: ${shownPath(event.path)} is left as it is: ${event.code}`);
  };
  try {
    const result = await dedupDirectories(directories, { dryRun, signal, onEvent });
    bar.end();
    if (json) printEvent({ type: "result", dryRun, ...result });
    else {
      const { files, sharedFiles, sharedBytes, alreadyFiles, leftFiles } = result;
      const rest = [alreadyFiles > 0 ? `${alreadyFiles} did before` : "", leftFiles > 0 ? `${leftFiles} left as they are` : ""].filter((part) => part !== "");
      const what = `${sharedFiles} of ${files} file${files === 1 ? "" : "s"} ${dryRun ? "would share their data with others" : "share their data with others now"}`;
      print(`${[what, ...rest].join(", ")}: ${sizeText(sharedBytes)} ${dryRun ? "to save" : "saved"}`);
    }
    return 0;
  } finally {
    bar.end();
    stop();
  }
}
