/**
 * Callers that get a signal while their request waits. The lower layer is a mount whose reads can be held back, so that a copy-up takes as long as
 * the test wants: what ends while reads are held has not waited for the copy.
 */
import { expect } from "chai";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { createInterface } from "node:readline";
import type { ServerStatus } from "../../lib/index.js";
import { command, Ground } from "../cli/command.js";
import { MountedTree } from "../fuse/mounted-tree.js";
import { until } from "../supervised/world.js";
import { dataModes, isRoot, python } from "./world.js";

const SIZE = 4 << 20;
/** One call, by number of its ways, in a process that says "begins" before it and, after it, what it returned, errno, and how often its timer has fired. */
const program = `
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
path, how, timer = os.fsencode(sys.argv[1]), sys.argv[2], sys.argv[3] == "timer"
ticks = 0
def tick(number, frame):
    global ticks
    ticks += 1
if timer:
    signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
print("begins", flush=True)
if how == "truncate": result = libc.truncate(path, ctypes.c_long(1000000 * 3))
elif how == "open": result = libc.open(path, os.O_WRONLY)
else: result = libc.chmod(path, 0o600)
error = ctypes.get_errno() if result < 0 else 0
signal.setitimer(signal.ITIMER_REAL, 0)
print("ok" if result >= 0 else os.strerror(error), "ticked" if ticks > 0 else "quiet", flush=True)
`;

class Client {
  static readonly #all = new Set<Client>();
  readonly child: ChildProcess;
  readonly lines: AsyncIterator<string>;
  readonly #ended: Promise<unknown>;

  /** Ends all that were started. */
  static async end(): Promise<void> {
    for (const client of Client.#all) await client.kill();
    Client.#all.clear();
  }

  constructor(path: string, how: string, timer: "timer" | "no timer" = "no timer") {
    this.child = spawn(python!, ["-I", "-S", "-c", program, path, how, timer], { stdio: ["ignore", "pipe", "inherit"] });
    this.#ended = once(this.child, "exit");
    Client.#all.add(this);
    this.lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
  }

  async said(): Promise<string> {
    return ((await this.lines.next()) as { value: string }).value;
  }

  /** Resolves when it has ended. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.#ended;
  }
}

for (const data of dataModes) {
  for (const supervised of [false, true]) {
    describe(`a signal while a copy-up waits, data=${data}${supervised ? ", supervised" : ""} (needs root)`, function () {
      this.timeout(60_000);
      let ground: Ground;
      let lower: MountedTree;
      const mounted = (): string => ground.at("m");
      const server = (): ServerStatus => (JSON.parse(command(["status", "--json", mounted()]).stdout) as { server: ServerStatus }).server;
      const waits = (what: Partial<ServerStatus["waiting"][number]>, count = 1): Promise<void> =>
        until(() => server().waiting.filter((one) => Object.entries(what).every(([key, value]) => one[key as keyof typeof one] === value)).length === count, "the request to wait");
      /** Copies in progress; a spare whiteout is there as well. */
      const inWork = (): string[] => readdirSync(ground.at("work/work"), { withFileTypes: true }).filter((entry) => entry.isFile()).map(({ name }) => name);

      before(function () {
        if (!isRoot || python === undefined) this.skip();
      });
      beforeEach(async () => {
        lower = await MountedTree.start({ data: "cached", descriptors: false, big: SIZE });
        ground = new Ground({ "upper/": "", "work/": "", "m/": "" });
        const options = `lowerdir=${lower.path},upperdir=${ground.at("upper")},workdir=${ground.at("work")},data=${data},metacopy=off`;
        expect(command(["mount", ...(supervised ? ["--supervised"] : []), "-o", options, mounted()])).to.deep.equal({ status: 0, stdout: "", stderr: "" });
        expect(command(["status", mounted()]).status).to.equal(0);
        lower.hold();
      });
      afterEach(async () => {
        lower?.release();
        await Client.end();
        const { stderr } = command(["umount", mounted()]);
        ground?.remove();
        await lower?.close();
        expect(stderr).to.equal("");
      });

      for (const how of data === "passthrough" ? ["open", "truncate", "chmod"] : ["truncate", "chmod"]) {
        it(`ends ${how}(2) when it is fatal, before the copy ends, and the copy with it`, async () => {
          const client = new Client(`${mounted()}/big`, how);
          expect(await client.said()).to.equal("begins");
          await waits({});
          await client.kill();
          // The copy still stands in its first read.
          expect([readdirSync(ground.at("upper")), inWork().length]).to.deep.equal([[], 1]);
          await until(() => server().waitingCount === 0, "the request to be answered");
          lower.release();
          await until(() => inWork().length === 0, "the copy to be given up");
          expect(readdirSync(ground.at("upper"))).to.deep.equal([]);
          expect(command(["status", mounted()]).status).to.equal(0);

          // Whoever comes next has what he asks for.
          const next = new Client(`${mounted()}/big`, how);
          expect([await next.said(), await next.said()]).to.deep.equal(["begins", "ok quiet"]);
          expect(statSync(ground.at("upper/big"))).to.include({ size: how === "truncate" ? 3_000_000 : SIZE });
          expect(readFileSync(ground.at("upper/big")).every((byte) => byte === 0x78)).to.equal(true);
        });
      }

      it("shows a program with a timer no EINTR, and still ends it when a fatal one follows", async () => {
        const client = new Client(`${mounted()}/big`, "truncate", "timer");
        expect(await client.said()).to.equal("begins");
        await waits({ interrupted: true });
        // /proc is looked at many times while this is asked.
        for (let i = 0; i < 3; i++) expect(server().waiting).to.have.length(1);
        await client.kill();
        expect(inWork()).to.have.length(1);
        lower.release();
        await until(() => inWork().length === 0, "the copy to be given up");

        lower.hold();
        const patient = new Client(`${mounted()}/big`, "truncate", "timer");
        expect(await patient.said()).to.equal("begins");
        await waits({ interrupted: true });
        for (let i = 0; i < 3; i++) expect(server().waiting).to.have.length(1);
        lower.release();
        expect(await patient.said()).to.equal("ok ticked");
        expect(statSync(ground.at("upper/big")).size).to.equal(3_000_000);
      });

      it("lets the copy go on for others who wait for it", async function () {
        // In cached mode the kernel has one such request for a file at a time.
        if (data === "cached") this.skip();
        const [killed, patient] = [new Client(`${mounted()}/big`, "open"), new Client(`${mounted()}/big`, "open")];
        expect([await killed.said(), await patient.said()]).to.deep.equal(["begins", "begins"]);
        await waits({ operation: "OPEN" }, 2);
        await killed.kill();
        await waits({ operation: "OPEN" }, 1);
        expect(inWork()).to.have.length(1);
        lower.release();
        expect(await patient.said()).to.equal("ok quiet");
        expect(statSync(ground.at("upper/big")).size).to.equal(SIZE);
      });
    });
  }
}
