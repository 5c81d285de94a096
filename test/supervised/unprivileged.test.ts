/** Supervised mounts of an ordinary user, through fusermount3, and in a user namespace. */
import { expect } from "chai";
import { spawnSync } from "node:child_process";
import { call, isRoot, stratafs } from "../cli/command.js";

const NOBODY = 65534;
const asNobody = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];

/** A server is killed three times and upgraded, with an open file that has no name in the end, and a lower file that moves. */
const script = `
set -eu
d=$(mktemp -d); cd $d; mkdir l u w m; echo one > l/one
${stratafs} mount --supervised -o lowerdir=l,upperdir=u,workdir=w,log=$d/log m
dev=$(awk -v m=$d/m '$5 == m { print $3 }' /proc/self/mountinfo)
server() { for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in *-heir) ;; *) ls -l $p/fd 2>/dev/null | grep -q "memfd:stratafs-$dev " && basename $p || true ;; esac; done; }
exec 5<> m/open; echo 0 >&5
for i in 1 2 3; do
  s=$(server); kill -9 $s; echo $i >&5; mv m/one m/other; mv m/other m/one; while kill -0 $s 2>/dev/null; do sleep 0.02; done
  [ $i = 1 ] || rm -f m/open
done
${stratafs} upgrade m
echo after >&5; tr '\\n' ' ' < /proc/self/fd/5; exec 5>&-; cat m/one
umount m 2>/dev/null || fusermount3 -u m
while [ -n "$(server)" ]; do sleep 0.05; done
ls u w/work; cat log; cd /; rm -r $d`;
const outcome = { status: 0, stdout: "0 1 2 3 after one\nu:\none\n\nw/work:\n", stderr: "" };

const can = (...args: readonly string[]): boolean => spawnSync(args[0]!, args.slice(1), { stdio: "ignore" }).status === 0;
/** A server ends when the disk has everything, which takes as long as others keep the disk busy. */
const run = (...prefix: readonly string[]) => call(prefix[0]!, [...prefix.slice(1), "sh", "-c", script], { timeoutMs: 280_000, cwd: "/" });

describe("a supervised mount without privileges", function () {
  this.timeout(300_000);

  it("goes on as an ordinary user's, mounted by fusermount3", function () {
    if (!isRoot || !can("fusermount3", "-V") || !can(...asNobody, stratafs, "--version")) this.skip(); // needs root to become somebody, the helper, and a build others can read
    if (!can(...asNobody, "sh", "-c", ": <>/dev/fuse")) this.skip(); // the device is root's alone here
    expect(run(...asNobody)).to.deep.equal(outcome);
  });

  it("goes on in a user namespace, an ordinary user's where this test may become one", function () {
    const prefix = [...(isRoot && can(...asNobody, stratafs, "--version") ? asNobody : []), "unshare", "-Urm"];
    if (!can(...prefix, "sh", "-c", ": <>/dev/fuse")) this.skip(); // needs user namespaces, and the device
    expect(run(...prefix)).to.deep.equal(outcome);
  });
});
