import { expect } from "chai";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FsError } from "../../lib/base/errors.js";
import type { ChannelListener } from "../../lib/fuse/channel.js";
import { QueuePlacement } from "../../lib/fuse/placement.js";
import { UringChannel } from "../../lib/fuse/uring-channel.js";
import { FUSE_OVER_IO_URING } from "../../lib/fuse/wire/abi.js";
import { native } from "../../lib/sys/binding.js";
import type { NativeBinding } from "../../types/native.js";
import { MountedTree } from "./mounted-tree.js";
import { rings } from "./rings.js";

const EAGAIN = -11;
const ENOENT = -2;

/** A client in a process of its own; resolves with what it printed. */
async function client(script: string, ...args: string[]): Promise<string> {
  const child = spawn("sh", ["-c", script, "client", ...args], { stdio: ["ignore", "pipe", "ignore"] });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  await once(child, "close");
  return text;
}

describe("a mount served through a ring", () => {
  let restore: () => void;
  before(function () {
    const on = rings();
    if (typeof on === "string") this.skip(); // the reason: no io_uring for FUSE here, or it is off and only root may turn it on
    else restore = on;
  });
  after(() => restore?.());

  it("goes on answering when more requests wait than a queue has entries", async () => {
    const tree = await MountedTree.start({ data: "cached", descriptors: false, late: true, channel: "uring", files: { big: "x".repeat(100_000) } });
    try {
      const script = 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do (echo "$i" > "$0/f$i"; cat "$0/f$i"; wc -c < "$0/big") & done; wait';
      const lines = (await client(script.replaceAll("$0", "$1"), tree.path)).trim().split("\n");
      expect(lines.filter((line) => line === "100000")).to.have.length(20);
      expect(lines.filter((line) => line !== "100000").map(Number).sort((a, b) => a - b)).to.deep.equal(Array.from({ length: 20 }, (_, i) => i + 1));
    } finally {
      await tree.close();
    }
  });

  it("hears of forgotten nodes, which the device tells", async () => {
    const tree = await MountedTree.start({ data: "cached", descriptors: true, channel: "uring", many: 300 });
    try {
      for (let i = 0; i < 300; i++) statSync(join(tree.path, `many/f${i}`));
      expect((await tree.state()).nodes).to.be.greaterThan(300);
      await client('rm "$1"/many/f*; sleep 0.2', tree.path);
      expect((await tree.state()).nodes).to.be.lessThan(20);
    } finally {
      await tree.close();
    }
  });

  it("lets timers and messages of the server through while a client keeps it busy", async () => {
    const tree = await MountedTree.start({ data: "cached", descriptors: true, channel: "uring" });
    const busy = spawn("sh", ["-c", 'i=0; while [ -d "$0" ]; do i=$((i+1)); [ -e "$0/none$i" ]; done', tree.path], { stdio: "ignore" });
    try {
      for (let asked = 0; asked < 20; asked++) {
        const before = Date.now();
        await tree.counters();
        expect(Date.now() - before).to.be.lessThan(2000);
      }
    } finally {
      busy.kill("SIGKILL");
      await once(busy, "exit");
      await tree.close();
    }
  });

  it("ends with an error for its users, and for nobody else, when the server dies", async () => {
    const tree = await MountedTree.start({ data: "cached", descriptors: true, channel: "uring", files: { file: "text" } });
    expect(readFileSync(join(tree.path, "file"), "latin1")).to.equal("text");
    const asking = client('while [ "$(cat "$1/file" "$1/none$((i=i+1))" 2> /dev/null)" = text ]; do :; done; echo ended', tree.path);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await tree.kill();
    expect(await asking).to.equal("ended\n");
    rmdirSync(tree.path);
  });

  it("leaves no ring behind when it is unmounted under load", async () => {
    for (let round = 0; round < 5; round++) {
      const tree = await MountedTree.start({ data: "passthrough", descriptors: true, channel: "uring", files: { file: "text" } });
      writeFileSync(join(tree.path, "other"), "x");
      await tree.close();
      expect(existsSync(tree.path)).to.equal(false);
    }
  });
});

