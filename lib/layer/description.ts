/**
 * Layers described before they are opened: plain objects that can be sent to the worker or process that opens them.
 * Always true: a description survives structuredClone and JSON apart from bytes; opening it is the first thing that can fail.
 */
import { FsError } from "../base/errors.js";
import { DirectoryLayer } from "./directory-layer.js";
import type { DirectoryLayerOptions } from "./directory-layer.js";
import { DirectoryUpper } from "./directory-upper.js";
import type { DirectoryUpperOptions } from "./directory-upper.js";
import type { Layer } from "./layer.js";
import { MemoryLayer } from "./memory-layer.js";
import type { MemoryLayerOptions } from "./memory-layer.js";
import { MemoryUpper } from "./memory-upper.js";
import type { MemoryUpperOptions } from "./memory-upper.js";
import { openStoreLayer, readyForStores } from "./store-layer.js";
import type { StoreDescription, StoreLayerOptions } from "./store-layer.js";
import type { TreeDescription } from "./tree-description.js";
import type { UpperLayer } from "./upper.js";

/** Options that are objects of a running process have no place in a description. */
export type DirectoryDescriptionOptions = Omit<DirectoryLayerOptions, "descriptors">;
export type DirectoryUpperDescriptionOptions = Omit<DirectoryUpperOptions, "descriptors">;

export interface DirectoryDescription<O> {
  readonly kind: "directory";
  /** A path as text, or a descriptor of the process that opens it. */
  readonly at: string | number;
  readonly options: O;
}
export interface MemoryDescription<O> {
  readonly kind: "memory";
  readonly tree: TreeDescription;
  readonly options: O;
}
export type LayerDescription = DirectoryDescription<DirectoryDescriptionOptions> | MemoryDescription<MemoryLayerOptions> | StoreDescription;
export type UpperDescription = DirectoryDescription<DirectoryUpperDescriptionOptions> | MemoryDescription<MemoryUpperOptions>;

const layerOptions = ["id", "ids", "honour"];
const upperOptions = [
  ...layerOptions, "workdir", "xattrPrefix", "whiteouts", "opaqueSentinel", "volatile", "blocking", "redirect", "metacopy", "xattrPermissions", "whole", "locks",
];

/** A directory as a read-only layer. */
export function directoryLayer(at: string | number, options: DirectoryDescriptionOptions = {}): DirectoryDescription<DirectoryDescriptionOptions> {
  checkOptions("directoryLayer", options, layerOptions);
  return { kind: "directory", at, options };
}

/** A tree written down here as a read-only layer. */
export function memoryLayer(tree: TreeDescription, options: MemoryLayerOptions = {}): MemoryDescription<MemoryLayerOptions> {
  checkOptions("memoryLayer", options, ["id"]);
  return { kind: "memory", tree, options };
}

/**
 * An image of a store as one read-only layer: by name, or the layers of any chain by their diffIDs, bottom-up. Merging a chain that
 * nobody has opened before takes seconds for a million files. Resolves when this thread is ready to open it.
 */
export async function storeLayer(store: string, what: string | readonly string[], options: StoreLayerOptions = {}): Promise<StoreDescription> {
  checkOptions("storeLayer", options, ["ids", "verify"]);
  await readyForStores();
  return { kind: "store", store, what, options };
}

/** A directory that takes the changes. */
export function directoryUpper(at: string | number, options: DirectoryUpperDescriptionOptions = {}): DirectoryDescription<DirectoryUpperDescriptionOptions> {
  checkOptions("directoryUpper", options, upperOptions);
  return { kind: "directory", at, options };
}

/** Changes in memory, gone with the mount. */
export function memoryUpper(tree: TreeDescription = {}, options: MemoryUpperOptions = {}): MemoryDescription<MemoryUpperOptions> {
  checkOptions("memoryUpper", options, ["id", "maxBytes", "redirect", "metacopy"]);
  return { kind: "memory", tree, options };
}

/**
 * The caller closes it. Throws ENOENT, ENOTDIR, EACCES, EINVAL; for layers of a store StoreError. `onDamage` is told of objects of a
 * store that are not what they should be when they are read, which is EIO as well.
 */
export function openLayer(description: LayerDescription, onDamage: (message: string) => void = () => undefined): Layer {
  if (description.kind === "store") return openStoreLayer(description, onDamage);
  if (description.kind === "memory") return new MemoryLayer(description.tree, description.options);
  return DirectoryLayer.open(description.at, description.options);
}

/** The caller closes it. Throws also EXDEV, EBUSY, EROFS: see WorkDirectory.open. */
export function openUpper(description: UpperDescription): UpperLayer {
  if (description.kind === "memory") return new MemoryUpper(description.tree, description.options);
  return DirectoryUpper.open(description.at, description.options);
}

function checkOptions(what: string, options: object, known: readonly string[]): void {
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw new FsError("EINVAL", what, `unknown option ${JSON.stringify(key)}, expected ${known.join(", ")}`);
  }
}
