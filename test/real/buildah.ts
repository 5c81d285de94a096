/** buildah with overlay.mount_program, as root and rootless. */
import { containersConf, withoutNetwork } from "./podman.js";
import type { Suite } from "./suite.js";

const prelude = `
export XDG_RUNTIME_DIR=$HERE/xdg CONTAINERS_CONF=$HERE/containers.conf TMPDIR=$HERE/t
mkdir -p t
b() { buildah --root $HERE/graph --runroot $HERE/run --storage-driver overlay --storage-opt overlay.mount_program=$PROGRAM "$@"; }
`;

export function buildahSuite(as: "root" | "user"): Suite {
  const runtime = as === "root" ? "oci" : "rootless";
  const run = (isolation: string): string => `c=$(b from tiny); b run ${withoutNetwork(isolation)} --isolation ${isolation} $c sh -c 'echo x > /f; rm -r /data/dir; mkdir /data/dir; chown 5:6 /f'
same "$(b run ${withoutNetwork(isolation)} --isolation ${isolation} $c sh -c 'cat /f; ls -A /data/dir; stat -c %u:%g /f')" "x
5:6"; b rm $c`;
  const inNamespace = (script: string): string => (as === "root" ? script : `b unshare sh -c '${prelude}${script}'`);
  return {
    title: as === "root" ? "buildah as root" : "buildah, rootless",
    needs: ["buildah", "runc"],
    as,
    prelude,
    setup: `${containersConf} c=$(b from scratch); b add -q $c $TAR /; b config --cmd /bin/sh $c; b commit -q --rm $c tiny`,
    checks: [
      { title: "from and run, isolated by chroot", script: run("chroot") },
      { title: `from and run, with runc (${runtime})`, script: run(runtime) },
      { title: "mount, change, umount, commit", script: `c=$(b from tiny); ${inNamespace(`m=$(b mount '$c'); echo m > $m/mounted; chmod 600 $m/data/two; b umount '$c'`).replaceAll("'$c'", as === "root" ? "$c" : `'$c'`)}
b commit -q --rm $c mounted; c=$(b from mounted); same "$(b run --isolation chroot $c sh -c 'cat /mounted; stat -c %a /data/two')" "m
600"; b rm $c` },
      { title: "a volume with :O", script: `mkdir -p v; echo 1 > v/one; c=$(b from tiny); same "$(b run --isolation chroot -v $HERE/v:/v:O $c sh -c 'echo 2 > /v/two; ls /v')" "one
two"; b rm $c; same "$(ls v)" one` },
      { title: "bud in stages, with layers, squashed", script: `mkdir -p context; cat > context/Containerfile <<'EOF'
FROM tiny AS one
RUN touch -d 2001-02-03T04:05:06 /data/one; rm -r /data/dir
FROM tiny
COPY --from=one /data /copied
RUN --mount=type=bind,source=Containerfile,target=/bound cat /bound > /copy
RUN rm /data/two; mkdir /data/two; echo 3 > /data/two/three
EOF
for how in --layers --no-cache --squash; do b bud -q $how --isolation chroot -t built context; c=$(b from built); same "$(b run --isolation chroot $c sh -c 'cat /data/two/three; stat -c "%Y %h" /copied/one; ls -A /copied; head -n 1 /copy')" "3
981173106 2
one
one.link
sym
two
FROM tiny AS one"; b rm $c; done` },
      { title: `bud with ${runtime}`, script: `mkdir -p context; printf 'FROM tiny\\nRUN rm -r /data/dir; mkdir /data/dir; touch /data/dir/new\\nRUN rm /data/two\\n' > context/Runfile; b bud -q --layers ${withoutNetwork(runtime)} --isolation ${runtime} -f context/Runfile -t ran context; c=$(b from ran); same "$(b run --isolation chroot $c ls -A /data /data/dir)" "/data:
dir
one
one.link
sym

/data/dir:
new"; b rm $c` },
      { title: "leaves no mounts", script: `b rm -a; fails grep $HERE/graph /proc/mounts` },
    ],
    teardown: `b rm -a || true; b rmi -a -f; ${as === "root" ? "rm -rf graph run" : "b unshare rm -rf $HERE/graph $HERE/run $HERE/t"}`,
  };
}
