/**
 * A process that tests may kill: `write STORE SEED` imports layers and images until it dies, `sweep STORE` sweeps until it dies,
 * `lease STORE DIFFID` holds a lease and waits. Says "ready" on its output once it is at it.
 */
import { S_IFREG } from "../../lib/base/mode.js";
import { digestOf, parseDigest } from "../../lib/store/digest.js";
import { LayerTree } from "../../lib/store/layer-tree.js";
import { openStore } from "../../lib/store/store.js";
import { sweepStore } from "../../lib/store/sweep.js";
import { object } from "./trees.js";

const [task, path, argument] = process.argv.slice(2) as [string, string, string];
const store = await openStore(path);
if (task === "write") {
  for (let n = 0; ; n++) {
    const writer = await store.write(`run ${n}`);
    const tree = new LayerTree();
    for (let i = 0; i < 20; i++) {
      const { digest, size } = await writer.putBytes(Buffer.from(`${i % 3 === 0 ? "shared" : `${argument} ${n}`} ${i}`.padEnd(500, ".")));
      tree.put([`f${i}`], object({ mode: S_IFREG | 0o644, content: { kind: "object", digest, size } }));
    }
    const diffId = digestOf(Buffer.from(`${argument} ${n}`));
    await writer.addLayer(diffId, tree.write(store.hash, diffId));
    await writer.publish();
    await store.setImage({ name: `image:${argument}-${n % 5}`, layers: [diffId], config: undefined, manifest: undefined });
    await writer.end();
    if (n === 0) console.log("ready");
  }
} else if (task === "sweep") {
  for (let n = 0; ; n++) {
    await sweepStore(store, { graceMs: 0 });
    if (n === 0) console.log("ready");
    // Others wait by asking again, and would starve behind one that never stops.
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
} else {
  const diffId = parseDigest(argument);
  const chain = await store.openChain([diffId], "test");
  console.log("ready");
  setTimeout(() => chain.close(), 60_000);
}
