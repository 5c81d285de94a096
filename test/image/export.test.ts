import { expect } from "chai";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { exportLayout, imageTar, type ExportOptions } from "../../lib/image/export.js";
import { importImage } from "../../lib/image/import.js";
import { digestOf } from "../../lib/store/digest.js";
import { openStore, type Store } from "../../lib/store/store.js";
import { randomFrom, readAll } from "../tar/archive.js";
import { addImage, dockerArchive, emptyLayout, named, tarOf, writeLayout } from "./images.js";

const random = randomFrom(99);
const body = Array.from({ length: 200_000 }, () => String.fromCharCode(Math.floor(random() * 16))).join("");

describe("export of images", () => {
  let root: string;
  let store: Store;
  let count = 0;

  beforeEach(async () => {
    root = fs.mkdtempSync(path.join(os.tmpdir(), "stratafs-image-"));
    store = await openStore(path.join(root, "store"), { create: true });
  });
  afterEach(() => fs.rmSync(root, { recursive: true, force: true }));

  const place = (): string => path.join(root, `place${count++}`);
  const codeOf = async (work: Promise<unknown>): Promise<unknown> => await work.then(() => "no error", (error: { code?: string; message: string }) => error.code ?? error.message);
  async function exported(name: string, options: ExportOptions = {}): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    for await (const part of imageTar(store, name, options)) parts.push(part);
    return Buffer.concat(parts);
  }

  /** Imports an image of plain layers, one of them twice, with an annotation in its manifest. */
  async function image(): Promise<ReturnType<typeof addImage>> {
    const first = await tarOf({ name: "a", body }, { name: "small", body: "s" });
    const second = await tarOf({ name: "b", kind: "symlink", linkName: "a" });
    const layout = emptyLayout();
    const made = addImage(layout, [[first, "none"], [second, "none"], [first, "none"]], named("image:1"), ({ manifest }) => { manifest.annotations = { kept: "yes" }; });
    layout.index.manifests.push(made.descriptor);
    await importImage(store, writeLayout(place(), layout));
    return made;
  }

  it("gives the image back with the same digests, when its layers were plain and stay so", async () => {
    const { manifest, config } = await image();
    const file = place();
    fs.writeFileSync(file, await exported("image:1", { compression: "none" }));
    const other = await openStore(place(), { create: true });
    await importImage(other, file);
    expect(other.images()).to.deep.equal(store.images());
    expect(other.objects.read(digestOf(manifest)).equals(manifest)).to.equal(true);
    expect(other.objects.read(digestOf(config)).equals(config)).to.equal(true);
  });

  for (const options of [{}, { compression: "none" }, { format: "docker" }] as const) {
    it(`gives the same layers and configuration, and the same bytes every time (${JSON.stringify(options)})`, async () => {
      await image();
      const archive = await exported("image:1", options);
      expect((await exported("image:1", options)).equals(archive)).to.equal(true);
      const file = place();
      fs.writeFileSync(file, archive);
      const other = await openStore(place(), { create: true });
      await importImage(other, file);
      const { layers, config } = store.image("image:1")!;
      expect(other.image("image:1")).to.deep.include({ layers, config });
      expect(fs.readdirSync(store.folder("staging"))).to.deep.equal([]);
      expect(await store.leases()).to.deep.equal([]);
    });
  }

  it("writes what is named before what names it, each blob once", async () => {
    await image();
    const names = (await readAll(await exported("image:1"))).entries.filter(({ kind }) => kind === "file").map(({ name }) => name);
    expect(names.map((name) => name.replace(/[0-9a-f]{64}/, "HEX"))).to.deep.equal(["oci-layout", ...Array<string>(4).fill("blobs/sha256/HEX"), "index.json"]);
    const docker = (await readAll(await exported("image:1", { format: "docker" }))).entries.map(({ name }) => name.replace(/[0-9a-f]{64}/, "HEX"));
    expect(docker).to.deep.equal(["HEX.tar", "HEX.tar", "HEX.json", "manifest.json"]);
  });

  it("writes a layout into an empty folder, and nowhere else", async () => {
    await image();
    const folder = place();
    await exportLayout(store, "image:1", folder, { compression: "none" });
    const other = await openStore(place(), { create: true });
    await importImage(other, folder);
    expect(other.images()).to.deep.equal(store.images());
    expect(await codeOf(exportLayout(store, "image:1", folder))).to.equal("ERR_IMAGE_FORMAT");
    expect(fs.readdirSync(folder).sort()).to.deep.equal(["blobs", "index.json", "oci-layout"]);
  });

  it("makes a manifest for an image that came without one", async () => {
    const file = place();
    fs.writeFileSync(file, await dockerArchive(["docker:1"], [await tarOf({ name: "f", body: "f" })]));
    await importImage(store, file);
    fs.writeFileSync(file, await exported("docker:1"));
    const [imported] = await importImage(store, file, { names: ["again"] });
    expect(imported!.layers).to.deep.equal(store.image("docker:1")!.layers);
    expect(JSON.parse(store.objects.read(imported!.manifest!).toString())).to.include({ schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json" });
  });

  it("ends with an error for a damaged object, and leaves no layout behind", async () => {
    await image();
    const object = store.objects.path(digestOf(Buffer.from(body, "latin1")));
    fs.chmodSync(object, 0o600);
    fs.writeFileSync(object, Buffer.from(body.replace("\x01", "\x02"), "latin1"));
    const folder = place();
    for (const compression of ["none", "gzip"] as const) {
      expect(await codeOf(exported("image:1", { compression }))).to.equal("ERR_STORE_DAMAGED");
      expect(await codeOf(exportLayout(store, "image:1", folder, { compression }))).to.equal("ERR_STORE_DAMAGED");
      expect(fs.readdirSync(folder)).to.deep.equal([]);
    }
    expect(fs.readdirSync(store.folder("staging"))).to.deep.equal([]);
    expect(await store.leases()).to.deep.equal([]);
  });

  it("says what is missing, stops when it is told to, and ends its lease when it is left", async () => {
    expect(await codeOf(exported("none"))).to.equal("ERR_STORE_MISSING");
    await image();
    expect(await codeOf(exported("image:1", { signal: AbortSignal.abort(new RangeError("enough")) }))).to.equal("enough");
    expect(await codeOf(exported("image:1", { compresion: "none" } as ExportOptions))).to.include("compresion");
    for await (const _ of imageTar(store, "image:1")) break;
    expect(await store.leases()).to.deep.equal([]);
    expect(fs.readdirSync(store.folder("staging"))).to.deep.equal([]);
  });
});
