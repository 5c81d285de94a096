import { expect } from "chai";
import { shownPath } from "../../lib/cli/shown-path.js";
import { didYouMean, UsageError } from "../../lib/cli/usage.js";

describe("did you mean", () => {
  const commands = ["mount", "umount", "run", "diff"];
  const cases: [word: string, meant: string | undefined][] = [
    ["monut", "mount"], ["moutn", "mount"], ["unmount", "umount"], ["dif", "diff"], ["rnu", "run"], ["x", undefined], ["status", undefined], ["", undefined],
  ];
  for (const [word, meant] of cases) it(`takes ${JSON.stringify(word)} for ${meant ?? "nothing known"}`, () => expect(didYouMean(word, commands)).to.equal(meant));
});

describe("what was typed, or lies in an image", () => {
  it("is shown without control characters, those of eight bits included", () => {
    expect(new UsageError("no \x1b[2J\n\u009b2J").message).to.equal("no \\x1b[2J\\x0a\\x9b2J");
    expect(shownPath("a\x1b\xc2\x9bb\xe9\x7f")).to.equal("a\\x1b\\xc2\\x9bb\\xe9\\x7f");
    expect(shownPath("\xc2\x9b\xc3\xa9")).to.equal("\\x9bé");
  });
});
