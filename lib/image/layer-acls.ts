/**
 * ACLs that a layer's entries have in their text form become extended attributes. Names are looked up in the layer's own etc/passwd and
 * etc/group, which may come after the entries, and nowhere else: what a layer holds must not depend on the layers below it.
 *
 * An ACL with a name that stays unknown is left out as a whole, as GNU tar does: half of one could allow what all of it forbids.
 */
import type { TarEntry } from "../tar/entry.js";
import { ACL_TEXT_KEYS, ACL_XATTR_KEYS, parseAccounts, parseAclText, type AclKind, type IdOf } from "./acl-text.js";

/** What an ACL changes of an object that is still being put together. */
export interface AclOwner {
  mode: number;
  readonly xattrs: Map<string, Uint8Array>;
}

interface Pending {
  readonly owner: AclOwner;
  readonly kind: AclKind;
  readonly text: string;
}

const MAX_ACCOUNTS_BYTES = 1 << 20;
const files: Readonly<Record<string, "user" | "group">> = { "etc/passwd": "user", "etc/group": "group" };

export class LayerAcls {
  readonly #accounts: { user: Map<string, number>; group: Map<string, number> } = { user: new Map(), group: new Map() };
  #pending: Pending[] = [];
  /** ACLs that were left out: malformed ones, and those with unknown names. Complete after finish(). */
  leftOut = 0;

  /** Whether the content of this file is to be given to account(). */
  wants(path: readonly string[], size: number): boolean {
    return path.length === 2 && path.join("/") in files && size <= MAX_ACCOUNTS_BYTES;
  }

  account(path: readonly string[], bytes: Uint8Array): void {
    const kind = files[path.join("/")];
    if (kind !== undefined) this.#accounts[kind] = parseAccounts(bytes);
  }

  /** Takes an entry's ACLs; `owner` is changed now, or by finish(). An ACL that is there as an attribute already counts more. */
  add(entry: TarEntry, owner: AclOwner): void {
    if (entry.kind === "symlink") return;
    for (const kind of ["access", "default"] as const) {
      // The last record of a key counts, and an empty one takes it back.
      const text = entry.pax.findLast(({ key }) => key === ACL_TEXT_KEYS[kind])?.value.toString("latin1") ?? "";
      if (text === "" || owner.xattrs.has(ACL_XATTR_KEYS[kind]) || (kind === "default" && entry.kind !== "directory")) continue;
      this.#apply({ owner, kind, text }, () => undefined, true);
    }
  }

  finish(): void {
    const pending = this.#pending;
    this.#pending = [];
    for (const acl of pending) this.#apply(acl, (kind, name) => this.#accounts[kind].get(name), false);
  }

  #apply(acl: Pending, idOf: IdOf, mayWait: boolean): void {
    const parsed = parseAclText(acl.text, idOf);
    if (parsed.state === "unknown-name" && mayWait) {
      this.#pending.push(acl);
    } else if (parsed.state !== "good") {
      this.leftOut++;
    } else {
      if (acl.kind === "access") acl.owner.mode = (acl.owner.mode & ~0o777) | parsed.permissions;
      if (acl.kind === "default" || !parsed.minimal) acl.owner.xattrs.set(ACL_XATTR_KEYS[acl.kind], parsed.value);
    }
  }
}
