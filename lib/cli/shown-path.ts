/** Paths of trees as people see them. */
import { textOf } from "../index.js";

/** Latin1 to text; a control character is \xHH, so that a line stays a line. */
export function shownPath(path: string): string {
  return textOf(path).replace(/[\x00-\x1f\x7f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
