import { expect } from "chai";
import { Placement } from "../../lib/fuse/placement.js";

/** A machine in which thread `tid` runs on processor `tid`, and where the server was told to run. */
function machine(): { placement: Placement; moves: number[] } {
  const moves: number[] = [];
  const native = { lookAt: (tid: number) => tid, runOn: (cpu: number) => (moves.push(cpu), 0) };
  return { placement: new Placement(native), moves };
}

describe("the placement of the serving thread", () => {
  it("follows a client that stays on one processor, once", () => {
    const { placement, moves } = machine();
    for (let i = 0; i < 1000; i++) placement.request(3);
    expect(moves).to.deep.equal([3]);
  });

  it("stays where it is between clients on two processors", () => {
    const { placement, moves } = machine();
    for (let i = 0; i < 1000; i++) placement.request(1 + (Math.floor(i / 16) % 2));
    expect(moves).to.deep.equal([]);
  });

  it("moves nothing for requests that have no thread", () => {
    const { placement, moves } = machine();
    for (let i = 0; i < 1000; i++) placement.request(0);
    expect(moves).to.deep.equal([]);
  });

  it("lets the thread go at the end", () => {
    const { placement, moves } = machine();
    for (let i = 0; i < 200; i++) placement.request(2);
    placement.end();
    placement.end();
    expect(moves).to.deep.equal([2, -1]);
  });
});
