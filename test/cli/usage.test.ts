import { expect } from "chai";
import { didYouMean } from "../../lib/cli/usage.js";

describe("did you mean", () => {
  const commands = ["mount", "umount", "run", "diff"];
  const cases: [word: string, meant: string | undefined][] = [
    ["monut", "mount"], ["moutn", "mount"], ["unmount", "umount"], ["dif", "diff"], ["rnu", "run"], ["x", undefined], ["status", undefined], ["", undefined],
  ];
  for (const [word, meant] of cases) it(`takes ${JSON.stringify(word)} for ${meant ?? "nothing known"}`, () => expect(didYouMean(word, commands)).to.equal(meant));
});
