/**
 * fsck: reads everything in a store and says what is wrong, and which images it concerns. With `repair`, what is wrong is moved to
 * the folder "quarantine", so that a new import brings it back whole; a damaged chain is just removed, since it can be merged again.
 *
 * Checking takes no lock: objects and indexes never change, and what vanishes meanwhile was swept. Repairing takes the exclusive one
 * and looks at each thing again before it moves it.
 */
import { renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { hasCode } from "../base/errors.js";
import { containerNames, readContainer } from "./containers.js";
import { chainIdOf, type Digest } from "./digest.js";
import { StoreError } from "./errors.js";
import { exists, namesIn, readText } from "./files.js";
import { checkIndex } from "./index-check.js";
import { decodeRef, refFile, refFiles, type ImageRef } from "./refs.js";
import type { Store } from "./store.js";

export type ProblemKind =
  /** The bytes of an object have another digest, or an index says another size. */
  | "object-damaged"
  | "object-missing"
  | "layer-damaged"
  | "layer-missing"
  | "chain-damaged"
  | "ref-damaged"
  | "container-damaged"
  /** Something that no program of this version puts there. */
  | "stray";

export interface Problem {
  readonly kind: ProblemKind;
  /** Beneath the store's folder. */
  readonly path: string;
  readonly detail: string;
  /** Names of images that cannot be fully used, and of containers as "container NAME". */
  readonly images: readonly string[];
  /** With `repair`: whether it was moved or removed. What is missing cannot be. */
  readonly repaired: boolean;
}

export interface FsckResult {
  readonly objects: number;
  readonly layers: number;
  readonly chains: number;
  readonly images: number;
  readonly bytes: number;
  readonly problems: readonly Problem[];
}

export interface FsckOptions {
  readonly repair?: boolean;
  /** Called now and then with the bytes of objects read so far. */
  readonly onProgress?: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

interface Finding {
  readonly kind: ProblemKind;
  readonly path: string;
  readonly detail: string;
  readonly images: ReadonlySet<string>;
  /** True while it is still wrong. */
  readonly again: () => boolean;
}

/** Throws only for what keeps it from reading at all; an aborted signal's reason. Yields to the event loop between objects. */
export async function fsckStore(store: Store, options: FsckOptions = {}): Promise<FsckResult> {
  for (const key of Object.keys(options)) if (!["repair", "onProgress", "signal"].includes(key)) throw new TypeError(`unknown option ${key} of fsckStore`);
  const fsck = new Fsck(store, options);
  await fsck.check();
  return options.repair === true ? await store.lock.exclusive(() => fsck.repair()) : fsck.result(() => false);
}

class Fsck {
  readonly #store: Store;
  readonly #options: FsckOptions;
  readonly #findings: Finding[] = [];
  /** Images that use a layer, and layers that use an object with the size they say. */
  readonly #imagesOfLayer = new Map<Digest, Set<string>>();
  readonly #imagesOfChain = new Map<Digest, Set<string>>();
  readonly #imagesOfObject = new Map<Digest, Set<string>>();
  readonly #sizes = new Map<Digest, number>();
  #objects = 0;
  #layers = 0;
  #chains = 0;
  #images = 0;
  #bytes = 0;

  constructor(store: Store, options: FsckOptions) {
    this.#store = store;
    this.#options = options;
  }

  async check(): Promise<void> {
    this.#refs();
    this.#containers();
    this.#layersAndChains();
    await this.#allObjects();
    for (const [digest, images] of this.#imagesOfObject) {
      if (this.#store.objects.stat(digest) === undefined) {
        this.#find("object-missing", this.#store.objects.path(digest), "an index or image refers to it", images, () => false);
      }
    }
  }

  repair(): FsckResult {
    return this.result((finding) => {
      if (!finding.again()) return false;
      if (finding.kind === "chain-damaged") {
        rmSync(finding.path, { force: true });
        return true;
      }
      const name = finding.kind === "object-damaged" ? `object-${basename(join(finding.path, ".."))}${basename(finding.path)}` : `${finding.kind}-${basename(finding.path)}`;
      const target = join(this.#store.folder("quarantine"), name);
      rmSync(target, { recursive: true, force: true });
      renameSync(finding.path, target);
      return true;
    });
  }

  result(repair: (finding: Finding) => boolean): FsckResult {
    const problems = this.#findings.map((finding): Problem => ({
      kind: finding.kind, path: finding.path.slice(this.#store.path.length + 1), detail: finding.detail, images: [...finding.images].sort(), repaired: repair(finding),
    }));
    return { objects: this.#objects, layers: this.#layers, chains: this.#chains, images: this.#images, bytes: this.#bytes, problems };
  }

  #refs(): void {
    const folder = this.#store.folder("refs");
    for (const file of refFiles(folder)) {
      const path = join(folder, file);
      const broken = (): string | undefined => messageOf(() => this.#readRef(path, file));
      const problem = broken();
      if (problem !== undefined) {
        this.#find("ref-damaged", path, problem, new Set([file]), () => broken() !== undefined);
        continue;
      }
      const ref = this.#readRef(path, file);
      if (ref === undefined) continue;
      this.#images++;
      for (const layer of ref.layers) setOf(this.#imagesOfLayer, layer).add(ref.name);
      setOf(this.#imagesOfChain, chainIdOf(ref.layers)).add(ref.name);
      for (const document of [ref.config, ref.manifest]) if (document !== undefined) setOf(this.#imagesOfObject, document).add(ref.name);
    }
  }

  #containers(): void {
    for (const name of containerNames(this.#store)) {
      const user = `container ${name}`;
      const broken = (): string | undefined => messageOf(() => readContainer(this.#store, name));
      const problem = broken();
      if (problem !== undefined) {
        this.#find("container-damaged", join(this.#store.folder("containers"), name), problem, new Set([user]), () => broken() !== undefined);
        continue;
      }
      const container = readContainer(this.#store, name);
      if (container === undefined) continue;
      for (const layer of container.layers) setOf(this.#imagesOfLayer, layer).add(user);
      setOf(this.#imagesOfChain, chainIdOf(container.layers)).add(user);
      if (container.config !== undefined) setOf(this.#imagesOfObject, container.config).add(user);
    }
  }

  #readRef(path: string, file: string): ImageRef | undefined {
    const text = readText(path);
    if (text === undefined) return undefined;
    const ref = decodeRef(text, path);
    if (refFile(ref.name) !== file) throw new StoreError("ERR_STORE_DAMAGED", `expected the reference of ${file}, found that of ${ref.name}`);
    return ref;
  }

  #layersAndChains(): void {
    const none: ReadonlySet<string> = new Set();
    for (const folder of ["layers", "chains"] as const) {
      const isLayers = folder === "layers";
      const known: ReadonlyMap<Digest, Set<string>> = isLayers ? this.#imagesOfLayer : this.#imagesOfChain;
      for (const name of namesIn(this.#store.folder(folder))) {
        this.#options.signal?.throwIfAborted();
        const path = join(this.#store.folder(folder), name);
        if (!/^[0-9a-f]{64}$/.test(name)) {
          this.#find("stray", path, `no ${folder.slice(0, -1)} has this name`, none, () => exists(path));
          continue;
        }
        const images = known.get(name as Digest) ?? none;
        const broken = (): string | undefined => messageOf(() => this.#index(name as Digest, isLayers, images));
        const problem = broken();
        if (problem === undefined) {
          if (isLayers) this.#layers++;
          else this.#chains++;
        } else if (exists(path)) {
          this.#find(isLayers ? "layer-damaged" : "chain-damaged", path, problem, images, () => exists(path) && broken() !== undefined);
        }
      }
    }
    for (const [layer, images] of this.#imagesOfLayer) {
      if (!exists(this.#store.layerPath(layer))) this.#find("layer-missing", this.#store.layerPath(layer), "an image or container refers to it", images, () => false);
    }
  }

  /** Checks an index and remembers which objects it needs. */
  #index(id: Digest, isLayer: boolean, images: ReadonlySet<string>): void {
    const index = isLayer ? this.#store.openLayer(id) : this.#store.openChainIndex(id);
    try {
      checkIndex(index);
      for (let i = 0; i < index.digestCount; i++) {
        const users = setOf(this.#imagesOfObject, index.digestAt(i));
        for (const image of images) users.add(image);
      }
      for (let row = 0; row < index.rows; row++) {
        const digestRow = index.digestRow(row);
        if (digestRow < 0) continue;
        const digest = index.digestAt(digestRow);
        const size = this.#sizes.get(digest) ?? index.size(row);
        if (size !== index.size(row)) throw new StoreError("ERR_STORE_DAMAGED", `expected object ${digest} to be of ${size} bytes as another index says, found ${index.size(row)}`);
        this.#sizes.set(digest, size);
      }
    } finally {
      index.close();
    }
  }

  async #allObjects(): Promise<void> {
    const { objects } = this.#store;
    for (const found of objects.list()) {
      this.#options.signal?.throwIfAborted();
      if ("stray" in found) {
        this.#find("stray", found.stray, "no object has this name", new Set(), () => exists(found.stray));
        continue;
      }
      const { digest } = found;
      const broken = (): string | undefined => {
        const stat = objects.stat(digest);
        if (stat === undefined) return undefined;
        if (!stat.isFile()) return "expected a plain file";
        const size = this.#sizes.get(digest);
        if (size !== undefined && stat.size !== size) return `expected ${size} bytes, found ${stat.size}`;
        return objects.verify(digest) === false ? "its bytes have another digest" : undefined;
      };
      const problem = messageOf(() => { const text = broken(); if (text !== undefined) throw new StoreError("ERR_STORE_DAMAGED", text); });
      this.#objects++;
      this.#bytes += objects.stat(digest)?.size ?? 0;
      this.#options.onProgress?.(this.#bytes);
      if (problem !== undefined) this.#find("object-damaged", objects.path(digest), problem, this.#imagesOfObject.get(digest) ?? new Set(), () => broken() !== undefined);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #find(kind: ProblemKind, path: string, detail: string, images: ReadonlySet<string>, again: () => boolean): void {
    this.#findings.push({ kind, path, detail, images, again });
  }
}

/** What a check complains of; undefined when it does not, or when what it looks at has gone. Errors that are no complaint pass. */
function messageOf(check: () => unknown): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (error instanceof StoreError && error.code === "ERR_STORE_MISSING") return undefined;
    if (error instanceof StoreError || hasCode(error, "EIO") || hasCode(error, "EINVAL") || hasCode(error, "ENOTDIR")) return (error as Error).message;
    throw error;
  }
}

function setOf<K>(map: Map<K, Set<string>>, key: K): Set<string> {
  let set = map.get(key);
  if (set === undefined) map.set(key, (set = new Set()));
  return set;
}
