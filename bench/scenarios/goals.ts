/** Which modes of stratafs a speed to reach is meant for. */
import type { Goal } from "./scenario.js";

export const inPassthrough = (ratio: number): readonly Goal[] => [{ subject: "stratafs-passthrough", ratio }];
export const inCached = (ratio: number): readonly Goal[] => [{ subject: "stratafs-cached", ratio }];
export const inBoth = (ratio: number): readonly Goal[] => [...inPassthrough(ratio), ...inCached(ratio)];

/** Nine tenths of the throughput. */
export const NINE_TENTHS = 1 / 0.9;
