import { expect } from "chai";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { running } from "../../lib/base/progress.js";
import { checking, exporting, importing } from "../../lib/image/progress.js";
import { openStore, type Store } from "../../lib/store/store.js";
import { tarOf } from "./images.js";

type Event = { readonly type: "progress"; readonly bytes: number } | { readonly type: "done" };

describe("progress as an async iterable", () => {
  it("gives all events in order, of progress the last ones, and the result", async () => {
    const work = running<Event, number>(async (onEvent) => {
      for (let bytes = 0; bytes < 1000; bytes++) onEvent({ type: "progress", bytes });
      onEvent({ type: "done" });
      onEvent({ type: "progress", bytes: 1000 });
      await new Promise((resolve) => setTimeout(resolve, 5));
      onEvent({ type: "progress", bytes: 1001 });
      return 7;
    });
    const events: Event[] = [];
    for await (const event of work) events.push(event);
    expect(events).to.deep.equal([{ type: "progress", bytes: 999 }, { type: "done" }, { type: "progress", bytes: 1000 }, { type: "progress", bytes: 1001 }]);
    expect(await work.result).to.equal(7);
  });

  it("throws what the work throws, after its events; leaving it leaves the work alone", async () => {
    const failing = (): Promise<never> => Promise.reject(new RangeError("wrong"));
    const outcome = async (work: AsyncIterable<unknown>): Promise<string> => {
      try {
        for await (const _ of work);
        return "no error";
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(await outcome(running(failing))).to.equal("wrong");
    const left = running<Event, string>(async (onEvent) => {
      onEvent({ type: "done" });
      await new Promise((resolve) => setTimeout(resolve, 5));
      return "whole";
    });
    for await (const _ of left) break;
    expect(await left.result).to.equal("whole");
  });

  describe("of a store", () => {
    let root: string;
    let store: Store;
    before(async () => {
      root = fs.mkdtempSync(path.join(os.tmpdir(), "stratafs-image-"));
      store = await openStore(path.join(root, "store"), { create: true });
      fs.writeFileSync(path.join(root, "tar"), await tarOf({ name: "f", body: "x".repeat(100_000) }));
    });
    after(() => fs.rmSync(root, { recursive: true, force: true }));
    const types = async (work: AsyncIterable<{ readonly type: string }>): Promise<string[]> => {
      const found: string[] = [];
      for await (const { type } of work) if (found.at(-1) !== type) found.push(type);
      return found;
    };

    it("tells of imports, exports and checks", async () => {
      expect(await types(importing(store, path.join(root, "tar"), { names: ["a"] }))).to.deep.equal(["start", "progress", "layer", "image"]);
      expect(await types(exporting(store, "a", path.join(root, "out")))).to.deep.equal(["start", "progress", "layer"]);
      const check = checking(store);
      expect(await types(check)).to.deep.equal(["progress"]);
      expect((await check.result).problems).to.deep.equal([]);
    });

    it("stops with the signal's reason", async () => {
      const signal = AbortSignal.abort(new RangeError("enough"));
      for (const work of [importing(store, path.join(root, "tar"), { names: ["b"], signal }), exporting(store, "a", path.join(root, "out2"), { signal }), checking(store, { signal })]) {
        expect(await work.result.then(() => "no error", (error: Error) => error.message)).to.equal("enough");
      }
      expect(store.image("b")).to.equal(undefined);
    });
  });
});
