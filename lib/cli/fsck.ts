/** `stratafs fsck`: reads everything in the store and says what is wrong with it. */
import { fsckStore } from "../index.js";
import { readArguments, takeArguments } from "./arguments.js";
import { print } from "./output.js";
import { printEvent, ProgressBar, sizeText, untilInterrupted } from "./progress.js";
import { storeFor, storeOption } from "./store-options.js";

/** 1 when there are problems that were not repaired. Throws UsageError, StoreError. */
export async function fsckCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("fsck", args, { ...storeOption, repair: { type: "boolean" }, json: { type: "boolean" } } as const);
  takeArguments("fsck", positionals);
  const store = await storeFor(values.store);
  const bar = new ProgressBar("fsck", values.json === true ? false : undefined);
  const { signal, stop } = untilInterrupted();
  try {
    const { problems, ...counts } = await fsckStore(store, { repair: values.repair ?? false, signal, onProgress: (bytes) => bar.update(bytes) });
    bar.end();
    if (values.json === true) {
      for (const problem of problems) printEvent({ type: "problem", ...problem });
      printEvent({ type: "result", ...counts, problems: problems.length });
    } else {
      for (const { kind, path, detail, images, repaired } of problems) {
        print(`${kind} ${path}: ${detail}${images.length === 0 ? "" : `; concerns ${images.join(", ")}`}${repaired ? "; taken out of the way" : ""}`);
      }
      const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
      const all = [count(counts.objects, "object"), count(counts.layers, "layer"), count(counts.chains, "chain"), count(counts.images, "image"), sizeText(counts.bytes)];
      print(`${all.join(", ")}: ${problems.length === 0 ? "all well" : count(problems.length, "problem")}`);
    }
    return problems.every(({ repaired }) => repaired) ? 0 : 1;
  } finally {
    bar.end();
    stop();
  }
}
