/** OCI runtimes over a mounted root, and stratafs run as an ordinary user. */
import type { Check, Suite } from "./suite.js";

/** bundle RUNTIME COMMAND: a bundle in ./bundle whose root is $HERE/m. */
const prelude = `
bundle() {
  rm -rf bundle; mkdir bundle; (cd bundle; $1 spec)
  node -e '
    const fs = require("fs"), config = JSON.parse(fs.readFileSync("bundle/config.json", "utf8"));
    config.root = { path: process.argv[1] + "/m", readonly: false };
    config.process.terminal = false;
    config.process.rlimits = [];
    config.process.args = ["/bin/sh", "-c", process.argv[2]];
    fs.writeFileSync("bundle/config.json", JSON.stringify(config));' "$HERE" "$2"
}
fresh
`;
const work = `'id -u; rm /data/two; echo hi > /written; ls /data; grep -c " / fuse" /proc/mounts'`;
const seen = `"0
dir
one
one.link
sym
1"`;

export const runtimeSuite: Suite = {
  title: "OCI runtimes",
  needs: ["node"],
  as: "root",
  prelude,
  teardown: "fresh; rm -rf state",
  checks: [
    { title: "runc runs a bundle over a mount", needs: ["runc"], script: `mount_here ,dev,suid; bundle runc ${work}; same "$(runc --root $HERE/state run -b bundle c-$$)" ${seen}; umount m; gone $HERE/m; same "$(cat upper/written)" hi; same "$(stat -c %F upper/data/two)" "character special file"` },
    {
      title: "crun runs a bundle over a mount",
      needs: ["crun", "unshare"],
      // crun refuses cgroup v1 and v2 side by side; a mount namespace of its own shows it v2 alone.
      script: `mount_here ,dev,suid; bundle crun ${work}; same "$(unshare -m sh -c 'umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; crun --cgroup-manager=disabled --root $HERE/state run -b bundle c-$$')" ${seen}; umount m; gone $HERE/m; same "$(cat upper/written)" hi`,
    },
    {
      title: "umoci unpacks, we mount, runc runs, umoci packs what changed",
      needs: ["umoci", "runc"],
      script: `umoci init --layout image; umoci new --image image:tiny; umoci unpack --image image:tiny empty; cp -a $ROOTFS/. empty/rootfs; umoci repack --image image:full empty; umoci unpack --image image:full full
mkdir -p upper work m; $PROGRAM -o lowerdir=$HERE/full/rootfs,upperdir=$HERE/upper,workdir=$HERE/work,dev,suid $HERE/m; bundle runc ${work}; runc --root $HERE/state run -b bundle c-$$; umount m; gone $HERE/m
same "$(cat upper/written; cat full/rootfs/data/two)" "hi
two"; rm -rf image empty full`,
    },
  ],
};

/** In a user namespace of an ordinary user, who is root there and may not touch the machine's cgroups. */
const rootless = (runtime: string, run: string): Check => ({
  title: `${runtime} runs a bundle over a mount`,
  needs: [runtime],
  script: `cat > inside <<'EOF'
${prelude}
rm -rf low; cp -a --no-preserve=ownership $ROOTFS low; ROOTFS=$HERE/low
mount_here ""; bundle ${runtime} ${work}; same "$(${run})" ${seen}; umount m; gone $HERE/m; same "$(cat upper/written)" hi; rm -rf low upper work state
EOF
{ printf '%s' "$HELPERS"; cat inside; } > whole; unshare --map-auto --map-root-user -m sh whole`,
});

export const rootlessRuntimeSuite: Suite = {
  title: "OCI runtimes, rootless",
  needs: ["node", "unshare", "newuidmap"],
  as: "user",
  checks: [
    rootless("runc", "runc --root $HERE/state run -b bundle c-$$"),
    // Without a cgroup filesystem to be seen it takes the machine for one with cgroup v1, whose lack it can do without.
    rootless("crun", "mount -t tmpfs none /sys/fs/cgroup; crun --cgroup-manager=disabled --root $HERE/state run -b bundle c-$$"),
  ],
};

export const runSuite: Suite = {
  title: "stratafs run as an ordinary user",
  needs: ["newuidmap"],
  as: "user",
  checks: [
    { title: "has all subordinate ids", script: `same "$($PROGRAM run --lower $ROOTFS --upper $HERE/up -- sh -c 'touch /f; chown 5:6 /f; stat -c %u:%g /f; rm /data/two; cat /data/one')" "5:6
one"; [ "$(stat -c %u up/f)" -gt 65535 ]` },
    { title: "runs in a copy of the machine's own root, which stays as it is", script: `before=$(cat /etc/hostname); $PROGRAM run --diff -- sh -c 'echo changed > /etc/hostname; id -u' > said 2>&1; grep -q "C /etc/hostname" said; same "$(cat /etc/hostname)" "$before"` },
    { title: "without newuidmap has one id", script: `mkdir -p few; for f in sh node env; do ln -sf $(command -v $f) few/$f; done; same "$(PATH=$HERE/few $PROGRAM run --lower $ROOTFS --env PATH=/bin -- sh -c 'touch /f; stat -c %u /f; cat /data/one')" "0
one"` },
    { title: "leaves nothing in the temporary directory", script: `export TMPDIR=$HERE/t; mkdir t; for d in 0.05 0.15 0.2 0.3; do $PROGRAM run --lower $ROOTFS -- sleep 5 & p=$!; sleep $d; kill $p; wait $p || true; done; same "$(ls -A t)" ""` },
  ],
};
