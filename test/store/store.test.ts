import { expect } from "chai";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { LOCK_SH } from "../../lib/sys/flags.js";
import { digestOf, type Digest } from "../../lib/store/digest.js";
import { fsckStore } from "../../lib/store/fsck.js";
import { LayerTree } from "../../lib/store/layer-tree.js";
import { openStore, type Store } from "../../lib/store/store.js";
import { tryLock } from "../../lib/store/store-lock.js";
import { storeStats } from "../../lib/store/stats.js";
import { sweepStore } from "../../lib/store/sweep.js";
import { indexLines, file, id, object } from "./trees.js";

const codeOf = async (work: Promise<unknown>): Promise<unknown> => await work.then(() => "no error", (error: { code?: unknown }) => error.code);
const text = (body: string): Buffer => Buffer.from(body);

/** Imports a layer whose files have these bodies, and gives it a name. */
async function addImage(store: Store, name: string, bodies: Readonly<Record<string, string>>): Promise<Digest> {
  const writer = await store.write(name);
  try {
    const tree = new LayerTree();
    for (const [file, body] of Object.entries(bodies)) {
      const { digest, size } = await writer.putBytes(text(body));
      tree.put(file.split("/"), object({ content: { kind: "object", digest, size } }));
    }
    const diffId = id(JSON.stringify(bodies));
    await writer.addLayer(diffId, tree.write(store.hash, diffId));
    await writer.publish();
    await store.setImage({ name, layers: [diffId], config: undefined, manifest: undefined });
    return diffId;
  } finally {
    await writer.end();
  }
}

/** Names of all objects. */
const objectsOf = (store: Store): string[] => [...store.objects.list()].map((found) => ("digest" in found ? found.digest : found.stray));

function child(...args: string[]): ChildProcess {
  return spawn(process.execPath, [fileURLToPath(new URL("store-child.js", import.meta.url)), ...args], { stdio: ["ignore", "pipe", "inherit"] });
}
const ready = (process: ChildProcess): Promise<unknown> => new Promise((resolve, reject) => {
  process.stdout?.once("data", resolve);
  process.once("exit", (code) => reject(new Error(`the child ended with ${code}`)));
});
const killed = (process: ChildProcess): Promise<unknown> => new Promise((resolve) => {
  process.removeAllListeners("exit");
  process.once("exit", resolve);
  process.kill("SIGKILL");
});

