import { expect } from "chai";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { gzipSync } from "node:zlib";
import { importImage, type ImageInput, type ImportEvent, type ImportOptions } from "../../lib/image/import.js";
import { layerTar } from "../../lib/image/recipe.js";
import { parsePlatform } from "../../lib/image/manifest.js";
import { chainIdOf, digestOf, type Digest } from "../../lib/store/digest.js";
import { fsckStore } from "../../lib/store/fsck.js";
import { openStore, type Store } from "../../lib/store/store.js";
import { sweepStore } from "../../lib/store/sweep.js";
import { indexLines } from "../store/trees.js";
import { block, gnuTar, padded, pax, randomFrom } from "../tar/archive.js";
import { addImage, addIndex, dockerArchive, emptyLayout, layoutTar, named, tarOf, writeLayout, zstdOf, zstdOfZeros, type Entry, type Packing } from "./images.js";

const big = (seed: number, length: number): string => {
  const random = randomFrom(seed);
  return Array.from({ length }, () => String.fromCharCode(Math.floor(random() * 256))).join("");
};

describe("import of images", () => {
  let root: string;
  let store: Store;
  let count = 0;

  beforeEach(async () => {
    root = fs.mkdtempSync(path.join(os.tmpdir(), "stratafs-image-"));
    store = await openStore(path.join(root, "store"), { create: true });
  });
  afterEach(() => fs.rmSync(root, { recursive: true, force: true }));

  const folder = (): string => path.join(root, `layout${count++}`);
  const outcome = async (input: ImageInput, options: ImportOptions = {}): Promise<string> =>
    await importImage(store, input, options).then(() => "no error", (error: { code?: string; message: string }) => error.code ?? error.message);
  const fileWith = (bytes: Buffer): string => {
    const file = path.join(root, `file${count++}`);
    fs.writeFileSync(file, bytes);
    return file;
  };
  async function treeOf(name: string): Promise<string[]> {
    const chain = await store.openChain(store.image(name)!.layers, "test");
    try {
      return indexLines(chain.index).slice(1).map((line) => line.replace(/ 0:0 1\.0| nlink \d+/g, ""));
    } finally {
      chain.close();
    }
  }
  async function tarAgain(diffId: Digest): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    for await (const part of layerTar(store, diffId)) parts.push(part);
    return Buffer.concat(parts);
  }
  async function isEmpty(): Promise<void> {
    expect(store.images()).to.deep.equal([]);
    expect([...store.objects.list()]).to.deep.equal([]);
    for (const name of ["layers", "chains", "staging", "leases"] as const) expect(fs.readdirSync(store.folder(name)), name).to.deep.equal([]);
  }

  async function threeLayers(): Promise<Buffer[]> {
    return [
      await tarOf({ name: "etc/", kind: "directory", mode: 0o755 }, { name: "etc/hosts", body: "127.0.0.1" }, { name: "etc/old", body: "old" }, { name: "usr/bin/tool", mode: 0o4755, body: big(1, 3_000_000) }),
      await tarOf({ name: "etc/.wh.old" }, { name: "bin/tool", kind: "hardlink", linkName: "usr/bin/tool" }, { name: "link", kind: "symlink", linkName: "/etc/hosts" }, { name: "copy", body: big(1, 3_000_000) }),
      await tarOf({ name: "./etc/hosts", body: "::1", xattrs: new Map([["security.capability", Buffer.from([1, 0, 0, 2, 255])]]) }, { name: "dev/null", kind: "character", devMajor: 1, devMinor: 3, mode: 0o666 }),
    ];
  }
  const merged = (): string[] => {
    const tool = digestOf(Buffer.from(big(1, 3_000_000), "latin1"));
    return [
      "/bin 40755 0:0 0.0", `/bin/tool 104755 ${tool} 3000000 #0`, `/copy 100644 ${tool} 3000000`, "/dev 40755 0:0 0.0", "/dev/null 20666 rdev 259", "/etc 40755",
      '/etc/hosts 100644 "::1" security.capability=\x01\0\0\x02\xff', "/link 120644 -> /etc/hosts", "/usr 40755 0:0 0.0", "/usr/bin 40755 0:0 0.0", `/usr/bin/tool 104755 ${tool} 3000000 #0`,
    ];
  };

  it("reads an OCI layout, its layers packed in any way, and gives every layer's tar back byte for byte", async () => {
    const tars = await threeLayers();
    const layout = emptyLayout();
    const image = addImage(layout, tars.map((tar, i) => [tar, (["gzip", "zstd", "none"] as const)[i] as Packing] as const), named("example:1"));
    layout.index.manifests.push(image.descriptor);
    const events: ImportEvent[] = [];
    const [imported] = await importImage(store, writeLayout(folder(), layout), { onEvent: (event) => events.push(event) });
    expect(imported).to.deep.equal({ names: ["example:1"], layers: tars.map(digestOf), config: digestOf(image.config), manifest: digestOf(image.manifest), addedBytes: 3_000_000 });
    expect(store.image("example:1")).to.deep.equal({ name: "example:1", layers: tars.map(digestOf), config: digestOf(image.config), manifest: digestOf(image.manifest) });
    expect(store.objects.read(digestOf(image.config)).equals(image.config)).to.equal(true);
    expect(await treeOf("example:1")).to.deep.equal(merged());
    for (const tar of tars) expect((await tarAgain(digestOf(tar))).equals(tar)).to.equal(true);
    expect((await fsckStore(store)).problems).to.deep.equal([]);
    const total = (events[0] as { total: number }).total;
    expect(events.filter(({ type }) => type === "progress").at(-1)).to.deep.equal({ type: "progress", bytes: total });
    expect(events.map(({ type }) => type).filter((type) => type !== "progress")).to.deep.equal(["start", "layer", "layer", "layer", "image"]);
  });

  it("reads the same image from a tar, from a stream, and from a docker archive, and stores nothing twice", async () => {
    const tars = await threeLayers();
    const layout = emptyLayout();
    layout.index.manifests.push(addImage(layout, tars.map((tar) => [tar, "gzip"] as const)).descriptor);
    await importImage(store, fileWith(await layoutTar(layout)), { names: ["from-tar"] });
    const objects = [...store.objects.list()].length;
    async function* stream(bytes: Buffer): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000);
    }
    const events: ImportEvent[] = [];
    await importImage(store, stream(await layoutTar(layout)), { names: ["from-stream"], onEvent: (event) => events.push(event) });
    expect(events.filter(({ type }) => type === "layer").map((event) => (event as { present: boolean }).present)).to.deep.equal([true, true, true]);
    const archive = await dockerArchive(["docker:1", "docker:latest"], [...tars, tars[0] as Buffer]);
    await importImage(store, fileWith(archive));
    expect([...store.objects.list()].length).to.equal(objects + 1);
    for (const name of ["from-tar", "from-stream"]) expect(await treeOf(name)).to.deep.equal(merged());
    expect(store.image("docker:latest")!.layers).to.deep.equal([...tars, tars[0] as Buffer].map(digestOf));
    expect(store.image("docker:1")!.manifest).to.equal(undefined);
    expect(fs.readdirSync(store.folder("staging"))).to.deep.equal([]);
  });

  it("reads a bare tar of a root filesystem, packed or not", async () => {
    const tar = await tarOf({ name: "./", kind: "directory", mode: 0o755 }, { name: "./etc/os-release", body: "ID=debian" });
    for (const [name, bytes] of [["plain", tar], ["zstd", zstdOf(tar)]] as const) {
      const [image] = await importImage(store, fileWith(bytes), { names: [name], platform: parsePlatform("linux/arm64") });
      expect(image!.layers).to.deep.equal([digestOf(tar)]);
      expect(await treeOf(name)).to.deep.equal(["/etc 40755 0:0 0.0", '/etc/os-release 100644 "ID=debian"']);
      expect(JSON.parse(store.objects.read(image!.config).toString())).to.deep.include({ os: "linux", architecture: "arm64", rootfs: { type: "layers", diff_ids: [`sha256:${digestOf(tar)}`] } });
    }
    expect(await outcome(fileWith(tar))).to.equal("ERR_IMAGE_MISSING");
  });

  it("keeps what is needed to give back layers of GNU tar with sparse files, replaced entries and trailing bytes, also after a sweep", async () => {
    const source = path.join(root, "t");
    fs.mkdirSync(source);
    fs.writeFileSync(path.join(source, "replaced"), Buffer.from(big(2, 5000), "latin1"));
    const first = gnuTar(root, "--format=gnu", "-cf", "-", "t").subarray(0, -1);
    fs.writeFileSync(path.join(source, "replaced"), Buffer.from(big(3, 6000), "latin1"));
    const fd = fs.openSync(path.join(source, "sparse"), "w");
    fs.writeSync(fd, Buffer.alloc(9000, 1), 0, 9000, 1_000_000);
    fs.ftruncateSync(fd, 5_000_000);
    fs.closeSync(fd);
    const body = first.subarray(0, first.length - first.length % 512);
    const entriesOnly = body.subarray(0, lastEntryEnd(body));
    const layers = ["--format=gnu", "--format=pax"].map((format) => Buffer.concat([entriesOnly, gnuTar(root, format, "--sparse", "-cf", "-", "t"), Buffer.from("trailing bytes")]));
    for (const [i, tar] of layers.entries()) {
      await importImage(store, fileWith(tar), { names: [`gnu${i}`] });
      expect((await treeOf(`gnu${i}`)).filter((line) => line.startsWith("/t/")).map((line) => line.split(" ").slice(-2))).to.deep.equal([
        [digestOf(Buffer.from(big(3, 6000), "latin1")), "6000"],
        [digestOf(Buffer.concat([Buffer.alloc(1_000_000), Buffer.alloc(9000, 1), Buffer.alloc(3_991_000)])), "5000000"],
      ]);
      await sweepStore(store, { graceMs: -10_000 });
      expect((await tarAgain(digestOf(tar))).equals(tar)).to.equal(true);
    }
    expect((await fsckStore(store)).problems).to.deep.equal([]);
  });

  it("says of a recipe that is damaged, of another version or missing what is wrong", async () => {
    const tar = await tarOf({ name: "f", body: big(9, 1000) });
    await importImage(store, fileWith(tar), { names: ["a"] });
    const recipe = path.join(store.layerPath(digestOf(tar)), "recipe");
    const good = fs.readFileSync(recipe);
    fs.chmodSync(recipe, 0o600);
    for (const [change, code] of [
      [(bytes: Buffer) => { bytes[8] = 2; }, "ERR_STORE_FORMAT"], [(bytes: Buffer) => { bytes[0] = 0; }, "ERR_STORE_FORMAT"], [(bytes: Buffer) => { bytes[20] = (bytes[20] as number) ^ 1; }, "ERR_STORE_DAMAGED"],
      [(bytes: Buffer) => { bytes[49] = (bytes[49] as number) ^ 1; }, "ERR_STORE_DAMAGED"], [(bytes: Buffer) => { bytes.fill(0xff, 60); }, "ERR_STORE_DAMAGED"],
    ] as const) {
      const bytes = Buffer.from(good);
      change(bytes);
      fs.writeFileSync(recipe, bytes);
      expect(await tarAgain(digestOf(tar)).then(() => "", (error: { code: string }) => error.code)).to.equal(code);
    }
    fs.writeFileSync(recipe, good.subarray(0, -3));
    expect(await tarAgain(digestOf(tar)).then(() => "", (error: { code: string }) => error.code)).to.equal("ERR_STORE_DAMAGED");
    fs.rmSync(recipe);
    expect(await tarAgain(digestOf(tar)).then(() => "", (error: { code: string }) => error.code)).to.equal("ERR_STORE_MISSING");
  });

  describe("of several", () => {
    it("takes the platform asked for, through nested indexes, or the host's", async () => {
      const layout = emptyLayout();
      const made = async (architecture: string, variant?: string): Promise<Record<string, unknown>> =>
        addImage(layout, [[await tarOf({ name: architecture + (variant ?? ""), body: "x" }), "gzip"]], { platform: { os: "linux", architecture, ...(variant === undefined ? {} : { variant }) } }).descriptor;
      const inner = addIndex(layout, [await made("amd64"), await made("arm64", "v8"), await made("arm", "v6"), await made("arm", "v7")]);
      layout.index.manifests.push(addIndex(layout, [inner], named("multi")));
      const place = writeLayout(folder(), layout);
      for (const [platform, file] of [["linux/amd64", "amd64"], ["linux/arm64", "arm64v8"], ["linux/arm/v7", "armv7"]] as const) {
        await importImage(store, place, { platform: parsePlatform(platform), names: [file] });
        expect(await treeOf(file)).to.deep.equal([`/${file} 100644 "x"`]);
      }
      if (process.arch === "x64") {
        await importImage(store, place);
        expect(await treeOf("multi")).to.deep.equal(['/amd64 100644 "x"']);
      }
      expect(await outcome(place, { platform: parsePlatform("linux/s390x") })).to.equal("ERR_IMAGE_MISSING");
      expect(await outcome(place, { platform: parsePlatform("linux/arm") })).to.equal("ERR_IMAGE_MISSING");
      expect(() => parsePlatform("linux")).to.throw().with.property("code", "ERR_IMAGE_FORMAT");
    });

    it("takes the one called by its reference", async () => {
      const layout = emptyLayout();
      for (const name of ["one", "two"]) layout.index.manifests.push(addImage(layout, [[await tarOf({ name }), "none"]], named(name)).descriptor);
      const place = writeLayout(folder(), layout);
      expect(await outcome(place)).to.equal("ERR_IMAGE_MISSING");
      expect(await outcome(place, { reference: "three" })).to.equal("ERR_IMAGE_MISSING");
      await importImage(store, place, { reference: "two" });
      expect(store.images().map(({ name }) => name)).to.deep.equal(["two"]);
    });
  });

  describe("that is not as announced", () => {
    type Spoil = (layout: ReturnType<typeof emptyLayout>, image: ReturnType<typeof addImage>) => void;
    const blobsBy = (layout: ReturnType<typeof emptyLayout>, start: number): string => [...layout.files].find(([name, bytes]) => name.startsWith("blobs") && bytes[0] === start)![0];
    const spoilt: [what: string, code: string, spoil: Spoil, change?: (documents: any) => void][] = [
      ["a layer blob with other bytes", "ERR_IMAGE_DIGEST", (layout) => { const name = blobsBy(layout, 0x28); const bytes = Buffer.from(layout.files.get(name)!); bytes[700] = (bytes[700] as number) ^ 1; layout.files.set(name, bytes); }],
      ["a layer blob that is cut off", "ERR_IMAGE_COMPRESSION", (layout) => { const name = blobsBy(layout, 0x28); layout.files.set(name, layout.files.get(name)!.subarray(0, 800)); }],
      ["a gzip blob that is cut off", "ERR_IMAGE_COMPRESSION", (layout) => { const name = blobsBy(layout, 0x1f); layout.files.set(name, layout.files.get(name)!.subarray(0, 80)); }],
      ["a gzip blob with turned bits", "ERR_IMAGE_COMPRESSION", (layout) => { const name = blobsBy(layout, 0x1f); const bytes = Buffer.from(layout.files.get(name)!); bytes.fill(0xff, 20, 60); layout.files.set(name, bytes); }],
      ["a layer that is missing", "ERR_IMAGE_MISSING", (layout) => { layout.files.delete(blobsBy(layout, 0x1f)); }],
      ["another diffID", "ERR_IMAGE_DIGEST", () => undefined, ({ config }) => { config.rootfs.diff_ids[0] = `sha256:${"1".repeat(64)}`; }],
      ["another layer size", "ERR_IMAGE_DIGEST", () => undefined, ({ manifest }) => { manifest.layers[0].size++; }],
      ["a manifest with other bytes", "ERR_IMAGE_DIGEST", (layout, { manifest }) => { layout.files.set(`blobs/sha256/${digestOf(manifest)}`, Buffer.from(manifest.toString().replace("schemaVersion", "schemaversion"))); }],
      ["a manifest of another size", "ERR_IMAGE_DIGEST", (layout) => { layout.index.manifests[0]!["size"] = 1; }],
      ["a config with other bytes", "ERR_IMAGE_DIGEST", (layout, { config }) => { layout.files.set(`blobs/sha256/${digestOf(config)}`, Buffer.from(config.toString().replace("A=b", "A=c"))); }],
      ["fewer diffIDs than layers", "ERR_IMAGE_FORMAT", () => undefined, ({ config }) => { config.rootfs.diff_ids.pop(); }],
      ["no layers at all", "ERR_IMAGE_FORMAT", () => undefined, ({ config, manifest }) => { config.rootfs.diff_ids = []; manifest.layers = []; }],
      ["another kind of root", "ERR_IMAGE_FORMAT", () => undefined, ({ config }) => { config.rootfs.type = "zip"; }],
      ["a digest that leads out", "ERR_IMAGE_FORMAT", () => undefined, ({ manifest }) => { manifest.layers[0].digest = "sha256:../../../../etc/passwd"; }],
      ["another hash function", "ERR_IMAGE_FORMAT", () => undefined, ({ manifest }) => { manifest.layers[0].digest = `sha512:${"0".repeat(128)}`; }],
      ["an encrypted layer", "ERR_IMAGE_FORMAT", () => undefined, ({ manifest }) => { manifest.layers[0].mediaType = "application/vnd.other.layer"; }],
      ["a size that is no number", "ERR_IMAGE_FORMAT", () => undefined, ({ manifest }) => { manifest.layers[0].size = "12"; }],
      ["a layout of another version", "ERR_IMAGE_FORMAT", (layout) => { layout.files.set("oci-layout", Buffer.from('{"imageLayoutVersion":"2.0.0"}')); }],
      ["an index that is no JSON", "ERR_IMAGE_FORMAT", (layout) => { layout.files.set("oci-layout", Buffer.from("{")); }],
    ];
    for (const [what, code, spoil, change] of spoilt) {
      it(`is refused for ${what}, and leaves nothing behind`, async () => {
        const layout = emptyLayout();
        const image = addImage(layout, [[await tarOf({ name: "f", body: big(4, 2000) }), "zstd"], [await tarOf({ name: "g", body: big(5, 2000) }), "gzip"]], named("image"), change);
        layout.index.manifests.push(image.descriptor);
        spoil(layout, image);
        expect(await outcome(writeLayout(folder(), layout))).to.equal(code);
        await isEmpty();
      });
    }

    it("is refused for a docker config of another digest than its name", async () => {
      const archive = await dockerArchive(["a"], [await tarOf({ name: "f" })]);
      const changed = Buffer.from(archive.toString("latin1").replace('"linux"', '"Linux"'), "latin1");
      expect(await outcome(fileWith(changed))).to.equal("ERR_IMAGE_DIGEST");
      await isEmpty();
    });
    it("is refused where there is no image", async () => {
      expect(await outcome(path.join(root, "none"))).to.equal("ERR_IMAGE_MISSING");
      expect(await outcome(root)).to.equal("ERR_IMAGE_FORMAT");
      for (const text of ["#!/bin/sh\n", "#!/bin/sh\n".repeat(100), ""]) {
        expect(await outcome(fileWith(Buffer.from(text)), { names: ["a"] }), text).to.equal("ERR_IMAGE_FORMAT");
        if (text !== "") expect(await outcome(fileWith(gzipSync(text)), { names: ["a"] }), `compressed ${text}`).to.equal("ERR_IMAGE_FORMAT");
      }
      expect(await outcome(fileWith(Buffer.alloc(0)), { name: "a" } as ImportOptions)).to.equal("unknown option name of importImage");
      expect(await outcome(fileWith(Buffer.alloc(0)), { names: ["../a"] })).to.equal("ERR_STORE_NAME");
      await isEmpty();
    });
    it("is refused for a zstd window that no program accepts, and for a bomb", async () => {
      const tar = await tarOf({ name: "f" });
      if (!("createZstdDecompress" in (await import("node:zlib")))) expect(await outcome(fileWith(zstdOf(tar, 0xf8)), { names: ["a"] })).to.equal("ERR_IMAGE_COMPRESSION");
      const bomb = Buffer.concat([zstdOf(block({ size: 8 ** 11 - 1 })), zstdOfZeros(4000)]);
      const before = process.memoryUsage().rss;
      expect(await outcome(fileWith(bomb), { names: ["a"], limits: { maxArchiveSize: 2 ** 34 } })).to.equal("ERR_TAR_TRUNCATED");
      expect(process.memoryUsage().rss - before).to.be.below(300e6);
      expect(await outcome(fileWith(bomb), { names: ["a"], limits: { maxArchiveSize: 2 ** 28 } })).to.equal("ERR_TAR_LIMIT");
      await isEmpty();
    });
  });

  describe("with entries that must not be unpacked", () => {
    const hostile: [what: string, ...entries: Entry[]][] = [
      ["a name with ..", { name: "../etc/passwd" }], ["a name with .. inside", { name: "a/../../b" }], ["an absolute name with ..", { name: "/../etc/passwd" }],
      ["a name that is too long", { name: "x".repeat(256) }], ["a name that is too deep", { name: "d/".repeat(4097) + "f" }],
      ["a hard link to ..", { name: "l", kind: "hardlink", linkName: "../../etc/shadow" }], ["a hard link to an absolute name with ..", { name: "l", kind: "hardlink", linkName: "/a/../../etc/shadow" }],
      ["a hard link to the root", { name: "l", kind: "hardlink", linkName: "./" }], ["a hard link to an absolute root", { name: "l", kind: "hardlink", linkName: "/" }], ["a hard link to a whiteout", { name: "l", kind: "hardlink", linkName: ".wh.x" }],
      ["a hard link to a directory", { name: "d/", kind: "directory" }, { name: "l", kind: "hardlink", linkName: "d" }],
      ["an entry behind a symbolic link", { name: "l", kind: "symlink", linkName: "/etc" }, { name: "l/passwd" }],
      ["a directory entry behind a symbolic link", { name: "l", kind: "symlink", linkName: ".." }, { name: "l/d/", kind: "directory" }],
      ["an opaque mark behind a symbolic link", { name: "l", kind: "symlink", linkName: "/etc" }, { name: "l/.wh..wh..opq" }],
      ["a hard link placed behind a symbolic link", { name: "f" }, { name: "l", kind: "symlink", linkName: "/etc" }, { name: "l/x", kind: "hardlink", linkName: "f" }],
      ["an empty whiteout", { name: "d/.wh." }], ["a whiteout of .", { name: ".wh.." }], ["a whiteout of ..", { name: ".wh..." }],
      ["something inside of a whiteout", { name: ".wh.d/f" }], ["a child of a file", { name: "f" }, { name: "f/g" }], ["a root that is a file", { name: "." }], ["a root that is a link", { name: "./", kind: "symlink", linkName: "/etc" }],
      ["a device 0:0", { name: "w", kind: "character" }], ["a device number beyond the kernel's", { name: "w", kind: "block", devMajor: 4096 }],
      ["a user id beyond the kernel's", { name: "f", uid: 4_294_967_295 }], ["an extended attribute too large for the kernel", { name: "f", xattrs: new Map([["user.x", Buffer.alloc(65_537)]]) }],
      ["an extended attribute whose name is too long", { name: "f", xattrs: new Map([[`user.${"x".repeat(251)}`, Buffer.alloc(1)]]) }],
    ];
    for (const [what, ...entries] of hostile) {
      it(`refuses ${what}, and leaves nothing behind`, async () => {
        expect(await outcome(fileWith(await tarOf({ name: "good", body: big(6, 1000) }, ...entries)), { names: ["a"] })).to.equal("ERR_IMAGE_ENTRY");
        await isEmpty();
      });
    }
    const absolute: [what: string, ...entries: Entry[]][] = [
      ["an absolute name", { name: "/etc/passwd", body: "x" }], ["a hard link to an absolute name", { name: "etc/passwd", body: "x" }, { name: "l", kind: "hardlink", linkName: "//etc/passwd" }],
      ["an absolute whiteout", { name: "/etc/passwd", body: "x" }, { name: "/etc/.wh.shadow" }],
    ];
    for (const [what, ...entries] of absolute) {
      it(`refuses ${what}, or takes it from the layer's root when told to`, async () => {
        const file = fileWith(await tarOf(...entries));
        expect(await outcome(file, { names: ["a"] })).to.equal("ERR_IMAGE_ENTRY");
        await isEmpty();
        await importImage(store, file, { names: ["a"], absoluteNames: "strip" });
        expect((await treeOf("a")).map((line) => line.replace(/ #\d+$/, ""))).to.deep.equal(["/etc 40755 0:0 0.0", '/etc/passwd 100644 "x"', ...(what.includes("link") ? ['/l 100644 "x"'] : [])]);
      });
    }
    it("refuses a hard link to nothing when the chain is merged, and the layer alone stays as it is", async () => {
      const layout = emptyLayout();
      layout.index.manifests.push(addImage(layout, [[await tarOf({ name: "l", kind: "hardlink", linkName: "nowhere" }), "none"]], named("a")).descriptor);
      await importImage(store, writeLayout(folder(), layout));
      expect(await treeOf("a").then(() => "", (error: { code: string }) => error.code)).to.equal("ERR_STORE_TREE");
    });
  });

  it("takes what is odd and good: AUFS's own files, whiteouts with bodies, private xattrs as plain ones, odd names", async () => {
    const tar = await tarOf(
      { name: ".wh..wh.plnk/", kind: "directory" }, { name: ".wh..wh.aufs" }, { name: "d/.wh..wh..opq" }, { name: "d/.wh.gone", body: "a body nobody needs".repeat(10) }, { name: "d/gone/", kind: "directory" },
      { name: ".//a//b/./c/", kind: "directory" }, { name: "\xff\xfe", body: "odd", xattrs: new Map([["trusted.overlay.opaque", Buffer.from("y")]]) }, { name: "...", body: "dots" },
    );
    await importImage(store, fileWith(tar), { names: ["odd"] });
    expect(await treeOf("odd")).to.deep.equal(['/... 100644 "dots"', "/a 40755 0:0 0.0", "/a/b 40755 0:0 0.0", "/a/b/c 40644", "/d 40755 0:0 0.0", "/d/gone 40644", '/\xff\xfe 100644 "odd" trusted.overlay.opaque=y']);
    const index = store.openLayer(digestOf(tar));
    expect(index.opaque(index.find(0, "d"))).to.equal(true);
    expect(index.opaque(index.find(index.find(0, "d"), "gone"))).to.equal(true);
    index.close();
    expect((await tarAgain(digestOf(tar))).equals(tar)).to.equal(true);
  });

  it("turns ACLs in text form into attributes, names through the layer's own accounts, and gives the tar back as it was", async () => {
    const acl = (text: string, key = "access"): Record<string, string> => ({ [`SCHILY.acl.${key}`]: text });
    const passwd = "root:x:0:0::/:/bin/sh\njoe:x:1000:1000::/:/bin/sh\n";
    const entry = (name: string, records: Record<string, string>, body = "", type = "0"): Buffer =>
      Buffer.concat([pax(Object.entries(records)), block({ name, type, size: body.length, put: [[100, "0000664"]] }), padded(body)]);
    const named = "user::rw-,user:joe:r--,group::r--,mask::rw-,other::---";
    const tar = Buffer.concat([
      entry("before", acl(named)), entry("number", acl(named.replace("joe:r--", "who:r--:1000"))), entry("plain", acl("user::rw-,group::r--,other::---")), entry("unknown", acl(named.replace("joe", "eve"))),
      entry("dir/", { ...acl(named), ...acl(named, "default") }, "", "5"), entry("file-default", acl(named, "default")), entry("malformed", acl("user")),
      block({ name: "etc/passwd", size: passwd.length }), padded(passwd), Buffer.alloc(1024),
    ]);
    const events: ImportEvent[] = [];
    await importImage(store, fileWith(tar), { names: ["acl"], onEvent: (event) => events.push(event) });
    const { diffId, layer } = events.find((event) => event.type === "layer") as Extract<ImportEvent, { type: "layer" }>;
    expect(layer!.aclsLeftOut).to.equal(2);
    const index = store.openLayer(diffId);
    const shown = (name: string): unknown[] => {
      const row = index.find(0, name);
      return [(index.mode(row) & 0o7777).toString(8), ...[...index.xattrs(row)].map(([key, value]) => `${key} ${value.length} ${value[22] ?? ""}`)];
    };
    const access = "system.posix_acl_access 44 "; // version, and five entries
    expect(shown("before")).to.deep.equal(["660", `${access}4`]);
    expect(Buffer.from(index.xattrs(index.find(0, "before")).get("system.posix_acl_access")!).readUInt32LE(16)).to.equal(1000);
    expect(shown("number")).to.deep.equal(shown("before"));
    expect(shown("plain")).to.deep.equal(["640"]);
    expect(shown("dir")).to.deep.equal(["660", `${access}4`, "system.posix_acl_default 44 4"]);
    for (const name of ["unknown", "file-default", "malformed"]) expect(shown(name), name).to.deep.equal(["664"]);
    index.close();
    expect((await tarAgain(diffId)).equals(tar)).to.equal(true);
  });

  it("stops when it is told to, and leaves nothing behind", async () => {
    const layout = emptyLayout();
    layout.index.manifests.push(addImage(layout, [[await tarOf({ name: "f", body: big(7, 3_000_000) }, { name: "g" }), "gzip"]], named("a")).descriptor);
    const place = writeLayout(folder(), layout);
    const controller = new AbortController();
    expect(await outcome(place, { signal: controller.signal, onEvent: ({ type }) => { if (type === "progress") controller.abort(new RangeError("enough")); } })).to.equal("enough");
    await isEmpty();
    expect(await outcome(place, { signal: AbortSignal.abort(new RangeError("before")) })).to.equal("before");
  });

  describe("large enough for a thread that unpacks", () => {
    type Change = (file: string, blob: Buffer) => void;
    const changes: readonly (readonly [what: string, code: string, options: ImportOptions, change: Change])[] = [
      ["a gzip blob that is cut off", "ERR_IMAGE_COMPRESSION", {}, (file, blob) => fs.writeFileSync(file, blob.subarray(0, -100))],
      ["a blob with bytes behind it", "ERR_IMAGE_COMPRESSION", {}, (file, blob) => fs.writeFileSync(file, Buffer.concat([blob, Buffer.from("more")]))],
      ["a blob with another date in its header", "ERR_IMAGE_DIGEST", {}, (file, blob) => { const bytes = Buffer.from(blob); bytes[5] = 1; fs.writeFileSync(file, bytes); }],
      ["a blob that cannot be read", "ERR_IMAGE_FORMAT", {}, (file) => { fs.unlinkSync(file); fs.mkdirSync(file); }],
      ["an archive beyond a limit", "ERR_TAR_LIMIT", { limits: { maxArchiveSize: 2 ** 20 } }, () => undefined],
    ];
    const layoutOf = async (): Promise<{ place: string; blob: string }> => {
      const layout = emptyLayout();
      const tar = await tarOf({ name: "f", body: big(8, 3_000_000) }, { name: "g", body: big(9, 3_000_000) }, { name: "h", body: big(10, 3_000_000) });
      layout.index.manifests.push(addImage(layout, [[tar, "gzip"]], named("a")).descriptor);
      const [blob] = [...layout.files].find(([, bytes]) => bytes[0] === 0x1f)!;
      const place = writeLayout(folder(), layout);
      return { place, blob: path.join(place, blob) };
    };
    for (const [what, code, options, change] of changes) {
      it(`is refused for ${what}, and leaves nothing behind`, async () => {
        const { place, blob } = await layoutOf();
        // The file changes when its size has been seen, as if while it is read.
        const onEvent = ({ type }: ImportEvent): void => { if (type === "start") change(blob, fs.readFileSync(blob)); };
        expect(await outcome(place, { ...options, onEvent })).to.equal(code);
        await isEmpty();
      });
    }
    it("stops when it is told to, and leaves nothing behind", async () => {
      const { place } = await layoutOf();
      const controller = new AbortController();
      expect(await outcome(place, { signal: controller.signal, onEvent: ({ type }) => { if (type === "progress") controller.abort(new RangeError("enough")); } })).to.equal("enough");
      await isEmpty();
    });
  });

  it("passes the error of a stream on, and leaves nothing behind", async () => {
    async function* source(): AsyncGenerator<Uint8Array> {
      yield block({ size: 512 });
      throw new RangeError("from the network");
    }
    expect(await outcome(source(), { names: ["a"] })).to.equal("from the network");
    await isEmpty();
  });

  it("gives chains of images the identity that OCI gives them", async () => {
    const tars = await threeLayers();
    const ids = tars.map(digestOf);
    expect(chainIdOf(ids.slice(0, 1))).to.equal(ids[0]);
    const two = digestOf(Buffer.from(`sha256:${ids[0]} sha256:${ids[1]}`));
    expect(chainIdOf(ids)).to.equal(digestOf(Buffer.from(`sha256:${two} sha256:${ids[2]}`)));
  });
});

/** Where the entries of a GNU archive end: its trailing zeros left out. */
function lastEntryEnd(archive: Buffer): number {
  let end = archive.length;
  while (end >= 512 && archive.subarray(end - 512, end).every((byte) => byte === 0)) end -= 512;
  return end;
}
