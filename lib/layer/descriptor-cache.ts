/**
 * Open directories, bounded: a descriptor can always be had again from the node's parents, so the least used one may be closed.
 * Always true: a descriptor in here belongs to the cache, which closes it when it falls out; use it before the next call that may open.
 */
import { LRUCache } from "lru-cache";
import { native } from "../sys/binding.js";
import { descriptorLimit } from "../sys/limits.js";

export const DEFAULT_DESCRIPTORS = 1024;
/** Enough for every call that needs two directories at once, with the ancestors it keeps while finding them. */
const MIN_DESCRIPTORS = 64;

interface OpenDirectory {
  /** -1 once it was taken. */
  fd: number;
  /** The layer it belongs to. */
  readonly owner: object;
}

export class DescriptorCache {
  private readonly open: LRUCache<object, OpenDirectory>;

  constructor(max = DEFAULT_DESCRIPTORS) {
    this.open = new LRUCache<object, OpenDirectory>({
      max: Math.max(max, MIN_DESCRIPTORS),
      dispose: ({ fd }) => fd >= 0 && native.close(fd),
    });
  }

  /** -1 when it is not open. */
  get(node: object): number {
    return this.open.get(node)?.fd ?? -1;
  }

  /** Hands a descriptor over to the cache. */
  put(node: object, fd: number, owner: object): void {
    this.open.set(node, { fd, owner });
  }

  /** Gives a node's descriptor away; -1 when it is not open. */
  take(node: object): number {
    const value = this.open.peek(node);
    if (value === undefined) return -1;
    const { fd } = value;
    value.fd = -1;
    this.open.delete(node);
    return fd;
  }

  /** Closes a node's descriptor, if it is open. */
  drop(node: object): void {
    this.open.delete(node);
  }

  /** Closes all descriptors of a layer. */
  dropAll(owner: object): void {
    for (const [node, value] of [...this.open.entries()]) if (value.owner === owner) this.open.delete(node);
  }

  get size(): number {
    return this.open.size;
  }
}

let shared: DescriptorCache | undefined;

/**
 * The one that layers share unless told otherwise: hundreds of layers in one process stay within one bound, a quarter of what the process may
 * have open when the first of them is opened.
 */
export function sharedDescriptors(): DescriptorCache {
  shared ??= new DescriptorCache(Math.min(DEFAULT_DESCRIPTORS, Math.floor(descriptorLimit() / 4)));
  return shared;
}
