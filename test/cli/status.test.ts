import { expect } from "chai";
import { command, Ground, isRoot, shell } from "./command.js";

interface Status {
  readonly waiting: number;
  readonly servers: readonly { readonly pid: number; readonly state: string }[];
  readonly heirs: readonly { readonly pid: number; readonly state: string }[];
  readonly server: { readonly data: string; readonly channel: string; readonly served: Record<string, number>; readonly waiting: readonly unknown[] } | null;
  readonly problem: string | null;
}

describe("stratafs status", function () {
  this.timeout(60_000);
  let ground: Ground;
  before(function () {
    if (!isRoot) this.skip();
  });
  beforeEach(() => {
    ground = new Ground({ "lower/file": "text\n", "upper/": "", "work/": "", "m/": "" });
    expect(command(["mount", "-o", "lowerdir=lower,upperdir=upper,workdir=work,data=cached", "m"], { cwd: ground.path })).to.deep.include({ status: 0, stderr: "" });
  });
  afterEach(() => {
    ground.remove();
  });
  const json = (): Status => JSON.parse(command(["status", "--json", ground.at("m")]).stdout) as Status;

  it("says how a mount is served, what was asked and that nothing waits", () => {
    shell("cat m/file; ls m", { cwd: ground.path });
    const { status, stdout, stderr } = command(["status", "m"], { cwd: ground.path });
    expect({ status, stderr }).to.deep.equal({ status: 0, stderr: "" });
    expect(stdout).to.match(/^\S+\/m: stratafs, fuse\.stratafs, connection \d+\n {2}server .* inodes known.*\n {2}heir {6}process \d+, which goes on when the server is gone\n {2}data {6}cached\n {2}channel {3}device, FUSE 7\.\d+\n {2}served .* requests: .*LOOKUP.*\n {2}waiting .*0 in the server\n$/);
    const all = json();
    expect(all.server).to.deep.include({ data: "cached", channel: "device", waiting: [] });
    expect(all.server!.served["LOOKUP"]).to.be.greaterThan(0);
    expect(all.waiting).to.equal(0);
  });

  it("is not in a listing of xattrs, and answers its owner alone", () => {
    const asked = shell("getfattr -m - -d m; chmod 755 . m; getfattr -n user.stratafs.status m >/dev/null && echo root", { cwd: ground.path });
    if (/not found/.test(asked.stderr)) return; // getfattr is not installed
    expect(asked.stdout).to.equal("root\n");
    expect(command(["status", "--server", ground.at("m")], { id: 12345 }).stdout).to.equal("\n");
    expect(command(["status", "--server", ground.at("m")], { id: 12345 }).status).to.equal(1);
  });

  it("sees a server that is stopped, and what waits for it, without waiting itself", function () {
    const [server] = json().servers;
    if (server === undefined) this.skip(); // before Linux 6.16 the descriptors of a connection do not say its number
    process.kill(server.pid, "SIGSTOP");
    shell("(cat m/nothing & echo $! > waiting) 2>/dev/null >/dev/null; sleep 0.2", { cwd: ground.path });
    const stopped = command(["status", ground.at("m")]);
    const all = json();
    process.kill(server.pid, "SIGCONT");
    expect(stopped.status).to.equal(1);
    expect(stopped.stdout).to.include(`process ${server.pid} (stopped) hangs: it does not answer`).and.to.match(/waiting +[12] in the kernel/);
    expect(all).to.deep.include({ server: null, servers: [{ pid: server.pid, state: "T" }], problem: "hangs: it does not answer" });
    expect(command(["status", ground.at("m")]).status).to.equal(0);
  });

  it("says that a mount is dead, and that there is none", function () {
    const [server] = json().servers;
    if (server === undefined) this.skip(); // as above
    const pids = [...json().heirs, server].map(({ pid }) => pid);
    for (const pid of pids) process.kill(pid, "SIGKILL");
    for (const pid of pids) shell(`while kill -0 ${pid} 2>/dev/null; do sleep 0.05; done`);
    expect(command(["status", ground.at("m")])).to.deep.include({ status: 1, stderr: "" });
    expect(json().problem).to.equal("is gone; the mount is dead, and stratafs umount takes it away");
    expect(command(["umount", ground.at("m")]).status).to.equal(0);
    for (const path of [ground.at("m"), "/proc", ground.at("nowhere")]) {
      const { status, stderr } = command(["status", path]);
      expect(status).to.equal(1);
      expect(stderr).to.match(/^stratafs: EINVAL[^\n]*no FUSE filesystem is mounted there\n$/);
    }
  });
});
