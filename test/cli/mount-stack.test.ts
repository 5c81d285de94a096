import { expect } from "chai";
import { parseMount, type MountRequest } from "../../lib/cli/mount-arguments.js";
import { mountOptionsOf, stackOf } from "../../lib/cli/mount-stack.js";

function request(options: string): MountRequest {
  const command = parseMount(["-o", options, "/m"], "command", () => "/");
  if (command.kind !== "mount") throw new Error(command.kind);
  return command.request;
}
const UPPER = "lowerdir=/l,upperdir=/u,workdir=/w";
const upperOptions = (options: string, env: NodeJS.ProcessEnv = {}) => stackOf(request(options), env).upper?.options;

describe("the stack of a mount", () => {
  it("keeps redirects and metadata-only copies out of directories that other tools own, and marks opaque ones for all of them", () => {
    expect(upperOptions(UPPER)).to.include({ workdir: "/w", redirect: false, metacopy: false, opaqueSentinel: true, xattrPrefix: "auto", whiteouts: "auto", volatile: false });
  });

  it("writes them when asked", () => {
    expect(upperOptions(`${UPPER},redirect_dir=on,metacopy=on,userxattr,volatile`)).to.include({ redirect: true, metacopy: true, xattrPrefix: "user", volatile: true });
    expect(upperOptions(`${UPPER},redirect_dir=follow`)).to.include({ redirect: false });
  });

  it("follows no redirect with redirect_dir=nofollow", () => {
    expect(stackOf(request("lowerdir=/l,redirect_dir=nofollow"), {}).lowers[0]?.options).to.deep.include({ honour: { redirect: false, metacopy: true } });
  });

  it("follows no metadata-only file with metacopy=off, and marks in user.* with userxattr", () => {
    expect(stackOf(request("lowerdir=/l,metacopy=off"), {}).lowers[0]?.options).to.deep.include({ honour: { redirect: true, metacopy: false } });
    expect(stackOf(request("lowerdir=/l,userxattr"), {}).lowers[0]?.options).to.deep.include({ honour: { redirect: true, metacopy: true, userXattrs: true } });
  });

  it("writes .wh. files when the environment says so", () => {
    expect(upperOptions(UPPER, { FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT: "1" })).to.include({ whiteouts: "dotwh" });
  });

  it("gives every layer the same map of ids", () => {
    const stack = stackOf(request(`${UPPER},uidmapping=0:1000:1,squash_to_gid=7`), {});
    for (const layer of [stack.upper, stack.lowers[0]]) {
      expect(layer?.options).to.deep.include({ ids: { uids: [{ onDisk: 0, presented: 1000, length: 1 }], gids: [], squashGid: 7 } });
    }
  });

  it("separates data-only layers from the others", () => {
    const stack = stackOf(request("lowerdir=/a:/b::/d,ino32_t,static_nlink"), {});
    expect([stack.lowers.length, stack.dataLayers?.length, stack.upper, stack.ino32, stack.staticNlink]).to.deep.equal([2, 1, undefined, true, true]);
  });
});

describe("the options of the mount itself", () => {
  it("let everybody use what root mounts, with setuid programs and without devices", () => {
    expect(mountOptionsOf(request(UPPER), true)).to.deep.include({ allowOther: true, defaultPermissions: true, flags: ["nodev"], subtype: "stratafs" });
  });

  it("keep an ordinary user's mount his own", () => {
    expect(mountOptionsOf(request(UPPER), false)).to.deep.include({ allowOther: false, flags: ["nodev", "nosuid"] });
    expect(mountOptionsOf(request(`${UPPER},allow_other`), false)).to.include({ allowOther: true });
  });

  it("pass on what was asked for", () => {
    expect(mountOptionsOf(request(`${UPPER},dev,suid,noatime,data=cached,noacl,timeout=3,fsname=pool`), true)).to.deep.include({
      flags: ["dev", "suid", "noatime"], data: "cached", acl: false, timeoutSec: 3, source: "pool",
    });
  });

  it("are read-only with ro and without an upper", () => {
    expect(mountOptionsOf(request(`${UPPER},ro`), true).flags).to.include("ro");
    expect(mountOptionsOf(request("lowerdir=/l"), true).flags).to.include("ro");
    expect(mountOptionsOf(request(`${UPPER},rw`), true).flags).to.not.include("ro");
  });
});
