/** A client in execve(2) may not be looked at by anybody, and waits for its server: dirty files that are closed on exec are written back there. */
import { expect } from "chai";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MountedTree } from "./mounted-tree.js";

/** Writes a file that is closed on exec, and executes itself again, `n` times. */
const program = `
import os, sys
path, n = sys.argv[1], int(sys.argv[2])
os.write(os.open(path + "/f%d" % (n % 7), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC), b"x")
if n > 0: os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, path, str(n - 1)])
`;

describe("a program that executes another with dirty files open", () => {
  it("is served to its end (a server that read /proc of its client never answered)", async () => {
    const tree = await MountedTree.start({ data: "cached", descriptors: true });
    const script = mkdtempSync(join(tmpdir(), "stratafs-exec-"));
    try {
      writeFileSync(join(script, "program.py"), program);
      const child = spawn("python3", ["-I", "-S", join(script, "program.py"), tree.path, "100"], { stdio: "inherit" });
      const ended = new Promise<number | null>((resolve) => child.on("exit", resolve));
      // A client that waits for ever can only be ended by the end of its server.
      const late = setTimeout(() => void tree.kill(), 30_000);
      expect(await ended).to.equal(0);
      clearTimeout(late);
    } finally {
      await tree.close();
      rmSync(script, { recursive: true });
    }
  });
});
