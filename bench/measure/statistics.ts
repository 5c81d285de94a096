/**
 * What is said about a set of samples: the median and the spread, no means. Samples are kept in the results as they
 * came; these numbers can be taken again from them.
 */
export interface Summary {
  readonly count: number;
  readonly median: number;
  /** First and third quartile, by linear interpolation between the neighbours. */
  readonly q1: number;
  readonly q3: number;
  readonly min: number;
  readonly max: number;
}

/** The `p` quantile (0…1) of ascending samples. */
function quantile(ascending: readonly number[], p: number): number {
  const at = (ascending.length - 1) * p;
  const below = Math.floor(at);
  const low = ascending[below] ?? Number.NaN;
  const high = ascending[Math.min(below + 1, ascending.length - 1)] ?? low;
  return low + (high - low) * (at - below);
}

/** Undefined without samples. */
export function summarize(samples: readonly number[]): Summary | undefined {
  if (samples.length === 0) return undefined;
  const ascending = [...samples].sort((a, b) => a - b);
  return {
    count: ascending.length,
    median: quantile(ascending, 0.5),
    q1: quantile(ascending, 0.25),
    q3: quantile(ascending, 0.75),
    min: quantile(ascending, 0),
    max: quantile(ascending, 1),
  };
}
