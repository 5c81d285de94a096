/**
 * Who a process of an image runs as: numbers, or names that the image's own /etc/passwd and /etc/group know. Links in the image lead
 * nowhere but into the image.
 */
import { constants } from "node:fs";
import type { FileSystem } from "../index.js";
import { resolveInTree } from "./root-paths.js";

export interface ImageUser {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary. */
  readonly groups: readonly number[];
  /** "/" where nobody says. */
  readonly home: string;
}

interface Account {
  readonly name: string;
  readonly fields: readonly string[];
}

const MAX_BYTES = 4 << 20;
const MAX_ID = 2 ** 32 - 2;

/** `text` as the configuration has it: "", USER or USER:GROUP. Throws Error for a name that the image does not know. */
export function userOf(tree: FileSystem, text: string): ImageUser {
  const [userText, groupText, ...rest] = text.split(":");
  if (rest.length > 0) throw new Error(`expected USER or USER:GROUP, found ${JSON.stringify(text)}`);
  const passwd = accounts(tree, "/etc/passwd");
  const group = accounts(tree, "/etc/group");
  const wanted = userText === undefined || userText === "" ? "0" : userText;
  const entry = passwd.find(({ name }) => name === wanted) ?? (isNumber(wanted) ? passwd.find(({ fields }) => fields[2] === wanted) : undefined);
  if (entry === undefined && !isNumber(wanted)) throw new Error(`no user ${JSON.stringify(wanted)} in the image's /etc/passwd`);
  const uid = idOf(entry?.fields[2] ?? wanted);
  const home = entry?.fields[5] === undefined || entry.fields[5] === "" ? "/" : entry.fields[5];
  if (groupText !== undefined && groupText !== "") {
    const found = group.find(({ name }) => name === groupText);
    if (found === undefined && !isNumber(groupText)) throw new Error(`no group ${JSON.stringify(groupText)} in the image's /etc/group`);
    return { uid, gid: idOf(found?.fields[2] ?? groupText), groups: [], home };
  }
  const gid = idOf(entry?.fields[3] ?? "0");
  const groups = entry === undefined ? [] : group.filter(({ fields }) => (fields[3] ?? "").split(",").includes(entry.name)).map(({ fields }) => idOf(fields[2] ?? ""));
  return { uid, gid, groups: [...new Set([gid, ...groups])], home };
}

const isNumber = (text: string): boolean => /^\d{1,10}$/.test(text);

function idOf(text: string): number {
  const id = isNumber(text) ? Number(text) : NaN;
  if (!(id <= MAX_ID)) throw new Error(`expected an id up to ${MAX_ID}, found ${JSON.stringify(text)}`);
  return id;
}

/** The lines of a file in the form of passwd(5); none when it is missing. */
function accounts(tree: FileSystem, path: string): Account[] {
  const { node, type } = resolveInTree(tree, path);
  if (node === undefined || type !== constants.S_IFREG) return [];
  const file = tree.open(node, 0);
  if (file instanceof Promise) throw new Error(`${path} in the image cannot be read at once`);
  try {
    const bytes = Buffer.alloc(Math.min(tree.getAttr(node).size, MAX_BYTES));
    const count = file.read(bytes, 0);
    if (count instanceof Promise) throw new Error(`${path} in the image cannot be read at once`);
    return bytes.toString("utf8", 0, count).split("\n").map((line) => line.split(":")).filter((fields) => fields.length > 2).map((fields) => ({ name: fields[0] as string, fields }));
  } finally {
    file.close();
  }
}