describe("a store", () => {
  let root: string;
  let store: Store;

  beforeEach(async () => {
    root = fs.mkdtempSync(path.join(os.tmpdir(), "stratafs-store-"));
    store = await openStore(path.join(root, "s"), { create: true, patienceMs: 5000 });
  });
  afterEach(() => fs.rmSync(root, { recursive: true, force: true }));

  describe("opened", () => {
    it("is found again, and is not made over another directory or where none is asked for", async () => {
      expect((await openStore(store.path)).path).to.equal(store.path);
      expect((await openStore(store.path, { create: true })).path).to.equal(store.path);
      expect(await codeOf(openStore(path.join(root, "none")))).to.equal("ERR_STORE_FORMAT");
      expect(await codeOf(openStore(root, { create: true }))).to.equal("ERR_STORE_FORMAT");
      expect(fs.readdirSync(root)).to.deep.equal(["s"]);
    });
    it("is readable by its owner alone", () => {
      for (const name of ["", ...fs.readdirSync(store.path)]) expect(fs.statSync(path.join(store.path, name)).mode & 0o077, name).to.equal(0);
    });
    it("is refused in another version, and with options that are not known", async () => {
      fs.writeFileSync(path.join(store.path, "format"), "stratafs store\nversion 2\n");
      expect(await codeOf(openStore(store.path))).to.equal("ERR_STORE_FORMAT");
      expect(await openStore(store.path, { created: true } as object).then(() => "", (error: Error) => error.message)).to.include("created");
    });
    it("may be made by two processes at once", async () => {
      const place = path.join(root, "both");
      await Promise.all([openStore(place, { create: true }), openStore(place, { create: true })]);
      expect((await fsckStore(await openStore(place))).problems).to.deep.equal([]);
    });
  });

  describe("written to", () => {
    it("shows objects when they are published, and not before", async () => {
      const writer = await store.write("test");
      const small = await writer.putBytes(text("small"));
      const large = await writer.put([Buffer.alloc(900_000, 1), Buffer.alloc(900_000, 2)]);
      const empty = await writer.put([]);
      expect(objectsOf(store)).to.deep.equal([]);
      await writer.publish();
      expect(objectsOf(store)).to.have.members([small.digest, large.digest, empty.digest]);
      expect(large).to.deep.equal({ digest: digestOf(Buffer.concat([Buffer.alloc(900_000, 1), Buffer.alloc(900_000, 2)])), size: 1_800_000, added: true });
      expect(fs.statSync(store.objects.path(small.digest)).mode & 0o777).to.equal(0o400);
      expect(store.objects.read(small.digest).toString()).to.equal("small");
      await writer.end();
      await writer.end();
      expect(fs.readdirSync(store.folder("staging"))).to.deep.equal([]);
      expect(fs.readdirSync(store.folder("leases"))).to.deep.equal([]);
    });

    it("keeps equal content once, also from several writers at the same time", async () => {
      const writers = await Promise.all([store.write("a"), store.write("b")]);
      const big = Buffer.alloc(3_000_000, 7);
      await Promise.all(writers.map(async (writer) => {
        expect((await writer.putBytes(text("x"))).added).to.equal(true);
        await writer.put([big.subarray(0, 1_000_000), big.subarray(1_000_000)]);
        await writer.publish();
        expect((await writer.putBytes(text("x"))).added).to.equal(false);
        expect((await writer.put([big])).added).to.equal(false);
        await writer.end();
      }));
      expect(objectsOf(store)).to.have.members([digestOf(text("x")), digestOf(big)]);
    });

    it("takes chunks that their source uses again, in pieces of any size", async () => {
      const chunk = Buffer.alloc(100_000);
      function* source(): Generator<Uint8Array> {
        for (let i = 0; i < 25; i++) yield chunk.fill(i);
      }
      const expected = Buffer.concat(Array.from({ length: 25 }, (_, i) => Buffer.alloc(100_000, i)));
      const writer = await store.write("test");
      expect((await writer.put(source())).digest).to.equal(digestOf(expected));
      await writer.publish();
      await writer.end();
      expect(store.objects.read(digestOf(expected)).equals(expected)).to.equal(true);
    });

    it("keeps runs of zeros as holes", async () => {
      const parts = [Buffer.alloc(2_000_000), Buffer.from("middle"), Buffer.alloc(4_000_000)];
      const writer = await store.write("test");
      const { digest, size } = await writer.put(parts);
      await writer.publish();
      await writer.end();
      const stat = fs.statSync(store.objects.path(digest));
      expect([size, stat.size]).to.deep.equal([6_000_006, 6_000_006]);
      expect(stat.blocks * 512).to.be.below(1_000_000);
      expect(store.objects.verify(digest)).to.equal(true);
    });

    it("puts files by descriptor", async () => {
      const source = path.join(root, "source");
      fs.writeFileSync(source, Buffer.alloc(100_000, 3));
      const fd = fs.openSync(source, "r");
      const writer = await store.write("test");
      const { digest } = await writer.putFile(fd, 100_000);
      fs.closeSync(fd);
      await writer.publish();
      await writer.end();
      expect(digest).to.equal(digestOf(Buffer.alloc(100_000, 3)));
      expect(store.objects.verify(digest)).to.equal(true);
    });

    it("refuses content of another digest than announced, and keeps nothing of it", async () => {
      const writer = await store.write("test");
      for (const size of [10, 3_000_000]) expect(await codeOf(writer.put([Buffer.alloc(size, 1)], id("other")))).to.equal("ERR_STORE_DIGEST");
      expect(fs.readdirSync(path.join(store.folder("staging"), fs.readdirSync(store.folder("staging"))[0] as string))).to.deep.equal([]);
      await writer.publish();
      await writer.end();
      expect(objectsOf(store)).to.deep.equal([]);
    });

    it("passes the error of a stream on and keeps nothing of it", async () => {
      function* source(): Generator<Uint8Array> {
        yield Buffer.alloc(2_000_000, 1);
        throw new RangeError("source");
      }
      const writer = await store.write("test");
      expect(await writer.put(source()).then(() => "", (error: Error) => error.message)).to.equal("source");
      await writer.publish();
      await writer.end();
      expect(objectsOf(store)).to.deep.equal([]);
    });

    it("replaces an object that was cut off behind its back", async () => {
      await addImage(store, "a", { f: "x".repeat(100) });
      const place = store.objects.path(id("x".repeat(100)));
      fs.chmodSync(place, 0o600);
      fs.truncateSync(place, 10);
      const writer = await store.write("test");
      expect((await writer.putBytes(text("x".repeat(100)))).added).to.equal(true);
      await writer.publish();
      await writer.end();
      expect(store.objects.verify(id("x".repeat(100)))).to.equal(true);
    });

    it("has another thread write many small objects, which are there when they are published or asked for", async () => {
      const writer = await store.write("test");
      const bodies = Array.from({ length: 500 }, (_, i) => Buffer.alloc(1 + i * 37, i));
      const large = Buffer.alloc(1_000_000, 7);
      // All at once: calls may overlap.
      const put = await Promise.all([...bodies, large, ...bodies].map((body) => writer.putBytesLater(body)));
      expect(put.slice(0, 501).every(({ added }) => added)).to.equal(true);
      const early = await writer.open(digestOf(bodies[499]!));
      expect(fs.readFileSync(early)).to.deep.equal(bodies[499]);
      fs.closeSync(early);
      await writer.publish();
      await writer.end();
      for (const body of [...bodies, large]) expect(store.objects.verify(digestOf(body)), String(body.length)).to.equal(true);
      expect(fs.statSync(store.objects.path(digestOf(large))).mode & 0o7777).to.equal(0o400);
      expect(objectsOf(store)).to.have.length(501);
    });

    it("forgets what another thread was about to write when the writer ends", async () => {
      const writer = await store.write("test");
      for (let i = 0; i < 400; i++) await writer.putBytesLater(Buffer.alloc(10_000, `${i}`));
      await writer.end();
      expect(objectsOf(store)).to.deep.equal([]);
      expect(fs.readdirSync(store.folder("staging"))).to.deep.equal([]);
    });

    it("says in one error that the disk is full, with nothing half visible", async function () {
      if (process.getuid?.() !== 0) this.skip(); // needs a small filesystem of its own
      const small = path.join(root, "small");
      fs.mkdirSync(small);
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", small]);
      try {
        const full = await openStore(path.join(small, "s"), { create: true });
        const writer = await full.write("test");
        expect(await codeOf(writer.put([Buffer.alloc(3_000_000, 1)]))).to.equal("ERR_STORE_FULL");
        expect(await codeOf(writer.putBytes(Buffer.alloc(900_000, 2)))).to.equal("no error");
        expect(await codeOf(writer.putBytes(Buffer.alloc(900_000, 3)))).to.equal("ERR_STORE_FULL");
        expect(await codeOf(writer.addLayer(id("l"), [Buffer.alloc(900_000)]))).to.equal("ERR_STORE_FULL");
        await writer.end();

        const later = await full.write("test");
        for (let i = 0; i < 100; i++) await later.putBytesLater(Buffer.alloc(20_000, i)).catch(() => undefined);
        expect(await codeOf(later.publish())).to.equal("ERR_STORE_FULL");
        expect(await codeOf(later.publish())).to.equal("ERR_STORE_FULL");
        await later.end();
        expect(objectsOf(full)).to.deep.equal([]);
        expect((await fsckStore(full)).problems).to.deep.equal([]);
      } finally {
        execFileSync("umount", [small]);
      }
    });
  });

  describe("with images", () => {
    it("keeps what a reference says, under names as registries have them", async () => {
      const layer = await addImage(store, "docker.io/library/debian:12", { "etc/os": "debian" });
      const writer = await store.write("test");
      const { digest } = await writer.putBytes(text("{}"));
      await writer.publish();
      await writer.end();
      const ref = { name: "a/b:c@d+e", layers: [layer, layer], config: digest, manifest: undefined };
      await store.setImage(ref);
      expect(store.image("a/b:c@d+e")).to.deep.equal(ref);
      await store.tag("a/b:c@d+e", "other");
      expect(store.images().map(({ name }) => name)).to.deep.equal(["a/b:c@d+e", "docker.io/library/debian:12", "other"]);
      expect(await store.removeImage("other")).to.equal(true);
      expect(await store.removeImage("other")).to.equal(false);
      expect(store.image("other")).to.equal(undefined);
    });

    for (const name of ["", ".hidden", "../up", "a b", "a\0b", "a%2Fb", "ü", "x".repeat(181)]) {
      it(`refuses ${JSON.stringify(name.slice(0, 20))} as a name`, async () => { expect(await codeOf(store.removeImage(name))).to.equal("ERR_STORE_NAME"); });
    }

    it("refuses an image whose layers or documents it does not have", async () => {
      expect(await codeOf(store.setImage({ name: "a", layers: [id("none")], config: undefined, manifest: undefined }))).to.equal("ERR_STORE_MISSING");
      const layer = await addImage(store, "b", { f: "f" });
      expect(await codeOf(store.setImage({ name: "a", layers: [layer], config: id("none"), manifest: undefined }))).to.equal("ERR_STORE_MISSING");
      expect(await codeOf(store.tag("none", "a"))).to.equal("ERR_STORE_MISSING");
      expect(await codeOf(store.openChain([id("none")], "test"))).to.equal("ERR_STORE_MISSING");
      expect(store.images().map(({ name }) => name)).to.deep.equal(["b"]);
    });

    it("merges a chain once and opens it from its file afterwards", async () => {
      const low = await addImage(store, "low", { "d/1": "one" });
      const up = await addImage(store, "up", { "d/2": "two" });
      const chain = await store.openChain([low, up], "test");
      expect(indexLines(chain.index).map((line) => line.split(" ")[0])).to.deep.equal(["/", "/d", "/d/1", "/d/2"]);
      expect(await store.leases()).to.have.length(1);
      chain.close();
      chain.close();
      expect(await store.leases()).to.deep.equal([]);
      fs.rmSync(store.layerPath(low), { recursive: true });
      expect(await codeOf(store.openChain([low, up], "test"))).to.equal("ERR_STORE_MISSING");
    });

    it("tells what storing equal files once saves", async () => {
      await addImage(store, "a", { "1": "x".repeat(1000), "2": "x".repeat(1000), "3": "only a".repeat(100) });
      await addImage(store, "b", { "1": "x".repeat(1000), "3": "only b".repeat(200) });
      const stats = storeStats(store);
      expect(stats).to.include({ logicalBytes: 4800, files: 5, dedupedBytes: 2800, objects: 3 });
      expect(stats.images).to.deep.equal([
        { name: "a", logicalBytes: 2600, uniqueBytes: 600, sharedBytes: 1000 },
        { name: "b", logicalBytes: 2200, uniqueBytes: 1200, sharedBytes: 1000 },
      ]);
      expect(stats.objectDiskBytes).to.be.above(0);
    });
  });

  describe("swept", () => {
    const everything = { graceMs: -10_000 };

    it("keeps what images need and removes the rest", async () => {
      await addImage(store, "a", { f: "in both", g: "a alone" });
      const b = await addImage(store, "b", { f: "in both", g: "b alone" });
      (await store.openChain([b], "test")).close();
      expect(await sweepStore(store, everything)).to.deep.include({ objects: 0, layers: 0, chains: 0 });
      await store.removeImage("b");
      const dry = await sweepStore(store, { ...everything, dryRun: true });
      expect(dry).to.deep.include({ objects: 1, layers: 1, chains: 1, leftovers: 0 });
      expect(objectsOf(store)).to.have.length(3);
      expect(await sweepStore(store, everything)).to.deep.equal(dry);
      expect(dry.freedBytes).to.be.above(0);
      expect(objectsOf(store)).to.have.members([id("in both"), id("a alone")]);
      expect((await fsckStore(store)).problems).to.deep.equal([]);
    });

    it("keeps what is young", async () => {
      await addImage(store, "a", { f: "f" });
      await store.removeImage("a");
      expect(await sweepStore(store)).to.deep.include({ objects: 0, layers: 0 });
      expect(await sweepStore(store, everything)).to.deep.include({ objects: 1, layers: 1 });
    });

    it("keeps what a living writer put or found, whatever its age", async () => {
      await addImage(store, "a", { f: "found" });
      await store.removeImage("a");
      const old = Date.now() / 1000 - 100_000;
      fs.utimesSync(store.objects.path(id("found")), old, old);
      fs.utimesSync(store.layerPath(id(JSON.stringify({ f: "found" }))), old, old);
      const writer = await store.write("test");
      expect((await writer.putBytes(text("found"))).added).to.equal(false);
      await writer.putBytes(text("put"));
      await writer.publish();
      expect(await sweepStore(store, { graceMs: 0 })).to.deep.include({ objects: 0, layers: 1 });
      await writer.end();
      expect(await sweepStore(store, everything)).to.deep.include({ objects: 2 });
    });

    it("keeps what a living process leased, until it dies", async function () {
      this.timeout(20_000);
      const layer = await addImage(store, "a", { f: "leased" });
      const holder = child("lease", store.path, layer);
      await ready(holder);
      await store.removeImage("a");
      expect((await store.leases()).map(({ kind, pid, layers }) => ({ kind, pid, layers }))).to.deep.equal([{ kind: "mount", pid: holder.pid, layers: [layer] }]);
      expect(await sweepStore(store, everything)).to.deep.include({ objects: 0, layers: 0, chains: 0 });
      await killed(holder);
      expect(await store.leases()).to.deep.equal([]);
      expect(await sweepStore(store, everything)).to.deep.include({ objects: 1, layers: 1, chains: 1 });
    });

    it("removes nothing when a reference, layer or lease cannot be understood", async () => {
      const layer = await addImage(store, "a", { f: "f" });
      await addImage(store, "b", { f: "unneeded" });
      await store.removeImage("b");
      const ref = path.join(store.folder("refs"), "a");
      const good = fs.readFileSync(ref);
      fs.writeFileSync(ref, "{");
      expect(await codeOf(sweepStore(store, everything))).to.equal("ERR_STORE_DAMAGED");
      fs.writeFileSync(ref, good.toString().replace('"version": 1', '"version": 2'));
      expect(await codeOf(sweepStore(store, everything))).to.equal("ERR_STORE_FORMAT");
      fs.writeFileSync(ref, good);
      const index = path.join(store.layerPath(layer), "index");
      fs.chmodSync(index, 0o600);
      fs.truncateSync(index, 100);
      expect(await codeOf(sweepStore(store, everything))).to.equal("ERR_STORE_DAMAGED");
      expect(objectsOf(store)).to.have.length(2);
    });

    it("waits for others as long as it was told, and no longer", async () => {
      const impatient = await openStore(store.path, { patienceMs: 50 });
      let inside: Promise<unknown> | undefined;
      await store.lock.exclusive(() => {
        inside = codeOf(sweepStore(impatient));
        const until = Date.now() + 200;
        while (Date.now() < until);
      });
      expect(await inside).to.equal("no error");
      const fd = fs.openSync(path.join(store.path, "lock"), "r");
      expect(tryLock(fd, LOCK_SH)).to.equal(true);
      expect(await codeOf(sweepStore(impatient))).to.equal("ERR_STORE_BUSY");
      expect(await codeOf(impatient.leases())).to.equal("no error");
      fs.closeSync(fd);
      expect(await codeOf(sweepStore(impatient))).to.equal("no error");
    });
  });

  describe("checked by fsck", () => {
    const damage = (place: string, change: (bytes: Buffer) => Buffer): void => {
      const bytes = fs.readFileSync(place);
      fs.chmodSync(place, 0o600);
      fs.writeFileSync(place, change(bytes));
    };
    const turned = (bytes: Buffer): Buffer => { bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1; return bytes; };
    const seen = async (repair = false): Promise<[string, readonly string[], boolean][]> =>
      (await fsckStore(store, { repair })).problems.map(({ kind, images, repaired }) => [kind, images, repaired]);

    it("finds nothing wrong with a good store, and counts it", async () => {
      const layer = await addImage(store, "a", { f: "f".repeat(100), g: "g".repeat(50) });
      (await store.openChain([layer], "test")).close();
      expect(await fsckStore(store)).to.deep.equal({ objects: 2, layers: 1, chains: 1, images: 1, bytes: 150, problems: [] });
    });

    it("names the images that a damaged object concerns, and a new import heals it", async () => {
      await addImage(store, "a", { f: "shared by a and b", g: "a" });
      await addImage(store, "b", { f: "shared by a and b", h: "b" });
      damage(store.objects.path(id("shared by a and b")), turned);
      expect(await seen()).to.deep.equal([["object-damaged", ["a", "b"], false]]);
      expect(await seen(true)).to.deep.equal([["object-damaged", ["a", "b"], true]]);
      expect(fs.readdirSync(store.folder("quarantine"))).to.deep.equal([`object-${id("shared by a and b")}`]);
      expect(await seen(true)).to.deep.equal([["object-missing", ["a", "b"], false]]);
      await addImage(store, "a", { f: "shared by a and b", g: "a" });
      expect(await seen()).to.deep.equal([]);
    });

    it("moves a damaged layer away, so that a new import writes it anew", async () => {
      const layer = await addImage(store, "a", { f: "f" });
      damage(path.join(store.layerPath(layer), "index"), (bytes) => { bytes[400] = (bytes[400] as number) ^ 1; return bytes; });
      expect((await seen(true)).map(([kind]) => kind)).to.deep.equal(["layer-damaged"]);
      expect((await seen()).map(([kind, images]) => [kind, images])).to.deep.equal([["layer-missing", ["a"]]]);
      await addImage(store, "a", { f: "f" });
      expect(await seen()).to.deep.equal([]);
    });

    it("removes a damaged chain, which is merged again when it is needed", async () => {
      const layer = await addImage(store, "a", { f: "f" });
      (await store.openChain([layer], "test")).close();
      damage(store.chainPath(layer), turned);
      expect(await seen(true)).to.deep.equal([["chain-damaged", ["a"], true]]);
      (await store.openChain([layer], "test")).close();
      expect(await seen()).to.deep.equal([]);
    });

    it("finds damaged references, strays and indexes under another's name", async () => {
      const a = await addImage(store, "a", { f: "f" });
      const b = await addImage(store, "b", { f: "g" });
      damage(path.join(store.folder("refs"), "b"), () => Buffer.from("[]"));
      fs.writeFileSync(path.join(store.folder("objects"), "README"), "");
      fs.rmSync(store.layerPath(a), { recursive: true });
      fs.cpSync(store.layerPath(b), store.layerPath(a), { recursive: true });
      expect((await seen(true)).sort()).to.deep.equal([["layer-damaged", ["a"], true], ["ref-damaged", ["b"], true], ["stray", [], true]]);
      expect((await seen()).sort()).to.deep.equal([["layer-missing", ["a"], false]]);
    });

    it("finds objects of another size than an index says", async () => {
      const writer = await store.write("test");
      const { digest } = await writer.putBytes(text("four"));
      const tree = new LayerTree();
      tree.put(["f"], file("", { content: { kind: "object", digest, size: 5 } }));
      await writer.addLayer(id("l"), tree.write(store.hash, id("l")));
      await writer.publish();
      await writer.end();
      expect(await seen()).to.deep.equal([["object-damaged", [], false]]);
    });

    it("stops when it is told to", async () => {
      await addImage(store, "a", { f: "f" });
      expect(await fsckStore(store, { signal: AbortSignal.abort(new RangeError("enough")) }).then(() => "", (error: Error) => error.message)).to.equal("enough");
    });
  });

  it("stays good when writers and sweepers are killed at any point", async function () {
    this.timeout(60_000);
    // In memory where there is such a place: every run waits for syncfs, which elsewhere waits for all other programs' data too.
    const place = fs.mkdtempSync(path.join(fs.existsSync("/dev/shm") ? "/dev/shm" : os.tmpdir(), "stratafs-store-"));
    try {
      await killLoop(await openStore(path.join(place, "s"), { create: true }));
    } finally {
      fs.rmSync(place, { recursive: true, force: true });
    }
  });

  async function killLoop(store: Store): Promise<void> {
    let delay = 1;
    for (let run = 0; run < 8; run++) {
      const children = [child("write", store.path, `w${run}`), child("write", store.path, "w"), child("sweep", store.path)];
      await Promise.all(children.map(ready));
      await new Promise((resolve) => setTimeout(resolve, delay));
      delay = (delay * 7) % 61;
      await Promise.all(children.map(killed));
      const { problems } = await fsckStore(await openStore(store.path));
      expect(problems).to.deep.equal([]);
    }
    await sweepStore(store, { graceMs: -10_000 });
    expect(fs.readdirSync(store.folder("staging"))).to.deep.equal([]);
    expect(fs.readdirSync(store.folder("leases"))).to.deep.equal([]);
    for (const { layers } of store.images()) (await store.openChain(layers, "test")).close();
    expect((await fsckStore(store)).problems).to.deep.equal([]);
  }
});
