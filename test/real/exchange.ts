/** Upper directories written by one overlay and read by another: stratafs, kernel overlayfs, fuse-overlayfs. What is compared is the whole tree. */
import type { Suite } from "./suite.js";

const kernel = (options = ""): string => `mkdir -p m; mount -t overlay -o lowerdir=$ROOTFS,upperdir=$HERE/upper,workdir=$HERE/work2${options} none m`;
const other = `mkdir -p m; fuse-overlayfs -o lowerdir=$ROOTFS,upperdir=$HERE/upper,workdir=$HERE/work2 m`;

/** Debian's fuse-overlayfs 1.10 copies up one of several links and then shows either file under all of the names. */
const withoutLinks = "mkdir -p work2; rm -rf low; cp -a $ROOTFS low; rm low/data/one.link; ROOTFS=$HERE/low; ";

/** Changes through `first`, then the same trees seen and changed through `second`. */
const exchange = (first: string, second: string): string => `mkdir -p upper work work2
${first}; changes m; listing m > before; umount m
${second}; listing m > after; diff before after; echo again > m/again; rm m/data/three; rm -r m/new; mkdir m/new; listing m > before; umount m
${first}; listing m > after; diff before after; umount m`;

export const exchangeSuite: Suite = {
  title: "uppers exchanged with other overlays",
  needs: ["getfattr", "diff"],
  as: "root",
  prelude: "fresh; rm -rf work2 low",
  teardown: "fresh; rm -rf work2 low",
  checks: [
    { title: "what we wrote is what kernel overlayfs reads and continues", script: exchange(`mount_here ""`, kernel()) },
    { title: "the same with redirect_dir and metacopy", script: exchange("mount_here ,redirect_dir=on,metacopy=on", kernel(",redirect_dir=on,metacopy=on")) },
    { title: "the same with userxattr", script: exchange("mount_here ,userxattr", kernel(",userxattr")) },
    { title: "what kernel overlayfs wrote is what we read and continue", script: exchange(kernel(",redirect_dir=on,metacopy=on"), "mount_here ,redirect_dir=on,metacopy=on") },
    { title: "what we wrote is what fuse-overlayfs reads and continues", needs: ["fuse-overlayfs"], script: withoutLinks + exchange(`mount_here ""`, other) },
    { title: "what fuse-overlayfs wrote is what we read and continue", needs: ["fuse-overlayfs"], script: withoutLinks + exchange(other, `mount_here ""`) },
    { title: "AUFS whiteouts are read by fuse-overlayfs", needs: ["fuse-overlayfs"], script: `${withoutLinks} export FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT=1; ${exchange(`mount_here ""`, other)}` },
    // Not the other way: fuse-overlayfs 1.10 looks for user.fuseoverlayfs.override_stat, podman and we for user.containers.override_stat.
    { title: "owners that fuse-overlayfs wrote to xattrs are read from a lower", needs: ["fuse-overlayfs"], script: `${withoutLinks} mkdir -p none low2 m; fuse-overlayfs -o lowerdir=$HERE/none,upperdir=$HERE/low2,workdir=$HERE/work2,xattr_permissions=2 m; cp -a low/. m; chown 12:34 m/data/one; chmod 4755 m/data/one; listing m > before; umount m; ROOTFS=$HERE/low2; mount_here ,xattr_permissions=2; listing m > after; umount m; diff before after; rm -rf low2` },
    { title: "what we wrote is a lower of kernel overlayfs", script: `mount_here ""; changes m; listing m > before; umount m; mount -t overlay -o lowerdir=$HERE/upper:$ROOTFS none m; listing m > after; diff before after` },
    { title: "our mount is a lower of kernel overlayfs", script: `mount_here ""; changes m; mkdir -p upper2 work2 m2; listing m > before; mount -t overlay -o lowerdir=$HERE/m,upperdir=$HERE/upper2,workdir=$HERE/work2 none m2; listing m2 > after; umount m2; umount m; rm -rf upper2 m2; diff before after` },
  ],
};

/** The script in a user namespace, with a lower that belongs to its root. */
function inside(script: string): string {
  return `cat > inside <<'EOF'
ROOTFS=$HERE/low
${script}
EOF
{ printf '%s' "$HELPERS"; cat inside; } > whole; unshare -Urm sh whole; rm -r low`;
}

/** The kernel's own overlay for user namespaces, Linux 5.11. */
export const exchangeInUserNamespace: Suite = {
  title: "uppers exchanged inside a user namespace",
  needs: ["unshare", "diff"],
  as: "user",
  prelude: "rm -rf work2 upper work; mkdir -p m low; cp -r $ROOTFS/data $ROOTFS/etc $ROOTFS/tmp $ROOTFS/sys $ROOTFS/root low 2>/dev/null || true; mkdir -p low/root",
  checks: [
    { title: "what we wrote is what kernel overlayfs reads and continues", script: inside(exchange(`mount_here ""`, kernel(",userxattr"))) },
    { title: "what kernel overlayfs wrote is what we read and continue", script: inside(exchange(kernel(",userxattr"), `mount_here ""`)) },
    { title: "what we wrote is what fuse-overlayfs reads and continues", needs: ["fuse-overlayfs"], script: inside(`rm -f low/data/one.link; ${exchange(`mount_here ""`, other)}`) },
    { title: "what fuse-overlayfs wrote is what we read and continue", needs: ["fuse-overlayfs"], script: inside(`rm -f low/data/one.link; ${exchange(other, `mount_here ""`)}`) },
  ],
};
