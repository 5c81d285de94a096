/** What others can do to the processes of a supervised mount, and to the memory that outlives them (SECURITY.md). */
import { spawnSync } from "node:child_process";
import { expect } from "chai";
import { command, Ground, isRoot, shell, stratafs } from "../cli/command.js";

const NOBODY = 65534;

describe("the processes of a supervised mount (needs root)", function () {
  this.timeout(60_000);
  let ground: Ground;
  before(function () {
    if (!isRoot) this.skip();
  });
  beforeEach(() => {
    ground = new Ground({ "l/one": "1\n", "u/": "", "w/": "", "m/": "" });
    shell("chmod 755 . m", { cwd: ground.path });
    expect(command(["mount", "--supervised", "-o", "lowerdir=l,upperdir=u,workdir=w", "m"], { cwd: ground.path }).status).to.equal(0);
  });
  afterEach(() => {
    shell("umount m", { cwd: ground.path });
    ground?.remove();
  });

  /** Server and heir, by what they have open, and the number of the journal there. */
  function processes(): readonly (readonly [pid: string, journal: string])[] {
    const { stdout } = shell(`dev=$(awk '$5 == "${ground.at("m")}" { print $3 }' /proc/self/mountinfo)
      for p in /proc/[0-9]*; do fd=$(ls -l $p/fd 2>/dev/null | sed -n "s/.* \\([0-9]*\\) -> .memfd:stratafs-$dev .*/\\1/p"); [ -z "$fd" ] || echo $(basename $p) $fd; done`);
    return stdout.trim().split("\n").map((line) => line.split(" ") as [string, string]);
  }
  /** What opens the journal, the memory and the environment of a process, and signals it; says only what it could do. */
  const reach = ([pid, journal]: readonly [string, string]): string =>
    `for f in fd/${journal} mem environ maps; do head -c 1 /proc/${pid}/$f >/dev/null 2>&1 && echo read $f of ${pid}; done; ls /proc/${pid}/map_files >/dev/null 2>&1 && echo listed ${pid}`;

  it("another user neither reads nor signals server and heir, and upgrades nothing", () => {
    const both = processes();
    expect(both).to.have.length(2);
    for (const one of both) {
      expect(shell(`${reach(one)}; ls /proc/${one[0]}/fd 2>/dev/null; kill -0 ${one[0]} 2>/dev/null && echo signalled; exit 0`, { id: NOBODY }).stdout).to.equal("");
      expect(shell(reach(one)).stdout, "the test itself reaches them").to.include(`read fd/${one[1]} of`);
    }
    expect(command(["upgrade", ground.at("m")], { id: NOBODY, cwd: "/" }).status).to.not.equal(0);
    expect(processes()).to.deep.equal(both);
  });

  it("root of a user namespace, with the same id outside, opens neither journal nor memory, and upgrades nothing", function () {
    if (spawnSync("unshare", ["-Ur", "true"]).status !== 0) this.skip(); // needs user namespaces
    const both = processes();
    for (const one of both) expect(shell(`unshare -Ur sh -c '${reach(one)}; exit 0'`).stdout).to.equal("");
    expect(shell(`unshare -Ur ${stratafs} upgrade ${ground.at("m")}`).stderr).to.match(/ENOENT[^\n]*no process of yours serves/);
    expect(processes()).to.deep.equal(both);
  });

  it("a process in a pid namespace sees neither of them, and who dies is replaced outside of it", () => {
    const [first] = processes();
    const inside = `cat m/one; cat /proc/[0-9]*/comm; ls -l /proc/[0-9]*/fd | grep -c -e memfd -e /dev/fuse; sleep 1; cat m/one; cat /proc/[0-9]*/comm`;
    const { stdout } = shell(`unshare --pid --fork --mount-proc sh -c '${inside}' & sleep 0.5; kill -9 ${processes().map(([pid]) => pid).find((pid) => !isHeir(pid))}; wait`, { cwd: ground.path });
    expect(stdout.match(/^(1|0|sh|cat|unshare|sleep)$/gm)).to.deep.equal(stdout.trim().split("\n"));
    expect(stdout.match(/^1$/gm), "both readings").to.have.length(2);
    expect(processes()).to.have.length(2);
    expect(processes()).to.not.deep.include(first);
  });

  it("leave to the programs that use the mount no descriptor, and name the journal nowhere but in /proc", () => {
    expect(shell("sh -c 'ls -l /proc/self/fd' | grep -c -e memfd -e /dev/fuse", { cwd: ground.at("m") }).stdout).to.equal("0\n");
    const [[pid, journal] = ["", ""]] = processes();
    // A file without a name: it has no links.
    expect(shell(`stat -L -c '%h %u' /proc/${pid}/fd/${journal}`).stdout).to.equal("0 0\n");
  });
});

function isHeir(pid: string): boolean {
  return shell(`cat /proc/${pid}/comm`).stdout.trim() === "stratafs-heir";
}
