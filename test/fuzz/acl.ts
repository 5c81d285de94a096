/** Fuzz target: ACLs, as the bytes of an attribute (first byte "b") and in their text form. */
import { FsError } from "../../lib/base/errors.js";
import { parseAccounts, parseAclText } from "../../lib/image/acl-text.js";
import { chmodAcl, inheritAcl, mapAclIds, modeOfAcl } from "../../lib/layer/posix-acl.js";
import { expectThat, refusedBy, type Target } from "./fuzz.js";

export const aclTarget: Target = {
  name: "acl",
  words: ["\x02\0\0\0", "\x01\0\x07\0\xff\xff\xff\xff", "\x02\0\x07\0\xe8\x03\0\0", "\x10\0\x07\0\xff\xff\xff\xff", "user::rwx,", "user:joe:rwx,", "mask::r--", "other::---", "default:", ":1000", "group:", "\n", "#", "__proto__"],
  maxBytes: 1024,
  run(input) {
    if (input[0] === 0x62) bytesOf(input.subarray(1));
    else textOf(input.toString("latin1"));
  },
  async samples() {
    const entry = (tag: number, permissions: number, id = 0xffffffff): Buffer => {
      const bytes = Buffer.alloc(8);
      bytes.writeUInt16LE(tag, 0);
      bytes.writeUInt16LE(permissions, 2);
      bytes.writeUInt32LE(id, 4);
      return bytes;
    };
    const head = Buffer.from("b\x02\0\0\0", "latin1");
    return {
      minimal: Buffer.concat([head, entry(1, 7), entry(4, 5), entry(32, 0)]),
      named: Buffer.concat([head, entry(1, 7), entry(2, 5, 1000), entry(4, 5), entry(8, 7, 100), entry(16, 7), entry(32, 4)]),
      text: Buffer.from("user::rwx,user:joe:r-x:1000,user:ann:rwx,group::r-x,mask::r-x,other::---"),
      default: Buffer.from("default:user::rwx\ndefault:group::r-x\ndefault:other::r--"),
    };
  },
};

function bytesOf(acl: Buffer): void {
  try {
    const mapped = mapAclIds(acl, (id) => id ^ 1, (id) => id ^ 2);
    expectThat(Buffer.from(mapAclIds(mapped, (id) => id ^ 1, (id) => id ^ 2)).equals(acl), () => "ids do not map back");
    expectThat(chmodAcl(acl, 0o640).length === acl.length, () => "chmod changes the length");
    const { mode } = inheritAcl(acl, 0o6777);
    expectThat((mode & ~0o7777) === 0, () => `inherits mode ${mode.toString(8)}`);
    const { permissions } = modeOfAcl(acl);
    expectThat((permissions & ~0o777) === 0, () => `stands for ${permissions.toString(8)}`);
  } catch (error) {
    refusedBy(error, FsError);
    expectThat(["EINVAL", "EOPNOTSUPP"].includes((error as FsError).code), () => (error as FsError).message);
  }
}

function textOf(text: string): void {
  const accounts = parseAccounts(Buffer.from(text, "latin1"));
  for (const id of accounts.values()) expectThat(Number.isInteger(id) && id >= 0, () => `account ${id}`);
  const parsed = parseAclText(text, (_, name) => (name === "ann" ? 7 : undefined));
  if (parsed.state !== "good") return;
  expectThat((parsed.permissions & ~0o777) === 0, () => `permissions ${parsed.permissions.toString(8)}`);
  // What the kernel gets is an ACL that the kernel takes: the same arithmetic finds nothing wrong with it.
  const { permissions, plain } = modeOfAcl(parsed.value);
  expectThat(permissions === parsed.permissions && plain === parsed.minimal, () => `bytes stand for ${permissions.toString(8)}, text for ${parsed.permissions.toString(8)}`);
}
