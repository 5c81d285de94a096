import { expect } from "chai";
import { mkdirSync, readFileSync, readdirSync, writeFileSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { FsError } from "../../lib/base/errors.js";
import { S_IFCHR, makedev } from "../../lib/base/mode.js";
import { native } from "../../lib/sys/binding.js";
import {
  CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS, MNT_DETACH, MS_PRIVATE, MS_REC,
} from "../../lib/sys/flags.js";
import { Plan } from "../../lib/sys/plan.js";
import { makePipe, startPlan, waitForChild, type Exit } from "../../lib/sys/process.js";
import { itAsRoot, scratch } from "./world.js";

const { SIGKILL, SIGTERM, SIGUSR1 } = constants.signals;
const shell = (plan: Plan, script: string, ...environment: string[]): Plan =>
  plan.exec("/bin/sh", ["sh", "-c", script], ["PATH=/usr/bin:/bin", ...environment]);

/** Runs `script` at the end of `plan`; what it wrote, and how it ended. */
async function outcomeOf(plan: Plan, script: string, ...environment: string[]): Promise<{ output: string; exit: Exit }> {
  const [readEnd, writeEnd] = makePipe();
  const child = startPlan(shell(plan.inheritStdio().dup2(writeEnd, 1).closeFrom(3), script, ...environment));
  native.close(writeEnd);
  await child.started;
  const exit = await child.exited;
  const output = readFileSync(readEnd, "latin1").trim();
  native.close(readEnd);
  return { output, exit };
}

async function failureOf(plan: Plan): Promise<{ code: string; syscall: string; exit: Exit }> {
  const child = startPlan(plan);
  const error = await child.started.then(() => new Error("it started"), (reason: unknown) => reason);
  expect(error).to.be.instanceOf(FsError);
  const { code, syscall } = error as FsError;
  return { code, syscall, exit: await child.exited };
}

describe("a planned process", () => {
  it("ends with its own exit code", async () => {
    expect(await outcomeOf(new Plan(), "echo out; exit 11")).to.deep.equal({ output: "out", exit: { code: 11 } });
  });

  it("ends with the signal that killed it", async () => {
    expect((await outcomeOf(new Plan(), "kill -TERM $$")).exit).to.deep.equal({ signal: SIGTERM });
  });

  it("gets its arguments and environment byte by byte", async () => {
    const { output } = await outcomeOf(new Plan(), 'printf "%s|" "$A" "$B"', "A=\xff\xe9", "B=");
    expect(output).to.equal("\xff\xe9||");
  });

  it("is looked for in the folders given", async () => {
    const child = startPlan(new Plan().execPath("/no/such:/bin:/usr/bin", "true", ["true"], []));
    await child.started;
    expect(await child.exited).to.deep.equal({ code: 0 });
    const missing = await failureOf(new Plan().execPath("/no/such:/bin", "no-such-program", ["x"], []));
    expect(missing).to.include({ code: "ENOENT" });
    expect(missing.exit).to.deep.equal({ code: 125 });
  });

  it("says EACCES for a program that is there and may not be run", async () => {
    expect(await failureOf(new Plan().execPath("/etc:/no/such", "passwd", ["x"], []))).to.include({ code: "EACCES" });
  });

  it("reports the step that failed and why", async () => {
    const plan = new Plan().umask(0o22).chdir("/no/such/folder").exec("/bin/true", ["true"], []);
    expect(await failureOf(plan)).to.deep.equal({ code: "ENOENT", syscall: "chdir /no/such/folder", exit: { code: 125 } });
  });

  it("goes on after a step that may fail", async () => {
    expect((await outcomeOf(new Plan().chdir("/no/such/folder").orIgnore(), "true")).exit).to.deep.equal({ code: 0 });
  });

  it("inherits no descriptor above 2", async () => {
    expect((await outcomeOf(new Plan(), "ls /proc/self/fd")).output.split("\n")).to.deep.equal(["0", "1", "2", "3"]);
  });

  it("starts with default handlers and an empty mask after resetSignals", async () => {
    const { output } = await outcomeOf(new Plan().resetSignals(), "cat /proc/self/status");
    for (const set of ["SigBlk", "SigIgn", "SigCgt"]) expect(output).to.match(new RegExp(`${set}:\\s0{16}$`, "m"));
  });

  it("is signalled, and then not any more", async () => {
    const child = startPlan(new Plan().resetSignals().exec("/bin/sleep", ["sleep", "60"], []));
    await child.started;
    expect(child.signal(SIGKILL)).to.equal(true);
    expect(await child.exited).to.deep.equal({ signal: SIGKILL });
    expect(child.signal(SIGKILL)).to.equal(false);
  });

  it("waits for a go-ahead and can be waited for by its number", async () => {
    const [readEnd, writeEnd] = makePipe();
    const plan = new Plan().readByte(readEnd).exec("/bin/true", ["true"], []).encode();
    const [errors, errorEnd] = makePipe();
    const pid = native.runPlan(plan, errorEnd);
    native.close(errorEnd);
    expect(native.waitReadable(errors, 50)).to.equal(0);
    writeSync(writeEnd, "x");
    expect(await waitForChild(pid)).to.deep.equal({ code: 0 });
    for (const fd of [errors, readEnd, writeEnd]) native.close(fd);
  });

  it("is refused texts that could not be passed on", () => {
    expect(() => new Plan().chdir("a\0b")).to.throw(TypeError, "NUL");
    expect(() => new Plan().exec("/bin/true", ["\u20ac"], [])).to.throw(TypeError, "latin1");
  });
});

describe("the process between, in a fork step", () => {
  it("hands on the exit code and the signal", async () => {
    expect((await outcomeOf(new Plan().fork(), "exit 42")).exit).to.deep.equal({ code: 42 });
    expect((await outcomeOf(new Plan().fork().fork(), "kill -KILL $$")).exit).to.deep.equal({ signal: SIGKILL });
  });

  it("passes signals on to the child", async () => {
    const [readEnd, writeEnd] = makePipe();
    const script = "trap 'echo usr1; exit 3' USR1; echo ready; while :; do sleep 0.05; done";
    const child = startPlan(shell(new Plan().fork().inheritStdio().dup2(writeEnd, 1).closeFrom(3), script));
    native.close(writeEnd);
    await child.started;
    native.waitReadable(readEnd, 5000);
    child.signal(SIGUSR1);
    expect(await child.exited).to.deep.equal({ code: 3 });
    expect(readFileSync(readEnd, "latin1")).to.equal("ready\nusr1\n");
    native.close(readEnd);
  });

  it("still lets a failing step be reported", async () => {
    expect(await failureOf(new Plan().fork().fork().chdir("/no/such"))).to.deep.equal({ code: "ENOENT", syscall: "chdir /no/such", exit: { code: 125 } });
  });

  it("holds no descriptor that the child does not need", async () => {
    const [readEnd, writeEnd] = makePipe();
    const child = startPlan(new Plan().fork().exec("/bin/sleep", ["sleep", "60"], []));
    await child.started;
    const open = readdirSync(`/proc/${child.pid}/fd`).map(Number).filter((fd) => fd > 2);
    child.signal(SIGTERM);
    await child.exited;
    native.close(readEnd);
    native.close(writeEnd);
    expect(open.length).to.equal(1);
  });

  itAsRoot("is the init of a pid namespace: buries orphans, and lets the command's signal through", async () => {
    const plan = (): Plan => new Plan().unshare(CLONE_NEWPID).fork().fork();
    expect((await outcomeOf(plan(), "(sleep 0.05 & exec true) ; echo $$; sleep 0.2; exit 5")).exit).to.deep.equal({ code: 5 });
    expect((await outcomeOf(plan(), "echo $$")).output).to.equal("2");
    expect((await outcomeOf(plan(), "kill -TERM $$")).exit).to.deep.equal({ signal: SIGTERM });
  });
});

describe("a process in a root of its own", () => {
  const world = scratch();

  itAsRoot("has its own mounts, and the outside sees none of them", async () => {
    const root = join(world.path, "root");
    mkdirSync(root);
    const plan = new Plan()
      .unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC)
      .fork()
      .setPdeathsig(SIGKILL)
      .mount("", "/", "", MS_REC | MS_PRIVATE)
      .mount("tmpfs", root, "tmpfs", 0, "size=1m")
      .umask(0)
      .mkdir(`${root}/dev`, 0o755)
      .mkdir(`${root}/dev`, 0o755, true)
      .mknod(`${root}/dev/null`, S_IFCHR | 0o666, makedev(1, 3))
      .symlink("dev/null", `${root}/link`)
      .createFile(`${root}/empty`, 0o640)
      .mkdir(`${root}/proc`, 0o555)
      .mount("proc", `${root}/proc`, "proc", 0)
      .sethostname("inside")
      .mount(root, `${root}/proc/sys`, "", 4096).orIgnore();
    const { output, exit } = await outcomeOf(plan, `hostname; echo $$; stat -c %a ${root}/empty; readlink ${root}/link; ls ${root}`);
    expect(exit).to.deep.equal({ code: 0 });
    expect(output.split("\n")).to.deep.equal(["inside", "1", "640", "dev/null", "dev", "empty", "link", "proc"]);
    expect(readdirSync(root)).to.deep.equal([]);
  });

  itAsRoot("pivots into it and leaves the old one", async () => {
    const plan = new Plan()
      .unshare(CLONE_NEWNS)
      .mount("", "/", "", MS_REC | MS_PRIVATE)
      .mount("tmpfs", world.path, "tmpfs", 0)
      .mkdir(`${world.path}/marker`, 0o755)
      .chdir(world.path)
      .pivotRoot(".", ".")
      .umount(".", MNT_DETACH)
      .chroot(".")
      .chdir("/marker")
      .chdir("/usr");
    expect(await failureOf(plan)).to.deep.equal({ code: "ENOENT", syscall: "chdir /usr", exit: { code: 125 } });
  });

  itAsRoot("gives up privileges in the order asked", async () => {
    const plan = new Plan().capDrop(21).setgroups([7, 4000000000]).setresgid(12, 12, 12).setresuid(34, 34, 34).noNewPrivs().setsid();
    const { output } = await outcomeOf(plan, "id -u; id -g; grep -E 'Groups|NoNewPrivs|CapBnd|CapEff' /proc/self/status");
    const [uid, gid, ...lines] = output.split("\n");
    const status = new Map(lines.map((line) => line.split(/:\s*/) as [string, string]));
    expect([uid, gid]).to.deep.equal(["34", "12"]);
    expect(status.get("Groups")!.trim()).to.equal("7 4000000000");
    expect(status.get("NoNewPrivs")).to.equal("1");
    expect(BigInt(`0x${status.get("CapEff")!}`)).to.equal(0n);
    expect((BigInt(`0x${status.get("CapBnd")!}`) >> 21n) & 1n).to.equal(0n);
  });

  itAsRoot("brings up the loopback device of a new network", async () => {
    const { output } = await outcomeOf(new Plan().unshare(CLONE_NEWNET).loopbackUp(), "cat /proc/net/if_inet6 /proc/net/fib_trie");
    expect(output).to.include("127.0.0.1");
  });

  it("becomes root of a user namespace that another process maps", async function () {
    const [ready, readyEnd] = makePipe();
    const [go, goEnd] = makePipe();
    const [readEnd, writeEnd] = makePipe();
    const plan = new Plan().unshare(CLONE_NEWUSER).orIgnore().writeByte(readyEnd).readByte(go).setresuid(0, 0, 0).dup2(writeEnd, 1).dup2(2, 2);
    const child = startPlan(shell(plan.closeFrom(3), "id -u"));
    for (const fd of [writeEnd, readyEnd, go]) native.close(fd);
    expect(native.waitReadable(ready, 5000)).to.equal(1);
    try {
      writeFileSync(`/proc/${child.pid}/uid_map`, `0 ${process.getuid!()} 1`);
    } catch {
      child.signal(SIGKILL);
      await child.exited;
      this.skip(); // this system allows no user namespaces
    }
    writeSync(goEnd, "x");
    await child.started;
    expect(await child.exited).to.deep.equal({ code: 0 });
    expect(readFileSync(readEnd, "latin1")).to.equal("0\n");
    for (const fd of [ready, goEnd, readEnd]) native.close(fd);
  });
});

describe("what a process says of itself", () => {
  it("raises its limit of descriptors", () => {
    expect(native.raiseFileLimit()).to.be.at.least(256);
  });
  itAsRoot("knows whether it may administer", () => {
    expect(native.hasSysAdmin()).to.equal(1);
  });
});
