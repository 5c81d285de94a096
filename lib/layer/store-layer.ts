/**
 * Layers that lie in a store, described and opened: an image, or any chain of layers, merged into one.
 * Always true: an open one holds a lease, so no sweep takes from it what it shows; the lease ends with the layer or its process.
 */
import { fastHashIfLoaded, loadFastHash } from "../base/fast-hash.js";
import { parseDigest, type Digest } from "../store/digest.js";
import { StoreError } from "../store/errors.js";
import { openStoreNow } from "../store/store.js";
import type { IdMapOptions } from "./ids.js";
import { IndexedLayer } from "./indexed-layer.js";

export interface StoreLayerOptions {
  readonly ids?: IdMapOptions;
  /** Compare the content of each object with its digest when it is first opened: EIO and a log line when it differs. */
  readonly verify?: boolean;
}
export interface StoreDescription {
  readonly kind: "store";
  /** The store's folder. */
  readonly store: string;
  /** The name of an image, looked up when the layer is opened; or diffIDs, bottom-up. */
  readonly what: string | readonly string[];
  readonly options: StoreLayerOptions;
}

/**
 * Layers are opened in a call that does not yield; what they need is loaded in this one, once for a thread. Whoever got a description
 * from another thread awaits it before opening.
 */
export async function readyForStores(): Promise<void> {
  await loadFastHash();
}

/** Throws ERR_STORE_FORMAT, ERR_STORE_MISSING, ERR_STORE_BUSY, ERR_STORE_DAMAGED, ERR_STORE_FULL when the chain has to be merged first. */
export function openStoreLayer({ store: path, what, options }: StoreDescription, onDamage: (message: string) => void): IndexedLayer {
  const hash = fastHashIfLoaded();
  if (hash === undefined) throw new TypeError("layers of a store open after readyForStores() has resolved in this thread");
  const store = openStoreNow(path, hash);
  const chain = store.openChainNow(layersOf(what, (name) => store.image(name)?.layers), typeof what === "string" ? what : "a mount");
  try {
    return new IndexedLayer(chain.index, store.folder("objects"), () => chain.close(), { ...options, onDamage });
  } catch (error) {
    chain.close();
    throw error;
  }
}

function layersOf(what: string | readonly string[], image: (name: string) => readonly Digest[] | undefined): readonly Digest[] {
  if (typeof what !== "string") return what.map(parseDigest);
  const layers = image(what);
  if (layers === undefined) throw new StoreError("ERR_STORE_MISSING", `no image ${what}`);
  return layers;
}
