/**
 * A value that is there now or later. Every operation is written once over Maybe, so that it stays synchronous
 * (and atomic) as long as the tree answers without a promise.
 */
export type Maybe<T> = T | Promise<T>;

/** Runs `next` at once when the value is there, else when it comes. */
export function then<T, U>(value: Maybe<T>, next: (value: T) => Maybe<U>): Maybe<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** Runs `cleanup` when `run` has succeeded or failed; a failing cleanup never hides the first error. */
export function lastly<T>(run: () => Maybe<T>, cleanup: () => void): Maybe<T> {
  let result: Maybe<T>;
  try {
    result = run();
  } catch (error) {
    quietly(cleanup);
    throw error;
  }
  if (!(result instanceof Promise)) {
    cleanup();
    return result;
  }
  return result.then(
    (value) => {
      cleanup();
      return value;
    },
    (error: unknown) => {
      quietly(cleanup);
      throw error;
    },
  );
}

/** Calls `handle`, which throws the error to report, when `run` fails now or later. */
export function onFailure<T>(run: () => Maybe<T>, handle: (error: unknown) => never): Maybe<T> {
  try {
    const result = run();
    return result instanceof Promise ? result.catch(handle) : result;
  } catch (error) {
    return handle(error);
  }
}

function quietly(cleanup: () => void): void {
  try {
    cleanup();
  } catch {
    // The error on its way to the caller says more.
  }
}
