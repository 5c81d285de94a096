import { expect } from "chai";
import { NodeEntry } from "../../lib/fuse/nodes.js";
import { PRUNED_AT_ONCE, Relief } from "../../lib/fuse/relief.js";

describe("relief of a heap that fills", () => {
  let full: boolean;
  let pruned: number[];
  let dropped: number;
  let able: boolean;
  let nodes: Map<number, NodeEntry>;
  let relief: Relief;
  beforeEach(() => {
    full = false;
    able = true;
    pruned = [];
    dropped = 0;
    nodes = new Map(Array.from({ length: 40_000 }, (_, i) => [i + 1, new NodeEntry(i + 1, {})]));
    relief = new Relief({
      entries: () => nodes.values(),
      dropListings: () => void dropped++,
      prune: (ids, count) => {
        expect(count).to.be.within(1, PRUNED_AT_ONCE);
        pruned.push(...ids.subarray(0, count));
        return able;
      },
    }, () => full);
  });
  const serve = (requests: number): void => {
    for (let i = 0; i < requests; i++) relief.served(2);
  };

  it("asks for nothing while there is room", () => {
    serve(10_000);
    expect([pruned, dropped]).to.deep.equal([[], 0]);
  });

  it("asks the kernel to forget every inode but the root, oldest first, a part at each look, and begins again", () => {
    full = true;
    serve(255);
    expect(pruned).to.deep.equal([]);
    serve(1);
    expect(dropped).to.equal(1);
    expect(pruned).to.deep.equal(Array.from({ length: 16 * PRUNED_AT_ONCE }, (_, i) => i + 2));
    serve(2 * 256);
    expect(pruned.slice(0, 39_999)).to.deep.equal(Array.from({ length: 39_999 }, (_, i) => i + 2));
    serve(256);
    expect(pruned[39_999]).to.equal(2);
  });

  it("looks after so many new inodes, however few requests brought them", () => {
    full = true;
    relief.served(5000);
    expect(pruned).to.not.deep.equal([]);
  });

  it("goes on from where it was while inodes go and come", () => {
    full = true;
    serve(256);
    for (const id of pruned) nodes.delete(id);
    nodes.set(50_000, new NodeEntry(50_000, {}));
    serve(2 * 256);
    expect(new Set(pruned).size).to.equal(40_000);
    expect(pruned).to.include(50_000);
  });

  it("asks a kernel that cannot forget once", () => {
    full = true;
    able = false;
    serve(10_000);
    expect(pruned).to.have.length(PRUNED_AT_ONCE);
  });
});
