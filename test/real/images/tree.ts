/** All that a program can see of a tree, for comparing trees made by different programs. */
import { sh } from "./shell.js";

export interface ListingOptions {
  /** Modification times of directories count. Default true. */
  readonly directoryTimes?: boolean;
}

/** Path to type, mode, owner, size, links, device, time, target, extended attributes and digest. */
export function listing(root: string, { directoryTimes = true }: ListingOptions = {}): Map<string, string> {
  const entries = new Map<string, string>();
  const add = (path: string, text: string): void => void entries.set(path, `${entries.get(path) ?? ""} ${text}`);
  const directories = directoryTimes ? "%T@" : "";
  const found = sh(`cd "$1"; find . -type d -printf '%p\\t%M %U:%G ${directories}\\0' -o -printf '%p\\t%M %U:%G %s %n %T@ %l\\0'`, [root]);
  for (const record of found.split("\0").slice(0, -1)) add(record.slice(0, record.indexOf("\t")), record.slice(record.indexOf("\t") + 1));
  for (const record of sh(`cd "$1"; find . \\( -type b -o -type c \\) -exec stat --printf '%n\\t%t:%T\\0' {} +`, [root]).split("\0").slice(0, -1)) add(record.slice(0, record.indexOf("\t")), record.slice(record.indexOf("\t") + 1));
  for (const record of sh(`cd "$1"; find . -type f -print0 | xargs -0 -r sha256sum -z`, [root]).split("\0").slice(0, -1)) add(record.slice(66), record.slice(0, 64));
  // getfattr prints names escaped; both sides are.
  for (const block of sh(`cd "$1"; getfattr -R -P -h -d -m '^(security\\.capability|system\\.posix|user\\.)' -e hex --absolute-names . 2>/dev/null || :`, [root]).split("\n\n")) {
    const [head = "", ...values] = block.split("\n");
    if (head.startsWith("# file: ")) add(unescaped(head.slice(8)), values.sort().join(" "));
  }
  return entries;
}

/** Paths that are not the same in both, or in one only. */
export function differences(ours: ReadonlyMap<string, string>, theirs: ReadonlyMap<string, string>, whose: string): string[] {
  const found: string[] = [];
  for (const path of new Set([...ours.keys(), ...theirs.keys()])) {
    if (ours.get(path) !== theirs.get(path)) found.push(`${JSON.stringify(path)}: ours${ours.get(path) ?? " missing"}; ${whose}${theirs.get(path) ?? " missing"}`);
  }
  return found.sort();
}

const unescaped = (text: string): string => text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
