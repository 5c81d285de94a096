/** How every program of the command ends. */
import { complain, messageOf } from "./output.js";
import { UsageError } from "./usage.js";

/** The exit status for what was thrown: 2 for a wrong command line. */
export const statusOf = (error: unknown): number => (error instanceof UsageError ? 2 : 1);

/** Ends this process with the status that `work` resolves to; says what it rejects. */
export function endWith(work: Promise<number>): void {
  // All output is written by then; whatever else is still open must not keep a finished command alive.
  work.then(
    (status) => process.exit(status),
    (error: unknown) => {
      complain(messageOf(error));
      process.exit(statusOf(error));
    },
  );
}
