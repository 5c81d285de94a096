/**
 * Containers: a named upper layer above an image of the store. Source: FORMAT.md, "containers".
 * Invariant: a visible container is whole, and the layers below it are in the store for as long as it is.
 * Whoever uses the upper holds the container's lock, which the kernel drops when its holder dies.
 */
import { randomBytes } from "node:crypto";
import { chmodSync, chownSync, closeSync, fstatSync, ftruncateSync, mkdirSync, openSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { check, hasCode } from "../base/errors.js";
import { pathBytes } from "../base/name.js";
import { native } from "../sys/binding.js";
import { AT_FDCWD, LOCK_EX } from "../sys/flags.js";
import { setXattr } from "../sys/xattr.js";
import { chainIdOf, parseDigest, type Digest } from "./digest.js";
import { StoreError } from "./errors.js";
import { exists, fieldsOf, ifThere, namesIn, readText, syncDirectory, writeSynced, writing } from "./files.js";
import { ROOT_ROW, type IndexReader } from "./index-reader.js";
import type { ImageRef } from "./refs.js";
import type { Store } from "./store.js";
import { tryLock } from "./store-lock.js";

export interface Container {
  readonly name: string;
  /** The image's name when the container was made; it may mean another image now, or none. */
  readonly image: string;
  /** diffIDs, bottom-up. */
  readonly layers: readonly Digest[];
  /** Object with the image's configuration. */
  readonly config: Digest | undefined;
  /** Unix time. */
  readonly createdMs: number;
  /** Made for one run; a sweep removes what such a run left when it was killed. */
  readonly temporary: boolean;
}

export interface ContainerStatus extends Container {
  /** The process that uses it; undefined when nobody does. */
  readonly pid: number | undefined;
}

/** A container in use by this process. */
export interface HeldContainer {
  readonly container: Container;
  /** The upper directory and the work directory beside it. */
  readonly upper: string;
  readonly work: string;
  /** Idempotent. */
  release(): void;
}

export interface NewContainer {
  /** A random one unless given. */
  readonly name?: string | undefined;
  readonly temporary?: boolean;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;
/** What a Date can be. */
const MAX_TIME_MS = 8.64e15;
const STATE = "state";
const LOCK = "lock";

/** Throws ERR_STORE_NAME. */
export function checkContainerName(name: string): string {
  if (NAME.test(name)) return name;
  throw new StoreError("ERR_STORE_NAME", `expected a container name of up to 63 letters, digits and _.-, found ${JSON.stringify(name.slice(0, 100))}`);
}

/**
 * Makes a container above an image. Its root directory gets the image's attributes.
 * Throws ERR_STORE_NAME for a name that is taken or none, ERR_STORE_MISSING when the store lacks a layer, ERR_STORE_FULL.
 */
export async function createContainer(store: Store, image: ImageRef, options: NewContainer = {}): Promise<Container> {
  for (const key of Object.keys(options)) if (key !== "name" && key !== "temporary") throw new TypeError(`unknown option ${key} of createContainer`);
  const name = options.name === undefined ? randomBytes(6).toString("hex") : checkContainerName(options.name);
  const container: Container = { name, image: image.name, layers: image.layers, config: image.config, createdMs: Date.now(), temporary: options.temporary ?? false };
  const staged = join(store.folder("staging"), `container-${randomBytes(8).toString("hex")}`);
  const chain = await store.openChain(image.layers, `container ${name}`);
  try {
    writing(`container ${name}`, () => {
      mkdirSync(staged, { mode: 0o700 });
      mkdirSync(join(staged, "upper"));
      mkdirSync(join(staged, "work"), { mode: 0o700 });
      copyRootAttributes(chain.index, join(staged, "upper"));
      writeSynced(join(staged, LOCK), [], 0o600);
      writeSynced(join(staged, STATE), [encodeContainer(container)], 0o600);
      syncDirectory(staged);
    });
    await store.lock.shared(() => {
      if (container.config !== undefined && store.objects.stat(container.config) === undefined) throw new StoreError("ERR_STORE_MISSING", `no object ${container.config} for container ${name}`);
      // A store may be older than this folder.
      mkdirSync(store.folder("containers"), { recursive: true, mode: 0o700 });
      try {
        renameSync(staged, join(store.folder("containers"), name));
      } catch (error) {
        if (hasCode(error, "ENOTEMPTY") || hasCode(error, "EEXIST")) throw new StoreError("ERR_STORE_NAME", `there is a container called ${name} already`);
        throw error;
      }
      syncDirectory(store.folder("containers"));
    });
    return container;
  } finally {
    rmSync(staged, { recursive: true, force: true });
    chain.close();
  }
}

/** Undefined when there is none. Throws ERR_STORE_NAME, ERR_STORE_FORMAT, ERR_STORE_DAMAGED. */
export function readContainer(store: Store, name: string): Container | undefined {
  const path = join(store.folder("containers"), checkContainerName(name), STATE);
  const text = ifThere(() => readText(path));
  return text === undefined ? undefined : decodeContainer(text, path, name);
}

/** All containers, by name. Throws for the first that cannot be read. */
export function listContainers(store: Store): ContainerStatus[] {
  const found: ContainerStatus[] = [];
  for (const name of containerNames(store)) {
    const container = readContainer(store, name);
    if (container !== undefined) found.push({ ...container, pid: holderOf(store, name) });
  }
  return found;
}

/** Names of the folder's entries that can be containers. */
export function containerNames(store: Store): string[] {
  return namesIn(store.folder("containers")).filter((name) => NAME.test(name));
}

/** Takes a container for this process, until released or dead. Throws ERR_STORE_MISSING, ERR_STORE_BUSY when another process has it. */
export async function holdContainer(store: Store, name: string): Promise<HeldContainer> {
  checkContainerName(name);
  return await store.lock.shared(() => {
    const folder = join(store.folder("containers"), name);
    const fd = ifThere(() => openSync(join(folder, LOCK), "r+"));
    if (fd === undefined) throw new StoreError("ERR_STORE_MISSING", `no container ${name} in ${store.path}`);
    try {
      if (!tryLock(fd, LOCK_EX)) throw new StoreError("ERR_STORE_BUSY", `container ${name} is in use${pidText(holderOf(store, name))}`);
      // Somebody may have removed it, and made another of that name, since the open.
      const container = statSync(join(folder, LOCK), { throwIfNoEntry: false })?.ino === fstatSync(fd).ino ? readContainer(store, name) : undefined;
      if (container === undefined) throw new StoreError("ERR_STORE_MISSING", `no container ${name} in ${store.path}`);
      ftruncateSync(fd, 0);
      writeSync(fd, `${process.pid}\n`, 0);
      let held = true;
      return {
        container, upper: join(folder, "upper"), work: join(folder, "work"),
        release() {
          if (held) closeSync(fd);
          held = false;
        },
      };
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  });
}

/** Removes a container with its upper. False when there is none. Throws ERR_STORE_BUSY while somebody uses it; EACCES for files of others. */
export async function removeContainer(store: Store, name: string): Promise<boolean> {
  let held: HeldContainer;
  try {
    held = await holdContainer(store, name);
  } catch (error) {
    if (error instanceof StoreError && error.code === "ERR_STORE_MISSING") return false;
    throw error;
  }
  try {
    const going = join(store.folder("staging"), `going-${randomBytes(8).toString("hex")}`);
    renameSync(join(store.folder("containers"), name), going);
    syncDirectory(store.folder("containers"));
    rmSync(going, { recursive: true, force: true });
    return true;
  } finally {
    held.release();
  }
}

/** Whether a container was made for one run and nobody uses it any more. */
export function isAbandoned(store: Store, container: Container): boolean {
  return container.temporary && holderOf(store, container.name) === undefined;
}

/** The chain that a container's mount needs. */
export const chainOfContainer = (container: Container): Digest => chainIdOf(container.layers);

/** The pid of whoever holds the lock; 0 where it has not been written yet; undefined when nobody does. */
function holderOf(store: Store, name: string): number | undefined {
  const path = join(store.folder("containers"), name, LOCK);
  const fd = ifThere(() => openSync(path, "r"));
  if (fd === undefined) return undefined;
  try {
    return tryLock(fd, LOCK_EX) ? undefined : Number(readText(path) ?? "0") || 0;
  } finally {
    closeSync(fd);
  }
}

function pidText(pid: number | undefined): string {
  return pid === undefined || pid === 0 ? "" : ` by process ${pid}`;
}

/** Who may not give files away leaves the root to itself: in a user namespace that is what the image's root becomes anyway. */
function copyRootAttributes(index: IndexReader, upper: string): void {
  const allowed = (call: () => void): void => {
    try {
      call();
    } catch (error) {
      if (!(["EPERM", "EINVAL", "EOPNOTSUPP"] as const).some((code) => hasCode(error, code))) throw error;
    }
  };
  allowed(() => chownSync(upper, index.uid(ROOT_ROW), index.gid(ROOT_ROW)));
  for (const [key, value] of index.xattrs(ROOT_ROW)) if (!key.includes("overlay")) allowed(() => setXattr(AT_FDCWD, pathBytes(upper), key, value));
  chmodSync(upper, index.mode(ROOT_ROW) & 0o7777);
  const [sec, nsec] = [index.mtimeSec(ROOT_ROW), index.mtimeNsec(ROOT_ROW)];
  check(native.utimens(AT_FDCWD, pathBytes(upper), sec, nsec, sec, nsec), "utimensat", upper);
}

function encodeContainer({ name, image, layers, config, createdMs, temporary }: Container): Buffer {
  const spelt = (digest: Digest): string => `sha256:${digest}`;
  return Buffer.from(`${JSON.stringify({
    version: 1, name, image, layers: layers.map(spelt), config: config === undefined ? null : spelt(config), createdMs, temporary,
  }, undefined, 2)}\n`);
}

function decodeContainer(text: string, path: string, expected: string): Container {
  const { version, name, image, layers, config, createdMs, temporary } = fieldsOf(text, path);
  if (version !== 1) throw new StoreError("ERR_STORE_FORMAT", `${path}: expected container version 1, found ${JSON.stringify(version)}`);
  try {
    if (name !== expected || typeof image !== "string" || !Array.isArray(layers) || layers.length === 0 || typeof createdMs !== "number" || !(Math.abs(createdMs) <= MAX_TIME_MS) || typeof temporary !== "boolean") {
      throw new TypeError("expected a name, an image, layers and a time");
    }
    return {
      name: expected, image, layers: layers.map((layer) => parseDigest(String(layer))), config: config === null ? undefined : parseDigest(String(config)), createdMs, temporary,
    };
  } catch (error) {
    throw new StoreError("ERR_STORE_DAMAGED", `${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** Whether there is a folder of that name, readable or not. */
export const containerExists = (store: Store, name: string): boolean => NAME.test(name) && exists(join(store.folder("containers"), name));