/** A binding whose ring is a list: what uringNext gives, and what was called. */
class FakeRing {
  readonly calls: string[] = [];
  readonly requests: number[] = [];
  refusal = 0;
  turn: () => void = () => {};
  readonly binding = {
    uringOpen: () => 50,
    uringClose: () => this.#call("close ring"),
    uringRegister: () => (this.#call("register"), this.refusal),
    uringNext: (_ring: number, _into: Uint8Array, waitUs: number) => (this.#call(waitUs > 0 ? "wait" : "next"), this.requests.shift() ?? EAGAIN),
    uringRest: () => this.#call("rest"),
    uringReply: (_ring: number, from: Uint8Array, length: number, now: number) => {
      if (from[8] === 99) return ENOENT;
      this.#call(now === 1 ? "reply now" : "reply");
      return length;
    },
    fuseWrite: (_fd: number, _from: Uint8Array, length: number) => (this.#call("write"), length),
    watch: (fd: number, handler: () => void) => {
      if (fd === 50) this.turn = handler;
      return fd;
    },
    unwatch: () => 0,
    close: () => this.#call("close device"),
    runOn: () => 0,
  };

  #call(what: string): number {
    this.calls.push(what);
    return 0;
  }
}

describe("UringChannel", () => {
  const listenerOf = (answer: () => void): ChannelListener & { errors: (Error | undefined)[] } => {
    const errors: (Error | undefined)[] = [];
    return { request: answer, ended: (error) => errors.push(error), errors };
  };
  const message = Buffer.alloc(16);
  const start = (fake: FakeRing, listener: ChannelListener): UringChannel => {
    const channel = new UringChannel(40, fake.binding as unknown as NativeBinding);
    channel.start(listener);
    channel.agreed(FUSE_OVER_IO_URING);
    channel.send(message, 16);
    return channel;
  };

  it("registers after the answer to INIT, and only when that was agreed", () => {
    const agreed = new FakeRing();
    start(agreed, listenerOf(() => {}));
    expect(agreed.calls).to.deep.equal(["write", "register", "rest"]);
    const not = new FakeRing();
    const channel = new UringChannel(40, not.binding as unknown as NativeBinding);
    channel.start(listenerOf(() => {}));
    channel.agreed(0);
    channel.send(message, 16);
    expect(not.calls).to.deep.equal(["write"]);
  });

  it("ends when the kernel has agreed on the ring and refuses its entries: it would hold every request back", () => {
    const fake = new FakeRing();
    fake.refusal = -12;
    const listener = listenerOf(() => {});
    start(fake, listener);
    expect(fake.calls).to.deep.equal(["write", "register", "close ring", "close device"]);
    expect(listener.errors).to.have.length(1);
    expect(listener.errors[0]).to.be.instanceOf(FsError).with.property("code", "ENOMEM");
  });

  it("sends an answer the way its request came, at once when it comes late", () => {
    const fake = new FakeRing();
    const channel = start(fake, listenerOf(() => channel.send(message, 16)));
    fake.calls.length = 0;
    fake.requests.push(40);
    fake.turn();
    expect(fake.calls).to.deep.equal(["next", "reply", "wait", "rest"]);
    fake.calls.length = 0;
    channel.send(message, 16);
    const notification = Buffer.alloc(16, 99);
    channel.send(notification, 16);
    expect(fake.calls).to.deep.equal(["reply now", "write"]);
  });

  it("waits for no request while it owes an answer", () => {
    const fake = new FakeRing();
    start(fake, listenerOf(() => {}));
    fake.calls.length = 0;
    fake.requests.push(40, 40 + 2 ** 21);
    fake.turn();
    expect(fake.calls).to.deep.equal(["next", "next", "next", "rest"]);
  });

  it("still owes an answer that was refused", () => {
    const fake = new FakeRing();
    const refused = { ...fake.binding, uringReply: () => -22 };
    const channel = new UringChannel(40, refused as unknown as NativeBinding);
    channel.start(listenerOf(() => channel.send(message, 16)));
    channel.agreed(FUSE_OVER_IO_URING);
    channel.send(message, 16);
    fake.calls.length = 0;
    fake.requests.push(40);
    fake.turn();
    expect(fake.calls).to.deep.equal(["next", "next", "rest"]);
  });

  it("ends once, the ring before the device, when the ring breaks", () => {
    const fake = new FakeRing();
    const listener = listenerOf(() => {});
    const channel = start(fake, listener);
    fake.calls.length = 0;
    fake.requests.push(-5);
    fake.turn();
    channel.stop();
    expect(fake.calls).to.deep.equal(["next", "close ring", "close device"]);
    expect(listener.errors).to.have.length(1);
    expect(listener.errors[0]).to.be.instanceOf(FsError).with.property("code", "EIO");
  });

  it("is refused in words where no ring is to be had", () => {
    const binding = { uringOpen: () => -1 } as unknown as NativeBinding;
    expect(() => new UringChannel(40, binding)).to.throw(FsError).with.property("code", "EPERM");
  });
});

describe("the placement by queues", () => {
  it("follows a client after sixteen requests in a row, and not two clients in turn", () => {
    const moves: number[] = [];
    const placement = new QueuePlacement({ runOn: (cpu) => (moves.push(cpu), 0) });
    for (let i = 0; i < 15; i++) placement.request(1);
    expect(moves).to.deep.equal([]);
    for (let i = 0; i < 100; i++) placement.request(1);
    for (let i = 0; i < 100; i++) placement.request(i % 2);
    expect(moves).to.deep.equal([1]);
    placement.end();
    placement.end();
    expect(moves).to.deep.equal([1, -1]);
  });
});

describe("a ring of the addon", () => {
  it("is opened, refuses what it cannot be, and is closed once", () => {
    const ring = native.uringOpen(-1, 2, 2, 1 << 20);
    if (ring === -1 || ring === -38 || ring === -13) return; // io_uring is forbidden here
    expect(ring).to.be.greaterThan(0);
    expect(native.uringReply(ring, new Uint8Array(16), 16, 0)).to.equal(ENOENT);
    expect(native.uringNext(ring, new Uint8Array(100), 1)).to.equal(EAGAIN);
    expect(native.uringRest(ring)).to.equal(0);
    expect(native.uringRegister(ring)).to.be.lessThan(0);
    expect(native.uringClose(ring)).to.equal(0);
    expect(native.uringClose(ring)).to.equal(-9);
    expect(native.uringNext(ring, new Uint8Array(100), 0)).to.equal(-9);
    expect(native.uringOpen(-1, 0, 2, 1 << 20)).to.equal(-22);
  });
});
