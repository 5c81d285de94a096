/**
 * Leases: what running processes need of the store. A lease is a file that its holder keeps locked; when the holder dies, however
 * it dies, the kernel drops the lock and the lease counts no more. Source: FORMAT.md, "leases".
 *
 * Made under the store's shared lock and looked through under its exclusive one, so that none is overlooked between its making
 * and its locking.
 */
import { randomBytes } from "node:crypto";
import { closeSync, openSync, readFileSync, rmSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { hasCode } from "../base/errors.js";
import { LOCK_EX } from "../sys/flags.js";
import { parseDigest, type Digest } from "./digest.js";
import { StoreError } from "./errors.js";
import { ifThere, namesIn, writing } from "./files.js";
import { tryLock } from "./store-lock.js";

export interface LeaseNeeds {
  /** "mount": the chain and layers are in use. "writer": everything put since `startMs` will be. */
  readonly kind: "mount" | "writer";
  /** diffIDs. */
  readonly layers: readonly Digest[];
  readonly chain: Digest | undefined;
  /** For people: a mountpoint, an image name. */
  readonly purpose: string;
}

export interface LeaseRecord extends LeaseNeeds {
  readonly id: string;
  readonly pid: number;
  readonly startMs: number;
}

export interface Lease {
  readonly record: LeaseRecord;
  /** Idempotent. */
  release(): void;
}

/** To be called under the shared lock. */
export function makeLease(folder: string, needs: LeaseNeeds): Lease {
  const id = randomBytes(8).toString("hex");
  const path = join(folder, id);
  const record: LeaseRecord = { ...needs, id, pid: process.pid, startMs: Date.now() };
  const fd = writing("a lease", () => openSync(path, "wx", 0o600));
  try {
    if (!tryLock(fd, LOCK_EX)) throw new StoreError("ERR_STORE_BUSY", `somebody else locked the new lease ${path}`);
    writing("a lease", () => writeSync(fd, encodeLease(record)));
  } catch (error) {
    rmSync(path, { force: true });
    closeSync(fd);
    throw error;
  }
  let held = true;
  return {
    record,
    release() {
      if (!held) return;
      held = false;
      rmSync(path, { force: true });
      closeSync(fd);
    },
  };
}

/** Leases whose holders live. With `removeDead`, under the exclusive lock, the others' files are removed. Throws ERR_STORE_DAMAGED. */
export function liveLeases(folder: string, removeDead: boolean): LeaseRecord[] {
  const live: LeaseRecord[] = [];
  for (const id of namesIn(folder)) {
    const path = join(folder, id);
    const fd = ifThere(() => openSync(path, "r"));
    if (fd === undefined) continue;
    try {
      if (tryLock(fd, LOCK_EX)) {
        if (removeDead) removeIfThere(path);
      } else {
        live.push(decodeLease(id, readFileSync(fd, "utf8")));
      }
    } finally {
      closeSync(fd);
    }
  }
  return live;
}

function encodeLease({ kind, layers, chain, purpose, pid, startMs }: LeaseRecord): string {
  return `${JSON.stringify({ version: 1, kind, pid, startMs, purpose, layers, chain: chain ?? null })}\n`;
}

function decodeLease(id: string, text: string): LeaseRecord {
  try {
    const { version, kind, pid, startMs, purpose, layers, chain } = JSON.parse(text) as Record<string, unknown>;
    if (version !== 1 || (kind !== "mount" && kind !== "writer") || typeof pid !== "number" || typeof startMs !== "number" || !Array.isArray(layers)) throw new TypeError("unknown fields");
    return {
      id, kind, pid, startMs, purpose: String(purpose),
      layers: layers.map((layer) => parseDigest(String(layer))),
      chain: chain === null ? undefined : parseDigest(String(chain)),
    };
  } catch (error) {
    // A live holder that this program does not understand: whatever it needs must not be removed.
    throw new StoreError("ERR_STORE_DAMAGED", `expected a lease of version 1 in ${id}, found ${JSON.stringify(text.slice(0, 80))}`, { cause: error });
  }
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
}
