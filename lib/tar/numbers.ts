/**
 * Numbers as tar headers and pax records spell them. Pure; NaN stands for "not a number, or beyond 2^53",
 * so that the caller, who knows the field and its offset, writes the error.
 */
import type { Time } from "../base/attr.js";

/**
 * A numeric header field: octal digits after any spaces or NULs and up to a space, a NUL or the field's end; or, when the
 * first bit is set, big-endian two's complement in the remaining bits ("base-256", as GNU and star write it).
 * An empty field is 0. May be negative in base-256.
 */
export function readNumber(block: Uint8Array, at: number, length: number): number {
  const first = block[at] as number;
  if ((first & 0x80) !== 0) return readBase256(block, at, length);
  const end = at + length;
  let i = at;
  while (i < end && (block[i] === 0x20 || block[i] === 0)) i++;
  let value = 0;
  for (; i < end; i++) {
    const c = block[i] as number;
    if (c === 0x20 || c === 0) break;
    if (c < 0x30 || c > 0x37) return NaN;
    value = value * 8 + (c - 0x30);
  }
  return value;
}

function readBase256(block: Uint8Array, at: number, length: number): number {
  const first = block[at] as number;
  const negative = (first & 0x40) !== 0;
  const flip = negative ? 0xff : 0;
  let value = (first ^ flip) & 0x3f;
  for (let i = at + 1; i < at + length; i++) {
    value = value * 256 + ((block[i] as number) ^ flip);
    if (value > Number.MAX_SAFE_INTEGER) return NaN;
  }
  return negative ? -value - 1 : value;
}

/** The largest value of an octal field of `length` bytes, whose last byte is NUL. */
export const octalMax = (length: number): number => 8 ** (length - 1) - 1;

/** Writes `value`, 0…octalMax(length), as zero-filled octal digits and a NUL. */
export function writeOctal(block: Uint8Array, at: number, length: number, value: number): void {
  let rest = value;
  for (let i = at + length - 2; i >= at; i--) {
    block[i] = 0x30 + (rest % 8);
    rest = Math.floor(rest / 8);
  }
  block[at + length - 1] = 0;
}

/** A decimal integer of a pax record; a sign only where `signed`. */
export function readDecimal(text: string, signed = false): number {
  if (!(signed ? /^-?[0-9]{1,16}$/ : /^[0-9]{1,16}$/).test(text)) return NaN;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : NaN;
}

/** A pax time: seconds with an optional fraction. Digits beyond nanoseconds are dropped. Undefined when malformed. */
export function readTime(text: string): Time | undefined {
  const match = /^(-?)([0-9]{1,16})(?:\.([0-9]*))?$/.exec(text);
  if (match === null) return undefined;
  const whole = Number(match[2]);
  if (whole >= Number.MAX_SAFE_INTEGER) return undefined;
  const nsec = Number((match[3] ?? "").slice(0, 9).padEnd(9, "0"));
  if (match[1] === "") return { sec: whole, nsec };
  return nsec === 0 ? { sec: 0 - whole, nsec } : { sec: -whole - 1, nsec: 1_000_000_000 - nsec };
}

/** The shortest decimal spelling of a time; readTime() gives the same time back. */
export function formatTime(time: Time): string {
  if (time.nsec === 0) return String(time.sec);
  const negative = time.sec < 0;
  const whole = negative ? -time.sec - 1 : time.sec;
  const nsec = negative ? 1_000_000_000 - time.nsec : time.nsec;
  return `${negative ? "-" : ""}${whole}.${String(nsec).padStart(9, "0").replace(/0+$/, "")}`;
}
