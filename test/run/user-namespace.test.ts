import { expect } from "chai";
import { grantedRanges, helperArguments, namespaceIds } from "../../lib/run/user-namespace.js";

describe("the ids of a user namespace", () => {
  const subuid = "# comment\nroot:1:2\nme:100000:65536\n1000:300000:10\nmean:5:5\nme:bad:1\nme:7:0\n";

  it("reads the ranges granted by name and by number, and no others", () => {
    expect(grantedRanges(subuid, "me", 1000)).to.deep.equal([{ first: 100000, count: 65536 }, { first: 300000, count: 10 }]);
    expect(grantedRanges(subuid, undefined, 1000)).to.deep.equal([{ first: 300000, count: 10 }]);
    expect(grantedRanges("", "me", 1000)).to.deep.equal([]);
  });

  it("puts the caller first and the ranges after it", () => {
    const ranges = [{ first: 100000, count: 65536 }, { first: 300000, count: 10 }];
    const ids = namespaceIds(1000, 100, ranges, ranges, true);
    expect(ids.needsHelpers).to.equal(true);
    expect(ids.uids).to.deep.equal([
      { inside: 0, outside: 1000, length: 1 }, { inside: 1, outside: 100000, length: 65536 }, { inside: 65537, outside: 300000, length: 10 },
    ]);
    expect(helperArguments(ids.gids).slice(0, 6)).to.deep.equal(["0", "100", "1", "1", "100000", "65536"]);
  });

  it("falls back to a single id without ranges for both kinds, or without the helpers", () => {
    const one = [{ first: 1, count: 2 }];
    for (const ids of [namespaceIds(1000, 100, [], one, true), namespaceIds(1000, 100, one, [], true), namespaceIds(1000, 100, one, one, false)]) {
      expect(ids).to.deep.equal({ uids: [{ inside: 0, outside: 1000, length: 1 }], gids: [{ inside: 0, outside: 100, length: 1 }], needsHelpers: false });
    }
  });
});
