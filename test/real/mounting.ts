/** mount(8), fstab and fusermount; options; a mount made inside a user namespace. */
import type { Suite } from "./suite.js";

const STACK = "lowerdir=$ROOTFS,upperdir=$HERE/upper,workdir=$HERE/work";

/** mount.fuse3 looks for the program in a shell of its own, in which only the standard directories are searched. */
export const mountSuite: Suite = {
  title: "mount(8) and its helper",
  needs: ["mount.fuse3", "mount", "fusermount3"],
  as: "root",
  setup: `ls /usr/local/bin/stratafs 2>/dev/null && { echo "/usr/local/bin/stratafs is there already"; exit 1; }; ln -s "$PROGRAM" /usr/local/bin/stratafs; touch made`,
  prelude: `mkdir -p upper work m`,
  teardown: `[ ! -e made ] || rm /usr/local/bin/stratafs; fresh`,
  checks: [
    { title: "mount -t fuse.stratafs", script: `mount -t fuse.stratafs -o ${STACK},dev,suid here $HERE/m; grep -q "^here $HERE/m fuse.stratafs rw,relatime," /proc/mounts; cat m/data/one; umount m; gone $HERE/m` },
    { title: "a line of fstab", script: `echo "here $HERE/m fuse.stratafs noauto,nofail,_netdev,x-systemd.requires=/x,${STACK} 0 0" > fstab; mount -T fstab $HERE/m; touch m/from-fstab; umount m; [ -e upper/from-fstab ]; gone $HERE/m` },
    { title: "a read-only line of fstab", script: `echo "here $HERE/m fuse.stratafs noauto,ro,lowerdir=$ROOTFS 0 0" > fstab; mount -T fstab $HERE/m; fails touch m/x; umount m; gone $HERE/m` },
    {
      title: "/etc/fstab, for root and for an ordinary user",
      needs: ["unshare", "runuser"],
      // In a mount namespace that has an fstab of its own.
      script: `mkdir -p his/upper his/work his/m; chown -R $STRANGER: his; cat > fstab <<EOF
here $HERE/m fuse.stratafs _netdev,${STACK} 0 0
stack $HERE/his/m fuse.stratafs noauto,user,lowerdir=$ROOTFS,upperdir=$HERE/his/upper,workdir=$HERE/his/work 0 0
EOF
cat > inside <<'EOF'
mount --bind fstab /etc/fstab; mount -a -t fuse.stratafs; mount -a -t fuse.stratafs; same "$(grep -c " $HERE/m " /proc/mounts)" 1; touch m/from-fstab; umount m; gone $HERE/m
runuser -u $STRANGER -- mount $HERE/his/m; grep -q "^stack $HERE/his/m fuse.stratafs rw,nosuid,nodev" /proc/mounts; runuser -u $STRANGER -- sh -c 'echo his > his/m/his; cat his/m/data/one'; fails runuser -u nobody -- umount $HERE/his/m
runuser -u $STRANGER -- umount $HERE/his/m; gone $HERE/his/m
EOF
{ printf '%s' "$HELPERS"; cat inside; } > whole; unshare -m sh whole; [ -e upper/from-fstab ]; same "$(stat -c %U his/upper/his)" $STRANGER; rm -rf his`,
    },
    { title: "mount.fuse3, called by an ordinary user", needs: ["runuser"], script: `mkdir -p his/upper his/work his/m; chown -R $STRANGER: his; runuser -u $STRANGER -- mount.fuse3 stack $HERE/his/m -t fuse.stratafs -o lowerdir=$ROOTFS,upperdir=$HERE/his/upper,workdir=$HERE/his/work; runuser -u $STRANGER -- sh -c 'echo new > his/m/new; cat his/m/data/one his/m/new' > said; same "$(cat said)" "one
new"; fails runuser -u $STRANGER -- rm -f his/m/data/two; runuser -u $STRANGER -- fusermount3 -u his/m; gone $HERE/his/m; same "$(stat -c %U his/upper/new)" $STRANGER; rm -rf his` },
    { title: "the call of containerd's snapshotter", script: `mount.fuse3 overlay $HERE/m -o workdir=$HERE/work -o upperdir=$HERE/upper -o lowerdir=$ROOTFS -o dev,suid -t fuse.stratafs; stat -f -c %t m | grep -q 65735546; umount m; gone $HERE/m` },
    { title: "read-only by a remount, of the mount or of one place of it, and no second mount", script: `mount -t fuse.stratafs -o ${STACK} here $HERE/m; mount -o remount,ro,${STACK} $HERE/m; fails touch m/x; mount -o remount,rw,${STACK} $HERE/m; touch m/x; mount -o remount,bind,ro $HERE/m; fails touch m/y; umount m; gone $HERE/m` },
    { title: "a reason on stderr and status 1 when a layer is missing", script: `fails mount -t fuse.stratafs -o lowerdir=$HERE/nowhere here $HERE/m; mount -t fuse.stratafs -o lowerdir=$HERE/nowhere here $HERE/m 2>&1 | grep -q nowhere; gone $HERE/m` },
    { title: "fusermount3 -u leaves an empty directory and no process", script: `mount_here ""; echo x > m/late; fusermount3 -u m; same "$(ls -A m)" ""; same "$(cat upper/late)" x; gone $HERE/m` },
    { title: "a busy mount is refused, then detached, and its server ends with the last user", script: `mount_here ""; (cd m; exec sleep 1) & sleep 0.2; fails fusermount3 -u m; umount -l m; wait; gone $HERE/m` },
  ],
};

