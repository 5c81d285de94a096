/** `stratafs cat`: the bytes of a file of an image or container, without a mount. */
import { constants, writeSync } from "node:fs";
import { overlay, pathBytes, type FileSystem } from "../index.js";
import { readArguments, takeArguments } from "./arguments.js";
import { resolveInTree } from "./root-paths.js";
import { shownLayers, storeFor, storeOption, targetOf } from "./store-options.js";

/** Throws UsageError, StoreError, FsError; Error when there is nothing at the path. */
export async function catCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments("cat", args, storeOption);
  const [name, path] = takeArguments("cat", positionals, "IMAGE|CONTAINER", "PATH");
  const store = await storeFor(values.store);
  const tree: FileSystem = overlay({ lowers: await shownLayers(store, targetOf(store, name)) });
  try {
    const { node, type } = resolveInTree(tree, pathBytes(path));
    if (node === undefined) throw new Error(`cat: nothing at ${path} in ${name}`);
    if (type !== constants.S_IFREG) throw new Error(`cat: ${path} in ${name} is ${type === constants.S_IFDIR ? "a directory; stratafs ls lists it" : "no regular file"}`);
    const file = await tree.open(node, 0);
    try {
      const buffer = Buffer.allocUnsafe(1 << 20);
      for (let position = 0; ; ) {
        const count = await file.read(buffer, position);
        if (count === 0) return 0;
        if (!writeAll(buffer.subarray(0, count))) return 1;
        position += count;
      }
    } finally {
      file.close();
    }
  } finally {
    await tree.close();
  }
}

/** False when nobody reads any more. */
function writeAll(bytes: Uint8Array): boolean {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EPIPE") return false;
      if (code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
  return true;
}
