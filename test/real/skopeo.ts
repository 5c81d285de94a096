/** skopeo between our store, layouts, archives, a registry, and container storage whose mounts are ours. */
import { containersConf } from "./podman.js";
import type { Suite } from "./suite.js";

const prelude = `
export XDG_RUNTIME_DIR=$HERE/xdg CONTAINERS_CONF=$HERE/containers.conf STRATAFS_STORE=$HERE/store CONTAINERS_STORAGE_CONF=$HERE/storage.conf
printf '[storage]\\ndriver = "overlay"\\ngraphroot = "%s/graph"\\nrootless_storage_path = "%s/graph"\\nrunroot = "%s/run"\\n[storage.options.overlay]\\nmount_program = "%s"\\n' $HERE $HERE $HERE $PROGRAM > storage.conf
# arrived FROM NAME: what is at FROM comes into our store as the image it was, to the last attribute
arrived() { "$PROGRAM" import $1 --name $2; same "$("$PROGRAM" diff tiny $2)" ""; }
`;

export const skopeoSuite = (as: "root" | "user"): Suite => ({
  title: as === "root" ? "skopeo as root" : "skopeo, rootless",
  needs: ["skopeo", "tar"],
  as,
  prelude,
  setup: `${containersConf}"$PROGRAM" import $TAR --name tiny; "$PROGRAM" export tiny layout`,
  teardown: `rm -rf store layout archive.tar again registry; if command -v podman >/dev/null; then podman system reset -f; fi; ${as === "root" ? "umount -l graph/overlay 2>/dev/null || true; " : ""}rm -rf graph run`,
  checks: [
    { title: "reads a layout that we export", script: `skopeo inspect oci:layout | grep -q sha256:; same "$("$PROGRAM" run tiny -- cat /data/one)" one` },
    { title: "makes an archive of it that we import as the same", script: `skopeo copy -q oci:layout docker-archive:archive.tar:again:1; arrived archive.tar again` },
    { title: "zstd and gzip layouts come back as the same", script: `for f in zstd gzip; do rm -rf again; skopeo copy -q --dest-compress-format $f --dest-compress oci:layout oci:again:$f; arrived again $f; done` },
    { title: "pushes it to a registry and pulls it back", needs: ["docker-registry"], script: `registry; skopeo copy -q --dest-tls-verify=false oci:layout docker://$REGISTRY/tiny:1; rm -rf again; skopeo copy -q --src-tls-verify=false docker://$REGISTRY/tiny:1 oci:again:r; arrived again pulled` },
    { title: "into container storage and out of it, through our mounts", needs: ["podman"], script: `skopeo copy -q oci:layout containers-storage:localhost/tiny:1; podman run --rm localhost/tiny:1 /bin/ls /data | grep -q one; rm -rf again; skopeo copy -q containers-storage:localhost/tiny:1 oci:again:s; arrived again stored` },
  ],
});
