/**
 * Fuzz target: index files of layers and chains. A damaged one is refused or answers EIO, whatever is asked of it; one that passes the
 * check can be merged, and what comes out of that passes it too.
 */
import { FsError } from "../../lib/base/errors.js";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../../lib/base/mode.js";
import { mergeChain } from "../../lib/store/chain-merge.js";
import { StoreError } from "../../lib/store/errors.js";
import { checkIndex } from "../../lib/store/index-check.js";
import { HEADER_BYTES, tableNames, WHITEOUT_NODE } from "../../lib/store/index-format.js";
import { IndexReader, ROOT_ROW } from "../../lib/store/index-reader.js";
import { LayerTree } from "../../lib/store/layer-tree.js";
import { directory, file, hash, id, object, path, symlink } from "../store/trees.js";
import { expectThat, refusedBy, type Target } from "./fuzz.js";

/** Rows that are looked at, so that an index that leads in circles ends. */
const MAX_STEPS = 2000;

export const indexTarget: Target = {
  name: "index",
  words: ["strataix", "\x01\0\0\0", "\xff\xff\xff\xff", "..", ".", "/", "\0", "\x02..", "\x01/", "\x05a/../"],
  maxBytes: 16_384,
  // The sizes and checksums that the header should have for what follows it.
  mend(input) {
    if (input.length < HEADER_BYTES) return input;
    const bytes = Buffer.from(input);
    bytes.writeBigUInt64LE(BigInt(bytes.length), 16);
    for (let i = 0; i < tableNames.length; i++) {
      const at = 64 + 32 * i;
      const [offset, length] = [Number(bytes.readBigUInt64LE(at + 8)), Number(bytes.readBigUInt64LE(at + 16))];
      if (offset + length <= bytes.length) bytes.writeBigUInt64LE(hash.bytes(bytes.subarray(offset, offset + length)), at + 24);
    }
    bytes.writeBigUInt64LE(hash.bytes(bytes.subarray(0, HEADER_BYTES - 8)), HEADER_BYTES - 8);
    return bytes;
  },
  run(input) {
    let index: IndexReader;
    try {
      index = IndexReader.fromBytes(input, "fuzzed", hash);
    } catch (error) {
      return refusedBy(error, StoreError, FsError);
    }
    walk(index);
    const other = IndexReader.fromBytes(base, "base", hash);
    const sound = isSound(index);
    try {
      const merged = IndexReader.fromBytes(Buffer.concat(mergeChain([other, index], id("chain"), hash)), "merged", hash);
      if (sound) checkIndex(merged);
      walk(merged);
    } catch (error) {
      refusedBy(error, StoreError, FsError);
      expectThat(!sound || (error as { code?: string }).code === "ERR_STORE_TREE", () => `a sound index cannot be merged: ${(error as Error).message}`);
    }
  },
  async samples() {
    const tree = new LayerTree();
    tree.put([], directory());
    tree.put(path("etc/passwd"), file("root:x:0:0"));
    tree.put(path("etc/big"), file("x".repeat(100), { xattrs: new Map([["user.k", Buffer.from("v")], ["security.capability", Buffer.alloc(20)]]) }));
    tree.link(path("etc/passwd-"), path("etc/passwd"));
    tree.put(path("lib"), symlink("usr/lib"));
    tree.put(path("dev/null"), object({ mode: 0o020666, rdev: 0x103 }));
    tree.whiteout(path("etc/shadow"));
    tree.opaque(path("var"));
    tree.link(path("var/lower"), path("etc/other"));
    const names = new LayerTree();
    for (let i = 0; i < 40; i++) names.put([`n${i}`], file(`${i}`));
    const write = (one: LayerTree, kind: "layer" | "chain"): Buffer => Buffer.concat(one.write(hash, id("layer"), kind));
    return { layer: write(tree, "layer"), names: write(names, "chain"), empty: write(new LayerTree(), "layer") };
  },
};

const base = ((): Buffer => {
  const tree = new LayerTree();
  tree.put(path("etc/other"), file("other"));
  tree.put(path("etc/shadow"), file("secret"));
  tree.put(path("var/log"), directory());
  return Buffer.concat(tree.write(hash, id("base")));
})();

function isSound(index: IndexReader): boolean {
  try {
    checkIndex(index);
    return true;
  } catch (error) {
    refusedBy(error, StoreError, FsError);
    return false;
  }
}

/** Asks everything of every row that can be reached, and of some that cannot. */
function walk(index: IndexReader): void {
  let steps = 0;
  const open = [ROOT_ROW, index.rows, index.rows - 1, 0xffffffff];
  for (let row = open.pop(); row !== undefined && steps < MAX_STEPS; row = open.pop()) {
    steps++;
    const at = row;
    const asked: (() => unknown)[] = [
      () => index.uid(at), () => index.gid(at), () => index.nlink(at), () => index.mtimeSec(at), () => index.mtimeNsec(at), () => index.size(at), () => index.rdev(at),
      () => index.opaque(at), () => index.implicit(at), () => index.lowerLink(at), () => index.hasXattrs(at), () => index.xattrs(at), () => index.digestRow(at), () => index.find(at, "etc"),
    ];
    let type = 0;
    asked.unshift(() => (type = index.mode(at) & S_IFMT));
    for (const ask of asked) quietly(ask);
    if (type === S_IFLNK) quietly(() => index.readlink(at));
    if (type === S_IFREG) quietly(() => index.inlineBody(at) ?? index.digest(at));
    if (type !== S_IFDIR) continue;
    quietly(() => {
      const first = index.firstEntry(at);
      const last = Math.min(first + index.entryCount(at), first + MAX_STEPS);
      for (let entry = first; entry < last; entry++) {
        const name = index.entryName(entry);
        expectThat(name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name), () => `gives the name ${JSON.stringify(name)}`);
        const node = index.entryNode(entry);
        if (node !== WHITEOUT_NODE) open.push(node);
      }
    });
  }
}

function quietly(ask: () => unknown): void {
  try {
    ask();
  } catch (error) {
    refusedBy(error, FsError);
  }
}
