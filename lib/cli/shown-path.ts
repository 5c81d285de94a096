/** Paths of trees, and other people's words, as people see them: a line stays a line, and a terminal is told nothing. */
import { textOf } from "../index.js";

/** Latin1 to text; control characters are \xHH. */
export function shownPath(path: string): string {
  return withoutControls(textOf(path));
}

/** Control characters as \xHH, those of eight bits too: to a terminal U+009B is what ESC [ is. */
export function withoutControls(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
