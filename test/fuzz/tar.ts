/** Fuzz target: the tar reader. An archive gives the same entries, or the same error, in whatever pieces it comes, and can be rebuilt from them. */
import { TarError } from "../../lib/tar/errors.js";
import { block, end, long, padded, pax, readAll, sealed } from "../tar/archive.js";
import { expectThat, refusedBy, type Target } from "./fuzz.js";

const limits = { maxPaxSize: 8192, maxNameLength: 4096, maxHeaders: 200, maxExtents: 64, maxArchiveSize: 2 ** 20, maxContentSize: 2 ** 24 };

export const tarTarget: Target = {
  name: "tar",
  words: [
    "ustar\x0000", "ustar  \0", "././@LongLink\0", "GNU.sparse.major=1\n", "GNU.sparse.map=", "22 GNU.sparse.major=1\n", "22 GNU.sparse.minor=0\n", "11 size=99\n", "..", "/", "\0",
    "\x80\0\0\0\0\0\0\0\0\0\0\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "77777777777\0", "0", "1", "2", "5", "x", "g", "L", "K", "S", end.toString("latin1", 0, 512),
  ],
  // Every block that could be a header gets the checksum it should have.
  mend(input) {
    const bytes = Buffer.from(input);
    for (let at = 0; at + 512 <= bytes.length; at += 512) {
      const looksLikeHeader = bytes.toString("latin1", at + 257, at + 262) === "ustar";
      if (looksLikeHeader) sealed(bytes.subarray(at, at + 512));
    }
    return bytes;
  },
  async run(input) {
    const whole = await outcome(input, 65_536);
    const pieces = await outcome(input, 37);
    expectThat(whole === pieces, () => `in one piece: ${whole.slice(0, 300)}\nin pieces: ${pieces.slice(0, 300)}`);
  },
  async samples() {
    const sparse = [["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"], ["GNU.sparse.name", "holes"], ["GNU.sparse.realsize", "4096"]] as const;
    return {
      plain: Buffer.concat([block({ name: "dir/", type: "5" }), block({ name: "dir/a", size: 5 }), padded("hello"), block({ name: "l", type: "2", linkName: "dir/a" }), end]),
      links: Buffer.concat([block({ name: "a", size: 600 }), padded("x".repeat(600)), block({ name: "b", type: "1", linkName: "a" }), block({ name: "c", type: "3" }), block({ name: "p", type: "6" }), end]),
      long: Buffer.concat([long("L", "n".repeat(150)), long("K", "t".repeat(150)), block({ type: "2", magic: "ustar  \0" }), end]),
      pax: Buffer.concat([
        pax([["comment", "global"]], "g"), pax([["path", "café"], ["mtime", "12.5"], ["SCHILY.xattr.user.k", "v"], ["LIBARCHIVE.xattr.user.b", "AAAA"], ["uid", "70000"]]), block({ size: 3 }), padded("abc"), end,
      ]),
      sparse: Buffer.concat([pax(sparse), block({ size: 1024 }), padded("1\n512\n512\n"), Buffer.alloc(512, 1), end]),
      "sparse-0.1": Buffer.concat([pax([["GNU.sparse.size", "2048"], ["GNU.sparse.numblocks", "1"], ["GNU.sparse.map", "512,512"]]), block({ size: 512 }), Buffer.alloc(512, 2), end]),
      "sparse-old": Buffer.concat([
        block({ type: "S", size: 512, magic: "ustar  \0", put: [[386, "00000001000\0"], [398, "00000001000\0"], [483, "00000010000\0"]] }), Buffer.alloc(512, 3), end,
      ]),
    };
  },
};

/** Entries as text, or the error's code. */
async function outcome(input: Buffer, chunk: number): Promise<string> {
  try {
    const { entries, rebuilt } = await readAll(input, limits, chunk);
    expectThat(rebuilt.equals(input.subarray(0, rebuilt.length)) && rebuilt.length === input.length, () => `rebuilt to ${rebuilt.length} bytes, which are not the ${input.length} read`);
    for (const { name, linkName } of entries) expectThat(name !== "" && !`${name}${linkName}`.includes("\0"), () => `a name with NUL: ${JSON.stringify(name)}`);
    return JSON.stringify(entries);
  } catch (error) {
    refusedBy(error, TarError);
    return `${(error as TarError).code} at ${(error as TarError).offset}`;
  }
}
