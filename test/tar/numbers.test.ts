import { expect } from "chai";
import { formatTime, readDecimal, readNumber, readTime, writeOctal } from "../../lib/tar/numbers.js";

const field = (latin1: string): number => readNumber(Buffer.from(latin1, "latin1"), 0, latin1.length);

describe("numbers of tar headers", () => {
  for (const [spelling, value] of [
    ["0000644\0", 0o644], ["   644 \0", 0o644], ["644\0\0\0\0\0", 0o644], ["\0\0\x00644 ", 0o644], ["77777777777\0", 8 ** 11 - 1], ["777777777777", 8 ** 12 - 1],
    ["\0\0\0\0\0\0\0\0", 0], ["        ", 0], ["12\0junk!", 0o12],
    ["\x80\0\0\0\0\0\x01\0", 256], ["\x80\0\0\0\0\x1f\xff\xff\xff\xff\xff\xff", Number.MAX_SAFE_INTEGER],
    ["\xff\xff\xff\xff\xff\xff\xff\xff", -1], ["\xff\xff\xff\xff\xff\xff\xff\0", -256],
  ] as const) {
    it(`reads ${JSON.stringify(spelling)} as ${value}`, () => { expect(field(spelling)).to.equal(value); });
  }
  for (const spelling of ["0000888\0", "-000001\0", "0x1\0\0\0\0\0", "\x80\0\0\0\0\x20\0\0\0\0\0\0", "\x8f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\xc0\0\0\0\0\0\0\0\0\0\0\0"]) {
    it(`takes ${JSON.stringify(spelling)} for no number`, () => { expect(field(spelling)).to.be.NaN; });
  }

  it("writes octal digits that it reads back", () => {
    for (const value of [0, 7, 8, 0o644, 2 ** 31, 8 ** 11 - 1]) {
      const bytes = Buffer.alloc(12, 0xff);
      writeOctal(bytes, 0, 12, value);
      expect(bytes.toString("latin1")).to.match(/^[0-7]{11}\0$/);
      expect(readNumber(bytes, 0, 12)).to.equal(value);
    }
  });
});

describe("numbers of pax records", () => {
  it("reads decimal integers below 2^53 and nothing else", () => {
    expect(["0", "9007199254740991", "9007199254740992", "-1", "", "1.5", "0x1", " 1", "1e3", "12345678901234567"].map((text) => readDecimal(text)))
      .to.deep.equal([0, Number.MAX_SAFE_INTEGER, NaN, NaN, NaN, NaN, NaN, NaN, NaN, NaN]);
    expect(readDecimal("-12", true)).to.equal(-12);
  });

  it("reads times with any number of digits, before and after 1970", () => {
    expect(["0", "1.5", "1.", "1795477494.732366682", "1.0000000019", "-1", "-1.5", "-0.000000001"].map(readTime)).to.deep.equal([
      { sec: 0, nsec: 0 }, { sec: 1, nsec: 500_000_000 }, { sec: 1, nsec: 0 }, { sec: 1_795_477_494, nsec: 732_366_682 }, { sec: 1, nsec: 1 },
      { sec: -1, nsec: 0 }, { sec: -2, nsec: 500_000_000 }, { sec: -1, nsec: 999_999_999 },
    ]);
    expect(["", ".5", "+1", "1,5", "1.5x", "99999999999999999", "nan"].map(readTime)).to.deep.equal(Array(7).fill(undefined));
  });

  it("writes times in the shortest form that reads back the same", () => {
    expect([{ sec: 1, nsec: 500_000_000 }, { sec: -2, nsec: 500_000_000 }, { sec: -1, nsec: 999_999_999 }, { sec: 7, nsec: 1 }, { sec: -3, nsec: 0 }].map(formatTime))
      .to.deep.equal(["1.5", "-1.5", "-0.000000001", "7.000000001", "-3"]);
  });
});
