import { expect } from "chai";
import { wordsOf } from "../../lib/cli/commit.js";
import { durationText, progressText, sizeText } from "../../lib/cli/progress.js";
import { agoText, tableLines } from "../../lib/cli/table.js";

describe("what long commands say", () => {
  it("is a bar with bytes, rate and time left", () => {
    expect(progressText("import", 12 << 20, 48 << 20, 2000)).to.equal("import [######                  ] 12.0 MiB of 48.0 MiB, 6.0 MiB/s, 6 s left");
    expect(progressText("import", 48 << 20, 48 << 20, 2000)).to.equal(`import [${"#".repeat(24)}] 48.0 MiB of 48.0 MiB, 24.0 MiB/s, 0 s left`);
    expect(progressText("import", 99, 48, 1000)).to.include("#".repeat(24)).and.include("0 s left");
    expect(progressText("import", 0, 48, 0)).to.equal(`import [${" ".repeat(24)}] 0 B of 48 B, 0 B/s`);
  });
  it("is bytes and rate where nobody knows the end", () => expect(progressText("fsck", 1 << 20, undefined, 500)).to.equal("fsck 1.0 MiB, 2.0 MiB/s"));
  it("has sizes and times that people read", () => {
    expect([0, 1023, 1024, 1536, 5 * 2 ** 40, 3 * 2 ** 50].map(sizeText)).to.deep.equal(["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 TiB", "3072.0 TiB"]);
    expect([400, 59_400, 200_000, 7_500_000].map(durationText)).to.deep.equal(["0 s", "59 s", "3 min 20 s", "2 h 5 min"]);
    expect([0, 1, 65, 7300, 200_000].map((seconds) => agoText(0, seconds * 1000))).to.deep.equal(["0 seconds ago", "1 second ago", "1 minute ago", "2 hours ago", "2 days ago"]);
  });
  it("stands in columns as wide as they must be", () => expect(tableLines(["A", "LONG"], [["name", "x"], ["b", ""]])).to.deep.equal(["A     LONG", "name  x", "b"]));
  it("reads words and lists of words", () => {
    expect(wordsOf("commit", "cmd", " a  b ")).to.deep.equal(["a", "b"]);
    expect(wordsOf("commit", "cmd", '["a b", ""]')).to.deep.equal(["a b", ""]);
  });
});
