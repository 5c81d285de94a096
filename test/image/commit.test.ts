/**
 * Commit and squash: whatever was done in a container, a mount of the new image shows the same tree, and so does what umoci unpacks
 * from its export. COMMIT_SEED replays one run; COMMIT_RUNS and COMMIT_OPERATIONS lengthen it.
 */
import { expect } from "chai";
import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { commitContainer, importDirectory, squashImage, type CommitOptions } from "../../lib/image/commit.js";
import { exportLayout } from "../../lib/image/export.js";
import { layerTar } from "../../lib/image/recipe.js";
import { HashedStream } from "../../lib/image/hashed.js";
import { directoryUpper, mount, storeLayer, type Mount } from "../../lib/index.js";
import { createContainer, holdContainer } from "../../lib/store/containers.js";
import { fsckStore } from "../../lib/store/fsck.js";
import { openStore, type Store } from "../../lib/store/store.js";
import { indexLines } from "../store/trees.js";

const client = fileURLToPath(new URL("../model/client.js", import.meta.url));
const runs = Number(process.env["COMMIT_RUNS"] ?? 2);
const operations = Number(process.env["COMMIT_OPERATIONS"] ?? 400);
const givenSeed = process.env["COMMIT_SEED"];
const umoci = spawnSync("umoci", ["--version"]).status === 0;