/** Each check: fresh upper, options, what they do. */
export const optionSuite: Suite = {
  title: "options",
  needs: ["getfattr", "setfacl"],
  as: "root",
  prelude: "fresh",
  teardown: "fresh",
  checks: [
    { title: "uidmapping and gidmapping present ids, and write them back", script: `mount_here ,uidmapping=0:100000:65536,gidmapping=0:100000:65536; same "$(stat -c %u:%g m/data/one)" 100000:100000; touch m/new; chown 100005:100006 m/new; chown 100007 m/data/one; fails chown 5 m/data/two; umount m; same "$(stat -c %u:%g upper/new upper/data/one)" "5:6
7:0"` },
    { title: "a stray colon in a map and empty options", script: `mount_here ,,uidmapping=:0:1000:1:1:110000:65536,gidmapping=:0:1000:1:1:110000:65536,; same "$(stat -c %u:%g m/data/one)" 1000:1000; chown 110004:110004 m/data/one; umount m; same "$(stat -c %u:%g upper/data/one)" 5:5` },
    { title: "squash_to_root shows root everywhere", script: `mount_here ,squash_to_root; touch m/f; chown 5:5 m/f; same "$(stat -c %u:%g m/f m/data/one)" "0:0
0:0"; umount m` },
    { title: "squash_to_uid and squash_to_gid", script: `mount_here ,squash_to_uid=1234,squash_to_gid=4321; same "$(stat -c %u:%g m/data/one)" 1234:4321; umount m` },
    { title: "xattr_permissions=2 keeps owners and modes in an xattr", script: `mount_here ,xattr_permissions=2; touch m/f; chown 12:34 m/f; chmod 4755 m/f; mknod m/null c 1 3; same "$(stat -c '%u:%g %a' m/f)" "12:34 4755"; same "$(stat -c %F m/null)" "character special file"; umount m; same "$(stat -c '%u:%g %F' upper/f upper/null)" "0:0 regular empty file
0:0 regular empty file"; getfattr -n user.containers.override_stat --only-values upper/f | grep -q '^12:34:0*4755'; mount_here ,xattr_permissions=2; same "$(stat -c '%u:%g %a' m/f)" "12:34 4755"; umount m` },
    { title: "xattr_permissions=1 does so in security.*", script: `mount_here ,xattr_permissions=1; touch m/f; chown 12:34 m/f; chmod 4755 m/f; same "$(stat -c '%u:%g %a' m/f)" "12:34 4755"; umount m; same "$(stat -c %u:%g upper/f)" 0:0; getfattr -n security.fuseoverlayfs.override_stat --only-values upper/f | grep -q '^12:34:0*4755'; mount_here ,xattr_permissions=1; same "$(stat -c '%u:%g %a' m/f)" "12:34 4755"; umount m` },
    { title: "volatile: a mount that ended well and was marked is refused until the mark is removed", script: `mount_here ,volatile; touch m/f; sync m/f; umount m; gone $HERE/m; [ -d work/work/incompat/volatile ]; fails mount_here ,volatile; rm -r work/work/incompat; mount_here ,volatile; umount m` },
    { title: "fsync=0: fsync succeeds and everything is written at the end", script: `mount_here ,fsync=0; dd if=/dev/zero of=m/f bs=64k count=9 conv=fsync status=none; sync m/f m; umount m; gone $HERE/m; same "$(stat -c %s upper/f)" 589824` },
    { title: "ACLs count, and with noacl do not", needs: ["setfacl", "runuser"], script: `for o in "" ,noacl; do fresh; mount_here "$o"; touch m/f; chmod 600 m/f; setfacl -m u:65534:r m/f; try="runuser -u nobody -- cat m/f"; if [ -z "$o" ]; then $try; else fails $try; fi; umount m; done` },
    { title: "static_nlink gives every directory one link", script: `mount_here ,static_nlink; same "$(stat -c %h m m/data m/bin)" "1
1
1"; umount m` },
    { title: "ino32_t and xino", script: `for o in ino32_t xino=off xino=auto xino=on; do fresh; mount_here ,$o; touch m/f; find m -printf '%i\\n' | sort | uniq -d > double; same "$(find m -links 1 -printf '%i\\n' | sort | uniq -d)" ""; [ $o != ino32_t ] || ! find m -printf '%i\\n' | awk '$1 > 4294967295' | grep .; umount m; done` },
    { title: "unknown options are a warning", script: `mount_here ,private,wibble=3 2> said; grep -q wibble said; umount m` },
    { title: "an SELinux label is taken, or ignored in words", script: `mount_here ',context="system_u:object_r:container_file_t:s0:c1,c2"' 2> said; [ -e /sys/fs/selinux/enforce ] || grep -q context said; umount m` },
    { title: "a hundred lowers through relative symbolic links", script: `mkdir -p l; rm -rf layers; for i in $(seq 100); do mkdir -p layers/$i; echo $i > layers/$i/f$i; ln -sfn ../layers/$i l/L$i; done; lowers=$(seq -f l/L%g -s : 100); mkdir -p m upper work; $PROGRAM -o lowerdir=$lowers,upperdir=upper,workdir=work $HERE/m; same "$(ls m | wc -l)" 100; same "$(cat m/f77)" 77; umount m` },
  ],
};

