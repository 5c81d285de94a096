/** node flip.js MS A B [A B…]: exchanges what two names stand for, again and again, as whoever races with a mount would. Says how often. */
import { native } from "../../lib/sys/binding.js";
import { AT_FDCWD, RENAME_EXCHANGE } from "../../lib/sys/flags.js";

const [ms, ...names] = process.argv.slice(2) as [string, ...string[]];
let count = 0;
for (const end = Date.now() + Number(ms); Date.now() < end; ) {
  for (let i = 0; i < names.length; i += 2) if (native.rename(AT_FDCWD, names[i] as string, AT_FDCWD, names[i + 1] as string, RENAME_EXCHANGE) >= 0) count++;
}
console.log(count);
