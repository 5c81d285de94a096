/**
 * What the functions of node:fs accept, turned into plain values: paths, flags, modes, times, encodings, data.
 * Wrong arguments throw Node's TypeError or RangeError here, before the tree is asked anything.
 */
import { constants } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Time } from "../base/attr.js";
import { outOfRange, wrongType, wrongValue } from "./errors.js";

export interface PathArg {
  /** Latin1, one character per byte. */
  readonly bytes: string;
  /** As errors show it. */
  readonly shown: string;
}

export function pathArg(value: unknown, argument = "path"): PathArg {
  if (typeof value === "string") {
    if (value.includes("\0")) throw wrongValue(argument, "must be a string, Uint8Array, or URL without null bytes", value);
    return { bytes: Buffer.from(value, "utf8").toString("latin1"), shown: value };
  }
  if (value instanceof Uint8Array) {
    if (value.includes(0)) throw wrongValue(argument, "must be a string, Uint8Array, or URL without null bytes", value);
    const buffer = bufferOver(value);
    return { bytes: buffer.toString("latin1"), shown: buffer.toString("utf8") };
  }
  if (value instanceof URL) return pathArg(fileURLToPath(value), argument);
  throw wrongType(argument, "of type string or an instance of Buffer or URL", value);
}

/** A view of the same memory. */
export function bufferOver(bytes: ArrayBufferView): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Bytes that stand in the tree (a name, a link target, a path), in the encoding asked for. */
export function decoded(latin1: string, encoding: BufferEncoding | "buffer"): string | Buffer {
  const bytes = Buffer.from(latin1, "latin1");
  return encoding === "buffer" ? bytes : bytes.toString(encoding);
}

type Options = Readonly<Record<string, unknown>>;

/** The options object of a call; a string stands for its encoding. */
export function optionsOf(value: unknown): Options {
  if (value === undefined || value === null || typeof value === "function") return {};
  if (typeof value === "string") return { encoding: value };
  if (typeof value === "object") return value as Options;
  throw wrongType("options", "of type string or an instance of Object", value);
}

/** Undefined when the caller named none. */
export function encodingOf(options: Options): BufferEncoding | "buffer" | undefined {
  const encoding = options["encoding"];
  if (encoding === undefined || encoding === null) return undefined;
  if (encoding === "buffer" || (typeof encoding === "string" && Buffer.isEncoding(encoding))) return encoding;
  throw wrongValue("encoding", "is invalid encoding", encoding);
}

export function nameEncodingOf(value: unknown): BufferEncoding | "buffer" {
  return encodingOf(optionsOf(value)) ?? "utf8";
}

const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND, O_EXCL, O_SYNC } = constants;
const write = O_WRONLY | O_CREAT;
const update = O_RDWR | O_CREAT;
const flagsByName: ReadonlyMap<string, number> = new Map([
  ["r", O_RDONLY], ["rs", O_RDONLY | O_SYNC], ["sr", O_RDONLY | O_SYNC], ["r+", O_RDWR], ["rs+", O_RDWR | O_SYNC], ["sr+", O_RDWR | O_SYNC],
  ["w", write | O_TRUNC], ["wx", write | O_TRUNC | O_EXCL], ["xw", write | O_TRUNC | O_EXCL],
  ["w+", update | O_TRUNC], ["wx+", update | O_TRUNC | O_EXCL], ["xw+", update | O_TRUNC | O_EXCL],
  ["a", write | O_APPEND], ["ax", write | O_APPEND | O_EXCL], ["xa", write | O_APPEND | O_EXCL], ["as", write | O_APPEND | O_SYNC],
  ["sa", write | O_APPEND | O_SYNC], ["a+", update | O_APPEND], ["ax+", update | O_APPEND | O_EXCL], ["xa+", update | O_APPEND | O_EXCL],
  ["as+", update | O_APPEND | O_SYNC], ["sa+", update | O_APPEND | O_SYNC],
]);

export function flagsArg(value: unknown, otherwise = "r"): number {
  if (typeof value === "number") return integer(value, "flags", 0, 0x7fffffff);
  const flags = flagsByName.get(String(value ?? otherwise));
  if (flags === undefined) throw wrongValue("flags", "is invalid", value);
  return flags;
}

/** Permission bits, as a number or an octal string. */
export function modeArg(value: unknown, otherwise?: number): number {
  if ((value === undefined || value === null) && otherwise !== undefined) return otherwise;
  if (typeof value === "string") {
    if (!/^[0-7]+$/.test(value)) throw wrongValue("mode", "must be a 32-bit unsigned integer or an octal string", value);
    return Number.parseInt(value, 8) & 0o7777;
  }
  return integer(value, "mode", 0, 0xffffffff) & 0o7777;
}

/** A user or group; -1 leaves it, as in chown(2). */
export function idArg(value: unknown, argument: string): number | undefined {
  const id = integer(value, argument, -1, 0xffffffff);
  return id === -1 || id === 0xffffffff ? undefined : id;
}

export function fdArg(value: unknown): number {
  return integer(value, "fd", 0, 0x7fffffff);
}

export function integer(value: unknown, argument: string, least: number, most: number): number {
  if (typeof value !== "number") throw wrongType(argument, "of type number", value);
  if (!Number.isInteger(value)) throw outOfRange(argument, "an integer", value);
  if (value < least || value > most) throw outOfRange(argument, `>= ${least} && <= ${most}`, value);
  return value;
}

/** A file position; null (or undefined, or -1) means the descriptor's own. */
export function positionArg(value: unknown): number | null {
  if (value === undefined || value === null) return null;
  const position = typeof value === "bigint" ? Number(value) : value;
  return integer(position, "position", -1, Number.MAX_SAFE_INTEGER) === -1 ? null : (position as number);
}

/** Seconds (number or numeric string) or a Date. As in Node, numbers that are negative or not finite mean now; Dates may be before 1970. */
export function timeArg(value: unknown, argument: string): Time {
  let seconds: number;
  if (value instanceof Date) seconds = value.getTime() / 1000;
  else if (typeof value === "number") seconds = value;
  else if (typeof value === "string" && value.trim() !== "" && !Number.isNaN(Number(value))) seconds = Number(value);
  else throw wrongType(argument, "an instance of Date, a number or a numeric string", value);
  if (!Number.isFinite(seconds) || (seconds < 0 && !(value instanceof Date))) seconds = Date.now() / 1000;
  const sec = Math.floor(seconds);
  return { sec, nsec: Math.min(999_999_999, Math.floor((seconds - sec) * 1e9)) };
}

/** The bytes to write; a string is encoded, everything else is a view of the caller's memory. */
export function dataArg(value: unknown, encoding: BufferEncoding | "buffer" = "utf8"): Uint8Array {
  if (typeof value === "string") return Buffer.from(value, encoding === "buffer" ? "utf8" : encoding);
  if (ArrayBuffer.isView(value)) return bufferOver(value);
  throw wrongType("data", "of type string or an instance of Buffer, TypedArray, or DataView", value);
}

/** The part of a buffer that a read or write is about. */
export function slice(buffer: unknown, offset: unknown, length: unknown): Buffer {
  if (!ArrayBuffer.isView(buffer)) throw wrongType("buffer", "an instance of Buffer, TypedArray, or DataView", buffer);
  const whole = bufferOver(buffer);
  const from = integer(offset ?? 0, "offset", 0, whole.length);
  const count = integer(length ?? whole.length - from, "length", 0, whole.length - from);
  return whole.subarray(from, from + count);
}
