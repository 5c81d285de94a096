/**
 * The process that uses a mount in the model tests: client.js operate ROOT SEED COUNT [exchange], or client.js snapshot ROOT.
 * Prints JSON. A process of its own, so that a mount that hangs cannot hang the test runner.
 */
import { operate, snapshot } from "./operations.js";
import { Random } from "./random.js";

process.umask(0o022);
const [command, root, seed, count, exchange] = process.argv.slice(2);
if (command === "operate") {
  const records = operate(root!, new Random(Number(seed)), Number(count), { exchange: exchange === "exchange" });
  process.stdout.write(JSON.stringify({ records, ...snapshot(root!) }));
} else {
  process.stdout.write(JSON.stringify(snapshot(root!)));
}
