/** Checks an index from end to end, for fsck: checksums, and then everything that a reader takes on trust while it looks things up. */
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from "../base/mode.js";
import { damaged, WHITEOUT_NODE } from "./index-format.js";
import { ROOT_ROW, type IndexReader } from "./index-reader.js";

const types: ReadonlySet<number> = new Set([S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK]);

/** Throws ERR_STORE_DAMAGED, EIO. */
export function checkIndex(index: IndexReader): void {
  const what = `${index.kind} ${index.id}`;
  index.verifyChecksums();
  const isLayer = index.kind === "layer";
  /** Names of each row; a directory has one, the root none. */
  const names = new Uint32Array(index.rows);
  const open = [ROOT_ROW];
  for (let dir = open.pop(); dir !== undefined; dir = open.pop()) {
    const first = index.firstEntry(dir);
    const count = index.entryCount(dir);
    let last = "";
    for (let entry = first; entry < first + count; entry++) {
      const name = index.entryName(entry);
      const row = index.entryNode(entry);
      if (name === "" || name === "." || name === ".." || /[/\0]/.test(name)) throw damaged(what, `found the name ${JSON.stringify(name)}`);
      if (entry > first && name <= last) throw damaged(what, `expected names in order, found ${JSON.stringify(name)} behind ${JSON.stringify(last)}`);
      if (index.find(dir, name) !== row) throw damaged(what, `the lookup table does not lead to ${JSON.stringify(name)}`);
      last = name;
      if (row === WHITEOUT_NODE) {
        if (!isLayer) throw damaged(what, `found a whiteout of ${JSON.stringify(name)} in a chain`);
        continue;
      }
      const seen = names[row] as number;
      names[row] = seen + 1;
      const isDirectory = (index.mode(row) & S_IFMT) === S_IFDIR;
      if (isDirectory && (seen > 0 || row === ROOT_ROW)) throw damaged(what, `found the directory ${JSON.stringify(name)} a second time`);
      if (isDirectory) open.push(row);
      if (seen === 0) checkNode(index, row, isLayer, what);
    }
  }
  checkNode(index, ROOT_ROW, isLayer, what);
}

function checkNode(index: IndexReader, row: number, isLayer: boolean, what: string): void {
  const link = index.lowerLink(row);
  if (!isLayer && (link !== undefined || index.opaque(row) || index.implicit(row))) throw damaged(what, `found a mark of a layer at node ${row}`);
  if (link !== undefined) return;
  const type = index.mode(row) & S_IFMT;
  if (!types.has(type)) throw damaged(what, `found mode ${index.mode(row).toString(8)} at node ${row}`);
  if ((index.opaque(row) || index.implicit(row)) && type !== S_IFDIR) throw damaged(what, `found a directory's mark at node ${row}`);
  if (index.mtimeNsec(row) > 999_999_999) throw damaged(what, `found ${index.mtimeNsec(row)} nanoseconds at node ${row}`);
  if (type === S_IFLNK) index.readlink(row);
  if (type === S_IFREG && index.inlineBody(row) === undefined) index.digest(row);
  index.xattrs(row);
}
