/**
 * What a program has in hands while the server of its mount is replaced: handles.js MOUNTPOINT. Opens everything, prints "open", waits for a
 * line, and prints what it finds as JSON; and so on for each line. Lower: lower/file, lower/gone, lower/dir/, many/0…299.
 */
import * as fs from "node:fs";
import { createInterface } from "node:readline";

const [mountpoint = ""] = process.argv.slice(2);
process.chdir(mountpoint);
fs.mkdirSync("made");
const written = fs.openSync("written", "w+");
fs.writeSync(written, "before");
const unlinked = fs.openSync("unlinked", "w+");
fs.writeSync(unlinked, "without a name");
fs.unlinkSync("unlinked");
const lower = fs.openSync("lower/file", "r");
const gone = fs.openSync("lower/gone", "r");
fs.unlinkSync("lower/gone");
fs.writeFileSync("linked", "two names");
fs.linkSync("linked", "made/link");
const linked = fs.openSync("linked", "r+");
fs.unlinkSync("linked");
const replaced = fs.openSync("made/replaced", "wx+");
fs.writeSync(replaced, "old");
fs.writeFileSync("new", "new");
fs.renameSync("new", "made/replaced");
const removed = fs.openSync("lower/dir", "r");
fs.rmdirSync("lower/dir");
fs.mkdirSync("deep/er/and/deeper", { recursive: true });
const deep = fs.openSync("deep/er/and/deeper/file", "w+");
fs.renameSync("deep/er", "elsewhere");
const listing = fs.opendirSync("many", { bufferSize: 1 });
const names: string[] = [];
// The first 40 of 300: the C library has then read no more than a part of them.
for (let i = 0; i < 40; i++) names.push(listing.readSync()!.name);

const contentOf = (fd: number): string => fs.readFileSync(`/proc/self/fd/${fd}`, "latin1");
const whole = (fd: number): string => {
  const bytes = Buffer.alloc(100);
  return bytes.toString("latin1", 0, fs.readSync(fd, bytes, 0, 100, 0));
};

let round = 0;
process.stdout.write("open\n");
createInterface({ input: process.stdin }).on("line", () => {
  round++;
  fs.writeSync(written, `, round ${round}`);
  fs.writeSync(deep, String(round));
  fs.fchmodSync(unlinked, 0o640);
  const seen = {
    written: whole(written), name: fs.readFileSync("written", "latin1"), unlinked: [whole(unlinked), fs.fstatSync(unlinked).nlink, fs.fstatSync(unlinked).mode & 0o777],
    lower: contentOf(lower), gone: [whole(gone), fs.fstatSync(gone).nlink], linked: [whole(linked), fs.fstatSync(linked).nlink, fs.statSync("made/link").ino === fs.fstatSync(linked).ino],
    replaced: [whole(replaced), fs.readFileSync("made/replaced", "latin1")], removed: [fs.fstatSync(removed).nlink, fs.existsSync("lower/dir")],
    deep: [whole(deep), fs.readFileSync("elsewhere/and/deeper/file", "latin1")], inos: [fs.fstatSync(written).ino, fs.fstatSync(lower).ino, fs.fstatSync(unlinked).ino],
  };
  for (let i = 0; i < 100; i++) {
    const entry = listing.readSync();
    if (entry !== null) names.push(entry.name);
  }
  process.stdout.write(`${JSON.stringify({ ...seen, names: [names.length, new Set(names).size] })}\n`);
});
