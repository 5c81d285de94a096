/**
 * Pax records: "LENGTH KEY=VALUE\n", LENGTH being the decimal byte count of the whole record. Pure.
 * Keys are latin1 strings, values bytes: POSIX asks for UTF-8, but file capabilities and Linux names are not text.
 * A later record of the same key wins, except in the sparse map of format 0.0, whose records are repeated: so order is kept.
 */
import { TarError } from "./errors.js";

export interface PaxRecord {
  /** Latin1, not empty, without "=". */
  readonly key: string;
  readonly value: Buffer;
}

/** The prefixes under which extended attributes are stored: star's (raw values) and libarchive's (URL-encoded key, base64 value). */
const SCHILY_XATTR = "SCHILY.xattr.";
const LIBARCHIVE_XATTR = "LIBARCHIVE.xattr.";

/** Reads the body of an x or g member found at byte `offset`. Values are views of `body`. Throws ERR_TAR_PAX. */
export function parsePax(body: Buffer, offset: number): PaxRecord[] {
  const records: PaxRecord[] = [];
  let at = 0;
  while (at < body.length) {
    const space = body.indexOf(0x20, at);
    const digits = space < 0 ? "" : body.toString("latin1", at, Math.min(space, at + 12));
    if (!/^[1-9][0-9]{0,9}$/.test(digits)) throw new TarError("ERR_TAR_PAX", offset + at, "expected a decimal record length and a space");
    const end = at + Number(digits);
    if (end > body.length) {
      throw new TarError("ERR_TAR_PAX", offset + at, `a record of ${digits} bytes does not fit in the ${body.length - at} that are left`);
    }
    if (end <= space || body[end - 1] !== 0x0a) throw new TarError("ERR_TAR_PAX", offset + at, `expected a newline as last of ${digits} bytes`);
    const equals = body.indexOf(0x3d, space + 1);
    if (equals < 0 || equals >= end - 1) throw new TarError("ERR_TAR_PAX", offset + at, "expected KEY=VALUE, found no equals sign");
    if (equals === space + 1) throw new TarError("ERR_TAR_PAX", offset + at, "expected KEY=VALUE, found an empty key");
    records.push({ key: body.toString("latin1", space + 1, equals), value: body.subarray(equals + 1, end - 1) });
    at = end;
  }
  return records;
}

/** The record's bytes. `key` must not be empty or hold "=". */
export function formatPax(key: string, value: Uint8Array): Buffer {
  const rest = 1 + key.length + 1 + value.length + 1;
  // The length counts its own digits, which may make it one digit longer.
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  const record = Buffer.allocUnsafe(length);
  const start = record.write(`${length} ${key}=`, 0, "latin1");
  record.set(value, start);
  record[length - 1] = 0x0a;
  return record;
}

/**
 * The extended attributes among `records`, in their order; a later one of the same name wins. Where an attribute is given in
 * both forms, the raw one counts. Throws ERR_TAR_PAX for an empty name or one with NUL.
 */
export function xattrsOf(records: readonly PaxRecord[], offset: number): Map<string, Buffer> {
  const xattrs = new Map<string, Buffer>();
  for (const raw of [false, true]) {
    for (const { key, value } of records) {
      const prefix = raw ? SCHILY_XATTR : LIBARCHIVE_XATTR;
      if (!key.startsWith(prefix)) continue;
      const name = raw ? unescapeKey(key.slice(prefix.length)) : urlDecode(key.slice(prefix.length));
      if (name === "" || name.includes("\0")) throw new TarError("ERR_TAR_PAX", offset, `expected the name of an extended attribute in ${JSON.stringify(key)}`);
      xattrs.set(name, raw ? value : Buffer.from(value.toString("latin1"), "base64"));
    }
  }
  return xattrs;
}

/** The key of the record for extended attribute `name`. */
export function xattrKey(name: string): string {
  return SCHILY_XATTR + escapeKey(name);
}

/**
 * GNU tar writes "=" as %3D and "%" as %25 in attribute names and reads both back; Go's archive/tar, which container tools
 * use, does neither. So only names that would otherwise read back wrong are escaped.
 */
function escapeKey(name: string): string {
  if (!name.includes("=") && unescapeKey(name) === name) return name;
  return name.replace(/%/g, "%25").replace(/=/g, "%3D");
}

function unescapeKey(key: string): string {
  return key.includes("%") ? key.replace(/%(3D|25)/g, (_, code: string) => (code === "25" ? "%" : "=")) : key;
}

function urlDecode(key: string): string {
  return key.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}
