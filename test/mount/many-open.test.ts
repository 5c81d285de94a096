/** More files open at once than one process here may have descriptors: opens in cached mode cost the server none. */
import { expect } from "chai";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { World } from "./world.js";

const FILES = 50_000;
/** What a client and Node itself need besides. */
const SPARE = 500;

/** Opens files FROM..TO of a directory, says so, waits for the end of its input, reads each and counts what is right. */
const client = `
const { closeSync, openSync, readSync } = require("fs");
const [directory, from, to] = process.argv.slice(1);
const opened = [];
for (let i = Number(from); i < Number(to); i++) opened.push([i, openSync(directory + "/f" + i, "r")]);
process.stdout.write("open\\n");
process.stdin.on("end", () => {
  const bytes = Buffer.alloc(16);
  let right = 0;
  for (const [i, fd] of opened) {
    if (bytes.toString("latin1", 0, readSync(fd, bytes, 0, 16, 0)) === String(i)) right++;
    closeSync(fd);
  }
  process.stdout.write(right + "\\n");
}).resume();
`;

describe("50,000 files open at once (cached)", function () {
  this.timeout(120_000);
  let world: World;
  before(() => void (world = new World()));
  after(() => world.close());

  it("are read by those who opened them, and cost the server no descriptor each", async function () {
    const perClient = Number(/^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1] ?? 1_000_000) - SPARE;
    if (perClient < 1000) this.skip(); // a limit that asks for more than 50 clients
    const files = Object.fromEntries(Array.from({ length: FILES }, (_, i) => [`f${i}`, String(i)]));
    await world.mount([world.lower("lower", files)], { data: "cached" });
    const before = descriptors();
    const clients = [];
    for (let from = 0; from < FILES; from += perClient) {
      const args = ["-e", client, world.mountpoint, String(from), String(Math.min(FILES, from + perClient))];
      clients.push(spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] }));
    }
    let right = 0;
    try {
      const said = clients.map((child) => once(child.stdout, "data"));
      for (const [text] of await Promise.all(said)) expect(String(text)).to.equal("open\n");
      expect(descriptors() - before, "descriptors of the server").to.be.lessThan(FILES / 2);
      const counts = clients.map((child) => once(child.stdout, "data"));
      for (const child of clients) child.stdin.end();
      for (const [count] of await Promise.all(counts)) right += Number(count);
      for (const child of clients) if (child.exitCode === null) await once(child, "exit");
    } finally {
      for (const child of clients) child.kill("SIGKILL");
    }
    expect(right).to.equal(FILES);
    await world.unmount();
    expect(world.logged).to.deep.equal([]);
  });
});

/** Of this process, whose worker serves the mount. */
function descriptors(): number {
  return Number(/^FDSize:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "latin1"))![1]);
}
