/** A process that outlives whoever started it. */
import { native } from "../sys/binding.js";

/** A session of its own, and as many descriptors as allowed. The umask and the cwd are the caller's to change. */
export function detachProcess(): void {
  // EPERM: whoever started us has done it.
  native.setsid();
  native.raiseFileLimit();
}
