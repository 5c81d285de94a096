/**
 * What an ordinary user's uppers may lie on: every filesystem, another overlay, a FUSE mount. The stack is mounted in a user namespace of his, and
 * must show what the same changes make of a plain copy, before and after a remount.
 */
import type { Check, Suite } from "./suite.js";

/** disk TYPE: an empty filesystem at ./disk that belongs to $STRANGER, with a copy of parts of the small root. */
const prelude = `
disk() {
  mkdir -p disk base/l base/u base/w
  case $1 in
    tmpfs) mount -t tmpfs -o size=400m none disk ;;
    overlay) mount -t overlay -o lowerdir=base/l,upperdir=base/u,workdir=base/w none disk ;;
    fuse) "$PROGRAM" -o lowerdir=$HERE/base/l,upperdir=$HERE/base/u,workdir=$HERE/base/w $HERE/disk ;;
    ext4) truncate -s 400M image; mkfs.ext4 -q -F image; mount -o loop image disk ;;
    *) truncate -s 400M image; mkfs.$1 -q -f image; mount -o loop image disk ;;
  esac
  mkdir disk/here; chown $STRANGER: disk/here
}
# inside NAMESPACE-OPTIONS: the script on standard input as root of a namespace of $STRANGER's, in ./disk/here
inside() {
  { printf 'HERE=%s/disk/here; cd $HERE\\n%s\\n' "$HERE" "$HELPERS"; cat; } > script
  runuser -u $STRANGER -- unshare "$@" sh $PWD/script
}
`;
const clear = "umount -l disk 2>/dev/null || true; rm -rf disk base image script";

/** The stack against a plain copy, with other marks and after a remount; then what the upper holds is read by kernel overlayfs where it can be. */
const compare = (options: string, kernel: boolean): string => `
mkdir low; cp -a --no-preserve=ownership $ROOTFS/data $ROOTFS/etc $ROOTFS/tmp $ROOTFS/sys low; mkdir low/root; cp -a low plain; ROOTFS=$HERE/low
changes plain; listing plain > expected
mount_here "${options}"; changes m; listing m > before; umount m; diff expected before
mount_here "${options}"; listing m > after; echo more >> m/etc2/passwd; umount m; diff expected after
${kernel ? `rm -rf work; mkdir work; mount -t overlay -o lowerdir=low,upperdir=upper,workdir=work,userxattr none m; rm m/etc2/passwd; listing m > kernel; umount m; grep -v "etc2/passwd" expected > expected2; diff expected2 kernel` : ""}
`;

/** For root: kernel overlayfs reads what we wrote, and we what it wrote. */
const asRoot = (type: string): Check => ({
  title: `on ${type}: root's, and kernel overlayfs reads and continues it`,
  needs: [`mkfs.${type}`].filter((name) => name !== "mkfs.tmpfs"),
  only: present(type),
  script: `${clear}; disk ${type}; cd disk; export HERE=$HERE/disk
changes_of() { listing m > $1; umount m; }
mkdir plain; cp -a $ROOTFS/. plain; changes plain; listing plain > expected; mount_here ""; changes m; changes_of ours; diff expected ours
rm -rf work; mkdir work; mount -t overlay -o lowerdir=$ROOTFS,upperdir=upper,workdir=work none m; listing m > theirs; diff expected theirs; rm m/data/one; mv m/etc2 m/etc3; mkdir m/data/k; changes_of theirs
rm -rf work; mount_here ""; changes_of again; diff theirs again; cd ..; soon umount disk; export HERE=\${HERE%/disk}; ${clear}`,
});
const present = (type: string): string => (type === "xfs" || type === "btrfs" ? `grep -qw ${type} /proc/filesystems || modprobe ${type} || { echo "the kernel has no ${type}"; exit 1; }` : "");

const check = (type: string, what: string, options: string, how: string, env = "", kernel = false): Check => ({
  title: `on ${type}: ${what}`,
  needs: type === "xfs" || type === "btrfs" || type === "ext4" ? [`mkfs.${type}`] : [],
  only: present(type),
  script: `${clear}; disk ${type}; inside ${how} <<'EOF'\n${env}${compare(options, kernel)}\nEOF\nsoon umount disk; ${clear}`,
});

const ONE_ID = "-Urm";
const ALL_IDS = "--map-auto --map-root-user -m";
const WITHOUT_DEVICES = "export FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT=1\n";

export const upperSuite: Suite = {
  title: "uppers of an ordinary user",
  needs: ["unshare", "runuser", "diff", "getfattr", "newuidmap"],
  as: "root",
  prelude,
  teardown: clear,
  checks: [
    ...["ext4", "xfs", "btrfs", "tmpfs"].flatMap((type) => [
      asRoot(type),
      check(type, "one id, and kernel overlayfs reads it", "", ONE_ID, "", true),
      check(type, "subordinate ids", "", ALL_IDS),
      check(type, "whiteouts without devices", "", ONE_ID, WITHOUT_DEVICES),
      check(type, "redirects and metadata-only copies", ",redirect_dir=on,metacopy=on", ONE_ID),
      check(type, "owners and modes in xattrs", ",xattr_permissions=2", ONE_ID),
    ]),
    ...["overlay", "fuse"].flatMap((type) => [check(type, "one id", "", ONE_ID), check(type, "subordinate ids", "", ALL_IDS)]),
    // Not on FUSE: names that begin with .wh. cannot be made in a mount of ours.
    check("overlay", "whiteouts without devices", "", ONE_ID, WITHOUT_DEVICES),
  ],
};
