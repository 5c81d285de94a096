/**
 * Names: one path component, one character per byte (latin1), so that every Linux name survives the round trip.
 * They become text only in the command line tools.
 */
import { FsError } from "./errors.js";

declare const brand: unique symbol;
export type Name = string & { readonly [brand]: "name" };

/** The longest component Linux filesystems accept, in bytes. */
export const NAME_MAX = 255;

/** Encodes text as a Name. Throws EINVAL for "", ".", "..", a slash or NUL; ENAMETOOLONG above 255 bytes. */
export function name(text: string): Name {
  return checkName(Buffer.from(text, "utf8").toString("latin1"));
}

/** The same checks for something that is latin1 already. */
export function checkName(latin1: string): Name {
  if (latin1.length > NAME_MAX) throw new FsError("ENAMETOOLONG", "name", `of ${latin1.length} bytes, at most ${NAME_MAX}`);
  if (!isComponent(latin1)) throw new FsError("EINVAL", "name", `${JSON.stringify(latin1)} is not one path component`);
  return latin1 as Name;
}

/** Whether `latin1`, of whatever length, stands for an entry of the directory it is looked for in, and for nothing else. */
export function isComponent(latin1: string): boolean {
  return latin1 !== "" && latin1 !== "." && latin1 !== ".." && !latin1.includes("/") && !latin1.includes("\0");
}

/** Text for people: UTF-8 where the bytes are, else each stray byte as \xHH. */
export function textOf(latin1: string): string {
  const bytes = Buffer.from(latin1, "latin1");
  const text = bytes.toString("utf8");
  if (Buffer.from(text, "utf8").equals(bytes)) return text;
  return latin1.replace(/[\x80-\xff]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/** latin1 bytes of a path given as text; throws EINVAL on NUL. */
export function pathBytes(text: string): string {
  if (text.includes("\0")) throw new FsError("EINVAL", "path", "contains NUL");
  return Buffer.from(text, "utf8").toString("latin1");
}
