/**
 * What a session tells of itself, so that another process can go on where this one dies (lib/supervised does it).
 * Order: begin() before a request is performed, answering() before its answer is sent, ended() after a request without an answer.
 */
import type { NodeEntry } from "./nodes.js";
import type { Policy } from "./policy.js";

export interface Recorder {
  /** A request is about to be performed; its `unique` without the bit that says it was sent before. Returns the answer that it has had, or undefined. */
  begin(uniqueLo: number, uniqueHi: number, sentBefore: boolean): Uint8Array | undefined;
  /** Something of this entry has changed: its count, its opens, its backing, whether it is still there. */
  touched(entry: NodeEntry): void;
  /**
   * bytes[0, length) is about to be sent: from here on the request is not performed again. `once` demands that also where nothing of the
   * session has changed. The kernel is then told that the attributes of `stale` are out of date.
   */
  answering(bytes: Buffer, length: number, once: boolean, stale: readonly NodeEntry[]): void;
  ended(): void;
}

/** What the process before has left. */
export interface Resumption {
  readonly policy: Policy;
  /** Entries whose attributes the kernel may not have been told about. */
  readonly stale: readonly NodeEntry[];
  /** The end of a request without answer that was read and not performed: bytes[0, length). */
  readonly unread: { readonly bytes: Buffer; readonly length: number } | undefined;
}
