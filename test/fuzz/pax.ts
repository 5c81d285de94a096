/** Fuzz target: pax records, alone. What is read can be written, and reads as the same. */
import { TarError } from "../../lib/tar/errors.js";
import { formatPax, parsePax, xattrKey, xattrsOf } from "../../lib/tar/pax.js";
import { PaxText } from "../../lib/tar/entry.js";
import { expectThat, refusedBy, type Target } from "./fuzz.js";

const text = (records: readonly (readonly [string, string])[]): Buffer => Buffer.concat(records.map(([key, value]) => formatPax(key, Buffer.from(value, "latin1"))));

export const paxTarget: Target = {
  name: "pax",
  words: ["path=", "size=", "mtime=", "SCHILY.xattr.", "LIBARCHIVE.xattr.", "SCHILY.acl.access=", "%3D", "%25", "%00", "\n", " ", "=", "-1", ".5", "9007199254740993", "10 a=bcde\n", "99 ", "0"],
  run(input) {
    try {
      const records = parsePax(input, 0);
      const again = parsePax(Buffer.concat(records.map(({ key, value }) => formatPax(key, value))), 0);
      expectThat(records.length === again.length && records.every(({ key, value }, i) => key === again[i]?.key && value.equals(again[i].value)), () => "records do not read back");
      const pax = new PaxText(records, 0);
      for (const { key } of records) {
        pax.text(key);
        for (const read of [() => pax.count(key), () => pax.time(key)]) {
          try {
            read();
          } catch (error) {
            refusedBy(error, TarError);
          }
        }
      }
      for (const [name, value] of xattrsOf(records, 0)) {
        const back = xattrsOf(parsePax(formatPax(xattrKey(name), value), 0), 0).get(name);
        expectThat(back !== undefined && back.equals(value), () => `attribute ${JSON.stringify(name)} does not read back`);
      }
    } catch (error) {
      refusedBy(error, TarError);
    }
  },
  async samples() {
    return {
      names: text([["path", "a/b"], ["linkpath", "c"], ["size", "12"], ["mtime", "1700000000.123456789"], ["uid", "4294967295"], ["path", ""]]),
      xattrs: text([["SCHILY.xattr.user.a%3Db", "\x00\x01\xff"], ["LIBARCHIVE.xattr.user.%41", "AAEC"], ["SCHILY.acl.access", "user::rwx,group::r-x,other::---"]]),
      sparse: text([["GNU.sparse.offset", "0"], ["GNU.sparse.numbytes", "512"], ["GNU.sparse.offset", "1024"], ["GNU.sparse.numbytes", "1"]]),
    };
  },
};
