/** Helpers of the store tests: trees as plain values, and indexes of them. */
import { loadFastHash, type FastHash } from "../../lib/base/fast-hash.js";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../../lib/base/mode.js";
import { digestOf, type Digest } from "../../lib/store/digest.js";
import { WHITEOUT_NODE, type IndexKind } from "../../lib/store/index-format.js";
import { IndexReader, ROOT_ROW } from "../../lib/store/index-reader.js";
import { LayerTree, type TreeObject } from "../../lib/store/layer-tree.js";

export const hash: FastHash = await loadFastHash();
export const id = (text: string): Digest => digestOf(Buffer.from(text));

export const object = (fields: Partial<TreeObject>): TreeObject => ({
  mode: S_IFREG | 0o644, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: new Map(), content: undefined, target: "", rdev: 0, ...fields,
});
/** A file whose bytes are `text`. */
export const file = (text: string, fields: Partial<TreeObject> = {}): TreeObject => object({
  content: text.length <= 64 ? { kind: "inline", bytes: Buffer.from(text) } : { kind: "object", digest: id(text), size: text.length }, ...fields,
});
export const directory = (fields: Partial<TreeObject> = {}): TreeObject => object({ mode: S_IFDIR | 0o755, ...fields });
export const symlink = (target: string): TreeObject => object({ mode: S_IFLNK | 0o777, target });

export const path = (text: string): string[] => text.split("/").filter((name) => name !== "");

export function indexOf(tree: LayerTree, kind: IndexKind = "layer"): IndexReader {
  return IndexReader.fromBytes(Buffer.concat(tree.write(hash, id("layer"), kind)), "test", hash);
}

/** One line for every name, in the order of the index: everything it says. Objects with several names share a number. */
export function indexLines(index: IndexReader, row = ROOT_ROW, prefix = "", numbers = new Map<number, number>()): string[] {
  const lines = prefix === "" ? [`/ ${line(index, row, numbers)}`] : [];
  const end = index.firstEntry(row) + index.entryCount(row);
  for (let entry = index.firstEntry(row); entry < end; entry++) {
    const name = index.entryName(entry);
    const child = index.entryNode(entry);
    if (index.find(row, name) !== child) throw new Error(`find(${name}) does not give entry ${entry}`);
    if (child === WHITEOUT_NODE) {
      lines.push(`${prefix}/${name} whiteout`);
      continue;
    }
    lines.push(`${prefix}/${name} ${line(index, child, numbers)}`);
    if ((index.mode(child) & S_IFMT) === S_IFDIR) lines.push(...indexLines(index, child, `${prefix}/${name}`, numbers));
  }
  return lines;
}

function line(index: IndexReader, row: number, numbers: Map<number, number>): string {
  const link = index.lowerLink(row);
  if (link !== undefined) return `link to ${link}`;
  const mode = index.mode(row);
  const type = mode & S_IFMT;
  const words = [mode.toString(8), `${index.uid(row)}:${index.gid(row)}`, `${index.mtimeSec(row)}.${index.mtimeNsec(row)}`, `nlink ${index.nlink(row)}`];
  if (type === S_IFREG) {
    const inline = index.inlineBody(row);
    words.push(inline !== undefined ? `"${Buffer.from(inline).toString("latin1")}"` : index.digestRow(row) >= 0 ? `${index.digest(row)} ${index.size(row)}` : "empty");
  }
  if (type === S_IFLNK) words.push(`-> ${index.readlink(row)}`);
  if (index.rdev(row) !== 0) words.push(`rdev ${index.rdev(row)}`);
  if (index.opaque(row)) words.push("opaque");
  if (index.implicit(row)) words.push("implicit");
  for (const [key, value] of index.xattrs(row)) words.push(`${key}=${Buffer.from(value).toString("latin1")}`);
  if (type !== S_IFDIR && index.nlink(row) > 1) {
    if (!numbers.has(row)) numbers.set(row, numbers.size);
    words.push(`#${String(numbers.get(row))}`);
  }
  return words.join(" ");
}