describe("commit of containers", function () {
  this.timeout(120_000);
  let root: string;
  let store: Store;
  let live: Mount | undefined;
  let count = 0;

  before(function () {
    if (process.getuid?.() !== 0 || !fs.existsSync("/dev/fuse")) this.skip(); // mounts, owners and devices
  });
  beforeEach(async () => {
    root = fs.mkdtempSync(path.join(os.tmpdir(), "stratafs-commit-"));
    store = await openStore(path.join(root, "store"), { create: true });
  });
  afterEach(async () => {
    await live?.unmount();
    live = undefined;
    fs.rmSync(root, { recursive: true, force: true });
  });

  function place(): string {
    const folder = path.join(root, `place${count++}`);
    fs.mkdirSync(folder);
    return folder;
  }
  const shell = (script: string, cwd: string): void => void execFileSync("sh", ["-euc", script], { cwd, stdio: ["ignore", "ignore", "pipe"], timeout: 30_000 });
  function runClient(...args: string[]): { tree: string[]; oddLinks: string[] } {
    const done = spawnSync(process.execPath, [client, ...args], { encoding: "utf8", timeout: 60_000, maxBuffer: 1 << 28 });
    if (done.status !== 0) throw new Error(`client ${args.join(" ")} ended with ${done.status ?? done.signal}: ${done.stderr}`);
    return JSON.parse(done.stdout) as { tree: string[]; oddLinks: string[] };
  }

  /** Mounts a container (or an image, read-only) for as long as `use` runs. */
  async function mounted<T>(what: { container: string } | { image: string }, use: (at: string) => T): Promise<T> {
    const at = place();
    const held = "container" in what ? await holdContainer(store, what.container) : undefined;
    try {
      const lowers = [await storeLayer(store.path, held?.container.layers ?? store.image((what as { image: string }).image)!.layers)];
      live = await mount({ lowers, ...(held === undefined ? {} : { upper: directoryUpper(held.upper, { workdir: held.work, redirect: true, metacopy: true }) }) }, at);
      return use(at);
    } finally {
      await live?.unmount();
      live = undefined;
      held?.release();
    }
  }

  async function imageOf(script: string, name = "base"): Promise<void> {
    const folder = place();
    shell(script, folder);
    await importDirectory(store, folder, { names: [name] });
  }

  /** Changes a new container of `image` with a script and commits it as `name`; what the container showed. */
  async function change(image: string, script: string, name: string, options: Partial<CommitOptions> = {}): Promise<{ tree: string[] }> {
    const { name: container } = await createContainer(store, store.image(image)!);
    const before = await mounted({ container }, (at) => {
      shell(script, at);
      return runClient("snapshot", at);
    });
    await commitContainer(store, container, { names: [name], ...options });
    return before;
  }

  /** The same, and the image shows what the container did; the tree. */
  async function changed(image: string, script: string, name: string): Promise<string[]> {
    const before = await change(image, script, name);
    const after = await mounted({ image: name }, (at) => runClient("snapshot", at));
    expect(after).to.deep.equal(before);
    return after.tree;
  }

  async function layerLines(name: string): Promise<string[]> {
    const index = store.openLayer(store.image(name)!.layers.at(-1)!);
    try {
      return indexLines(index).map((line) => line.replace(/ 0:0 -?[\d.]+| nlink \d+| [0-9a-f]{64}/g, ""));
    } finally {
      index.close();
    }
  }

  const base = `
    mkdir -p etc d/sub/deep e; printf hosts > etc/hosts; head -c 300000 /dev/urandom > d/big; printf small > d/sub/small
    head -c 1000 /dev/urandom > d/sub/deep/file; ln d/big e/big; ln d/sub/small d/sub/other; ln -s ../big d/sub/link; mknod d/null c 1 3; mkfifo d/fifo
    chown 7:8 d/sub; chmod 1777 d; touch -d @1000 d/sub/deep/file d/sub`;

  it("keeps what was made, changed and deleted", async () => {
    await imageOf(base);
    const tree = await changed("base", "rm etc/hosts; printf new > etc/new; printf more >> d/sub/small; rm -r e; mkdir e; printf x > e/x; rm d/fifo; mkdir d/fifo; rm -r d/sub/deep; printf file > d/sub/deep", "new");
    expect(tree.some((line) => line.startsWith("e/big"))).to.equal(false);
    expect(await layerLines("new")).to.include.members(["/etc/hosts whiteout", "/e 40755 opaque"]);
  });

  it("resolves renamed directories and files, and keeps hard links, also to names outside", async () => {
    await imageOf(base);
    await changed("base", "mv d moved; mv moved/sub moved/renamed; rm moved/renamed/small; printf y > moved/renamed/y; mv etc/hosts etc/elsewhere; mkdir d; printf z > d/big", "new");
    expect(await layerLines("new")).to.include.members(["/d 40755 opaque"]);
  });

  it("resolves copies of metadata alone without their data", async () => {
    await imageOf(base);
    const objects = [...store.objects.list()].length;
    await changed("base", "chmod 600 d/big; chown 5:6 d/sub/deep/file; mv d/sub/deep/file e/file; touch -d @77 etc/hosts", "new");
    // The configuration of the new image, and no content.
    expect([...store.objects.list()].length).to.equal(objects + 1);
  });

  it("swaps directories", async () => {
    await imageOf("mkdir a b; printf a > a/file; printf b > b/file; mkdir a/in b/in; printf x > a/in/x");
    await changed("base", "mv a tmp; mv b a; mv tmp b; rm a/file; printf c > b/in/c", "new");
  });

  it("keeps capabilities, ACLs and user attributes, and leaves out what belongs to the upper", async () => {
    await imageOf("printf a > ping; printf b > other; mkdir d");
    await changed("base", `
      setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 ping
      setfattr -n user.note -v hello other; setfattr -n trusted.own -v x other
      setfattr -n system.posix_acl_access -v 0x0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000400ffffffff other
      mv d moved`, "new");
    const lines = await layerLines("new");
    const line = (name: string): string => lines.find((each) => each.startsWith(`/${name} `))!;
    expect(line("ping")).to.match(/security\.capability=/);
    expect(line("other")).to.match(/system\.posix_acl_access=.*trusted\.own=x user\.note=hello/);
    expect(line("moved")).to.not.match(/overlay/);
  });

  it("stores sparse files sparse, whatever the holes of the disk", async () => {
    await imageOf("printf x > x");
    await changed("base", "truncate -s 40M sparse; printf end >> sparse; head -c 1000000 /dev/zero > zeros; printf end >> zeros; truncate -s 1M empty", "new");
    const { layers } = store.image("new")!;
    const tar = new HashedStream(layerTar(store, layers.at(-1)!));
    for await (const _ of tar);
    expect(tar.digest()).to.equal(layers.at(-1));
    expect(tar.size).to.be.below(300_000);
  });

  it("gives the same image for the same changes with a time of creation", async () => {
    await imageOf(base);
    const script = "printf a > new; mv d moved; rm etc/hosts; chmod 700 moved/big";
    await change("base", script, "one", { epochSec: 1_000_000_000 });
    await change("base", script, "two", { epochSec: 1_000_000_000 });
    expect(store.image("two")).to.deep.equal({ ...store.image("one"), name: "two" });
  });

  it("of nothing adds a step of history and no layer", async () => {
    await imageOf("printf x > x");
    const { name } = await createContainer(store, store.image("base")!);
    const { layer, layers, config } = await commitContainer(store, name, { names: ["same"], message: "why", author: "who" });
    expect({ layer, layers }).to.deep.equal({ layer: undefined, layers: store.image("base")!.layers });
    expect(JSON.parse(store.objects.read(config).toString()).history.at(-1)).to.include({ created_by: "stratafs commit", comment: "why", author: "who", empty_layer: true });
  });

  it("leaves sockets out and says so", async () => {
    await imageOf("printf x > x");
    const { name } = await createContainer(store, store.image("base")!);
    const held = await holdContainer(store, name);
    // A server that ended in order would take its socket with it.
    spawnSync(process.execPath, ["-e", `require("net").createServer().listen("sock", () => process.kill(process.pid, "SIGKILL"))`], { cwd: held.upper });
    held.release();
    const skipped: string[] = [];
    await commitContainer(store, name, { names: ["new"], onEvent: (event) => { if (event.type === "skipped") skipped.push(event.path); } });
    expect(skipped).to.deep.equal(["sock"]);
  });

  it("is refused while somebody uses the container", async () => {
    await imageOf("printf x > x");
    const { name } = await createContainer(store, store.image("base")!);
    const held = await holdContainer(store, name);
    const code = await commitContainer(store, name, { names: ["new"] }).catch((error: { code: string }) => error.code);
    held.release();
    expect(code).to.equal("ERR_STORE_BUSY");
  });

  for (let run = 0; run < (givenSeed === undefined ? runs : 1); run++) {
    it(`shows the same tree after random operations, in three rounds (run ${run + 1})`, async function () {
      const seed = givenSeed === undefined ? Math.floor(Math.random() * 1e9) : Number(givenSeed);
      try {
        const folder = place();
        runClient("operate", folder, String(seed), "150");
        await importDirectory(store, folder, { names: ["image0"] });
        for (let round = 0; round < 3; round++) {
          const { name: container } = await createContainer(store, store.image(`image${round}`)!);
          const before = await mounted({ container }, (at) => runClient("operate", at, String(seed + round + 1), String(operations), "exchange"));
          await commitContainer(store, container, { names: [`image${round + 1}`] });
          const after = await mounted({ image: `image${round + 1}` }, (at) => runClient("snapshot", at));
          expect(after.tree, `round ${round}`).to.deep.equal(before.tree);
        }
        await squashImage(store, "image3", { names: ["squashed"] });
        const committed = await mounted({ image: "image3" }, (at) => runClient("snapshot", at));
        expect((await mounted({ image: "squashed" }, (at) => runClient("snapshot", at))).tree).to.deep.equal(committed.tree);
        if (umoci) {
          for (const name of ["image3", "squashed"]) {
            const layout = path.join(root, name);
            await exportLayout(store, name, layout);
            execFileSync("umoci", ["unpack", "--image", `${layout}:${name}`, path.join(root, `${name}-unpacked`)], { stdio: ["ignore", "ignore", "pipe"] });
            const unpacked = runClient("snapshot", path.join(root, `${name}-unpacked`, "rootfs"));
            // An unpacker may make the root itself as it likes.
            expect(unpacked.tree.slice(1), `umoci, ${name}`).to.deep.equal(committed.tree.slice(1));
          }
        }
        expect((await fsckStore(store)).problems).to.deep.equal([]);
      } catch (error) {
        (error as Error).message += ` (COMMIT_SEED=${seed})`;
        throw error;
      }
    });
  }
});
