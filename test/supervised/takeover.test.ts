/** Mounts whose server is killed, replaced or loses its heir, seen by the programs that use them. */
import { expect } from "chai";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { descriptorOf } from "../../lib/cli/descriptors.js";
import { directoryLayer, directoryUpper, memoryLayer, memoryUpper, mount, mountLasting, type MountOptions, type StackDescription } from "../../lib/index.js";
import { Journal } from "../../lib/supervised/journal.js";
import { command, Ground, shell, stratafs } from "../cli/command.js";
import { dataModes, isRoot } from "../mount/world.js";
import { isAlive, SupervisedWorld, until } from "./world.js";

const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const many = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`many/${i}`, ""]));
const lower = { "lower/file": "lower", "lower/gone": "gone, but open", "lower/dir/": "", ...many };

for (const data of dataModes) {
  describe(`a supervised mount, data=${data} (needs root)`, function () {
    this.timeout(300_000);
    let world: SupervisedWorld;
    before(function () {
      if (!isRoot) this.skip();
    });
    beforeEach(async () => void (world = await SupervisedWorld.start(lower, data)));
    afterEach(() => world?.close());

    it("keeps everything that is open when its server is killed: files with and without names, directories, a listing", async () => {
      const client = spawn(process.execPath, [script("handles.js"), world.at()], { stdio: ["pipe", "pipe", "inherit"] });
      const lines = createInterface({ input: client.stdout })[Symbol.asyncIterator]();
      expect((await lines.next()).value).to.equal("open");
      let inos: unknown;
      for (let round = 1; round <= 3; round++) {
        const served = world.servers().length;
        world.kill();
        client.stdin.write("\n");
        const seen = JSON.parse((await lines.next()).value as string) as Record<string, unknown>;
        const text = `before${Array.from({ length: round }, (_, i) => `, round ${i + 1}`).join("")}`;
        const counted = "123".slice(0, round);
        inos ??= seen["inos"];
        expect(seen).to.deep.equal({
          written: text, name: text, unlinked: ["without a name", 0, 0o640], lower: "lower", gone: ["gone, but open", 0], linked: ["two names", 1, true],
          replaced: ["old", "new"], removed: [0, false], deep: [counted, counted], inos, names: [Math.min(300, 40 + 100 * round), Math.min(300, 40 + 100 * round)],
        });
        await world.succeeded(served);
      }
      client.kill("SIGKILL");
      await once(client, "exit");
      await world.unmount();
    });

    it("shows random operations the same results as a mount that nobody kills", async () => {
      const seed = Number(process.env["MODEL_SEED"] ?? Date.now() % 100_000);
      const operate = (root: string) => spawn(process.execPath, [script("../model/client.js"), "operate", root, String(seed), "250"], { stdio: ["ignore", "pipe", "inherit"] });
      const outputOf = async (child: ReturnType<typeof operate>): Promise<string> => {
        let text = "";
        child.stdout!.on("data", (bytes: Buffer) => (text += bytes.toString("utf8")));
        const [status] = (await once(child, "close")) as [number | null];
        expect(status, `seed ${seed}`).to.equal(0);
        return text;
      };
      const child = operate(world.at());
      let over = false;
      const killed = outputOf(child).finally(() => (over = true));
      for (let kills = 0; !over && kills < 6; kills++) {
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 400));
        const served = world.servers().length;
        if (!over && isAlive(world.server)) world.kill();
        await until(() => over || world.servers().length > served, "another server");
      }
      for (const name of ["upper", "work", "mnt"]) mkdirSync(`${world.top}/other/${name}`, { recursive: true });
      const other = await mount({ lowers: [directoryLayer(`${world.top}/layer`)], upper: directoryUpper(`${world.top}/other/upper`, { workdir: `${world.top}/other/work` }) }, `${world.top}/other/mnt`, { data });
      try {
        expect(JSON.parse(await killed), `seed ${seed}, ${world.servers().length} servers`).to.deep.equal(JSON.parse(await outputOf(operate(other.mountpoint))));
      } finally {
        await other.unmount();
      }
      expect(world.log()).to.equal("");
      await world.unmount();
    });

    it("lets a server hand over when it is asked to, and goes on", async () => {
      const fs = await world.client();
      const fd = await fs.do<number>("openSync", world.at("file"), "w+");
      await fs.do("writeSync", fd, "kept");
      const first = world.server;
      process.kill(first, "SIGUSR2");
      await world.succeeded(1);
      expect(isAlive(first)).to.equal(false);
      expect(await fs.contentOf(fd)).to.equal("kept");
      await world.unmount();
    });

    it("has another heir when its heir dies, and ends when both die", async () => {
      const fs = await world.client();
      await until(() => world.heirs().length === 1, "an heir");
      const [heir] = world.heirs();
      process.kill(heir!, "SIGKILL");
      await until(() => world.heirs().some((pid) => pid !== heir), "another heir");
      world.kill();
      expect(await fs.do("readFileSync", world.at("lower/file"), "utf8")).to.equal("lower");
      await world.succeeded(1);

      await until(() => world.heirs().length === 1, "an heir");
      const { server } = world;
      process.kill(server, "SIGSTOP"); // or it would have a new heir
      process.kill(world.heirs()[0]!, "SIGKILL");
      process.kill(server, "SIGKILL");
      await until(() => !isAlive(server) && world.heirs().length === 0, "both to end");
      // A name that the kernel has to ask for: ECONNABORTED when it still could ask, and the connection ended then.
      expect(await fs.do("lstatSync", world.at("lower/never")).catch((error: { code: string }) => error.code)).to.be.oneOf(["ENOTCONN", "ECONNABORTED"]);
      expect(shell(`umount ${world.at()} && ls -A ${world.at()}`)).to.deep.equal({ status: 0, stdout: "", stderr: "" });
    });

    it("leaves nothing after an unmount, whoever serves by then", async () => {
      const fs = await world.client();
      await fs.do("writeFileSync", world.at("file"), "text");
      world.kill();
      await fs.do("unlinkSync", world.at("lower/gone"));
      await world.unmount();
      expect(shell(`ls -A ${world.top}/work/work ${world.at()}; cat ${world.top}/upper/file`).stdout).to.equal(`${world.at()}:\n\n${world.top}/work/work:\ntext`);
    });
  });
}

