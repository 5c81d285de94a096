/**
 * A mount in trouble: full disks, quotas, dead and read-only filesystems, signals, aborts, processes that stop or are killed. The right error, no hang, and
 * nothing left behind. Every mount is the command's, used by processes of their own that end after a while whatever happens.
 */
import { expect } from "chai";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { mountView } from "../../lib/index.js";
import { call, command, Ground, isRoot, shell, stratafs, type Outcome } from "../cli/command.js";
import { dataModes} from "./world.js";

const has = (...programs: string[]): boolean => programs.every((program) => shell(`command -v ${program}`).status === 0);

for (const data of isRoot ? dataModes : []) {
  describe(`a mount in trouble (${data})`, function () {
    this.timeout(200_000);
    let ground: Ground;
    beforeEach(() => void (ground = new Ground({ "lower/file": "lower\n", "lower/big": "x".repeat(200_000), "lower/dir/inside": "inside\n", "fs/": "", "m/": "" })));
    afterEach(() => ground.remove());

    const here = (script: string): Outcome => call("bash", ["-c", script], { cwd: ground.path, env: { LC_ALL: "C" }, timeoutMs: 60_000 });
    /** Makes `fs` a filesystem with `mounted`, and mounts with the upper on it. */
    const mount = (mounted = "mount -t tmpfs none fs", how: { readonly before?: string; readonly options?: string } = {}): void => {
      const script = `${mounted} && mkdir fs/upper fs/work && ${how.before ?? "true"} && exec ${stratafs} mount -o lowerdir=lower,upperdir=fs/upper,workdir=fs/work,data=${data}${how.options ?? ""} m`;
      expect(here(script)).to.deep.equal({ status: 0, stdout: "", stderr: "" });
    };
    const server = (): number => mountView(ground.at("m")).servers[0]!.pid;
    const umount = (): void => {
      expect(command(["umount", "m"], { cwd: ground.path })).to.deep.include({ status: 0, stderr: "" });
    };
    const expectCleanWork = (): void => {
      expect(readdirSync(ground.at("fs/work/work"))).to.deep.equal([]);
    };
    const until = async (what: () => boolean): Promise<void> => {
      for (let i = 0; i < 2400 && !what(); i++) await new Promise((resolve) => setTimeout(resolve, 25));
      expect(what()).to.equal(true);
    };

    for (const type of ["ext4", "xfs"]) {
      it(`removes lower and upper things on a full ${type}, down to nothing, and uses what that frees`, function () {
        if (!has(`mkfs.${type}`)) this.skip(); // needs e2fsprogs, xfsprogs
        mount(`truncate -s 400M img && mkfs.${type} ${type === "ext4" ? "-qF -m 0" : "-qf"} img && mount -o loop img fs`, { before: "mkdir lower/many && for i in {1..500}; do echo $i > lower/many/$i; done" });
        const full = here("dd if=/dev/zero of=m/fill bs=1M count=500; for i in {1..2000}; do echo 0123456789 > m/small$i || exit 3; done");
        expect(full.status, "small files fill what is left, or there was nothing left").to.be.oneOf([0, 3]);
        expect(full.stderr).to.include("No space left on device");
        // A whiteout needs a block when its directory grows: then there is one clear error until something is removed that takes space.
        expect(here("rm -r m/many 2> said; LC_ALL=C grep -v 'No space left on device' said; rm m/fill && rm -rf m/many m/small*; ls m").stdout).to.equal("big\ndir\nfile\n");
        expect(here("dd if=/dev/zero of=m/new bs=1M count=100 conv=fsync status=none && mkdir m/many && ls m/many && rm -r m/* && ls -A m")).to.deep.equal({ status: 0, stdout: "", stderr: "" });
        umount();
        expectCleanWork();
      });
    }

    it("says ENOSPC on a full disk, removes things there, and uses at once what that frees", () => {
      mount("mount -t tmpfs -o size=1m none fs");
      const full = here("dd if=/dev/zero of=m/fill bs=64k count=40 conv=fsync");
      expect(full.status).to.equal(1);
      expect(full.stderr).to.include("No space left on device");
      expect(here("dd if=/dev/zero of=m/fill2 bs=4k count=100 conv=fsync").status).to.equal(1);
      expect(here("dd if=/dev/zero of=m/big bs=1 count=1 conv=notrunc,fsync").status, "a copy-up").to.equal(1);
      expect(here("rm m/file && rm m/dir/inside && rmdir m/dir; ls m").stdout.split("\n")).to.include("big").and.to.not.include("file").and.to.not.include("dir");
      expect(here("rm -f m/fill m/fill2 && dd if=/dev/zero of=m/new bs=64k count=8 conv=fsync status=none && echo more >> m/big && tail -c 5 m/big")).to.deep.equal({ status: 0, stdout: "more\n", stderr: "" });
      umount();
      expectCleanWork();
    });

    it("says EDQUOT where an xfs user quota does", function () {
      if (!has("mkfs.xfs", "xfs_quota")) this.skip(); // needs xfsprogs
      if (here("truncate -s 400M img && mkfs.xfs -q img && mount -o loop,uquota img fs && umount fs").status !== 0) this.skip(); // needs quotas in the kernel
      mount("truncate -s 400M img && mkfs.xfs -qf img && mount -o loop,uquota img fs && xfs_quota -x -c 'limit bhard=1m 4321' fs");
      const full = here("install -o 4321 /dev/null m/his; dd if=/dev/zero of=m/his bs=64k count=40 conv=fsync");
      expect(full.status).to.equal(1);
      expect(full.stderr).to.include("Disk quota exceeded");
      expect(here("rm m/his && echo more >> m/file && cat m/file").stdout).to.equal("lower\nmore\n");
      umount();
      expectCleanWork();
    });

    it("says EDQUOT where a btrfs qgroup does, and leaves nothing of what it refused", function () {
      if (!has("mkfs.btrfs", "btrfs")) this.skip(); // needs btrfs-progs
      const quota = "mount -o loop img fs && btrfs quota enable fs && btrfs qgroup limit 3M 0/5 fs";
      if (here(`truncate -s 200M img && mkfs.btrfs -q img && ${quota} && umount fs`).status !== 0) this.skip(); // the kernel has no btrfs
      mount(`truncate -s 200M img && mkfs.btrfs -qf img > made && ${quota}`, { before: "head -c 5000000 /dev/zero | tr '\\0' z > lower/large" });
      const full = here("dd if=/dev/zero of=m/fill bs=64k count=80 conv=fsync");
      expect(full.status).to.equal(1);
      expect(full.stderr).to.include("Disk quota exceeded");
      for (const change of ["echo more >> m/large && sync m/large", "mkdir m/d", "mv m/file m/file2"]) expect(here(change).stderr, change).to.include("Disk quota exceeded");
      // Refused when it is written back, a write has its size in the kernel until that forgets the inode.
      expect(here("echo 2 > /proc/sys/vm/drop_caches; stat -c %s m/large; cat m/file; ls fs/work/work | grep -c '#'").stdout).to.equal("5000000\nlower\n0\n");
      expect(here("rm m/fill && sync -f fs && mv m/file m/file2 && mkdir m/d && echo more >> m/big && rm m/large && ls m")).to.deep.equal({ status: 0, stdout: "big\nd\ndir\nfile2\n", stderr: "" });
      umount();
      expectCleanWork();
    });

    it("says EROFS while the upper's filesystem is read-only, and goes on when it is not any more", () => {
      mount();
      expect(here("mount -o remount,ro fs").status).to.equal(0);
      for (const change of ["touch m/new", "rm m/file", "mv m/dir m/dir2", "chmod 600 m/big"]) expect(here(change).stderr, change).to.include("Read-only file system");
      expect(here("cat m/file; mount -o remount,rw fs; touch m/new; rm m/file; ls m").stdout).to.equal("lower\nbig\ndir\nnew\n");
      umount();
      expectCleanWork();
    });

    it("says EIO when the upper's filesystem has died, still shows the lowers, and can be unmounted", function () {
      if (!has("mkfs.ext4", "python3")) this.skip(); // needs e2fsprogs
      mount("truncate -s 16M img && mkfs.ext4 -qF img && mount -o loop img fs");
      here("echo in the upper > m/new");
      shutDown("fs");
      expect(here("cat m/dir/inside").stdout).to.equal("inside\n");
      for (const change of ["dd if=/dev/zero of=m/big bs=1 count=1 conv=notrunc,fsync", "rm m/file", "mkdir m/d"]) expect(here(change).status, change).to.equal(1);
      expect(here(`cat m/file; ${stratafs} umount m`).status).to.equal(0);
    });

    it("says EIO for what a dying lower filesystem has lost, and serves the rest", function () {
      if (!has("mkfs.ext4", "python3")) this.skip(); // needs e2fsprogs
      expect(here("mkdir low && truncate -s 16M img && mkfs.ext4 -qF img && mount -o loop img low && head -c 3000000 /dev/urandom > low/one && sync low/one && dd if=low/one iflag=nocache count=0 status=none").status).to.equal(0);
      mount(undefined, { options: ",lowerdir+=low" });
      shutDown("low");
      const reading = here("cat m/one > /dev/null");
      expect(reading.status).to.equal(1);
      expect(reading.stderr).to.include("Input/output error");
      expect(here("cat m/file; echo new > m/new; cat m/new").stdout).to.equal("lower\nnew\n");
      expect(here("echo more >> m/one; ls -A fs/work/work").stdout).to.not.include("#");
      umount();
    });
    it("says EIO for one file that the medium of a lower has lost, of which no half is copied up, and serves its neighbours", function () {
      if (!has("mkfs.btrfs", "python3")) this.skip(); // needs a filesystem with checksums, btrfs-progs
      const lose = `import os, sys
image = open("low.img", "r+b"); data = image.read(); at = data.find(b"lost lost lost")
while at >= 0:
  image.seek(at); image.write(b"LOST"); at = data.find(b"lost lost lost", at + 4096)`;
      const made = here(`truncate -s 120M low.img && mkfs.btrfs -q -m single -d single low.img && mkdir low && mount -o loop low.img low && { head -c 200000 /dev/zero | tr '\\0' k; yes 'lost lost lost' | head -c 400000; } > low/one && echo kept > low/two && umount low && python3 -c '${lose}' && mount -o loop low.img low`);
      if (made.status !== 0) this.skip(); // the kernel has no btrfs
      mount(undefined, { options: ",lowerdir+=low" });
      const reading = here("cat m/one > /dev/null");
      expect(reading).to.deep.include({ status: 1 });
      expect(reading.stderr).to.include("Input/output error");
      expect(here("head -c 5 m/one; cat m/two").stdout).to.equal("kkkkkkept\n");
      const copying = here("echo more >> m/one");
      expect(copying.status).to.equal(1);
      expect(copying.stderr).to.include("Input/output error");
      expect(here("ls -A fs/upper; ls -A fs/work/work | grep '#'; stat -c %s m/one; chmod 600 m/two; cat m/two; rm m/one; ls m").stdout).to.equal("600000\nkept\nbig\ndir\nfile\ntwo\n");
      umount();
      expectCleanWork();
    });
    const shutDown = (path: string): void => {
      const done = here(`python3 -c 'import fcntl, os, struct; fcntl.ioctl(os.open("${path}", os.O_RDONLY), 0x8004587d, struct.pack("I", 2))'`);
      expect(done).to.deep.include({ status: 0 });
    };

    it("serves more files, open at once and in more directories, than it may have descriptors", () => {
      mount(undefined, { before: "for i in {1..120}; do mkdir lower/d$i; echo $i > lower/d$i/f; done; ulimit -n 160" });
      const open = "for i in {1..120}; do exec {fd}<m/d$i/f || exit 1; eval \"fd$i=$fd\"; done; for i in {1..120}; do n=fd$i; read -u ${!n} line; [ $line = $i ] || exit 2; done";
      expect(here(`ulimit -n 1000; ${open}`)).to.deep.equal({ status: 0, stdout: "", stderr: "" });
      const write = "for i in {1..120}; do exec {fd}>>m/d$i/f || exit 1; eval \"fd$i=$fd\"; done; for i in {1..120}; do n=fd$i; echo more >&${!n} || exit 2; done";
      expect(here(`ulimit -n 1000; ${write}`)).to.deep.equal({ status: 0, stdout: "", stderr: "" });
      expect(here("cat m/d*/f | wc -l; find m -newer lower/file -type f | wc -l; rm -r m/d?*; ls m | wc -l").stdout).to.match(/^240\n\d+\n2\n$/);
      umount();
      expectCleanWork();
    });

    it("serves more inodes than its heap has room for: the kernel is asked to forget those that nobody uses", function () {
      mount(undefined, {
        before: "for d in {1..60}; do mkdir lower/d$d; (cd lower/d$d; for i in {1..1000}; do echo > f$i; done); done; export NODE_OPTIONS=--max-old-space-size=48",
      });
      if (!command(["status", "m"], { cwd: ground.path }).stdout.includes("FUSE 7.45")) this.skip(); // before Linux 6.18 it cannot be asked
      // One of the first is open, and one is somebody's working directory, while all others come and go.
      const walk = "exec 3<m/d1/f1 && cd m/d2 && ls -lR .. | grep -c '^-' && echo still > f2 && cat f2 && cat <&3";
      expect(here(walk)).to.deep.equal({ status: 0, stdout: "60003\nstill\n\n", stderr: "" });
      umount();
      expectCleanWork();
    });

    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      it(`ends after ${signal} when its last user has gone, with everything written`, async () => {
        mount();
        const pid = server();
        const user = here("cd m && exec 3>late && (sleep 60 >/dev/null 2>&1 & echo $!)").stdout.trim();
        process.kill(pid, signal);
        await until(() => here("grep -q \" $PWD/m \" /proc/mounts").status === 1);
        expect(here(`echo late > /proc/${user}/fd/3 && cat /proc/${user}/cwd/file`).stdout).to.equal("lower\n");
        expect(existsSync(`/proc/${pid}/fd/0`)).to.equal(true);
        process.kill(Number(user), "SIGKILL");
        await until(() => !existsSync(`/proc/${pid}/fd/0`));
        expect(here("cat fs/upper/late").stdout).to.equal("late\n");
        expectCleanWork();
      });
    }

    it("is not unmounted while it is busy, and goes on", () => {
      mount();
      const busy = here(`cd m && ${stratafs} umount ../m; umount ../m; cat file && echo new > new && cat new`);
      expect(busy.stdout).to.equal("lower\nnew\n");
      expect(busy.stderr).to.include("EBUSY").and.to.include("target is busy");
      umount();
      expectCleanWork();
    });

    it("is detached by umount -l, serves who is still in it, and ends with the last of them, with everything written", async () => {
      mount();
      const pid = server();
      const user = here("cd m && exec 3>late 4<file 5<dir && (sleep 60 >/dev/null 2>&1 & echo $!) && umount -l ../m && echo still > /proc/self/cwd/still").stdout.trim();
      expect(here("ls -A m; grep -c \" $PWD/m \" /proc/mounts").stdout).to.equal("0\n");
      expect(here(`echo late > /proc/${user}/fd/3; mkdir /proc/${user}/cwd/new; cat /proc/${user}/fd/4; ls /proc/${user}/cwd/ | tr '\\n' ' '`).stdout).to.equal("lower\nbig dir file late new still ");
      expect(existsSync(`/proc/${pid}/fd/0`)).to.equal(true);
      process.kill(Number(user), "SIGKILL");
      await until(() => !existsSync(`/proc/${pid}/fd/0`));
      expect(here("cat fs/upper/late fs/upper/still; ls fs/upper").stdout).to.equal("late\nstill\nlate\nnew\nstill\n");
      expectCleanWork();
    });

    it("ends when its connection is aborted: its users get an error at once, and the next mount finds things in order", async () => {
      mount();
      const pid = server();
      const { connection } = mountView(ground.at("m"));
      here("echo before > m/before; sync m/before");
      expect(here(`mkdir ctl && mount -t fusectl none ctl && exec 3<m/file && echo 1 > ctl/${connection}/abort; umount ctl; cat m/dir/inside`).stderr).to.match(/not connected|abort/i);
      await until(() => !existsSync(`/proc/${pid}/fd/0`));
      expect(command(["umount", "m"], { cwd: ground.path }).status).to.equal(0);
      expect(command(["mount", "-o", `lowerdir=lower,upperdir=fs/upper,workdir=fs/work,data=${data}`, "m"], { cwd: ground.path }).stderr).to.equal("");
      expect(here("cat m/before").stdout).to.equal("before\n");
      umount();
      expectCleanWork();
    });

    it("serves others while a client is stopped in the middle of its work", () => {
      mount();
      const script = "(while :; do cat m/big > m/copy; rm m/copy; done) & p=$!; sleep 0.3; kill -STOP $p; for i in 1 2 3 4 5; do echo $i > m/n$i; cat m/big m/n$i > m/sum; mv m/n$i m/dir/; done; ls m/dir | tr '\\n' ' '; kill -KILL $p; wait $p 2>/dev/null; cat m/file";
      expect(here(script).stdout).to.equal("inside n1 n2 n3 n4 n5 lower\n");
      umount();
      expectCleanWork();
    });

    it("lets a client be killed in the middle of a copy-up, which shows whole or not at all", () => {
      mount(undefined, { before: "head -c 120000000 /dev/zero | tr '\\0' z > lower/huge" });
      expect(here("for i in 1 2 3 4 5 6; do (echo -n a >> m/huge) & p=$!; sleep 0.0$i; kill -KILL $p; wait $p 2>/dev/null; cat m/file; done").stdout).to.equal("lower\n".repeat(6));
      const { stdout } = here("stat -c %s m/huge; tr -d z < m/huge | tr -d a | wc -c; head -c 10 m/huge");
      expect(stdout).to.match(/^12000000[0-6]\n0\nzzzzzzzzzz$/);
      umount();
      expectCleanWork();
    });

    it("finishes a slow copy-up whatever signals its client handles meanwhile", function () {
      if (!has("perl")) this.skip(); // of Debian's base system
      mount(undefined, { before: "head -c 200000000 /dev/zero | tr '\\0' z > lower/huge" });
      // Without SA_RESTART: what is interrupted says EINTR.
      const script = 'use POSIX; use IO::Handle; use Time::HiRes "ualarm"; sigaction(SIGALRM, POSIX::SigAction->new(sub { $n++ })); ualarm(5000, 5000); open(F, ">>", "m/huge") or die "open: $!"; syswrite(F, "a") == 1 or die "write: $!"; F->sync or die "fsync: $!"; print $n > 0 ? "signalled" : "never signalled"';
      expect(here(`perl -e '${script}'; tail -c 2 m/huge; stat -c ' %s' m/huge; cat m/file`)).to.deep.equal({ status: 0, stdout: "signalledza 200000001\nlower\n", stderr: "" });
      umount();
      expectCleanWork();
    });

    it("has no descriptor more and nothing waiting after clients were killed in all that they did", async () => {
      mount(undefined, { before: "for i in {1..40}; do mkdir lower/d$i; head -c 3000000 /dev/zero > lower/d$i/f; done" });
      const descriptors = (): number => readdirSync(`/proc/${server()}/fd`).length;
      const forget = "sync; echo 2 > /proc/sys/vm/drop_caches";
      here(`ls -lR m > /dev/null; cat m/file; echo x > m/x; rm m/x; ${forget}`);
      const before = descriptors();
      const load = "i=$1; exec 3>>m/d$i/f 4<m/d$i 5>m/n$i; flock 5; (flock 5) & while :; do echo x >&3; echo y > m/d$i/new; mv m/d$i/new m/d$i/newer; rm m/d$i/f; ls -l m/d$i; mkdir m/e$i; rmdir m/e$i; ln m/n$i m/l$i; rm m/l$i; cat m/big; done";
      here(`for i in {1..40}; do setsid bash -c '${load}' load $i > /dev/null 2>&1 & p=$!; sleep 0.0$((i % 10)); until kill -KILL -- -$p; do sleep 0.01; done; done 2>/dev/null; wait; true`);
      await until(() => {
        here(forget);
        return descriptors() <= before;
      });
      const status = JSON.parse(command(["status", "--json", "m"], { cwd: ground.path }).stdout) as { waiting: number; server: { waiting: readonly unknown[] } };
      expect([status.waiting, status.server.waiting]).to.deep.equal([0, []]);
      umount();
      expectCleanWork();
    });

    it("refuses an upper that was volatile when it ended badly", async () => {
      const options = `lowerdir=lower,upperdir=fs/upper,workdir=fs/work,data=${data},volatile`;
      mount(undefined, { options: ",volatile,supervised=off" });
      expect(here("echo x > m/new && sync m/new && ls fs/work/work/incompat").stdout).to.equal("volatile\n");
      const pid = server();
      process.kill(pid, "SIGKILL");
      await until(() => !existsSync(`/proc/${pid}/fd/0`));
      here("umount m");
      for (const again of [options, options.replace(",volatile", "")]) {
        const { status, stderr } = command(["mount", "-o", again, "m"], { cwd: ground.path });
        expect(status).to.equal(1);
        expect(stderr).to.match(/^stratafs: EINVAL: [^\n]*last mounted volatile[^\n]*work\/incompat\/volatile[^\n]*\n$/);
      }
      expect(here("mount -t overlay overlay -o lowerdir=lower,upperdir=fs/upper,workdir=fs/work m").status, "kernel overlayfs refuses it too").to.not.equal(0);
      expect(here(`rm -r fs/work/work/incompat/volatile && ${stratafs} mount -o ${options.replace(",volatile", "")} m && cat m/file`).stdout).to.equal("lower\n");
      umount();
      expectCleanWork();
    });
  });
}

describe("a mount whose server is killed, or whose disk loses its power, under load", function () {
  this.timeout(180_000);
  const script = fileURLToPath(new URL("../real/faults.js", import.meta.url));
  for (const [what, needs] of [["kill", []], ["power cut", ["mkfs.ext4", "mkfs.xfs", "python3"]]] as const) {
    it(`is whole after a ${what}, also for kernel overlayfs (npm run test:faults does more)`, function () {
      if (!isRoot || !has("unshare", ...needs)) this.skip(); // mounts, loop devices and filesystems are made
      const { status, stdout, stderr } = spawnSync("unshare", ["-m", process.execPath, script, "--rounds", "2", "--only", what], { encoding: "utf8", timeout: 170_000 });
      if (/Linux 6.16 is needed/.test(stdout)) this.skip(); // the server is not to be found
      expect(status, stdout + stderr).to.equal(0);
    });
  }
});
