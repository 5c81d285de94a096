import { expect } from "chai";
import { containerPlan, isExecFailure, type Container } from "../../lib/run/container-plan.js";
import type { Plan } from "../../lib/sys/plan.js";

const usual: Container = {
  root: { mountFd: 9 }, scratch: "/tmp/s", privileged: true, network: true, hostname: undefined, attach: [], uid: 0, gid: 0, dropGroups: true, terminal: undefined, sys: 7, cwd: "/",
  command: ["ls", "-l"], env: ["A=b"], path: "/bin:/usr/bin",
};

function stepsOf(plan: Plan): string[] {
  const steps: string[] = [];
  for (let i = 0; plan.describe(i) !== `step ${i}`; i++) steps.push(plan.describe(i));
  return steps;
}
const steps = (changes: Partial<Container> = {}) => stepsOf(containerPlan({ ...usual, ...changes }));
const inOrder = (all: readonly string[], ...some: RegExp[]) => {
  let from = 0;
  for (const each of some) {
    const found = all.findIndex((step, i) => i >= from && each.test(step));
    expect(found, `${each} in order in\n${all.join("\n")}`).to.be.at.least(0);
    from = found + 1;
  }
};

describe("the plan of a container", () => {
  it("isolates, attaches the root, mounts what it needs, pivots, and only then becomes the command", () => {
    inOrder(
      steps(), /^setPdeathsig 9/, /^unshare/, /^mount \/$/, /^fork/, /^setPdeathsig 9/, /^moveMount 9 \/tmp\/s$/, /^mount tmpfs \/tmp\/s\/dev tmpfs/,
      /^mount \/dev\/null \/tmp\/s\/dev\/null/, /^mount devpts/, /^mount proc \/tmp\/s\/proc proc/, /^mount sysfs/, /^chdir \/tmp\/s$/, /^pivotRoot \. \./, /^umount \. 2/,
      /^chdir \/$/, /^fork/, /^capDrop/, /^setgroups/, /^setresgid/, /^setresuid/, /^chdir \/$/, /^closeFrom 3/, /^resetSignals/, /^execPath \/bin:\/usr\/bin ls/,
    );
  });

  it("binds a root that is mounted already", () => {
    expect(steps({ root: { path: "/mnt/r" } })).to.include("mount /mnt/r /tmp/s").and.not.include("moveMount 9 /tmp/s");
  });

  it("brings up the loopback device of a network of its own, and of no other", () => {
    expect(steps({ network: false })).to.include("loopbackUp");
    expect(steps({ network: true })).to.not.include("loopbackUp");
  });

  it("sets a host name only when asked", () => {
    expect(steps({ hostname: "box" })).to.include("sethostname box");
    expect(steps().some((step) => step.startsWith("sethostname"))).to.equal(false);
  });

  it("attaches volumes after the pivot, by the root's own paths", () => {
    inOrder(steps({ attach: [{ fd: 12, target: "/srv" }] }), /^pivotRoot/, /^moveMount 12 \/srv$/, /^fork/, /^execPath/);
  });

  it("attaches a copy of the host's sysfs, and leaves groups and capabilities alone, in a user namespace with one id", () => {
    const all = steps({ privileged: false, dropGroups: false });
    expect(all).to.include("moveMount 7 /tmp/s/sys");
    expect(all.some((step) => /^(mount sysfs|capDrop|setgroups)/.test(step))).to.equal(false);
  });

  it("keeps kernel settings from being written, as root", () => {
    inOrder(steps(), /^mount proc /, /^mount \/tmp\/s\/proc\/sys \/tmp\/s\/proc\/sys/, /^mount \/tmp\/s\/proc\/sys$/);
  });

  it("shows the caller's terminal as the console", () => {
    expect(steps({ terminal: "/dev/pts/3" })).to.include("mount /dev/pts/3 /tmp/s/dev/console");
    expect(steps().join("\n")).to.not.include("console");
  });

  it("passes names of any bytes as they are", () => {
    expect(steps({ cwd: "/é" })).to.include(`chdir ${Buffer.from("/é").toString("latin1")}`);
  });

  it("knows the failure of its last step", () => {
    expect(isExecFailure(steps().at(-1)!)).to.equal(true);
    expect(isExecFailure("mount proc /tmp/s/proc proc")).to.equal(false);
  });
});
