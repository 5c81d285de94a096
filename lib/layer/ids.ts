/**
 * User and group ids: on disk and as presented. Pure arithmetic.
 * Always true: an id on disk that no range covers is presented as the overflow id, and such an id cannot be written.
 */
import { FsError } from "../base/errors.js";

/** What the kernel shows for an id that has no mapping. */
export const OVERFLOW_ID = 65534;

/** `length` ids from `onDisk` are presented as those from `presented`. */
export interface IdRange {
  readonly onDisk: number;
  readonly presented: number;
  readonly length: number;
}

export interface IdMapOptions {
  readonly uids?: readonly IdRange[];
  readonly gids?: readonly IdRange[];
  /** Every owner is presented, and written, as this one. */
  readonly squashUid?: number;
  readonly squashGid?: number;
}

export interface IdMap {
  readonly uid: IdTable;
  readonly gid: IdTable;
  /** True when ids are the same on both sides. */
  readonly identity: boolean;
}

export function idMap(options: IdMapOptions = {}): IdMap {
  const uid = new IdTable(options.uids, options.squashUid);
  const gid = new IdTable(options.gids, options.squashGid);
  return { uid, gid, identity: uid.identity && gid.identity };
}

export class IdTable {
  readonly identity: boolean;
  private readonly ranges: readonly IdRange[];
  /** -1 when nothing is squashed. */
  private readonly squash: number;

  constructor(ranges: readonly IdRange[] = [], squash = -1) {
    this.ranges = ranges;
    this.squash = squash;
    this.identity = ranges.length === 0 && squash < 0;
  }

  presented(onDisk: number): number {
    if (this.identity) return onDisk;
    if (this.squash >= 0) return this.squash;
    for (const range of this.ranges) {
      if (onDisk >= range.onDisk && onDisk < range.onDisk + range.length) return range.presented + (onDisk - range.onDisk);
    }
    return OVERFLOW_ID;
  }

  /** Throws EINVAL for an id that no range covers, as chown(2) in a user namespace does. */
  onDisk(presented: number): number {
    if (this.identity) return presented;
    if (this.squash >= 0) return this.squash;
    for (const range of this.ranges) {
      if (presented >= range.presented && presented < range.presented + range.length) return range.onDisk + (presented - range.presented);
    }
    if (presented === OVERFLOW_ID) return OVERFLOW_ID;
    throw new FsError("EINVAL", "chown", `id ${presented} is in no range of the id map`);
  }

  /**
   * The id that a user of the mount acts as. One outside every range acts as the overflow id, so that who prepares a root for others,
   * as a container engine does before its user namespace is there, can make files and give them away.
   */
  actsAs(user: number): number {
    if (this.identity || this.squash >= 0) return user;
    for (const range of this.ranges) if (user >= range.presented && user < range.presented + range.length) return user;
    return OVERFLOW_ID;
  }
}
