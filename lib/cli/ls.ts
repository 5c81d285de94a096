/** `stratafs ls`: what is in a directory of an image or container, without a mount. */
import { constants } from "node:fs";
import { overlay, pathBytes, textOf, type Attr, type FileSystem } from "../index.js";
import { readArguments, takeArguments } from "./arguments.js";
import { print } from "./output.js";
import { resolveInTree } from "./root-paths.js";
import { shownLayers, storeFor, storeOption, targetOf } from "./store-options.js";
import { shownPath } from "./shown-path.js";

const options = { ...storeOption, long: { type: "boolean", short: "l" }, recursive: { type: "boolean", short: "R" }, json: { type: "boolean" } } as const;

/** Throws UsageError, StoreError; Error when there is nothing at the path. */
export async function lsCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("ls", args, options);
  const [name, path] = takeArguments("ls", positionals.length === 1 ? [...positionals, "/"] : positionals, "IMAGE|CONTAINER", "PATH");
  const store = await storeFor(values.store);
  const tree: FileSystem = overlay({ lowers: await shownLayers(store, targetOf(store, name)) });
  try {
    const found = resolveInTree(tree, pathBytes(path));
    if (found.node === undefined) throw new Error(`ls: nothing at ${path} in ${name}`);
    const say = (at: string, node: object): void => print(values.json === true ? jsonOf(tree, at, node) : values.long === true ? longOf(tree, at, node) : shownPath(at));
    const list = (directory: object, prefix: string): void => {
      for (const entry of [...tree.openDir(directory)].sort((a, b) => (a.name < b.name ? -1 : 1))) {
        const node = tree.lookup(directory, entry.name);
        if (node === undefined) continue;
        say(`${prefix}${entry.name}`, node);
        if (values.recursive === true && (tree.getAttr(node).mode & S_IFMT) === S_IFDIR) list(node, `${prefix}${entry.name}/`);
      }
    };
    if (found.type === S_IFDIR) list(found.node, "");
    else say(found.path.slice(found.path.lastIndexOf("/") + 1), found.node);
    return 0;
  } finally {
    await tree.close();
  }
}

const { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } = constants;
const letters: Readonly<Record<number, string>> = { [S_IFSOCK]: "s", [S_IFLNK]: "l", [S_IFREG]: "-", [S_IFBLK]: "b", [S_IFDIR]: "d", [S_IFCHR]: "c", [S_IFIFO]: "p" };

function longOf(tree: FileSystem, path: string, node: object): string {
  const { mode, nlink, uid, gid, size, rdev, mtimeSec } = tree.getAttr(node);
  const type = letters[mode & S_IFMT] ?? "?";
  const what = type === "b" || type === "c" ? `${(rdev >>> 8) & 0xfff},${(rdev & 0xff) | ((rdev >>> 12) & 0xfff00)}` : String(size);
  const time = timeOf(mtimeSec);
  const target = type === "l" ? ` -> ${shownPath(tree.readlink(node))}` : "";
  return `${type}${permissions(mode)} ${nlink} ${uid}:${gid} ${what} ${time} ${shownPath(path)}${target}`;
}

/** An archive may say a time that no calendar has. */
function timeOf(sec: number): string {
  const date = new Date(sec * 1000);
  return Number.isNaN(date.getTime()) ? `@${sec}` : date.toISOString().slice(0, 16).replace("T", " ");
}

/** "rwsr-xr-t". */
function permissions(mode: number): string {
  const special = [[0o4000, "s"], [0o2000, "s"], [0o1000, "t"]] as const;
  return [6, 3, 0].map((shift, i) => {
    const bits = (mode >>> shift) & 7;
    const [bit, letter] = special[i] as readonly [number, string];
    const execute = (mode & bit) === 0 ? ((bits & 1) === 0 ? "-" : "x") : (bits & 1) === 0 ? letter.toUpperCase() : letter;
    return `${(bits & 4) === 0 ? "-" : "r"}${(bits & 2) === 0 ? "-" : "w"}${execute}`;
  }).join("");
}

function jsonOf(tree: FileSystem, path: string, node: object): string {
  const { mode, nlink, uid, gid, size, rdev, mtimeSec, mtimeNsec }: Attr = tree.getAttr(node);
  const xattrs = Object.fromEntries(tree.listXattr(node).map((key) => [textOf(key), Buffer.from(tree.getXattr(node, key) ?? []).toString("base64")]));
  const isLink = (mode & S_IFMT) === S_IFLNK;
  return JSON.stringify({ path: textOf(path), mode, nlink, uid, gid, size, rdev, mtimeSec, mtimeNsec, ...(isLink ? { target: textOf(tree.readlink(node)) } : {}), xattrs });
}
