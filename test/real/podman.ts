/** podman with overlay.mount_program, as root and rootless. */
import type { Check, Suite } from "./suite.js";

const prelude = `
export XDG_RUNTIME_DIR=$HERE/xdg CONTAINERS_CONF=$HERE/containers.conf
p() { podman --root $HERE/graph --runroot $HERE/run --tmpdir $HERE/tmp --storage-driver overlay --storage-opt overlay.mount_program=$PROGRAM "$@"; }
`;

/** The limits of a container must not exceed ours, and cgroups are left to the tools' simplest way. */
export const containersConf = `mkdir -p xdg; chmod 700 xdg; cat > containers.conf <<'EOF'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
[engine]
events_logger = "file"
cgroup_manager = "cgroupfs"
runtime = "runc"
EOF
`;

const containerfile = `cat > context/Containerfile <<'EOF'
FROM tiny AS first
RUN touch -d 2001-02-03T04:05:06 /data/one; rm -r /data/dir
FROM tiny
COPY --from=first /data /copied
RUN echo built > /built && rm /data/two
COPY Containerfile /copy
RUN rm -r /data/dir && mkdir /data/dir && chown 1000:1000 /data/dir && chmod 2770 /data/dir
USER user
RUN touch /tmp/mine
EOF
`;
const builtTree = `stat -c '%n %u:%g %a %Y' /copied/one; ls -A /copied /data /data/dir; cat /built; stat -c '%u:%g %a' /data/dir /tmp/mine`;
const builtShown = `/copied/one 0:0 644 981173106
/copied:
one
one.link
sym
two

/data:
dir
one
one.link
sym

/data/dir:
built
1000:1000 2770
1000:1000 644`;

/** Nothing that is run here needs a network, and a rootless one needs programs and devices of its own. In a chroot there is no choice. */
export const withoutNetwork = (isolation: string): string => (isolation === "chroot" ? "" : "--network none");

const checks: readonly Check[] = [
  { title: "run: the root is our mount, and changes stay in the container", script: `p run --rm tiny sh -c 'grep "^[^ ]* / fuse" /proc/mounts; rm /data/two; mv /data/dir /data/moved; cat /data/moved/deep' > said; grep -q deep said; same "$(p run --rm tiny ls /data)" "dir
one
one.link
sym
two"` },
  { title: "diff tells all that was changed and nothing else", script: `p run --name worn tiny sh -c 'echo new > /data/new; rm /data/two; rm -r /data/dir; mkdir /data/dir; echo x > /data/dir/x; chmod 600 /data/one; chown 1000:1000 /tmp; setfattr -n user.k -v v /data/one; ln /data/new /data/new2; mkfifo /data/fifo'
same "$(p diff worn | sort)" "A /data/dir/x
A /data/fifo
A /data/new
A /data/new2
C /data
C /data/dir
C /data/one
C /data/one.link
C /etc
C /tmp
D /data/dir/deep
D /data/two"` },
  { title: "commit makes an image of exactly that", script: `p commit -q worn committed; same "$(p run --rm committed sh -c 'ls -A /data /data/dir; stat -c "%a %h" /data/one /data/new; stat -c %u /tmp; getfattr --only-values -n user.k /data/one 2>/dev/null')" "/data:
dir
fifo
new
new2
one
one.link
sym

/data/dir:
x
600 2
644 2
1000
v"` },
  { title: "diff and commit after thousands of changes", script: `mkdir plain; many plain; wear $HERE/plain; cd plain; sums > ../plain.sums; cd ..; rm -r plain
p run --name early tiny sh -c "$BULK many /"; p commit -q early large; p run --name late large sh -c "$BULK wear /"; p diff late | sort > said
same "$(grep -c '^A' said) $(grep -c '^C' said) $(grep -c '^D' said)" "3203 1116 120"
for line in "C /many/20" "A /many/20/new7" "D /many/20/7" "D /many/42" "A /many/moved" "C /many/40" "C /many/43/7" "C /many/41/1" "A /many/41/1/x" "C /many/31/5"; do grep -qx "$line" said || { echo "not in diff: $line"; exit 1; }; done
p commit -q late larger; p run --rm larger sh -c "$BULK cd /; sums" > committed; same "$(cat committed)" "$(cat plain.sums)"; p diff larger | sort | diff said -` },
  { title: "a stopped container starts again with its changes", script: `p run --name again tiny sh -c 'cat /kept 2>/dev/null || echo first > /kept'; same "$(p start -a again)" first` },
  { title: "exec and cp into a running container", script: `p run -d --name running tiny sleep 60; p exec running sh -c 'echo inside > /f'; p cp running:/f f; same "$(cat f)" inside; echo outside > f; p cp f running:/g; same "$(p exec running cat /g)" outside; p rm -f -t 0 running` },
  { title: "a read-only container writes nothing", script: `fails p run --rm --read-only tiny touch /x` },
  { title: "a volume with :O takes changes and keeps its source", script: `mkdir -p volume; echo 1 > volume/one; same "$(p run --rm -v $HERE/volume:/v:O tiny sh -c 'echo 2 > /v/two; rm /v/one; ls /v')" two; same "$(ls volume)" one` },
  { title: "save and load", script: `p save -q -o saved.tar committed; p rmi -f committed; p load -q -i saved.tar; same "$(p run --rm committed cat /data/new)" new` },
  { title: "push to a registry and pull from it", needs: ["docker-registry"], script: `registry; p push -q --tls-verify=false committed $REGISTRY/committed:1; p rmi -f $REGISTRY/committed:1 committed; p pull -q --tls-verify=false $REGISTRY/committed:1; same "$(p run --rm $REGISTRY/committed:1 sh -c 'cat /data/new; ls -A /data/dir; stat -c %a /data/one')" "new
x
600"` },
  { title: "volatile mounts, again and again", script: `for i in 1 2; do p --storage-opt overlay.mountopt=nodev,volatile run --rm tiny sh -c 'echo x > /x'; done` },
];