export const userNamespaceSuite: Suite = {
  title: "in a user namespace",
  needs: ["unshare", "getfattr"],
  as: "user",
  prelude: `rm -rf upper work m; mkdir -p upper work m`,
  checks: [
    { title: "an ordinary user mounts through fusermount3", needs: ["fusermount3"], script: `mount_here ""; changes m || true; cat m/data/one; fusermount3 -u m; gone $HERE/m` },
    { title: "unshare -Urm: the upper in user.overlay.*, cached data, user.* xattrs", script: `unshare -Urm sh -c 'mkdir low; mkdir low/d; echo 1 > low/d/f; echo 2 > low/g; $PROGRAM -o data=cached,lowerdir=low,upperdir=upper,workdir=work m; echo 3 >> m/d/f; setfattr -n user.k -v v m/d/f; rm m/g; rm -r m/d; mkdir m/d; echo 4 > m/d/h; chmod 700 m/d; mv m/d/h m/k; setfattr -n user.k -v v m/k; cat m/k; umount m'; same "$(ls -A upper | tr '\\n' ' ')" "d g k "; same "$(stat -c %F upper/g)" "character special file"; same "$(getfattr -n user.overlay.opaque --only-values upper/d)" y; same "$(getfattr -n user.k --only-values upper/k)" v; rm -r low` },
    { title: "with subordinate ids: owners as in the namespace", only: `unshare --map-auto -Urm true`, script: `mkdir -p low; unshare --map-auto --map-root-user -m sh -c '$PROGRAM -o lowerdir=low,upperdir=upper,workdir=work m; touch m/f; chown 5:6 m/f; stat -c %u:%g m/f; umount m' > said; same "$(cat said)" 5:6` },
    ...[
      ["uidmapping and gidmapping", ",uidmapping=0:1000:60000,gidmapping=0:1000:60000", "touch m/new; chown 1005:1006 m/new; stat -c %u:%g m/new m/low", "1005:1006\n1000:1000", "stat -c %u:%g upper/new", "5:6"],
      ["squash_to_root", ",squash_to_root", "touch m/f; stat -c %u:%g m/f m/hers", "0:0\n0:0", "stat -c %u upper/f", "0"],
      ["squash_to_uid and squash_to_gid", ",squash_to_uid=12,squash_to_gid=34", "stat -c %u:%g m/low m/hers", "12:34\n12:34", "true", ""],
      ["xattr_permissions=2", ",xattr_permissions=2", "touch m/f; chown 12:34 m/f; chmod 4711 m/f; mkfifo m/p; stat -c '%u:%g %a %F' m/f m/p", "12:34 4711 regular empty file\n0:0 644 fifo", "stat -c '%u:%g %F' upper/f upper/p", "0:0 regular empty file\n0:0 regular empty file"],
      ["volatile", ",volatile", "touch m/f; sync m/f; ls work/work/incompat", "volatile", "fails mount_here ,volatile; rm -r work/work/incompat; mount_here ,volatile; umount m; ls upper", "f"],
      ["context", ',context="system_u:object_r:container_file_t:s0:c1,c2"', "cat m/low", "low", "true", ""],
    ].map(([title, options, inside, seen, below, kept]) => ({
      title: `with subordinate ids: ${title}`,
      only: `unshare --map-auto -Urm true`,
      script: `cat > inside <<'EOF'
rm -rf low; mkdir low; echo low > low/low; echo hers > low/hers; chown 7:8 low/hers; ROOTFS=$HERE/low
mount_here '${options}' 2>/dev/null; same "$(${inside})" "$(printf '${seen}')"; umount m; same "$(${below})" "$(printf '${kept}')"; rm -rf low upper work
EOF
{ printf '%s' "$HELPERS"; cat inside; } > whole; unshare --map-auto --map-root-user -m sh whole`,
    })),
    { title: "data=passthrough is refused in one line", script: `fails unshare -Urm $PROGRAM -o data=passthrough,lowerdir=$ROOTFS m; unshare -Urm $PROGRAM -o data=passthrough,lowerdir=$ROOTFS m 2>&1 | grep -q data=passthrough` },
  ],
};
