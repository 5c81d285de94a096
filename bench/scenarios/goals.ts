/** Which modes of stratafs a speed to reach is meant for. */
import type { Goal } from "./scenario.js";

export const inPassthrough = (ratio: number): readonly Goal[] => [{ subject: "stratafs-passthrough", ratio, against: "kernel-overlayfs" }];
export const inCached = (ratio: number): readonly Goal[] => [{ subject: "stratafs-cached", ratio, against: "kernel-overlayfs" }];
export const inBoth = (ratio: number): readonly Goal[] => [...inPassthrough(ratio), ...inCached(ratio)];

/** No slower over a hundred lowers than over ten, but for a tenth. */
export const sameOverManyLowers: readonly Goal[] = ["stratafs-passthrough", "stratafs-cached"].map((subject) => ({ subject, ratio: 1.1, against: "ten-lowers" }));

/** Nine tenths of the throughput. */
export const NINE_TENTHS = 1 / 0.9;

/** Five times as fast as fuse-overlayfs, for ordinary users. */
export const fiveTimesUnprivileged: readonly Goal[] = [{ subject: "stratafs-cached", ratio: 0.2, against: "fuse-overlayfs", unprivileged: true }];
