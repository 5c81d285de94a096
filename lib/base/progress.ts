/**
 * Work that tells of its progress, for those who would rather iterate than give a callback.
 * Invariant: what is not read yet stays small, however slow the reader: of several progress events in a row only the last is kept.
 */

/** Iterating gives the events until the work ends, and throws what the work throws. Leaving the iteration does not stop the work: a signal does. */
export interface Running<E, R> extends AsyncIterable<E> {
  /** Settles when the work has ended, read or not. Nobody has to look at it who iterates to the end. */
  readonly result: Promise<R>;
}

/** Starts `work` at once, with the callback that it tells its events to. The events are for one reader. */
export function running<E extends { readonly type: string }, R>(work: (onEvent: (event: E) => void) => Promise<R>): Running<E, R> {
  const waiting: E[] = [];
  let wake: () => void = () => undefined;
  let ended = false;
  const onEvent = (event: E): void => {
    const last = waiting.length - 1;
    if (event.type === "progress" && waiting[last]?.type === "progress") waiting[last] = event;
    else waiting.push(event);
    wake();
  };
  const result = work(onEvent).finally(() => {
    ended = true;
    wake();
  });
  // Whoever iterates gets the error there.
  result.catch(() => undefined);
  async function* events(): AsyncGenerator<E, undefined> {
    for (;;) {
      const next = waiting.shift();
      if (next !== undefined) yield next;
      else if (ended) break;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
    await result;
    return undefined;
  }
  return { result, [Symbol.asyncIterator]: events };
}
