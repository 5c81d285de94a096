/** Fuzz target: recipes, from which a layer's tar is put together again. Of an input, what follows the header is deflated before it is read. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { FsError } from "../../lib/base/errors.js";
import { RECIPE_FILE, layerTar, layerTarBytes } from "../../lib/image/recipe.js";
import { StoreError } from "../../lib/store/errors.js";
import { openStore, type Store } from "../../lib/store/store.js";
import { digestOf, type Digest } from "../../lib/store/digest.js";
import { expectThat, refusedBy, scratchFolder, type Target } from "./fuzz.js";

const HEADER = 56;
const body = Buffer.alloc(5000, "object ");
const diffId = digestOf(Buffer.from("layer"));
let opened: Promise<Store> | undefined;

export const recipeTarget: Target = {
  name: "recipe",
  words: ["stratarc", "\x01\0\0\0", "\x02", "\x03", "\0", "\xff\xff\xff\xff\xff\xff\xff\xff", Buffer.from(digestOf(body), "hex").toString("latin1"), "\x01\x00\x02\x00\x00"],
  maxBytes: 8192,
  mend(input) {
    if (input.length < HEADER) return input;
    const bytes = Buffer.from(input);
    bytes.write("stratarc", 0, "latin1");
    bytes.writeUInt32LE(1, 8);
    bytes.writeUInt32LE(0, 12);
    bytes.write(diffId, 16, "hex");
    return bytes;
  },
  async run(input) {
    const store = await (opened ??= storeWithObject());
    writeFileSync(join(store.layerPath(diffId), RECIPE_FILE), Buffer.concat([input.subarray(0, HEADER), deflateRawSync(input.subarray(HEADER), { level: 1 })]));
    try {
      const announced = layerTarBytes(store, diffId);
      let size = 0;
      for await (const part of layerTar(store, diffId)) {
        size += part.length;
        expectThat(size <= announced, () => `gives ${size} bytes and more, announced are ${announced}`);
      }
    } catch (error) {
      refusedBy(error, StoreError, FsError);
    }
  },
  async samples() {
    const header = (bytes: number): Buffer => {
      const head = Buffer.alloc(HEADER);
      head.writeBigUInt64LE(BigInt(bytes), 48);
      return head;
    };
    const object = Buffer.from(digestOf(body), "hex");
    const raw = (text: string): Buffer => Buffer.concat([Buffer.from([1, text.length, 0, 0, 0]), Buffer.from(text)]);
    const parts = Buffer.alloc(36);
    parts.writeUInt32LE(2, 0);
    parts.writeBigUInt64LE(8n, 4);
    parts.writeBigUInt64LE(100n, 12);
    parts.writeBigUInt64LE(200n, 20);
    parts.writeBigUInt64LE(50n, 28);
    const samples = {
      object: Buffer.concat([header(5010), raw("0123456789"), Buffer.from([2]), object, Buffer.from([0])]),
      parts: Buffer.concat([header(154), raw("abcd"), Buffer.from([3]), object, parts, Buffer.from([0])]),
      raw: Buffer.concat([header(6), raw("abc"), raw("def"), Buffer.from([0])]),
    };
    return Object.fromEntries(Object.entries(samples).map(([name, bytes]) => [name, this.mend?.(bytes) ?? bytes]));
  },
};

/** A store with one object, and a folder for the layer. */
async function storeWithObject(): Promise<Store> {
  const store = await openStore(join(scratchFolder(), "store"), { create: true });
  const digest: Digest = digestOf(body);
  mkdirSync(store.objects.folderOf(digest), { recursive: true });
  writeFileSync(store.objects.path(digest), body);
  mkdirSync(store.layerPath(diffId));
  return store;
}
