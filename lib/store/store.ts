/**
 * Store: one directory of objects, layers, chains, references and leases. No server: processes meet at the lock.
 * Source of the layout: FORMAT.md.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, renameSync, rmSync, unlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { loadFastHash, type FastHash } from "../base/fast-hash.js";
import { hasCode } from "../base/errors.js";
import { mergeChain } from "./chain-merge.js";
import { chainIdOf, type Digest } from "./digest.js";
import { StoreError } from "./errors.js";
import { exists, ifThere, readText, replaceFile, syncDirectory, writeSynced, writing } from "./files.js";
import { IndexReader } from "./index-reader.js";
import { liveLeases, makeLease, type Lease, type LeaseNeeds, type LeaseRecord } from "./leases.js";
import { Objects } from "./objects.js";
import { checkImageName, encodeRef, listRefs, readRef, refFile, type ImageRef } from "./refs.js";
import { StoreLock } from "./store-lock.js";
import { StoreWriter } from "./store-writer.js";

export const STORE_VERSION = 1;
const FORMAT_TEXT = `stratafs store\nversion ${STORE_VERSION}\n`;
const folders = ["objects", "layers", "chains", "refs", "containers", "leases", "staging", "quarantine"] as const;
export type StoreFolder = (typeof folders)[number];

export interface OpenStoreOptions {
  /** Makes the store where there is none (the directory missing or empty). Default false. */
  readonly create?: boolean;
  /** How long to wait for a lock that another process holds. Default 60,000. */
  readonly patienceMs?: number;
}

/** A merged chain in use: its index, and the lease that keeps it. */
export interface OpenChain {
  readonly index: IndexReader;
  readonly lease: Lease;
  /** Closes the index and ends the lease. Idempotent. */
  close(): void;
}

/** Opens the store in `path`. Throws ERR_STORE_FORMAT when there is none, or one of another version. */
export async function openStore(path: string, options: OpenStoreOptions = {}): Promise<Store> {
  return openStoreNow(path, await loadFastHash(), options);
}

/** As openStore(), for callers that have the hash and cannot yield. */
export function openStoreNow(path: string, hash: FastHash, options: OpenStoreOptions = {}): Store {
  for (const key of Object.keys(options)) if (key !== "create" && key !== "patienceMs") throw new TypeError(`unknown option ${key} of openStore`);
  const root = resolve(path);
  const format = readText(join(root, "format"));
  if (format === undefined) {
    if (options.create !== true) throw new StoreError("ERR_STORE_FORMAT", `expected a store in ${root}, found no file "format"`);
    createStore(root);
  } else if (format !== FORMAT_TEXT) {
    const version = /^stratafs store\nversion (\d+)\n/.exec(format)?.[1];
    throw new StoreError("ERR_STORE_FORMAT", `${root}: expected store version ${STORE_VERSION}, found ${version ?? "another kind of file"}`);
  }
  return new Store(root, hash, options.patienceMs ?? 60_000);
}

/** Two processes may do this at once: the file "format" is written last, and is the same from both. */
function createStore(root: string): void {
  writing("a new store", () => {
    mkdirSync(root, { recursive: true, mode: 0o700 });
    const others = readdirSync(root).filter((name) => name !== "lock" && name !== "format" && !name.startsWith(".format-") && !(folders as readonly string[]).includes(name));
    if (others.length > 0) throw new StoreError("ERR_STORE_FORMAT", `expected an empty directory for a new store, found ${JSON.stringify(others[0])} in ${root}`);
    for (const folder of folders) mkdirSync(join(root, folder), { recursive: true, mode: 0o700 });
    try {
      writeSynced(join(root, "lock"), [], 0o600);
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
    }
    replaceFile(join(root, "format"), join(root, `.format-${randomBytes(8).toString("hex")}`), Buffer.from(FORMAT_TEXT), 0o600);
    syncDirectory(root);
  });
}

export class Store {
  readonly path: string;
  readonly lock: StoreLock;
  readonly objects: Objects;
  readonly hash: FastHash;

  constructor(path: string, hash: FastHash, patienceMs: number) {
    this.path = path;
    this.hash = hash;
    this.lock = new StoreLock(join(path, "lock"), patienceMs);
    this.objects = new Objects(this.folder("objects"));
  }

  folder(name: StoreFolder): string {
    return join(this.path, name);
  }
  layerPath(diffId: Digest): string {
    return join(this.folder("layers"), diffId);
  }
  chainPath(chainId: Digest): string {
    return join(this.folder("chains"), chainId);
  }

  // ── images ──

  /** Undefined when no image has the name. Throws ERR_STORE_NAME, ERR_STORE_FORMAT, ERR_STORE_DAMAGED. */
  image(name: string): ImageRef | undefined {
    return readRef(this.folder("refs"), name);
  }
  images(): ImageRef[] {
    return listRefs(this.folder("refs"));
  }

  /** Gives an image its name, replacing what had it. Throws ERR_STORE_MISSING when the store lacks a layer or document of it. */
  async setImage(ref: ImageRef): Promise<void> {
    const file = refFile(ref.name);
    const bytes = encodeRef(ref);
    await this.lock.shared(() => {
      for (const layer of ref.layers) if (!exists(join(this.layerPath(layer), "index"))) throw new StoreError("ERR_STORE_MISSING", `no layer ${layer} for image ${ref.name}`);
      for (const document of [ref.config, ref.manifest]) {
        if (document !== undefined && this.objects.stat(document) === undefined) throw new StoreError("ERR_STORE_MISSING", `no object ${document} for image ${ref.name}`);
      }
      writing(`image ${ref.name}`, () => replaceFile(join(this.folder("refs"), file), join(this.folder("refs"), `.${randomBytes(8).toString("hex")}`), bytes, 0o600));
      syncDirectory(this.folder("refs"));
    });
  }

