/** Images made by other programs, read by us; and ours, read by them. Needs umoci and skopeo, and root for owners and devices. */
import { expect } from "chai";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { exportLayout, imageTar } from "../../lib/image/export.js";
import { importImage } from "../../lib/image/import.js";
import { layerTar } from "../../lib/image/recipe.js";
import { openStore, type Store } from "../../lib/store/store.js";
import { HashedStream } from "../../lib/image/hashed.js";

const has = (program: string): boolean => {
  try {
    execFileSync(program, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
};

describe("images of other programs", () => {
  let root: string;
  let store: Store;
  const run = (program: string, ...args: string[]): string => execFileSync(program, args, { cwd: root, encoding: "latin1", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 2 ** 26 });
  const sh = (script: string): string => run("sh", "-ec", script);
  /** Every name below a folder with its mode, owner, links, size, time and target; then a digest of each file. */
  const treeOf = (folder: string): string[] => sh(
    `cd ${folder} && find . -mindepth 1 ! -type d -printf '%p %M %U:%G %n %s %T@ %l\\0' && find . -mindepth 1 -type d -printf '%p %M %U:%G %T@\\0' && find . -type f -exec sha256sum -z {} +`,
  ).split("\0").sort();

  before(async function () {
    if (process.getuid?.() !== 0 || !has("umoci") || !has("skopeo")) return this.skip(); // the programs, and root, are what is tested with
    this.timeout(120_000);
    root = fs.mkdtempSync(path.join(os.tmpdir(), "stratafs-tools-"));
    store = await openStore(path.join(root, "store"), { create: true });
    sh(`
      umoci init --layout made
      umoci new --image made:base
      umoci unpack --image made:base work
      cd work/rootfs
      mkdir -p etc usr/bin d/deep/er 'odd \\n name'
      printf hosts > etc/hosts; head -c 100000 /dev/urandom > usr/bin/tool; chmod 4755 usr/bin/tool; ln usr/bin/tool usr/bin/same
      ln -s usr/bin bin; mknod d/null c 1 3; mkfifo d/fifo; printf x > d/deep/er/file; chown 1000:1001 d/deep; chmod 1777 d
      truncate -s 3M d/sparse; printf end >> d/sparse
      printf odd > "$(printf 'd/\\377\\376')"
      cd ../..
      umoci repack --image made:one work
      rm -rf work; umoci unpack --image made:one work
      cd work/rootfs
      rm etc/hosts; rm -rf d/deep; mkdir d/deep; printf new > d/deep/new; rm usr/bin/same; ln usr/bin/tool usr/bin/other; chmod 700 usr/bin; touch -d @1.5 bin -h
      cd ../..
      umoci repack --image made:two work
      rm -rf work
    `);
  });
  after(() => {
    if (root !== undefined) fs.rmSync(root, { recursive: true, force: true });
  });

  it("made by umoci are imported, and every layer's tar comes back with its diffID", async function () {
    this.timeout(60_000);
    const [image] = await importImage(store, path.join(root, "made"), { reference: "two", names: ["two"] });
    expect(image!.layers).to.have.length(2);
    for (const diffId of image!.layers) {
      const tar = new HashedStream(layerTar(store, diffId));
      for await (const _ of tar);
      expect(tar.digest()).to.equal(diffId);
    }
  });

  it("come back from an export as the tree that umoci unpacks from the original", async function () {
    this.timeout(60_000);
    await exportLayout(store, "two", path.join(root, "exported"));
    run("umoci", "unpack", "--image", "made:two", "original");
    run("umoci", "unpack", "--image", "exported:two", "ours");
    expect(treeOf("ours/rootfs")).to.deep.equal(treeOf("original/rootfs"));
  });

  it("pass through skopeo in every format and stay the same image", async function () {
    this.timeout(60_000);
    for (const [format, transport] of [["oci", "oci-archive"], ["docker", "docker-archive"]] as const) {
      const parts: Uint8Array[] = [];
      for await (const part of imageTar(store, "two", { format })) parts.push(part);
      fs.writeFileSync(path.join(root, `${format}.tar`), Buffer.concat(parts));
      const source = format === "oci" ? "oci-archive:oci.tar:two" : "docker-archive:docker.tar";
      const policy = ["--insecure-policy", "copy", "-q"];
      run("skopeo", ...policy, source, `docker-archive:again-${transport}.tar:name:tag`);
      run("skopeo", ...policy, source, `oci:again-${transport}:tag`);
      const { layers } = store.image("two")!;
      const [docker] = await importImage(store, path.join(root, `again-${transport}.tar`), { names: ["again"] });
      const [oci] = await importImage(store, path.join(root, `again-${transport}`), { names: ["again"] });
      expect([docker!.layers, oci!.layers]).to.deep.equal([layers, layers]);
      expect([docker!.addedBytes, oci!.addedBytes]).to.deep.equal([0, 0]);
    }
  });
});
