/** Fuzz target: the small documents of a store, each read as what its first line says: references, leases, containers, blob recipes. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BLOB_FILE, encodeBlobRecipe, readBlobRecipe } from "../../lib/image/blob-recipe.js";
import { readContainer } from "../../lib/store/containers.js";
import { digestOf } from "../../lib/store/digest.js";
import { StoreError } from "../../lib/store/errors.js";
import { liveLeases, makeLease } from "../../lib/store/leases.js";
import { decodeRef, encodeRef } from "../../lib/store/refs.js";
import { openStore, type Store } from "../../lib/store/store.js";
import { expectThat, refusedBy, scratchFolder, type Target } from "./fuzz.js";

const layer = digestOf(Buffer.from("layer"));
let opened: Promise<{ readonly store: Store; readonly lease: string }> | undefined;

export const documentsTarget: Target = {
  name: "documents",
  words: ['"version": 1', '"layers"', "null", "[]", "{}", '"__proto__"', `"sha256:${layer}"`, "sha256:", '"../../x"', "1e999", "-1", '"kept"', '"deflate"', '"temporary": true', "\\u0000", "[[[[[[[["],
  maxBytes: 4096,
  async run(input) {
    const { store, lease } = await (opened ??= makeStore());
    const kind = input[0] ?? 0;
    const text = input.subarray(1).toString("utf8");
    try {
      if (kind === 0x72) {
        const ref = decodeRef(text, "fuzzed");
        expectThat(JSON.stringify(decodeRef(encodeRef(ref).toString(), "again")) === JSON.stringify(ref), () => "a reference does not read back");
      } else if (kind === 0x6c) {
        writeFileSync(lease, text);
        for (const { pid, startMs, layers } of liveLeases(store.folder("leases"), false)) {
          expectThat(typeof pid === "number" && typeof startMs === "number" && layers.every((one) => /^[0-9a-f]{64}$/.test(one)), () => "a lease of other fields");
        }
      } else if (kind === 0x63) {
        writeFileSync(join(store.folder("containers"), "box", "state"), text);
        const container = readContainer(store, "box");
        if (container !== undefined) new Date(container.createdMs).toISOString();
        expectThat(container === undefined || container.layers.every((one) => /^[0-9a-f]{64}$/.test(one)), () => "a container of other fields");
      } else {
        writeFileSync(join(store.layerPath(layer), BLOB_FILE), text);
        const recipe = readBlobRecipe(store, layer);
        expectThat(recipe === undefined || /^[0-9a-f]{64}$/.test(recipe.digest), () => "a blob recipe of other fields");
      }
    } catch (error) {
      refusedBy(error, StoreError);
    }
  },
  async samples() {
    const spelt = `sha256:${layer}`;
    return {
      ref: Buffer.concat([Buffer.from("r"), encodeRef({ name: "registry.example/a:b", layers: [layer, layer], config: layer, manifest: undefined })]),
      lease: Buffer.from(`l${JSON.stringify({ version: 1, kind: "mount", pid: 1, startMs: 5, purpose: "x", layers: [spelt], chain: spelt })}`),
      container: Buffer.from(`c${JSON.stringify({ version: 1, name: "box", image: "a:b", layers: [spelt], config: null, createdMs: 5, temporary: false })}`),
      blob: Buffer.concat([Buffer.from("b"), encodeBlobRecipe({ digest: layer, size: 100, compression: "gzip", how: { kind: "deflate", header: Buffer.from("1f8b08", "hex"), level: 6 } })]),
    };
  },
};

/** A store with a lease of this process, whose file the inputs replace, and folders for a container and a layer. */
async function makeStore(): Promise<{ store: Store; lease: string }> {
  const store = await openStore(join(scratchFolder(), "store"), { create: true });
  mkdirSync(join(store.folder("containers"), "box"));
  mkdirSync(store.layerPath(layer));
  const { record } = makeLease(store.folder("leases"), { kind: "mount", layers: [], chain: undefined, purpose: "" });
  return { store, lease: join(store.folder("leases"), record.id) };
}
