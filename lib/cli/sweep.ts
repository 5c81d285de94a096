/** `stratafs sweep`: frees what no image, container or running process needs. */
import { sweepStore } from "../index.js";
import { readArguments, takeArguments } from "./arguments.js";
import { asRoot } from "./inside.js";
import { print } from "./output.js";
import { sizeText } from "./progress.js";
import { storeFor, storeOption } from "./store-options.js";
import { UsageError } from "./usage.js";

/** Throws UsageError, StoreError. */
export async function sweepCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("sweep", args, { ...storeOption, grace: { type: "string" }, "dry-run": { type: "boolean" }, json: { type: "boolean" } } as const);
  takeArguments("sweep", positionals);
  const graceMs = values.grace === undefined ? undefined : durationOf(values.grace);
  return await asRoot("sweep", args, async () => {
    const dryRun = values["dry-run"] ?? false;
    const result = await sweepStore(await storeFor(values.store), { dryRun, ...(graceMs === undefined ? {} : { graceMs }) });
    if (values.json === true) print(JSON.stringify({ dryRun, ...result }));
    else {
      const { objects, layers, chains, containers, leftovers, freedBytes } = result;
      const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
      print(`${[count(layers, "layer"), count(objects, "object"), count(chains, "chain"), count(containers, "container"), count(leftovers, "leftover")].join(", ")}: ${sizeText(freedBytes)} ${dryRun ? "to free" : "freed"}`);
    }
    return 0;
  });
}

/** "90", "90s", "10m", "2h", "1d" in milliseconds. Throws UsageError. */
function durationOf(text: string): number {
  const [, digits, unit] = /^(\d{1,9})([smhd]?)$/.exec(text) ?? [];
  if (digits === undefined) throw new UsageError(`sweep: --grace needs a time as 90s, 10m, 2h or 1d, found ${JSON.stringify(text)}`);
  return Number(digits) * 1000 * ({ s: 1, m: 60, h: 3600, d: 86_400 }[unit === undefined || unit === "" ? "s" : unit] as number);
}
