/**
 * The text of `-o`: options between commas, each `key` or `key=value`.
 * Always true: values leave here still escaped, because only the reader of a key knows what else splits it (lowerdir splits at ":").
 *
 *   \x    stands for x everywhere: a comma, a colon or a backslash that does not separate
 *   "…"   right after the "=": commas inside do not separate; the quotes are not part of the value (context="a,b")
 */

export interface RawOption {
  readonly key: string;
  /** Undefined for a bare word; "" for `key=`. */
  readonly value: string | undefined;
}

/** Splits one -o argument. Empty options (`a,,b`) are skipped, as mount(8) does. */
export function splitOptions(text: string): RawOption[] {
  const options: RawOption[] = [];
  let start = 0;
  while (start <= text.length) {
    const end = endOfOption(text, start);
    if (end > start) options.push(toOption(text.slice(start, end)));
    start = end + 1;
  }
  return options;
}

/** Where the option that begins at `start` ends: the next comma outside quotes and not escaped, or the end of the text. */
function endOfOption(text: string, start: number): number {
  let beforeEquals = true;
  for (let i = start; i < text.length; i++) {
    const c = text[i];
    if (c === "\\") i++;
    else if (c === ",") return i;
    else if (c === "=" && beforeEquals) {
      beforeEquals = false;
      if (text[i + 1] === '"') {
        const close = closingQuote(text, i + 2);
        if (close !== -1) i = close;
      }
    }
  }
  return text.length;
}

/** The quote that ends a value: followed by a comma or the end. -1 makes the first quote an ordinary character. */
function closingQuote(text: string, from: number): number {
  for (let i = text.indexOf('"', from); i !== -1; i = text.indexOf('"', i + 1)) {
    if (i + 1 === text.length || text[i + 1] === ",") return i;
  }
  return -1;
}

function toOption(text: string): RawOption {
  const equals = text.indexOf("=");
  if (equals === -1) return { key: text, value: undefined };
  const value = text.slice(equals + 1);
  const quoted = value.length >= 2 && value.startsWith('"') && value.endsWith('"');
  return { key: text.slice(0, equals), value: quoted ? value.slice(1, -1) : value };
}

/** `\x` becomes x; a backslash at the very end stays. */
export function unescape(text: string): string {
  return text.includes("\\") ? text.replace(/\\(.)/gs, "$1") : text;
}

/** Splits at `separator` (one character) where it is not escaped; the parts stay escaped. */
export function splitUnescaped(text: string, separator: string): string[] {
  const parts: string[] = [];
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === separator) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}
