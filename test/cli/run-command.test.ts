import { expect } from "chai";
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { command, Ground, isRoot, shell, stratafs } from "./command.js";

/** Somebody without any privilege. */
const NOBODY = 65534;
const mayNest = existsSync("/proc/self/ns/user") && readFileSync("/proc/sys/user/max_user_namespaces", "latin1").trim() !== "0";

describe("stratafs run", function () {
  this.timeout(60_000);
  let ground: Ground;
  before(function () {
    if (!existsSync("/dev/fuse")) this.skip();
  });
  beforeEach(() => void (ground = new Ground()));
  afterEach(() => ground.remove());

  const run = (script: string, ...options: string[]) => command(["run", ...options, "--", "sh", "-c", script], { cwd: ground.path });
  const leftovers = () => readdirSync(tmpdir()).filter((name) => name.startsWith("stratafs-run-"));

  it("gives the command a root of its own, which leaves the host as it was and nothing behind", () => {
    const before = leftovers();
    const { status, stdout } = run("echo changed > /etc/hostname && cat /etc/hostname && rm -rf /usr/sbin && ls -d /usr/sbin || echo gone");
    expect({ status, stdout }).to.deep.equal({ status: 0, stdout: "changed\ngone\n" });
    expect(readFileSync("/etc/hostname", "utf8")).to.not.equal("changed\n");
    expect(existsSync("/usr/sbin/chroot")).to.equal(true);
    expect(leftovers()).to.deep.equal(before);
  });

  it("keeps the changes in --upper, and lists them with --diff", () => {
    const { status, stderr } = run("echo x > /etc/new && rm /etc/hostname", "--upper", "upper", "--diff");
    expect({ status, stderr }).to.deep.equal({ status: 0, stderr: "D /etc/hostname\nA /etc/new\n" });
    expect(readFileSync(ground.at("upper/etc/new"), "utf8")).to.equal("x\n");
    expect(run("cat /etc/new", "--upper", "upper").stdout).to.equal("x\n");
  });

  it("ends as the command ends", () => {
    expect(run("exit 7").status).to.equal(7);
    expect(run("kill -SEGV $$").status).to.equal(128 + 11);
    expect(run("kill -TERM $$").status).to.equal(128 + 15);
  });

  it("says that a command cannot be executed with 127 or 126, and that it was never tried with 125", () => {
    for (const [args, status, line] of [
      [["--", "no-such-program"], 127, /^stratafs: run: no-such-program: not found in the root\n$/], [["--", "/etc/passwd"], 126, /may not be executed/],
      [["--workdir", "/no/such", "--", "true"], 125, /chdir \/no\/such/], [["--lower", "nowhere", "--", "true"], 125, /nowhere/],
    ] as const) {
      const outcome = command(["run", ...args], { cwd: ground.path });
      expect(outcome.status, outcome.stderr).to.equal(status);
      expect(outcome.stderr).to.match(line).and.match(/^[^\n]+\n$/);
    }
  });

  it("passes signals on, and the command's answer to them back", async () => {
    const child = spawn(stratafs, ["run", "--", "sh", "-c", "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done"], { stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    const ended = new Promise<number | null>((resolve) => child.on("exit", resolve));
    child.stdout.on("data", (text: Buffer) => {
      said += text.toString();
      if (said === "ready\n") child.kill("SIGTERM");
    });
    expect(await ended).to.equal(9);
    expect(said).to.equal("ready\ncaught\n");
  });

  it("leaves nothing behind when a signal ends it, however early", async () => {
    const before = leftovers();
    for (const delay of [40, 80, 110, 140, 170, 200, 230, 260, 300]) {
      const child = spawn(stratafs, ["run", "--", "sleep", "10"], { stdio: "ignore" });
      const ended = new Promise<string>((resolve) => child.on("exit", (code, signal) => resolve(String(signal ?? code))));
      setTimeout(() => child.kill("SIGTERM"), delay);
      expect(await ended, `after ${delay} ms`).to.be.oneOf(["SIGTERM", "143"]);
      expect(leftovers(), `after ${delay} ms`).to.deep.equal(before);
    }
  });

  it("isolates processes, names and mounts, with a /dev, /proc and /sys that work", () => {
    const { stdout, stderr } = run("ls /proc | grep -c '^[0-9]'; hostname; echo x > /dev/null && head -c 4 /dev/zero | wc -c; ls -d /sys/class; test -c /dev/pts/ptmx && echo pty; touch /dev/shm/x", "--hostname", "box");
    expect(stderr).to.equal("");
    const [processes, ...rest] = stdout.trimEnd().split("\n");
    expect(Number(processes)).to.be.below(7);
    expect(rest).to.deep.equal(["box", "4", "/sys/class", "pty"]);
  });

  it("cuts the network off with --no-network, but for a loopback device that is up", () => {
    expect(run("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; cat /sys/class/net/lo/operstate 2>/dev/null; ping -c 1 -w 1 127.0.0.1 >/dev/null 2>&1; true", "--no-network").stdout).to.match(/^lo\n/);
  });

  it("shows volumes, read-only ones too, at places that need not exist, without touching the upper", () => {
    const volumes = new Ground({ "in/f": "host\n" });
    try {
      const { stdout, stderr } = run(`cat /data/a/f; echo no > /data/a/f; echo yes > /data/b/g`, "--volume", `${volumes.at("in")}:/data/a:ro`, "--volume", `${volumes.at("in")}:/data/b`, "--upper", "u");
      expect(stdout).to.equal("host\n");
      expect(stderr).to.include("Read-only");
      expect(readFileSync(volumes.at("in/g"), "utf8")).to.equal("yes\n");
      expect(readdirSync(ground.at("u"))).to.deep.equal([]);
    } finally {
      volumes.remove();
    }
  });

  it("writes nothing with --read-only", () => {
    expect(run("touch /x", "--read-only").stderr).to.include("Read-only file system");
  });

  it("works in both data modes and at a directory of the host", function () {
    if (!isRoot) this.skip();
    new Array("cached", "passthrough").forEach((mode) => expect(run("echo 1 >> /etc/hostname; tail -n 1 /etc/hostname", "--data", mode).stdout, mode).to.equal("1\n"));
    shell("mkdir root", { cwd: ground.path });
    expect(run("echo 1 > /x; cat /x", "--root", "root")).to.deep.equal({ status: 0, stdout: "1\n", stderr: "" });
    expect(shell("ls root", { cwd: ground.path }).stdout).to.equal("");
  });

  it("works for an ordinary user, who is root inside and changes nothing outside", function () {
    // Distributions have /dev/fuse 0666, some bare machines do not.
    if (!isRoot || !mayNest || (statSync("/dev/fuse").mode & 0o006) !== 0o006) this.skip();
    shell(`chown ${NOBODY}:${NOBODY} ${ground.path}`);
    // A copy that this user may read, wherever the repository is.
    const copy = new Ground();
    try {
      shell(`mkdir ${copy.at("dist")} && cp ${stratafs} ${copy.at("dist")} && cp -r ${new URL("../../../native", import.meta.url).pathname} ${new URL("../../../package.json", import.meta.url).pathname} ${copy.path} && chmod -R a+rX ${copy.path}`);
      const args = ["run", "--upper", ground.at("u"), "--diff", "--", "sh", "-c", "id -u; echo mine > /etc/hostname; cat /etc/hostname; rm -rf /usr/share/doc; mv /etc/apt /etc/apt2; exit 5"];
      const { status, stdout, stderr } = shell(`exec ${copy.at("dist/stratafs.js")} "$@"`.replace('"$@"', args.map((arg) => `'${arg}'`).join(" ")), { id: NOBODY, cwd: ground.path, env: { HOME: "/" } });
      expect({ status, stdout }, stderr).to.deep.equal({ status: 5, stdout: "0\nmine\n" });
      expect(stderr.split("\n")).to.include.members(["C /etc/hostname", "D /etc/apt", "A /etc/apt2/"]);
      expect(readFileSync("/etc/hostname", "utf8")).to.not.equal("mine\n");
    } finally {
      copy.remove();
    }
  });
});
