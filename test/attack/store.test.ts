/** The store and the images that come into it: who may read and write what, and what a hostile image or layout may cost (SECURITY.md). */
import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect } from "chai";
import { importImage, type ImageInput, type ImportOptions } from "../../lib/image/import.js";
import { createContainer, holdContainer } from "../../lib/store/containers.js";
import { openStore, type Store } from "../../lib/store/store.js";
import { command } from "../cli/command.js";
import { addImage, emptyLayout, named, tarOf, writeLayout } from "../image/images.js";
import { block, end } from "../tar/archive.js";

const NOBODY = 65534;
const isRoot = process.getuid?.() === 0;

describe("the store", () => {
  let root: string;
  let store: Store;
  beforeEach(async () => {
    root = fs.mkdtempSync(join(tmpdir(), "stratafs-attack-"));
    store = await openStore(join(root, "store"), { create: true });
  });
  afterEach(() => fs.rmSync(root, { recursive: true, force: true }));

  const outcome = async (input: ImageInput, options: ImportOptions = {}): Promise<string> =>
    await importImage(store, input, options).then(() => "no error", (error: { code?: string; message: string }) => error.code ?? error.message);
  /** Everything in the store but its folders and the lock. */
  const content = (): string[] => fs.readdirSync(store.path, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory()).map(({ name }) => name).filter((name) => name !== "lock" && name !== "format");

  it("belongs to its owner alone, whatever the umask, but for what is in a container's upper", async () => {
    const before = process.umask(0);
    try {
      const layout = emptyLayout();
      layout.index.manifests.push(addImage(layout, [[await tarOf({ name: "etc/suid", body: "x".repeat(100), mode: 0o4755 }), "gzip"]], named("a:b")).descriptor);
      await importImage(store, writeLayout(join(root, "layout"), layout));
      await createContainer(store, store.image("a:b") as NonNullable<ReturnType<Store["image"]>>, { name: "box" });
      const held = await holdContainer(store, "box");
      const chain = await store.openChain((store.image("a:b") as NonNullable<ReturnType<Store["image"]>>).layers, "test");
      const open: string[] = [];
      for (const entry of fs.readdirSync(store.path, { recursive: true, withFileTypes: true })) {
        const path = join(entry.parentPath, entry.name);
        if (path === held.upper || path.startsWith(`${held.upper}/`)) continue;
        const mode = fs.lstatSync(path).mode;
        if ((mode & 0o7077) !== 0) open.push(`${path} ${mode.toString(8)}`);
      }
      expect(open).to.deep.equal([]);
      expect(fs.statSync(store.path).mode & 0o777).to.equal(0o700);
      chain.close();
      held.release();
    } finally {
      process.umask(before);
    }
  });

  it("cannot be entered, read or written by another user", function () {
    if (!isRoot) this.skip(); // two users
    fs.chmodSync(root, 0o755);
    for (const call of [`ls ${store.path}`, `cat ${store.path}/format`, `touch ${store.path}/refs/x`, `ls ${store.path}/leases`]) {
      expect(spawnSync("sh", ["-c", call], { uid: NOBODY, gid: NOBODY }).status, call).to.not.equal(0);
    }
  });

  it("waits for no pipe and reads no device that a layout's directory calls a document or a blob", async () => {
    const layout = emptyLayout();
    const { descriptor } = addImage(layout, [[await tarOf({ name: "f", body: "x" }), "none"]], named("a:b"));
    layout.index.manifests.push(descriptor);
    const blob = `blobs/sha256/${String(descriptor["digest"]).slice(7)}`;
    for (const [i, victim] of ["oci-layout", "index.json", blob].entries()) {
      for (const [kind, make] of [["pipe", (at: string) => execFileSync("mkfifo", [at])], ["device", (at: string) => fs.symlinkSync("/dev/zero", at)], ["directory", (at: string) => fs.mkdirSync(at)]] as const) {
        const folder = writeLayout(join(root, `${kind}${i}`), layout);
        fs.rmSync(join(folder, victim));
        make(join(folder, victim));
        expect(await outcome(folder), `${victim} is a ${kind}`).to.be.oneOf(["ERR_IMAGE_FORMAT", "ERR_IMAGE_MISSING"]);
      }
    }
    expect(content()).to.deep.equal([]);
  });

  it("takes nothing of a layer whose blob, tar or document is not what its digest says", async () => {
    const tar = await tarOf({ name: "f", body: "x".repeat(100) });
    const forged: [string, (files: Map<string, Buffer>, documents: { layer: string; config: string; manifest: string }) => void][] = [
      ["layer", (files, { layer }) => files.set(layer, Buffer.concat([files.get(layer) as Buffer, Buffer.from("x")]))],
      ["layer of the same size", (files, { layer }) => files.set(layer, Buffer.alloc((files.get(layer) as Buffer).length))],
      ["config", (files, { config }) => files.set(config, Buffer.from((files.get(config) as Buffer).toString().replace("amd64", "arm64")))],
      ["manifest", (files, { manifest }) => files.set(manifest, Buffer.from((files.get(manifest) as Buffer).toString().replace("schemaVersion", "schemaversion")))],
    ];
    for (const [what, forge] of forged) {
      const layout = emptyLayout();
      const made = addImage(layout, [[tar, "gzip"]], named("a:b"));
      layout.index.manifests.push(made.descriptor);
      const manifest = JSON.parse(made.manifest.toString()) as { config: { digest: string }; layers: { digest: string }[] };
      const path = (digest: string): string => `blobs/sha256/${digest.slice(7)}`;
      forge(layout.files, { layer: path(manifest.layers[0]?.digest ?? ""), config: path(manifest.config.digest), manifest: path(String(made.descriptor["digest"])) });
      expect(await outcome(writeLayout(join(root, what), layout)), what).to.match(/^ERR_(IMAGE_DIGEST|IMAGE_COMPRESSION|TAR_TRUNCATED)$/);
      expect(content(), what).to.deep.equal([]);
    }
    // A diffID of another tar: the blob is right, what is in it is not what the configuration says.
    const layout = emptyLayout();
    layout.index.manifests.push(addImage(layout, [[tar, "gzip"]], named("a:b"), ({ config }) => (config.rootfs.diff_ids = [`sha256:${"0".repeat(64)}`])).descriptor);
    expect(await outcome(writeLayout(join(root, "diffid"), layout))).to.equal("ERR_IMAGE_DIGEST");
    expect(content()).to.deep.equal([]);
  });

  it("lists an image with names for a terminal and times that no calendar has", async () => {
    const sparse = [block({ name: "bell\x07\x1b[2J\xc2\x9b2J", put: [[136, "\x80\0\0\0\0\x1f\xff\xff\xff\xff\xff\xff"]] }), end];
    fs.writeFileSync(join(root, "a.tar"), Buffer.concat(sparse));
    await importImage(store, join(root, "a.tar"), { names: ["a"] });
    const { status, stdout } = command(["ls", "-l", "a", "--store", store.path]);
    expect({ status, stdout }).to.deep.equal({ status: 0, stdout: "-rw-r--r-- 1 0:0 0 @9007199254740991 bell\\x07\\x1b[2J\\x9b2J\n" });
  });

  it("unpacks no more of a bomb than its limits allow, and keeps nothing of it", async () => {
    const zeros = Buffer.alloc(1 << 20);
    const parts: Buffer[] = [block({ name: "bomb", size: 2 ** 30 })];
    for (let i = 0; i < 64; i++) parts.push(zeros);
    const bomb = gzipSync(Buffer.concat(parts));
    const once = async function* (bytes: Buffer): AsyncGenerator<Buffer, undefined> {
      yield bytes;
      return undefined;
    };
    const names = ["bomb"];
    expect(await outcome(once(bomb), { names, limits: { maxArchiveSize: 2 ** 24 } })).to.equal("ERR_TAR_LIMIT");
    expect(await outcome(once(bomb), { names, limits: { maxContentSize: 2 ** 24 } })).to.equal("ERR_TAR_LIMIT");
    const many = Buffer.concat([...Array.from({ length: 500 }, (_, i) => block({ name: `f${i}` })), end]);
    expect(await outcome(once(many), { names, limits: { maxHeaders: 100 } })).to.equal("ERR_TAR_LIMIT");
    expect(content()).to.deep.equal([]);
  });
});
