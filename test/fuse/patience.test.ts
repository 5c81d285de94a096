import { expect } from "chai";
import { Patience } from "../../lib/fuse/patience.js";

/** Of 10,000 sleeps, those with a look before them; `found` says what a look finds. */
function looks(patience: Patience, found: (look: number) => boolean): number {
  let count = 0;
  for (let sleep = 0; sleep < 10_000; sleep++) {
    if (patience.us === 0) continue;
    patience.looked(found(count));
    count++;
  }
  return count;
}

describe("the patience of the serving thread", () => {
  it("looks before every sleep while that finds requests", () => {
    expect(looks(new Patience(2), () => true)).to.equal(10_000);
    expect(looks(new Patience(2), (look) => look % 3 !== 0)).to.equal(10_000);
  });

  it("looks ever more seldom while nothing is found, and as before once something is", () => {
    const patience = new Patience(2);
    const seldom = looks(patience, () => false);
    expect(seldom).to.be.within(20, 60);
    expect(looks(patience, () => true)).to.be.above(8000);
  });

  it("never looks where client and server share the only processor", () => {
    expect(looks(new Patience(1), () => true)).to.equal(0);
  });
});