const rootChecks: readonly Check[] = [
  { title: "build, isolated by chroot", script: build("chroot") },
  { title: "build, isolated by runc", script: build("oci") },
  { title: "image mount is read-only and goes away", script: `m=$(p image mount tiny); same "$(cat $m/data/one)" one; fails touch $m/x; p image unmount tiny; fails grep " $m " /proc/mounts` },
  { title: "mount and umount of a container", script: `p create -q --name mounted tiny true; m=$(p mount mounted); echo x > $m/x; p umount mounted; p diff mounted | grep -q "A /x"` },
  { title: "--uidmap: the image's owners, and those of changes, as the container sees them", script: `same "$(p run --rm --uidmap 0:100000:65536 --gidmap 0:100000:65536 tiny sh -c 'touch /f; chown 5:6 /f; chown 7 /data/one; stat -c %u:%g /data/two /data/one /f')" "0:0
7:0
5:6"` },
];

const userChecks: readonly Check[] = [
  { title: "build, isolated by chroot", script: build("chroot") },
  { title: "build, rootless with runc", script: build("rootless") },
  { title: "--userns keep-id and --uidmap", script: `same "$(p run --rm --userns keep-id tiny stat -c %u:%g /data/one)" 0:0; same "$(p run --rm --uidmap 0:1:1000 --gidmap 0:1:1000 tiny sh -c 'touch /f; stat -c %u:%g /data/one /f')" "0:0
0:0"` },
  { title: "image mount inside podman unshare", script: `p unshare sh -c 'p() { podman --root $HERE/graph --runroot $HERE/run --tmpdir $HERE/tmp --storage-driver overlay --storage-opt overlay.mount_program=$PROGRAM "$@"; }; m=$(p image mount tiny); cat $m/data/one; p image unmount tiny' > said; grep -q one said` },
  {
    title: "force_mask: owners and modes in xattrs",
    script: `cat > storage.conf <<EOF
[storage]
driver = "overlay"
graphroot = "$HERE/masked"
runroot = "$HERE/run-masked"
[storage.options.overlay]
mount_program = "$PROGRAM"
force_mask = "700"
EOF
export CONTAINERS_STORAGE_CONF=$HERE/storage.conf
q() { podman --tmpdir $HERE/tmp-masked "$@"; }
q import -q $TAR tiny
same "$(q run --name owners tiny sh -c 'touch /f; chown 1000:5 /f; chmod 4711 /f; stat -c "%u:%g %a %F" /f /data/one')" "1000:5 4711 regular empty file
0:0 644 regular file"
q commit -q owners owned
same "$(q run --rm owned stat -c '%u:%g %F' /f)" "1000:5 regular empty file"
same "$(q run --rm tiny sh -c 'mkfifo /p; stat -c %F /p')" fifo
q system reset -f`,
  },
];

function build(isolation: string): string {
  return `mkdir -p context; ${containerfile} p build -q --no-cache ${withoutNetwork(isolation)} --isolation ${isolation} -t built context; same "$(p run --rm built sh -c "${builtTree.replaceAll('"', '\\"')}")" "${builtShown}"`;
}

export function podmanSuite(as: "root" | "user"): Suite {
  return {
    title: as === "root" ? "podman as root" : "podman, rootless",
    needs: ["podman", "runc", "conmon"],
    as,
    prelude,
    setup: `${containersConf} p import -q $TAR tiny`,
    checks: [...checks, ...(as === "root" ? rootChecks : userChecks), {
      title: "leaves neither mounts nor serving processes when the containers are removed",
      script: `p rm -af -t 0; fails grep $HERE/graph /proc/mounts; soon unserved "=$HERE"`,
    }],
    // What cleans up after a container still writes its events.
    teardown: "p rm -af -t 0 || true; soon p system reset -f",
  };
}
