/** Documents of images, which come from strangers: every field is looked at before it is believed. All throw ERR_IMAGE_FORMAT. */
import { parseDigest, type Digest } from "../store/digest.js";
import { ImageError } from "./errors.js";

export type Fields = Readonly<Record<string, unknown>>;

export function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (error) {
    throw new ImageError("ERR_IMAGE_FORMAT", `${what}: expected a JSON document: ${(error as Error).message}`, { cause: error });
  }
}

export function fieldsOf(value: unknown, what: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw wrong(what, "an object", value);
}

export function listOf(value: unknown, what: string, max: number): readonly unknown[] {
  if (!Array.isArray(value)) throw wrong(what, "a list", value);
  if (value.length > max) throw new ImageError("ERR_IMAGE_LIMIT", `${what}: expected at most ${max} items, found ${value.length}`);
  return value as unknown[];
}

export function textOfField(value: unknown, what: string): string {
  if (typeof value === "string") return value;
  throw wrong(what, "a string", value);
}

export function optionalText(value: unknown, what: string): string | undefined {
  return value === undefined || value === null ? undefined : textOfField(value, what);
}

export function sizeOf(value: unknown, what: string): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw wrong(what, "a size", value);
}

export function digestOfField(value: unknown, what: string): Digest {
  const text = textOfField(value, what);
  if (/^sha256:[0-9a-f]{64}$/.test(text)) return parseDigest(text);
  throw wrong(what, "sha256: and 64 hex digits", text);
}

function wrong(what: string, expected: string, found: unknown): ImageError {
  return new ImageError("ERR_IMAGE_FORMAT", `${what}: expected ${expected}, found ${(JSON.stringify(found) ?? "nothing").slice(0, 100)}`);
}
