/** The library in one page: a merged view without a mount, then the same stack mounted. `node dist/test/examples/library.js DIRECTORY` */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { directoryLayer, directoryUpper, memoryLayer, mount, nodeFs, overlay } from "../../lib/index.js";

const top = mkdtempSync(join(tmpdir(), "stratafs-library-"));
const [upper, mountpoint] = ["upper", "root"].map((name) => {
  mkdirSync(join(top, name));
  return join(top, name);
}) as [string, string];

// README: begin
const stack = {
  lowers: [memoryLayer({ etc: { motd: "generated, never on disk\n" } }), directoryLayer(process.argv[2] ?? "/usr/share/doc")],
  upper: directoryUpper(upper),
};

// Without a mount: an object shaped like node:fs.
const tree = overlay(stack);
const fs = nodeFs(tree);
await fs.promises.writeFile("/etc/hello", "written to the upper\n");
console.log(await fs.promises.readdir("/etc")); // [ 'hello', 'motd' ]
tree.close();

// Mounted, and served by a thread of its own: this one may use the mount like any other directory.
const mounted = await mount(stack, mountpoint);
console.log(execFileSync("cat", ["etc/motd", "etc/hello"], { cwd: mountpoint, encoding: "utf8" }));
console.log(await mounted.counters()); // { INIT: 1, LOOKUP: 3, OPEN: 2, … }
await mounted.unmount();
// README: end

rmSync(top, { recursive: true });
