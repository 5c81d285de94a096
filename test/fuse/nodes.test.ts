import { expect } from "chai";
import { FsError } from "../../lib/base/errors.js";
import { NodeTable, type NodeEntry } from "../../lib/fuse/nodes.js";

describe("NodeTable", () => {
  let dropped: [number, boolean][];
  let table: NodeTable;
  beforeEach(() => {
    dropped = [];
    table = new NodeTable({}, (entry: NodeEntry, last) => dropped.push([entry.nodeid, last]));
  });

  it("gives one nodeid to a node however often it is entered, and counts", () => {
    const node = {};
    const entry = table.enter(node);
    expect(table.enter(node)).to.equal(entry);
    expect(entry).to.include({ nodeid: 2, lookups: 2 });
    expect(table.get(2)).to.equal(entry);
  });

  it("drops a node when as many lookups are forgotten as were counted", () => {
    const node = {};
    table.enter(node);
    table.enter(node);
    table.forget(2, 1);
    expect(dropped).to.deep.equal([]);
    table.forget(2, 1);
    expect(dropped).to.deep.equal([[2, true]]);
    expect(() => table.get(2)).to.throw(FsError).with.property("code", "ESTALE");
  });

  it("never gives a nodeid again", () => {
    const node = {};
    table.enter(node);
    table.forget(2, 1);
    expect(table.enter(node).nodeid).to.equal(3);
  });

  it("does not forget the root, unknown nodeids, or more than there is", () => {
    table.forget(1, 100);
    table.forget(99, 1);
    expect(table.get(1)).to.equal(table.root);
    table.enter({});
    table.forget(2, 5);
    table.forget(2, 1);
    expect(dropped).to.deep.equal([[2, true]]);
  });

  it("gives a detached node a new nodeid and tells the tree only when both are forgotten", () => {
    const node = {};
    const old = table.enter(node);
    table.detach(old);
    const current = table.enter(node);
    expect(current.nodeid).to.equal(3);
    expect(table.currentOf(node)).to.equal(current);
    expect(table.get(2)).to.equal(old);
    table.forget(3, 1);
    expect(dropped).to.deep.equal([[3, false]]);
    table.forget(2, 1);
    expect(dropped).to.deep.equal([[3, false], [2, true]]);
    expect(table.size).to.equal(1);
  });
});
