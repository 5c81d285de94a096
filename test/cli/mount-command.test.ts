import { expect } from "chai";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, symlinkSync } from "node:fs";
import { mountView } from "../../lib/index.js";
import { call, command, Ground, isRoot, shell, stratafs } from "./command.js";

const layers = { "a/one": "1\n", "b/two": "2\n", "b/dir/three": "3\n", "upper/": "", "work/": "", "m/": "" };
const STACK = "lowerdir=a:b,upperdir=upper,workdir=work";

describe("stratafs mount", function () {
  this.timeout(60_000);
  let ground: Ground;
  before(function () {
    if (!isRoot) this.skip();
  });
  beforeEach(() => void (ground = new Ground(layers)));
  afterEach(() => ground.remove());

  const here = () => ({ cwd: ground.path });
  const isMounted = () => shell("stat -f -c %t m", here()).stdout.trim() === "65735546";
  /** The process that serves `m`, found by its command line. */
  /** The server first, then its heir. */
  const daemons = (): number[] => shell(`grep -lF ${ground.path} /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3 | sort -u`)
    .stdout.split("\n").filter((pid) => pid !== "" && processText(pid, "cmdline").includes("workdir="))
    .sort((a, b) => Number(isHeir(a)) - Number(isHeir(b))).map(Number);
  const isHeir = (pid: string): boolean => processText(pid, "comm") === "stratafs-heir\n";
  const processText = (pid: string, file: string): string => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, "latin1");
    } catch {
      return "";
    }
  };
  const until = async (what: () => boolean) => {
    for (let i = 0; i < 200 && !what(); i++) await new Promise((resolve) => setTimeout(resolve, 25));
    expect(what()).to.equal(true);
  };

  it("returns when the mount is live, from layers relative to the cwd, and unmounts into an empty directory", async () => {
    expect(command(["mount", "-o", STACK, "m"], here())).to.deep.equal({ status: 0, stdout: "", stderr: "" });
    expect(isMounted()).to.equal(true);
    expect(shell("cat m/one m/two m/dir/three && echo 4 > m/four && rm m/two && ls m", here()).stdout).to.equal("1\n2\n3\ndir\nfour\none\n");
    expect(command(["umount", "m"], here())).to.deep.equal({ status: 0, stdout: "", stderr: "" });
    expect(shell("ls -A m; cat upper/four; stat -c %F upper/two; ls b", here()).stdout).to.equal("4\ncharacter special file\ndir\ntwo\n");
  });

  it("takes an upper that lies on a mount of its own kind, which has neither devices nor names for whiteouts", () => {
    expect(command(["mount", "-o", STACK, "m"], here()).status).to.equal(0);
    shell("mkdir m/u m/w m2", here());
    const inner = ["mount", "-o", "lowerdir=b,upperdir=m/u,workdir=m/w", "m2"];
    for (const script of ["rm m2/two; rm -r m2/dir; mkdir m2/dir; echo new > m2/dir/four; mkdir m2/made; mv m2/made m2/two; find m2 | sort", "find m2 | sort"]) {
      expect(command(inner, here()).status).to.equal(0);
      const { stdout, stderr } = shell(`${script}; umount m2`, here());
      expect({ stdout, stderr }).to.deep.equal({ stdout: "m2\nm2/dir\nm2/dir/four\nm2/two\n", stderr: "" });
    }
    expect(shell("ls b; umount m", here()).stdout).to.equal("dir\ntwo\n");
  });

  it("mounts read-only without an upper directory", () => {
    expect(command(["mount", "-o", "lowerdir=a:b", "m"], here()).status).to.equal(0);
    expect(shell("touch m/x", here()).stderr).to.include("Read-only file system");
  });

  it("warns of unknown options in one line each and mounts all the same", () => {
    expect(command(["mount", "-o", `${STACK},private,wibble=1`, "m"], here())).to.deep.equal({
      status: 0, stdout: "", stderr: 'stratafs: unknown option "private" ignored\nstratafs: unknown option "wibble=1" ignored\n',
    });
    expect(isMounted()).to.equal(true);
  });

  it("says in one line why there is no mount", () => {
    for (const [options, target, line] of [
      ["lowerdir=nowhere", "m", /nowhere/], ["lowerdir=a", "nowhere", /nowhere/], ["lowerdir=a", "a/one", /a\/one/], ["lowerdir=a,upperdir=upper", "m", /workdir/],
    ] as const) {
      const { status, stdout, stderr } = command(["mount", "-o", options, target], here());
      expect(status, stderr).to.be.oneOf([1, 2]);
      expect(stdout).to.equal("");
      expect(stderr).to.match(line).and.match(/^stratafs: [^\n]+\n$/);
    }
  });

  it("answers to the name fuse-overlayfs, with two positionals and many -o", () => {
    symlinkSync(stratafs, ground.at("fuse-overlayfs"));
    const args = ["overlay", ground.at("m"), "-o", "workdir=work", "-o", "upperdir=upper", "-o", "lowerdir=a:b", "-o", "dev,suid"];
    expect(call(ground.at("fuse-overlayfs"), args, here())).to.deep.equal({ status: 0, stdout: "", stderr: "" });
    expect(shell(`grep " ${ground.at("m")} " /proc/mounts`).stdout).to.match(/^overlay .* fuse\.stratafs rw,relatime,/);
    expect(call(ground.at("fuse-overlayfs"), ["--version"]).stdout).to.match(/^stratafs: version/);
  });

  it("is what mount.fuse runs for the type fuse.stratafs", () => {
    expect(command(["none", ground.at("m"), "-o", `rw,${STACK}`], here())).to.deep.equal({ status: 0, stdout: "", stderr: "" });
    expect(isMounted()).to.equal(true);
  });

  it("is also started by node itself, when sh is not in between", () => {
    expect(call(process.execPath, [stratafs, "mount", "-o", `${STACK},private`, "m"], here())).to.deep.equal({
      status: 0, stdout: "", stderr: 'stratafs: unknown option "private" ignored\n',
    });
    expect(isMounted()).to.equal(true);
    expect(call(process.execPath, [stratafs, "mount", "-o", "lowerdir=nowhere", "m"], here()).status).to.equal(1);
  });

  it("is started by node whatever descriptors the caller has open", () => {
    // With them the epoll and eventfd descriptors of the serving process get the numbers that those of its starter have.
    for (const more of ["", "8</dev/null", "10</dev/null 11</dev/null", "3</dev/null 10</dev/null 12</dev/null 14</dev/null"]) {
      const script = `exec ${more}; ${process.execPath} ${stratafs} mount -o ${STACK} m`;
      expect(call("bash", ["-c", script], here()), more).to.deep.equal({ status: 0, stdout: "", stderr: "" });
      expect(shell("cat m/one && umount m", here()).stdout).to.equal("1\n");
    }
  });

  it("says in one line that passthrough is not to be had, and mounts nothing", function () {
    if (spawnSync("unshare", ["-Urm", "true"]).status !== 0) this.skip(); // needs user namespaces
    const { status, stderr } = shell(`unshare -Urm ${stratafs} mount -o data=passthrough,lowerdir=a m`, here());
    expect(status).to.equal(1);
    expect(stderr).to.match(/^stratafs: EOPNOTSUPP[^\n]*data=passthrough: it is not to be had in a user namespace\n$/);
    expect(isMounted()).to.equal(false);
  });

  it("mounts inside a user namespace, with changes and their xattrs in the upper", function () {
    if (spawnSync("unshare", ["-Urm", "true"]).status !== 0) this.skip(); // needs user namespaces
    const work = `${stratafs} mount -o ${STACK} m && echo more >> m/one && mv m/two m/three && cat m/one m/three && umount m`;
    expect(shell(`unshare -Urm sh -c '${work}'`, here())).to.deep.equal({ status: 0, stdout: "1\nmore\n2\n", stderr: "" });
    expect(shell("cat upper/one upper/three; stat -c %F upper/two", here()).stdout).to.equal("1\nmore\n2\ncharacter special file\n");
  });

  it("says that a label is ignored where the kernel has no SELinux", function () {
    if (/selinuxfs/.test(readFileSync("/proc/filesystems", "latin1"))) this.skip(); // the label below does not exist there
    expect(command(["mount", "-o", `${STACK},context="system_u:object_r:x:s0:c1,c2"`, "m"], here())).to.deep.equal({
      status: 0, stdout: "", stderr: "stratafs: context ignored: this kernel has no SELinux\n",
    });
  });

  it("changes the flags of a mount that is there, as mount -o remount asks, and nothing else", () => {
    expect(command(["mount", "-o", STACK, "m"], here()).status).to.equal(0);
    expect(command(["mount", "-o", `remount,ro,${STACK}`, "m"], here())).to.deep.equal({ status: 0, stdout: "", stderr: "" });
    expect(shell("touch m/new", here()).stderr).to.include("Read-only file system");
    expect(command(["none", ground.at("m"), "-o", "rw,nosuid,remount"], here())).to.deep.equal({ status: 0, stdout: "", stderr: "" });
    expect(shell(`touch m/new && grep " ${ground.at("m")} " /proc/mounts`, here()).stdout).to.match(/^stratafs \S+ fuse\.stratafs rw,nosuid,nodev,[^\n]*\n$/);
    expect(command(["mount", "-o", "remount,ro", "b"], here()).stderr).to.match(/^stratafs: EINVAL[^\n]*again of [^\n]*b\n$/);
  });

  it("answers fsync at once with fsync=0, and still writes everything", () => {
    expect(command(["mount", "-o", `${STACK},fsync=0`, "m"], here()).status).to.equal(0);
    expect(shell("dd if=/dev/zero of=m/zeros bs=4096 count=10 conv=fsync 2>/dev/null && sync m && umount m && stat -c %s upper/zeros", here()).stdout).to.equal("40960\n");
  });

  it("lets a container engine prepare a root for other ids than its own", () => {
    const maps = "uidmapping=0:100000:65536,gidmapping=0:100000:65536";
    expect(command(["mount", "-o", `${STACK},${maps}`, "m"], here()).status).to.equal(0);
    const script = "ln -s one m/link && mkdir m/d && chown -h 100000:100005 m/link m/d && chown 5:5 m/d; stat -c '%u:%g' m/link m/d; umount m; stat -c '%u:%g' upper/link upper/d";
    const { stdout, stderr } = shell(script, here());
    expect(stdout).to.equal("100000:100005\n100000:100005\n0:5\n0:5\n");
    expect(stderr).to.match(/Invalid argument/);
  });

  it("leaves nothing of its caller open: no descriptor, no working directory, no session", () => {
    // Descriptors 7 and 230 stand for what a careless caller passes on.
    const stack = `lowerdir=a:b,upperdir=${ground.at("upper")},workdir=work`;
    const script = `exec 7<${ground.at("a/one")} 230<${ground.at("b/two")}; ${stratafs} mount -o ${stack} m`;
    expect(call("bash", ["-c", script], here())).to.deep.equal({ status: 0, stdout: "", stderr: "" });
    const [pid, heir, ...others] = daemons();
    expect(others).to.deep.equal([]);
    for (const one of [pid, heir]) {
      const open = shell(`for fd in 0 1 2; do readlink /proc/${one}/fd/$fd; done; for fd in /proc/${one}/fd/*; do readlink $fd; done`).stdout.split("\n");
      expect(open.slice(0, 3)).to.deep.equal(["/dev/null", "/dev/null", "/dev/null"]);
      expect(open).to.not.include(ground.at("a/one")).and.not.include(ground.at("b/two"));
      expect(shell(`readlink /proc/${one}/cwd`).stdout).to.equal("/\n");
      // proc(5): after the name in parentheses come state, parent, process group, session.
      const [, , , session] = processText(String(one), "stat").replace(/^.*\) /, "").split(" ");
      expect(session).to.equal(String(pid));
    }
    const limit = /Max open files +(\d+) +(\d+)/.exec(processText(String(pid), "limits"));
    expect(limit?.[1]).to.equal(limit?.[2]);
  });

  it("ends by itself after an unmount, with everything written, and unmounts when told to end", async () => {
    command(["mount", "-o", `${STACK.replace("upperdir=", `upperdir=${ground.path}/`)}`, "m"], here());
    const [first] = daemons();
    shell("echo late > m/late; umount m", here());
    await until(() => !existsSync(`/proc/${first}`));
    expect(readFileSync(ground.at("upper/late"), "utf8")).to.equal("late\n");

    command(["mount", "-o", `${STACK.replace("upperdir=", `upperdir=${ground.path}/`)}`, "m"], here());
    const [second] = daemons();
    process.kill(second!, "SIGTERM");
    await until(() => !existsSync(`/proc/${second}`));
    expect(isMounted()).to.equal(false);
  });

  it("goes on when its server is killed, unless it was told not to, or something that was asked for stands against it", async () => {
    const kinds: [options: string, lasts: boolean][] = [["", true], [",supervised=on", true], [",supervised=off", false], [",ino32_t", false], [",host=fuse-native", false]];
    for (const [options, lasts] of kinds) {
      expect(command(["mount", "-o", STACK + options, "m"], here()), options).to.deep.include({ status: 0 });
      const [first, heir] = daemons();
      expect(heir !== undefined, options).to.equal(lasts);
      process.kill(first!, "SIGKILL");
      await until(() => !existsSync(`/proc/${first}/fd/0`));
      const { stdout, stderr } = shell("cat m/one", here());
      if (lasts) {
        expect(stdout, options).to.equal("1\n");
        const { stderr: refused } = command(["mount", "-o", STACK, "b"], here());
        const { servers, heirs } = mountView(ground.at("m"));
        const holder = Number(/^stratafs: EBUSY[^\n]*is in use by process (\d+)\n$/.exec(refused)?.[1]);
        expect([...servers, ...heirs].map(({ pid }) => pid), "who has inherited the lock is named").to.include(holder);
      }
      if (!lasts) expect(stderr, options).to.match(/not connected|Software caused connection abort/);
      expect(shell(`umount m`, here()).status).to.equal(0);
      await until(() => daemons().length === 0);
    }
    expect(command(["mount", "-o", `${STACK},supervised=on,ino32_t`, "m"], here()).stderr).to.match(/^stratafs: EINVAL: mount with supervised: inode numbers of 32 bits[^\n]*\n$/);
  });

  it("mounts again at once what has just been unmounted, and refuses what is still mounted", () => {
    const script = `for i in 1 2 3 4 5 6; do ${stratafs} mount -o ${STACK} m || exit 1; dd if=/dev/zero of=m/big$i bs=1M count=20 status=none; umount m; done; ${stratafs} mount -o ${STACK} m; ${stratafs} mount -o ${STACK} b`;
    const { status, stderr } = shell(script, here());
    expect({ status }, stderr).to.deep.equal({ status: 1 });
    expect(stderr).to.match(/^stratafs: EBUSY[^\n]*is in use by process \d+\n$/);
  });

  it("waits a moment for an upper in use by who cannot be seen, as one that has just let go of it", function () {
    // A holder outside of the PID namespace is in no list in it.
    const inside = `unshare -pf --mount-proc sh -c '${stratafs} mount -o ${STACK} m && cat m/one && umount m'`;
    if (shell("unshare -pf --mount-proc true").status !== 0) this.skip();
    expect(shell(`flock work sleep 0.6 & sleep 0.1; ${inside}`, here())).to.deep.equal({ status: 0, stdout: "1\n", stderr: "" });
    expect(shell(`flock work sleep 2 & sleep 0.1; ${inside}`, here())).to.deep.include({ stdout: "" }).and.have.property("stderr").that.matches(/^stratafs: EBUSY[^\n]*is in use\n/);
  });

  it("sends what goes wrong later to log=FILE, relative to the caller's cwd", () => {
    expect(command(["mount", "-o", `${STACK},log=m.log`, "m"], here()).status).to.equal(0);
    expect(command(["umount", "m"], here()).status).to.equal(0);
    expect(existsSync(ground.at("m.log"))).to.equal(true);
    expect(command(["mount", "-o", `${STACK},log=no/such/log`, ground.at("b")], here()).status).to.equal(1);
    expect(shell("ls b", here()).stdout).to.equal("dir\ntwo\n");
  });

  it("serves in the foreground with -f, and ends with status 0 at the unmount", async () => {
    const served = spawn(stratafs, ["mount", "-f", "-o", STACK, "m"], { cwd: ground.path, stdio: ["ignore", "ignore", "pipe"] });
    const ended = new Promise<number | null>((resolve) => served.on("exit", resolve));
    await until(isMounted);
    expect(shell("cat m/one", here()).stdout).to.equal("1\n");
    expect(spawnSync("umount", [ground.at("m")]).status).to.equal(0);
    expect(await ended).to.equal(0);
  });

  it("unmounts lazily what is in use", () => {
    command(["mount", "-o", STACK, "m"], here());
    const { stdout, stderr } = shell(`cd m && ${stratafs} umount ${ground.at("m")}; echo $?; ${stratafs} umount -l ${ground.at("m")}; echo $?`, here());
    expect(stdout).to.equal("1\n0\n");
    expect(stderr).to.match(/^stratafs: EBUSY[^\n]*\n$/);
  });

  it("has let go of the layers' filesystems when umount returns, also as the helper of umount(8)", () => {
    symlinkSync(stratafs, ground.at("umount.fuse.stratafs"));
    for (const umount of [`${stratafs} umount m`, "./umount.fuse.stratafs $PWD/m -v"]) {
      const script = `mkdir -p fs && mount -t tmpfs none fs && mkdir fs/l fs/u fs/w && ${stratafs} mount -o lowerdir=fs/l,upperdir=fs/u,workdir=fs/w m \
        && dd if=/dev/zero of=m/big bs=1M count=30 status=none && ${umount} && umount fs && echo free`;
      expect(shell(script, here())).to.deep.equal({ status: 0, stdout: "free\n", stderr: "" });
    }
  });

  it("refuses to unmount what is no mount", () => {
    const { status, stderr } = command(["umount", ground.at("a")]);
    expect(status).to.equal(1);
    expect(stderr).to.match(/^stratafs: EINVAL[^\n]*\n$/);
  });
});