  /** Takes an image's name away; false when it had none. Its layers stay until a sweep. */
  async removeImage(name: string): Promise<boolean> {
    const path = join(this.folder("refs"), refFile(name));
    return await this.lock.shared(() => {
      if (!exists(path)) return false;
      ifThere(() => unlinkSync(path));
      syncDirectory(this.folder("refs"));
      return true;
    });
  }

  // ── layers and chains ──

  /** The index of a layer; the caller closes it. Throws ERR_STORE_MISSING, ERR_STORE_FORMAT, ERR_STORE_DAMAGED. */
  openLayer(diffId: Digest): IndexReader {
    const path = join(this.layerPath(diffId), "index");
    return this.#openIndex(path, "layer", diffId);
  }

  /** A chain that was merged before; the caller closes it, and holds a lease. Throws as openLayer(). */
  openChainIndex(chainId: Digest): IndexReader {
    return this.#openIndex(this.chainPath(chainId), "chain", chainId);
  }

  /**
   * The merged index of layers given bottom-up, under a lease for `purpose`. Merges them if nobody has before, which takes seconds for
   * a million entries. Throws ERR_STORE_MISSING when a layer is not there, ERR_STORE_TREE, ERR_STORE_FULL.
   */
  async openChain(layers: readonly Digest[], purpose: string): Promise<OpenChain> {
    const chain = chainIdOf(layers);
    return this.#openLeased(layers, chain, await this.lease({ kind: "mount", layers, chain, purpose }));
  }

  /** As openChain(), for callers that cannot yield. */
  openChainNow(layers: readonly Digest[], purpose: string): OpenChain {
    const chain = chainIdOf(layers);
    return this.#openLeased(layers, chain, this.lock.sharedNow(() => this.#lease({ kind: "mount", layers, chain, purpose })));
  }

  #openLeased(layers: readonly Digest[], chain: Digest, lease: Lease): OpenChain {
    try {
      if (!exists(this.chainPath(chain))) this.#mergeChain(layers, chain);
      const index = this.openChainIndex(chain);
      let open = true;
      return {
        index, lease,
        close() {
          if (!open) return;
          open = false;
          index.close();
          lease.release();
        },
      };
    } catch (error) {
      lease.release();
      throw error;
    }
  }

  #mergeChain(layers: readonly Digest[], chain: Digest): void {
    const readers: IndexReader[] = [];
    const staged = join(this.folder("staging"), `chain-${randomBytes(8).toString("hex")}`);
    try {
      for (const layer of layers) readers.push(this.openLayer(layer));
      const parts = mergeChain(readers, chain, this.hash);
      // Two processes may both merge: they write the same bytes, and the second rename changes nothing.
      writing(`chain ${chain}`, () => {
        writeSynced(staged, parts, 0o400);
        renameSync(staged, this.chainPath(chain));
        syncDirectory(this.folder("chains"));
      });
    } finally {
      for (const reader of readers) reader.close();
      rmSync(staged, { force: true });
    }
  }

  #openIndex(path: string, kind: "layer" | "chain", id: Digest): IndexReader {
    let index: IndexReader;
    try {
      index = IndexReader.open(path, this.hash);
    } catch (error) {
      if (hasCode(error, "ENOENT")) throw new StoreError("ERR_STORE_MISSING", `no ${kind} ${id} in ${this.path}`, { cause: error });
      throw error;
    }
    if (index.kind === kind && index.id === id) return index;
    index.close();
    throw new StoreError("ERR_STORE_DAMAGED", `${path}: expected ${kind} ${id}, found ${index.kind} ${index.id}`);
  }

  // ── leases and writers ──

  /** Keeps layers and their objects from the sweep until released, or until this process dies. Throws ERR_STORE_MISSING. */
  async lease(needs: LeaseNeeds): Promise<Lease> {
    return await this.lock.shared(() => this.#lease(needs));
  }

  /** To be called under the shared lock. */
  #lease(needs: LeaseNeeds): Lease {
    for (const layer of needs.layers) if (!exists(join(this.layerPath(layer), "index"))) throw new StoreError("ERR_STORE_MISSING", `no layer ${layer} in ${this.path}`);
    return makeLease(this.folder("leases"), needs);
  }

  /** Leases of living processes, this one's included. */
  async leases(): Promise<LeaseRecord[]> {
    return await this.lock.shared(() => liveLeases(this.folder("leases"), false));
  }

  /** A writer for an import or a commit; the caller ends it. */
  async write(purpose: string): Promise<StoreWriter> {
    const lease = await this.lease({ kind: "writer", layers: [], chain: undefined, purpose });
    try {
      const staging = join(this.folder("staging"), lease.record.id);
      writing("a writer", () => mkdirSync(staging, { mode: 0o700 }));
      return new StoreWriter({ objects: this.objects, lock: this.lock, lease, staging, layers: this.folder("layers") });
    } catch (error) {
      lease.release();
      throw error;
    }
  }

  /** Gives an image another name as well. Throws ERR_STORE_MISSING when `from` is no image. */
  async tag(from: string, to: string): Promise<void> {
    checkImageName(to);
    const ref = this.image(from);
    if (ref === undefined) throw new StoreError("ERR_STORE_MISSING", `no image ${from}`);
    await this.setImage({ ...ref, name: to });
  }
}
