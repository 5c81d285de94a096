/** Blobs that come back as they were: made with zlib, kept, or not to be had. */
import { expect } from "chai";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { deflateRawSync, gzipSync } from "node:zlib";
import { exportLayout, type ExportEvent } from "../../lib/image/export.js";
import { importImage, type ImportEvent, type ImportOptions } from "../../lib/image/import.js";
import { digestOf } from "../../lib/store/digest.js";
import { fsckStore } from "../../lib/store/fsck.js";
import { openStore, type Store } from "../../lib/store/store.js";
import { sweepStore } from "../../lib/store/sweep.js";
import { tarOf, zstdOf } from "./images.js";

/** Text that compresses differently at each level, longer than what is tried. */
function text(length: number): string {
  let seed = 12345;
  const words = Array.from({ length: length / 4 }, () => `w${(seed = (seed * 1103515245 + 12345) % 2 ** 31) % 5000} `);
  return words.join("").slice(0, length);
}

describe("compressed blobs of layers", () => {
  let root: string;
  let store: Store;
  let count = 0;
  beforeEach(async () => {
    root = fs.mkdtempSync(path.join(os.tmpdir(), "stratafs-image-"));
    store = await openStore(path.join(root, "store"), { create: true });
  });
  afterEach(() => fs.rmSync(root, { recursive: true, force: true }));

  async function imported(blob: Buffer, options: ImportOptions = {}): Promise<boolean> {
    const file = path.join(root, `blob${count++}`);
    fs.writeFileSync(file, blob);
    let exact = false;
    await importImage(store, file, { names: ["image"], ...options, onEvent: (event: ImportEvent) => { if (event.type === "layer") exact = event.layer!.exactBlob; } });
    return exact;
  }
  async function exported(): Promise<{ blobs: string[]; layer: { digest: string; size: number; mediaType: string }; exact: boolean | undefined }> {
    const folder = path.join(root, `out${count++}`);
    let exact: boolean | undefined;
    await exportLayout(store, "image", folder, { onEvent: (event: ExportEvent) => { if (event.type === "layer") exact = event.exact; } });
    const index = JSON.parse(fs.readFileSync(path.join(folder, "index.json"), "utf8")) as { manifests: { digest: string }[] };
    const manifest = JSON.parse(fs.readFileSync(path.join(folder, "blobs/sha256", index.manifests[0]!.digest.slice(7)), "utf8")) as { layers: { digest: string; size: number; mediaType: string }[] };
    return { blobs: fs.readdirSync(path.join(folder, "blobs/sha256")), layer: manifest.layers[0]!, exact };
  }

  /** As another program would write it: an own time, a file name, a system. */
  const withHeader = (tar: Buffer, level: number): Buffer => {
    const theirs = gzipSync(tar, { level });
    const header = Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 8, 1, 2, 3, 4, level === 9 ? 2 : level === 1 ? 4 : 0, 255]), Buffer.from("layer.tar\0")]);
    return Buffer.concat([header, deflateRawSync(tar, { level }), theirs.subarray(-8)]);
  };

  for (const level of [1, 6, 9]) {
    for (const length of [300, 3_000_000]) {
      it(`come back from zlib at level ${level}, ${length} bytes of text, with the header they had`, async () => {
        const blob = withHeader(await tarOf({ name: "f", body: text(length) }, { name: "g", body: text(length / 2) }), level);
        expect(await imported(blob)).to.equal(true);
        const { blobs, layer, exact } = await exported();
        expect(blobs).to.include(digestOf(blob));
        expect([layer.digest, layer.size, exact]).to.deep.equal([`sha256:${digestOf(blob)}`, blob.length, true]);
      });
    }
  }

  it("come back from Python's tarfile", async function () {
    if (process.env["STRATAFS_NO_PYTHON"] !== undefined) return this.skip(); // somebody has no python3
    const file = path.join(root, "py.tar.gz");
    const script = `import tarfile,io;t=tarfile.open(${JSON.stringify(file)},"w:gz");i=tarfile.TarInfo("f");b=${JSON.stringify(text(2000))}.encode()*300;i.size=len(b);t.addfile(i,io.BytesIO(b));t.close()`;
    execFileSync("python3", ["-c", script]);
    const blob = fs.readFileSync(file);
    await imported(blob);
    const { layer, exact } = await exported();
    // Whether Node's zlib and Python's make the same bytes depends on both; what is exported says which is the case.
    expect(layer.digest === `sha256:${digestOf(blob)}`).to.equal(exact === true);
  });

  it("are compressed anew where the guess was wrong further on, and when they were never zlib's, which then nothing tells", async () => {
    const tar = await tarOf({ name: "f", body: text(3_000_000) });
    const half = gzipSync(tar.subarray(0, 2_000_000), { level: 6 });
    const two = Buffer.concat([half, gzipSync(tar.subarray(2_000_000), { level: 6 })]);
    expect(await imported(two)).to.equal(true);
    expect(await exported()).to.include({ exact: false });
    await importImage(store, (await import("node:stream")).Readable.from([zstdOf(await tarOf({ name: "z", body: "z" }))]), { names: ["image"] });
    const { layer, exact } = await exported();
    expect([layer.mediaType, exact]).to.deep.equal(["application/vnd.oci.image.layer.v1.tar+gzip", undefined]);
  });

  it("are kept when asked for, through a sweep, and checked on their way out", async () => {
    const blob = zstdOf(await tarOf({ name: "f", body: text(100_000) }));
    expect(await imported(blob, { keepBlobs: true })).to.equal(true);
    await sweepStore(store, { graceMs: -10_000 });
    expect((await fsckStore(store)).problems).to.deep.equal([]);
    const { layer, exact } = await exported();
    expect([layer, exact]).to.deep.equal([{ mediaType: "application/vnd.oci.image.layer.v1.tar+zstd", digest: `sha256:${digestOf(blob)}`, size: blob.length }, true]);
    const object = store.objects.path(digestOf(blob));
    fs.chmodSync(object, 0o600);
    fs.writeFileSync(object, Buffer.alloc(blob.length));
    expect(await exported().then(() => "", (error: { code: string }) => error.code)).to.equal("ERR_STORE_DAMAGED");
  });

  it("say what is wrong with a recipe that is damaged or of another version", async () => {
    const tar = await tarOf({ name: "f", body: "f" });
    await imported(gzipSync(tar));
    const file = path.join(store.layerPath(digestOf(tar)), "blob");
    const good = fs.readFileSync(file, "utf8");
    fs.chmodSync(file, 0o600);
    for (const [bad, code] of [[good.replace('"version":1', '"version":2'), "ERR_STORE_FORMAT"], [good.replace('"level":6', '"level":7'), "ERR_STORE_DAMAGED"], [good.slice(0, 20), "ERR_STORE_DAMAGED"], [good.replace(/sha256:../, "sha256:.."), "ERR_STORE_DAMAGED"]] as const) {
      fs.writeFileSync(file, bad);
      expect(await exported().then(() => "", (error: { code: string }) => error.code), bad).to.equal(code);
    }
  });
});