describe("stratafs mount --supervised and upgrade (needs root)", function () {
  this.timeout(120_000);
  let ground: Ground;
  before(function () {
    if (!isRoot) this.skip();
  });
  beforeEach(() => void (ground = new Ground({ "a/one": "1\n", "upper/": "", "work/": "", "m/": "" })));
  afterEach(() => ground?.remove());
  const STACK = "lowerdir=a,upperdir=upper,workdir=work";

  it("mounts from relative paths, hands over to the program that upgrades it, and says when there is nothing to upgrade", () => {
    const here = { cwd: ground.path };
    expect(command(["upgrade", "m"], here).stderr).to.match(/^stratafs: ENOENT[^\n]*\n$/);
    expect(command(["mount", "--supervised", "-o", STACK, "m"], here)).to.deep.equal({ status: 0, stdout: "", stderr: "" });
    expect(shell(`exec 3<>m/open; echo one >&3; rm m/open; ${stratafs} upgrade m && echo two >&3 && cat /proc/self/fd/3 m/one`, here)).to.deep.equal({ status: 0, stdout: "one\ntwo\n1\n", stderr: "" });
    expect(command(["umount", "m"], here).status).to.equal(0);
  });

  it("finds a journal among descriptors that are closed meanwhile", () => {
    // The lowest free number is that of the listing itself, which is closed when the links are read.
    const free = openSync("/dev/null", "r");
    const journal = Journal.create("stratafs-test");
    closeSync(free);
    expect(descriptorOf("self", "/memfd:stratafs-test (deleted)")).to.equal(journal.fd);
    expect(descriptorOf("self", "/memfd:stratafs-other (deleted)")).to.equal(undefined);
    closeSync(journal.fd);
  });

  it("refuses what it cannot hand on", async () => {
    const program = { argv: [process.execPath], env: {} };
    const refused: readonly [StackDescription, MountOptions, RegExp][] = [
      [{ lowers: [memoryLayer({})] }, {}, /a layer in memory/],
      [{ lowers: [{ kind: "store", store: ground.path, what: "image", options: {} }] }, {}, /image's name/],
      [{ lowers: [directoryLayer(ground.at("a"))], upper: memoryUpper() }, {}, /an upper in memory/],
      [{ lowers: [directoryLayer(ground.at("a"))], upper: directoryUpper(ground.at("upper")) }, {}, /work directory/],
      [{ lowers: [directoryLayer(ground.at("a"))], ino32: true }, {}, /32 bits/],
      [{ lowers: [directoryLayer(ground.at("a"))] }, { channel: "uring" }, /ring/],
      [{ lowers: [directoryLayer(ground.at("a"))] }, { host: "fuse-native" }, /fuse-native/],
    ];
    for (const [stack, options, reason] of refused) {
      const error = await mountLasting(stack, ground.at("m"), options, program).then(() => undefined, (thrown: { code: string; message: string }) => thrown);
      expect(error?.code).to.equal("EINVAL");
      expect(error?.message).to.match(reason);
    }
    expect(command(["mount", "-f", "-o", `${STACK},supervised`, "m"], { cwd: ground.path })).to.include({ status: 2 });
    expect(readFileSync("/proc/mounts", "latin1")).to.not.include(ground.at("m"));
  });
});
