/**
 * ACLs in their text form, as star, bsdtar and GNU tar write them (pax SCHILY.acl.access and SCHILY.acl.default), into the bytes of
 * system.posix_acl_*. Pure.
 *
 *   "user::rwx,user:joe:r-x:1000,group::r-x,mask::r-x,other::---"
 *
 * Entries are parted by commas or newlines; a fourth field is the number of a named user or group. Without it, a name that is no
 * number needs somebody who knows it. Source: acl(5), star(5), and the kernel's include/uapi/linux/posix_acl_xattr.h.
 */

export type AclKind = "access" | "default";

/** The number of a user or group; undefined for a name nobody knows. */
export type IdOf = (kind: "user" | "group", name: string) => number | undefined;

export type ParsedAcl =
  /** `permissions`: the bits 0777 that an access ACL gives a file's mode; `minimal`: it says no more than these. */
  | { readonly state: "good"; readonly value: Uint8Array; readonly permissions: number; readonly minimal: boolean }
  | { readonly state: "unknown-name"; readonly name: string }
  | { readonly state: "malformed" };

export const ACL_TEXT_KEYS: Readonly<Record<AclKind, string>> = { access: "SCHILY.acl.access", default: "SCHILY.acl.default" };
export const ACL_XATTR_KEYS: Readonly<Record<AclKind, string>> = { access: "system.posix_acl_access", default: "system.posix_acl_default" };

const VERSION = 2;
const HEADER_BYTES = 4;
const ENTRY_BYTES = 8;
const NO_ID = 0xffffffff;
const MAX_ENTRIES = 8000;
const USER_OBJ = 1;
const USER = 2;
const GROUP_OBJ = 4;
const GROUP = 8;
const MASK = 16;
const OTHER = 32;
const tags: Readonly<Record<string, readonly [unnamed: number, named: number]>> = {
  user: [USER_OBJ, USER], u: [USER_OBJ, USER], group: [GROUP_OBJ, GROUP], g: [GROUP_OBJ, GROUP], mask: [MASK, 0], m: [MASK, 0], other: [OTHER, 0], o: [OTHER, 0],
};

interface Entry {
  readonly tag: number;
  readonly permissions: number;
  readonly id: number;
}

/** `text` is latin1. An ACL that the kernel would refuse is malformed. */
export function parseAclText(text: string, idOf: IdOf): ParsedAcl {
  const malformed: ParsedAcl = { state: "malformed" };
  const entries: Entry[] = [];
  for (const line of text.split(/[,\n]/)) {
    const fields = line.replace(/#.*/, "").trim().replace(/^(default|d):/, "").split(":");
    if (fields.length === 1 && fields[0] === "") continue;
    const [tag, name, permissions, number] = fields.length === 2 ? [fields[0], "", fields[1], undefined] : fields;
    const known = Object.hasOwn(tags, tag as string) ? tags[tag as string] : undefined;
    if (known === undefined || !/^[r-][w-][x-]$/.test(permissions ?? "") || fields.length > 4) return malformed;
    const bits = [...(permissions as string)].reduce((sum, letter) => 2 * sum + (letter === "-" ? 0 : 1), 0);
    if (name === "") {
      entries.push({ tag: known[0], permissions: bits, id: NO_ID });
      continue;
    }
    if (known[1] === 0) return malformed;
    const digits = number !== undefined && number !== "" ? number : (name as string);
    const id = /^\d{1,10}$/.test(digits) ? Number(digits) : idOf(known[1] === USER ? "user" : "group", name as string);
    if (id === undefined) return { state: "unknown-name", name: name as string };
    if (id >= NO_ID) return malformed;
    entries.push({ tag: known[1], permissions: bits, id });
  }
  entries.sort((a, b) => a.tag - b.tag || a.id - b.id);
  return isValid(entries) ? { state: "good", value: encoded(entries), permissions: modeOf(entries), minimal: entries.length === 3 } : malformed;
}

/** As the kernel's posix_acl_valid(): one owner, one group, one rest; a mask where somebody is named; nobody twice. */
function isValid(entries: readonly Entry[]): boolean {
  if (entries.length > MAX_ENTRIES) return false;
  const count = (tag: number): number => entries.filter((entry) => entry.tag === tag).length;
  if (count(USER_OBJ) !== 1 || count(GROUP_OBJ) !== 1 || count(OTHER) !== 1 || count(MASK) > 1) return false;
  if (count(MASK) === 0 && count(USER) + count(GROUP) > 0) return false;
  return entries.every((entry, i) => i === 0 || entry.tag !== entries[i - 1]?.tag || entry.id !== entries[i - 1]?.id);
}

function encoded(entries: readonly Entry[]): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES + ENTRY_BYTES * entries.length);
  bytes.writeUInt32LE(VERSION, 0);
  entries.forEach(({ tag, permissions, id }, i) => {
    const at = HEADER_BYTES + ENTRY_BYTES * i;
    bytes.writeUInt16LE(tag, at);
    bytes.writeUInt16LE(permissions, at + 2);
    bytes.writeUInt32LE(id, at + 4);
  });
  return bytes;
}

function modeOf(entries: readonly Entry[]): number {
  const of = (tag: number): number | undefined => entries.find((entry) => entry.tag === tag)?.permissions;
  return (of(USER_OBJ) as number) * 0o100 + (of(MASK) ?? (of(GROUP_OBJ) as number)) * 0o10 + (of(OTHER) as number);
}

/** Names and numbers of etc/passwd or etc/group. Lines that are none are passed over, the first of a name counts. Latin1. */
export function parseAccounts(bytes: Uint8Array): Map<string, number> {
  const accounts = new Map<string, number>();
  for (const line of Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1").split("\n")) {
    const [name, , id] = line.split(":");
    if (name === undefined || name === "" || id === undefined || !/^\d{1,10}$/.test(id)) continue;
    if (!accounts.has(name)) accounts.set(name, Number(id));
  }
  return accounts;
}
