/** Serves a tree in memory through fuse-native until it is told to stop; its parent uses the mount. */
import { mountWithFuseNative, type NativeHostOptions } from "../../lib/fuse/native-host.js";
import { name } from "../../lib/base/name.js";
import { MemoryTree } from "../node-fs/tree.js";

const [mountpoint, options, slow] = process.argv.slice(2);
const tree = new MemoryTree(slow === "slow");
tree.create(tree.root, name("given"), { mode: 0o100644 }, { uid: 0, gid: 0, pid: 0, umask: 0 }).bytes = Buffer.from("from the tree");
const mounted = await mountWithFuseNative(tree, mountpoint!, JSON.parse(options ?? "{}") as NativeHostOptions).catch((error: unknown) => {
  process.send!({ failed: String(error), code: (error as { code?: string }).code });
  process.disconnect();
  return undefined;
});
if (mounted !== undefined) {
  process.on("message", (message) => {
    if (message === "counters") process.send!(mounted.counters());
    if (message === "unmount") void mounted.unmount();
  });
  process.send!("ready");
  await mounted.closed;
  process.send!({ openFiles: tree.openFiles });
  process.disconnect(); // and with that nothing keeps this process
}
