import { expect } from "chai";
import { mountForm, parseMount, type MountRequest } from "../../lib/cli/mount-arguments.js";
import { UsageError } from "../../lib/cli/usage.js";

const cwd = () => "/graph/overlay";

function request(...args: string[]): MountRequest {
  const command = parseMount(args, "command", cwd);
  if (command.kind !== "mount") throw new Error(`parsed as ${command.kind}`);
  return command.request;
}

/** The request of `-o OPTIONS /m`, with a lowerdir added when there is none. */
function options(text: string): MountRequest {
  return request("-o", /(^|,)(lowerdir|datadir)/.test(text) ? text : `lowerdir=/l,${text}`, "/m");
}

function refusal(...args: string[]): string {
  try {
    parseMount(args, "command", cwd);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return "accepted";
}

describe("the arguments of a mount", () => {
  it("reads the call of podman and buildah: relative upper and work, absolute target, an empty option", () => {
    const podman = request("-o", "lowerdir=l/AAA:l/BBB,upperdir=1f/diff,workdir=1f/work,,volatile", "/graph/overlay/1f/merged");
    expect(podman).to.include({ upper: "1f/diff", work: "1f/work", volatile: true, mountpoint: "/graph/overlay/1f/merged", readOnly: false });
    expect(podman.lowers).to.deep.equal(["l/AAA", "l/BBB"]);
    expect(podman.warnings).to.deep.equal([]);
  });

  it("reads the call of containerd: many -o, two positionals of which the last is the mountpoint, generic flags", () => {
    const containerd = request("overlay", "/run/m", "-o", "workdir=/w", "-o", "upperdir=/u", "-o", "lowerdir=/a:/b", "-o", "dev,suid");
    expect(containerd).to.include({ source: "overlay", mountpoint: "/run/m", upper: "/u", work: "/w" });
    expect(containerd.lowers).to.deep.equal(["/a", "/b"]);
    expect(containerd.flags).to.deep.equal(["dev", "suid"]);
  });

  it("takes -oOPTIONS glued together, -f, -d and their combination", () => {
    expect(request("-olowerdir=/a", "/m").lowers).to.deep.equal(["/a"]);
    expect(request("-f", "-olowerdir=/a", "/m")).to.include({ foreground: true, debug: false });
    expect(request("-olowerdir=/a", "/m", "-fd")).to.include({ foreground: true, debug: true });
    expect(request("-d", "-olowerdir=/a", "/m")).to.include({ foreground: true, debug: true });
  });

  it("answers -h, --help, -V and --version without asking for the rest", () => {
    for (const word of ["-h", "--help"]) expect(parseMount([word], "command", cwd)).to.deep.equal({ kind: "help" });
    for (const word of ["-V", "--version"]) expect(parseMount([word], "command", cwd)).to.deep.equal({ kind: "version" });
  });

  it("resolves a relative mountpoint against the cwd, and leaves layers as they were given", () => {
    expect(request("-o", "lowerdir=../x", "merged")).to.deep.include({ mountpoint: "/graph/overlay/merged", lowers: ["../x"] });
  });

  it("reads mount(8)'s helper form, whose -f, -n, -s and -v are not ours", () => {
    const parsed = parseMount(["none", "/m", "-sfnv", "-o", "rw,lowerdir=/a", "-t", "fuse.stratafs"], "helper", cwd);
    expect(parsed.kind === "mount" && parsed.request).to.include({ fake: true, foreground: false, mountpoint: "/m", source: "none" });
  });

  it("takes --data, --host and --log with a value, glued or apart", () => {
    expect(request("--data=cached", "--host", "fuse-native", "-olowerdir=/a", "/m")).to.include({ data: "cached", host: "fuse-native" });
    expect(refusal("-olowerdir=/a", "/m", "--data")).to.match(/option data is one of auto, passthrough, cached/);
  });

  it("lasts where it can, unless told", () => {
    expect(request("-olowerdir=/a", "/m").supervised).to.equal("auto");
    for (const on of ["-osupervised", "-osupervised=on", "--supervised", "--supervised=on"]) expect(request(on, "-olowerdir=/a", "/m"), on).to.include({ supervised: "on", mountpoint: "/m" });
    for (const off of ["-osupervised=off", "--supervised=off"]) expect(request("-olowerdir=/a", off, "/m").supervised, off).to.equal("off");
    expect(refusal("-f", "--supervised", "-olowerdir=/a", "/m")).to.match(/not with -f or -d/);
    expect(refusal("--supervised=1", "-olowerdir=/a", "/m")).to.match(/option supervised is one of auto, on, off; found "1"/);
  });

  const refused: [name: string, args: string[], message: RegExp][] = [
    ["no arguments", [], /no mountpoint given/],
    ["no lowerdir", ["/m"], /no lowerdir given/],
    ["an -o at the end", ["/m", "-o"], /-o needs options after it/],
    ["verify without an image", ["-olowerdir=/l,verify", "/m"], /verify is of use with image=NAME alone/],
    ["a store without an image", ["-olowerdir=/l,store=/s", "/m"], /store is of use with image=NAME alone/],
    ["three positionals", ["a", "b", "c", "-olowerdir=/l"], /SOURCE and MOUNTPOINT at most, found also "c"/],
    ["an unknown letter", ["-q", "/m"], /unknown option -q/],
    ["an unknown word", ["--quick", "/m"], /unknown option --quick/],
    ["an empty mountpoint", ["-olowerdir=/l", ""], /mountpoint is empty/],
    ["an upper without a workdir", ["-olowerdir=/l,upperdir=/u", "/m"], /upperdir needs a workdir/],
    ["data-only layers alone", ["-odatadir+=/d", "/m"], /at least one lowerdir above/],
  ];
  for (const [name, args, message] of refused) it(`refuses ${name} in one line`, () => expect(refusal(...args)).to.match(message).and.not.include("\n"));
});

describe("the options of a mount", () => {
  it("makes a mount without upperdir read-only by having no upper, and warns of a useless workdir", () => {
    expect(options("lowerdir=/a,workdir=/w")).to.deep.include({ upper: undefined, warnings: ["workdir ignored: there is no upperdir, so the mount is read-only"] });
  });

  it("keeps a comma inside double quotes, and drops the quotes", () => {
    expect(options('context="system_u:object_r:x:s0:c1,c2",nodev')).to.deep.include({
      contexts: { context: "system_u:object_r:x:s0:c1,c2" }, flags: ["nodev"], warnings: [],
    });
  });

  it("takes every SELinux context", () => {
    expect(options("fscontext=a:b:c:s0,defcontext=d,rootcontext=e").contexts).to.deep.equal({ fscontext: "a:b:c:s0", defcontext: "d", rootcontext: "e" });
  });

  it("treats a quote that nobody closes as a character", () => {
    expect(options('upperdir="/u,workdir=/w')).to.include({ upper: '"/u', work: "/w" });
  });

  it("un-escapes commas, colons and anything else after a backslash", () => {
    const set = options(String.raw`lowerdir=/a\:b:/c\,d:/e\\f,upperdir=/u\:\,\x,workdir=/w\ w`);
    expect(set.lowers).to.deep.equal(["/a:b", "/c,d", String.raw`/e\f`]);
    expect(set).to.include({ upper: "/u:,x", work: "/w w" });
  });

  it("adds lowerdir+= below what is there, one path each", () => {
    expect(options(String.raw`lowerdir+=/a,lowerdir+=/b\:c,datadir+=/d`)).to.deep.include({ lowers: ["/a", "/b:c"], dataLowers: ["/d"] });
  });

  it("reads data-only layers after a double colon", () => {
    expect(options("lowerdir=/a:/b::/d::/e")).to.deep.include({ lowers: ["/a", "/b"], dataLowers: ["/d", "/e"] });
  });

  it("holds hundreds of lowers in order", () => {
    const lowers = Array.from({ length: 500 }, (_, i) => `l/${i}`);
    expect(options(`lowerdir=${lowers.join(":")}`).lowers).to.deep.equal(lowers);
  });

  it("reads id maps, also with the stray colon that containers/storage puts in front", () => {
    const set = options("uidmapping=:0:1000:1:1:110000:65536,gidmapping=0:100:1");
    expect(set.uidMap).to.deep.equal([{ onDisk: 0, presented: 1000, length: 1 }, { onDisk: 1, presented: 110000, length: 65536 }]);
    expect(set.gidMap).to.deep.equal([{ onDisk: 0, presented: 100, length: 1 }]);
  });

  it("reads owners to squash to", () => {
    expect(options("squash_to_root")).to.include({ squashUid: 0, squashGid: 0 });
    expect(options("squash_to_uid=1000,squash_to_gid=100")).to.include({ squashUid: 1000, squashGid: 100 });
  });

  it("reads every other option of fuse-overlayfs", () => {
    const set = options("static_nlink,noacl,xino=on,ino32_t,volatile,fsync=0,timeout=1.5,threaded=0,xattr_permissions=2,max_idle_threads=10,allow_other,default_permissions");
    expect(set).to.include({
      staticNlink: true, acl: false, xino: "on", ino32: true, volatile: true, fsync: false, timeoutSec: 1.5, xattrPermissions: 2,
      allowOther: true, defaultPermissions: true,
    });
    expect(set.warnings).to.deep.equal([]);
  });

  it("reads what callers of the kernel's overlay send", () => {
    expect(options("redirect_dir=on,metacopy=on,userxattr")).to.include({ redirect: "on", metacopy: true, userXattr: true });
    expect(options("redirect_dir=nofollow,metacopy=off")).to.include({ redirect: "nofollow", metacopy: false });
    expect(options("userxattr")).to.include({ redirect: undefined, metacopy: undefined });
  });

  it("reads data=, host=, fsname=, subtype= and log=", () => {
    expect(options("data=cached,host=fuse-native,fsname=pool,subtype=strata,log=/var/log/m")).to.include({
      data: "cached", host: "fuse-native", fsname: "pool", source: "pool", subtype: "strata", logFile: "/var/log/m",
    });
  });

  it("lets the last of two contradicting flags count", () => {
    expect(options("nosuid,nodev,suid,noatime,relatime,ro,rw")).to.deep.include({ flags: ["nodev", "suid", "relatime"], readOnly: false });
    expect(options("rw,ro").readOnly).to.equal(true);
  });

  it("warns once for private and every unknown option, and says nothing about words of fstab", () => {
    expect(options("private,wibble=3,defaults,_netdev,x-systemd.automount,nofail").warnings).to.deep.equal([
      'unknown option "private" ignored', 'unknown option "wibble=3" ignored',
    ]);
  });

  it("takes words for turning off what is not here, and warns of those for turning it on", () => {
    expect(options("index=off,nfs_export=off,verity=off,uuid=null").warnings).to.deep.equal([]);
    expect(options("index=on,uuid=on").warnings).to.deep.equal(['unknown option "index=on" ignored', 'unknown option "uuid=on" ignored']);
  });

  it("treats names of Object's own properties as unknown options", () => {
    expect(options("constructor,toString=1,__proto__").warnings).to.have.length(3);
  });

  const refused: [option: string, message: RegExp][] = [
    ["lowerdir=", /lowerdir needs a value/], ["lowerdir=:/a", /empty path/], ["lowerdir=/a:", /empty path/], ["lowerdir=/a:::/b", /empty path/],
    ["lowerdir=/a::/d:/b", /"\/b" follows a data-only layer/], ["upperdir", /upperdir needs a value/], ["data=fast", /one of auto, passthrough, cached; found "fast"/],
    ["host=x", /one of device, fuse-native/], ["redirect_dir=maybe", /one of on, follow, nofollow, off/], ["metacopy", /one of on, off; found ""/],
    ["xino=yes", /one of auto, on, off/], ["uidmapping=0:1000", /three numbers/], ["uidmapping=0:a:1", /three numbers/], ["uidmapping=0:0:0", /three numbers/],
    ["uidmapping=::", /needs a value|three numbers/], ["gidmapping=0:4294967295:2", /three numbers/], ["uidmapping=0:0:10:5:100:1", /overlap/], ["uidmapping=0:0:10:50:9:1", /overlap/],
    ["squash_to_uid=root", /needs a number/], ["squash_to_gid=4294967295", /not an id/], ["timeout=soon", /number of seconds/], ["timeout=-1", /number of seconds/],
    ["fsync=2", /one of 0, 1/], ["threaded=many", /one of 0, 1/], ["xattr_permissions=3", /one of 0, 1, 2/], ["volatile=1", /takes no value/], ["ro=1", /takes no value/],
    ["userxattr,xattr_permissions=1", /contradict/], ["metacopy=off,lowerdir=/a::/d", /of no use/],
  ];
  for (const [option, message] of refused) {
    it(`refuses ${option} in one line`, () => expect(refusal("-o", option.includes("lowerdir") ? option : `lowerdir=/l,${option}`, "/m")).to.match(message).and.not.include("\n"));
  }
});

describe("the forms of a mount", () => {
  const commands = ["mount", "umount", "run", "diff"];
  const cases: [program: string, args: string[], form: string | undefined][] = [
    ["fuse-overlayfs", ["--version"], "command"],
    ["fuse-overlayfs", ["mount", "/m", "-o", "lowerdir=/a"], "command"],
    ["mount.fuse.stratafs", ["none", "/m"], "helper"],
    ["stratafs", ["none", "/m", "-o", "lowerdir=/a"], "helper"],
    ["stratafs", ["overlay", "/m", "-olowerdir=/a"], "helper"],
    ["stratafs", ["-o", "lowerdir=/a", "/m"], "command"],
    ["stratafs", ["mount", "/m", "-o", "x"], undefined],
    ["stratafs", ["--version"], undefined],
    ["stratafs", ["monut", "-o", "x", "/m"], undefined],
    ["stratafs", [], undefined],
  ];
  for (const [program, args, form] of cases) {
    it(`takes \`${[program, ...args].join(" ")}\` ${form === undefined ? "for no mount" : `in the ${form} style`}`, () => {
      expect(mountForm(program, args, commands)).to.equal(form);
    });
  }
});
