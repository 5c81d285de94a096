import { expect } from "chai";
import { parseAccounts, parseAclText, type IdOf } from "../../lib/image/acl-text.js";

const people: IdOf = (kind, name) => (kind === "user" && name === "joe" ? 1000 : kind === "group" && name === "staff" ? 50 : undefined);
const entryOf = (tag: number, permissions: number, id = 0xffffffff): number[] => [tag, 0, permissions, 0, id & 255, (id >>> 8) & 255, (id >>> 16) & 255, id >>> 24];

describe("ACLs in text form", () => {
  const value = [2, 0, 0, 0, ...entryOf(1, 7), ...entryOf(2, 5, 1000), ...entryOf(4, 5), ...entryOf(8, 1, 50), ...entryOf(16, 5), ...entryOf(32, 0)];
  for (const [what, text] of [
    ["of star, numbers last", "user::rwx,user:joe:r-x:1000,group::r-x,group:staff:--x:50,mask::r-x,other::---"],
    ["of star, names that nobody here has", "user::rwx,user:nobody-here:r-x:1000,group::r-x,group:other-here:--x:50,mask::r-x,other::---"],
    ["of getfacl, in lines with comments", "# file: x\nuser::rwx\nuser:joe:r-x\t#effective:r-x\ngroup::r-x\ngroup:staff:--x\nmask::r-x\nother::---\n"],
    ["with numbers for names, out of order, and short tags", "o::---,m::r-x,g:50:--x,g::r-x,u:1000:r-x,u::rwx"],
    ["with mask and other in two fields", "user::rwx,user:1000:r-x,group::r-x,group:50:--x,mask:r-x,other:---"],
    ["with the word for a default one", "default:user::rwx,default:user:joe:r-x,default:group::r-x,default:group:staff:--x,default:mask::r-x,default:other::---"],
  ] as const) {
    it(`are read ${what}`, () => {
      const parsed = parseAclText(text, people);
      expect(parsed).to.include({ state: "good", permissions: 0o750, minimal: false });
      expect([...(parsed as { value: Uint8Array }).value]).to.deep.equal(value);
    });
  }

  it("say of three entries that they are no more than a mode", () => {
    expect(parseAclText("user::rw-,group::r--,other::---", people)).to.include({ state: "good", permissions: 0o640, minimal: true });
  });

  for (const text of [
    "", "user::rwx", "user::rwx,group::r-x", "user::rwx,group::r-x,other::---,other::---", "user::rwx,user:1:r-x,group::r-x,other::---", "user::rwx,group::r-x,mask:1:r-x,other::---",
    "user::rwx,user:1:r-x,user:1:--x,group::r-x,mask::rwx,other::---", "user::rwxs,group::r-x,other::---", "user::7,group::r-x,other::---", "user::rwx,group::r-x,other::---,all::rwx",
    "user::rwx,user:4294967295:r-x,group::r-x,mask::rwx,other::---", "user::rwx,user:1:r-x:1:2,group::r-x,mask::rwx,other::---", "constructor::rwx,group::r-x,other::---",
  ]) {
    it(`are malformed as ${JSON.stringify(text)}`, () => {
      expect(parseAclText(text, people)).to.deep.equal({ state: "malformed" });
    });
  }

  it("name whom nobody knows", () => {
    expect(parseAclText("user::rwx,user:eve:r-x,group::r-x,mask::rwx,other::---", people)).to.deep.equal({ state: "unknown-name", name: "eve" });
  });

  it("take the first account of a name", () => {
    expect([...parseAccounts(Buffer.from("root:x:0:0::/root:/bin/sh\njoe:x:7:\n#c\n\nbad\njoe:x:8:\nmin:x:-1:\n"))]).to.deep.equal([["root", 0], ["joe", 7]]);
  });
});
