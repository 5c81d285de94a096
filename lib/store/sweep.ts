/**
 * Sweep: removes what nothing refers to. Mark: references, containers and live leases name layers and chains; layers name objects;
 * images and containers name their documents. What is younger than the grace time, or than the start of the oldest live writer, stays as well.
 *
 * Runs under the exclusive lock from the first look to the last removal: whoever publishes, leases or finds an object waits.
 * Order: chains, then layers, then objects, so that whatever is left, at every moment, has all it needs.
 * A reference or layer that cannot be read stops the sweep before it removes anything: what it needs is not known.
 */
import { lstatSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { containerNames, isAbandoned, readContainer } from "./containers.js";
import { chainIdOf, type Digest } from "./digest.js";
import { exists, namesIn } from "./files.js";
import { liveLeases, type LeaseRecord } from "./leases.js";
import type { Store } from "./store.js";

export interface SweepOptions {
  /** Age below which unneeded things stay. Default ten minutes. */
  readonly graceMs?: number;
  /** Says what would be removed and removes nothing. */
  readonly dryRun?: boolean;
}

export interface SweepResult {
  readonly objects: number;
  readonly layers: number;
  readonly chains: number;
  /** Containers of single runs that were killed. */
  readonly containers: number;
  /** Staging folders of dead writers, and files of references that were being written when their writer died. */
  readonly leftovers: number;
  /** Disk space of all of these. */
  readonly freedBytes: number;
}

/** Clocks of files run behind the process's by up to a tick. */
const CLOCK_SLACK_MS = 2000;
const DEFAULT_GRACE_MS = 600_000;

/** Throws ERR_STORE_BUSY, ERR_STORE_DAMAGED, ERR_STORE_FORMAT. */
export function sweepStore(store: Store, options: SweepOptions = {}): Promise<SweepResult> {
  for (const key of Object.keys(options)) if (key !== "graceMs" && key !== "dryRun") throw new TypeError(`unknown option ${key} of sweepStore`);
  return store.lock.exclusive(() => new Sweep(store, options).run());
}

class Sweep {
  readonly #store: Store;
  readonly #dryRun: boolean;
  readonly #leases: readonly LeaseRecord[];
  /** Modification times at or above this are too young. */
  readonly #cutoffMs: number;
  readonly #layers = new Set<string>();
  readonly #chains = new Set<string>();
  readonly #objects = new Set<string>();
  /** Containers that are removed, or would be. */
  readonly #gone = new Set<string>();
  #freed = 0;

  constructor(store: Store, { graceMs = DEFAULT_GRACE_MS, dryRun = false }: SweepOptions) {
    this.#store = store;
    this.#dryRun = dryRun;
    this.#leases = liveLeases(store.folder("leases"), !dryRun);
    const writers = this.#leases.filter(({ kind }) => kind === "writer").map(({ startMs }) => startMs - CLOCK_SLACK_MS);
    this.#cutoffMs = Math.min(Date.now() - graceMs, ...writers);
  }

  run(): SweepResult {
    const containers = this.#abandoned();
    this.#mark();
    const leftovers = this.#leftovers();
    const chains = this.#remove("chains", this.#chains);
    const layers = this.#remove("layers", this.#layers);
    let objects = 0;
    for (const found of this.#store.objects.list()) {
      // What is no object at all was put there by somebody else; fsck reports it.
      if ("digest" in found && !this.#objects.has(found.digest) && this.#removePath(this.#store.objects.path(found.digest))) objects++;
    }
    return { objects, layers, chains, containers, leftovers, freedBytes: this.#freed };
  }

  /** Before the mark, so that what only they need goes with them. */
  #abandoned(): number {
    let count = 0;
    for (const name of containerNames(this.#store)) {
      const container = readContainer(this.#store, name);
      const path = join(this.#store.folder("containers"), name);
      if (container !== undefined && isAbandoned(this.#store, container) && this.#removePath(path)) {
        this.#gone.add(name);
        count++;
      }
    }
    return count;
  }

  #mark(): void {
    const { layers, chains, objects } = { layers: this.#layers, chains: this.#chains, objects: this.#objects };
    for (const image of this.#store.images()) {
      for (const layer of image.layers) layers.add(layer);
      chains.add(chainIdOf(image.layers));
      if (image.config !== undefined) objects.add(image.config);
      if (image.manifest !== undefined) objects.add(image.manifest);
    }
    for (const name of containerNames(this.#store)) {
      const container = this.#gone.has(name) ? undefined : readContainer(this.#store, name);
      if (container === undefined) continue;
      for (const layer of container.layers) layers.add(layer);
      chains.add(chainIdOf(container.layers));
      if (container.config !== undefined) objects.add(container.config);
    }
    for (const { layers: leased, chain } of this.#leases) {
      for (const layer of leased) layers.add(layer);
      if (chain !== undefined) chains.add(chain);
    }
    // Young layers stay, so their objects must.
    for (const layer of namesIn(this.#store.folder("layers"))) if (this.#isYoung(join(this.#store.folder("layers"), layer))) layers.add(layer);
    for (const layer of layers) {
      if (!exists(this.#store.layerPath(layer as Digest))) continue;
      const index = this.#store.openLayer(layer as Digest);
      try {
        index.loadDigests();
        for (let i = 0; i < index.digestCount; i++) objects.add(index.digestAt(i));
      } finally {
        index.close();
      }
    }
  }

  /** Staging of writers that are no more. A folder's writer holds the lease of the same name. */
  #leftovers(): number {
    let count = 0;
    const live = new Set(this.#leases.map(({ id }) => id));
    const staging = this.#store.folder("staging");
    for (const name of namesIn(staging)) {
      // Chains are merged and containers made under a mount's lease, without a folder of their own: they have the grace time.
      const isWriter = /^[0-9a-f]{16}$/.test(name);
      if (!live.has(name) && (isWriter || !this.#isYoung(join(staging, name))) && this.#discard(join(staging, name))) count++;
    }
    const refs = this.#store.folder("refs");
    for (const name of namesIn(refs)) if (name.startsWith(".") && this.#removePath(join(refs, name))) count++;
    return count;
  }

  #remove(folder: "layers" | "chains", keep: ReadonlySet<string>): number {
    let count = 0;
    for (const name of namesIn(this.#store.folder(folder))) {
      if (!keep.has(name) && this.#removePath(join(this.#store.folder(folder), name))) count++;
    }
    return count;
  }

  #removePath(path: string): boolean {
    return !this.#isYoung(path) && this.#discard(path);
  }

  #discard(path: string): boolean {
    this.#freed += diskBytes(path);
    if (this.#dryRun) return true;
    if (lstatSync(path).isDirectory()) {
      // A layer goes away whole: a kill in the middle of removing its files leaves something in staging, not half a layer.
      const going = join(this.#store.folder("staging"), `going-${process.pid}-${Date.now()}`);
      renameSync(path, going);
      rmSync(going, { recursive: true, force: true });
    } else {
      rmSync(path, { force: true });
    }
    return true;
  }

  #isYoung(path: string): boolean {
    return lstatSync(path).mtimeMs >= this.#cutoffMs;
  }
}

/** Disk space of a file or a folder with all in it. */
export function diskBytes(path: string): number {
  const stat = lstatSync(path);
  let bytes = stat.blocks * 512;
  if (stat.isDirectory()) for (const name of namesIn(path)) bytes += diskBytes(join(path, name));
  return bytes;
}
