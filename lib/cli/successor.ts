/**
 * The program that an heir starts: goes on with the mount of a server that is gone. Its users wait for as long as it takes to start, so it is
 * bundled alone, and imports nothing that others ask for: half of a start was reading the rest of the command.
 */
import { continueMount, inheritedJournal } from "../index.js";
import { endWith } from "./ending.js";
import { complain } from "./output.js";
import { serveToEnd, successor } from "./serve-to-end.js";

async function main(): Promise<number> {
  const journal = inheritedJournal();
  if (journal === undefined) {
    complain("this is the program that takes a supervised mount over; nobody has left it one");
    return 2;
  }
  process.umask(0);
  const mounted = await continueMount(journal, successor(), complain);
  process.on("SIGUSR2", () => void mounted.handOver());
  return serveToEnd(mounted, undefined, undefined);
}

endWith(main());
