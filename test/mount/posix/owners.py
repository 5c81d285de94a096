"""Who may do what: modes, ids, sticky and setgid directories, ACLs, xattrs, privileges lost on write."""
import errno, mmap, os, struct
from case import *

OTHER, THIRD, GROUP = 1234, 1235, 4321
USER_OBJ, USER, GROUP_OBJ, GROUP_TAG, MASK, OTHERS = 1, 2, 4, 8, 16, 32
NOBODY = 0xFFFFFFFF
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service=ep


def acl(*entries):
    """The kernel's form of a POSIX ACL; entries of tag, permissions, id."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, bits, who) for tag, bits, who in entries)


@case("keeps xattrs of users, files, directories and links")
def extended_attributes():
    for path in ["lower", "dir"]:
        os.setxattr(path, "user.one", b"1")
        os.setxattr(path, "user.binary", bytes(range(256)))
        os.setxattr(path, "user.empty", b"")
        equal(os.getxattr(path, "user.binary"), bytes(range(256)))
        equal(os.getxattr(path, "user.empty"), b"")
        equal(sorted(key for key in os.listxattr(path) if key.startswith("user.")), ["user.binary", "user.empty", "user.one"])
        fails(errno.EEXIST, os.setxattr, path, "user.one", b"2", os.XATTR_CREATE)
        fails(errno.ENODATA, os.setxattr, path, "user.two", b"2", os.XATTR_REPLACE)
        os.setxattr(path, "user.one", b"2", os.XATTR_REPLACE)
        equal(os.getxattr(path, "user.one"), b"2")
        os.removexattr(path, "user.one")
        fails(errno.ENODATA, os.getxattr, path, "user.one")
        fails(errno.ENODATA, os.removexattr, path, "user.one")
        fails(errno.EOPNOTSUPP, os.setxattr, path, "nonsense", b"")
    fails(errno.EPERM, os.setxattr, "symlink", "user.one", b"1", follow_symlinks=False)
    fails(errno.EPERM, os.setxattr, "fifo", "user.one", b"1")
    equal(os.getxattr("dir/second-name", "user.empty"), b"", "the file's other name")


@case("keeps trusted xattrs for root alone, those of overlayfs itself too", needs_root=True)
def trusted_attributes():
    for path in ["lower", "dir", "symlink"]:
        os.setxattr(path, "trusted.mine", b"t", follow_symlinks=False)
        equal(os.getxattr(path, "trusted.mine", follow_symlinks=False), b"t")
    def as_other():
        equal([key for key in os.listxattr("lower") if key.startswith("trusted.")], [])
        os.setxattr("lower", "trusted.theirs", b"")
    equal(child(as_other, uid=OTHER), errno.EPERM)
    for key in ["trusted.overlay.opaque", "user.overlay.opaque", "trusted.overlay.whiteout"]:
        os.setxattr("dir", key, b"y")
        equal(os.getxattr("dir", key), b"y", key)
    equal(sorted(os.listdir("dir")), ["inner", "second-name"], "marks made by a user of the mount mean nothing")
    true("trusted.overlay.opaque" in os.listxattr("dir"), "listed by the name it was given")


@case("makes files with the caller's ids and umask", needs_root=True)
def ids_and_umask():
    os.chmod(".", 0o777)
    def make():
        os.umask(0o027)
        write("file", b"", permissions=0o666)
        os.mkdir("directory", 0o777)
        os.mkfifo("pipe", 0o666)
        os.symlink("x", "link")
    equal(child(make, uid=OTHER, gid=GROUP), None)
    for path, expected in [("file", 0o640), ("directory", 0o750), ("pipe", 0o640)]:
        stat = os.stat(path)
        equal((stat.st_mode & 0o7777, stat.st_uid, stat.st_gid), (expected, OTHER, GROUP), path)
    equal(os.lstat("link").st_uid, OTHER)


@case("lets the mode decide who reads, writes and searches", needs_root=True)
def permission_bits():
    os.chmod("lower", 0o640)
    os.chown("lower", OTHER, GROUP)
    equal(child(write, "lower", b"mine", os.O_WRONLY, uid=OTHER), None)
    equal(child(read, "lower", uid=THIRD), errno.EACCES)
    equal(child(read, "lower", uid=THIRD, groups=[GROUP]), None)
    equal(child(write, "lower", b"", os.O_WRONLY, uid=THIRD, gid=GROUP), errno.EACCES)
    equal(child(os.chmod, "lower", 0o777, uid=THIRD), errno.EPERM)
    equal(child(os.chown, "lower", OTHER, THIRD, uid=OTHER), errno.EPERM)
    os.chmod("dir", 0o700)
    equal(child(os.listdir, "dir", uid=OTHER), errno.EACCES)
    equal(child(os.stat, "dir/inner", uid=OTHER), errno.EACCES)
    os.chmod("dir", 0o711)
    equal(child(os.listdir, "dir", uid=OTHER), errno.EACCES)
    equal(child(os.stat, "dir/inner", uid=OTHER), None)
    equal(child(os.unlink, "dir/second-name", uid=OTHER), errno.EACCES)


@case("hands a setgid directory's group on", needs_root=True)
def setgid_directories():
    os.chown("dir", 0, GROUP)
    os.chmod("dir", 0o2777)
    def make():
        write("dir/file", b"")
        os.mkdir("dir/below")
    equal(child(make, uid=OTHER), None)
    equal([(os.stat(path).st_gid, permissions(path)) for path in ["dir/file", "dir/below"]], [(GROUP, 0o644), (GROUP, 0o2755)])
    def group_bit():
        write("dir/other", b"", permissions=0o2775)
        os.chmod("dir/other", 0o2775)
    equal(child(group_bit, uid=OTHER), None)
    equal(permissions("dir/other"), 0o775, "setgid is not for who is not of the group")


@case("keeps others from removing names in a sticky directory", needs_root=True)
def sticky_directories():
    os.mkdir("tmp")
    os.chmod("tmp", 0o1777)
    equal(child(write, "tmp/file", b"", uid=OTHER), None)
    equal(child(os.unlink, "tmp/file", uid=THIRD), errno.EPERM)
    equal(child(os.rename, "tmp/file", "tmp/other", uid=THIRD), errno.EPERM)
    equal(child(os.rename, "tmp/file", "tmp/other", uid=OTHER), None)
    equal(child(os.unlink, "tmp/other", uid=OTHER), None)


@case("takes setuid and setgid away when another user writes, truncates or the owner changes", needs_root=True)
def setuid_lost_on_write():
    def truncate():
        os.truncate("lower", 3)
    def allocate():
        checked(libc.fallocate(os.open("lower", os.O_RDWR), 0, 0, 100))
    def held():
        fd = os.open("lower", os.O_RDWR)
        os.pwrite(fd, b"x", 0)
    def directly():
        with mmap.mmap(-1, 4096) as aligned:
            os.pwritev(os.open("lower", os.O_WRONLY | os.O_DIRECT), [aligned], 0)
    for what in [lambda: write("lower", b"y", os.O_WRONLY | os.O_APPEND), lambda: write("lower", b"", os.O_WRONLY | os.O_TRUNC), truncate, held, allocate, directly]:
        os.chmod("lower", 0o6777)
        equal(oct(permissions("lower")), oct(0o6777))
        equal(child(what, uid=OTHER), None)
        equal(oct(permissions("lower")), oct(0o777))
    os.chmod("lower", 0o6777)
    write("lower", b"root", os.O_WRONLY)
    equal(oct(permissions("lower")), oct(0o6777), "root may write and keep them")
    os.chown("lower", OTHER, OTHER)
    equal(oct(permissions("lower")), oct(0o777))
    os.chmod("dir", 0o6755)
    os.chown("dir", OTHER, OTHER)
    equal(oct(permissions("dir")), oct(0o6755), "directories keep them")


@case("takes file capabilities away on write and chown", needs_root=True)
def capabilities_lost_on_write():
    def has():
        return "security.capability" in os.listxattr("lower")
    def truncate():
        os.truncate("lower", 3)
    held = os.open("lower", os.O_RDWR)
    for what in [lambda: write("lower", b"x", os.O_WRONLY), lambda: write("lower", b"", os.O_WRONLY | os.O_TRUNC), truncate, lambda: os.pwrite(held, b"x", 0), lambda: os.chown("lower", OTHER, OTHER)]:
        os.setxattr("lower", "security.capability", CAPABILITY)
        true(has(), "set")
        equal(os.getxattr("lower", "security.capability"), CAPABILITY)
        what()
        true(not has(), "gone")
    os.setxattr("lower", "security.capability", CAPABILITY)
    os.chmod("lower", 0o755)
    os.rename("lower", "elsewhere")
    equal(os.getxattr("elsewhere", "security.capability"), CAPABILITY, "after chmod and rename")


@case("enforces POSIX ACLs and keeps them in step with the mode", needs_root=True)
def access_control_lists():
    os.chmod("lower", 0o640)
    os.setxattr("lower", "system.posix_acl_access", acl((USER_OBJ, 6, NOBODY), (USER, 6, OTHER), (GROUP_OBJ, 4, NOBODY), (MASK, 6, NOBODY), (OTHERS, 0, NOBODY)))
    equal(oct(permissions("lower")), oct(0o660), "the mask is the group's mode")
    equal(child(write, "lower", b"acl", os.O_WRONLY, uid=OTHER), None)
    equal(child(read, "lower", uid=THIRD), errno.EACCES)
    os.chmod("lower", 0o600)
    equal(child(read, "lower", uid=OTHER), errno.EACCES, "the mask is off")
    equal(os.getxattr("lower", "system.posix_acl_access"), acl((USER_OBJ, 6, NOBODY), (USER, 6, OTHER), (GROUP_OBJ, 4, NOBODY), (MASK, 0, NOBODY), (OTHERS, 0, NOBODY)))
    os.removexattr("lower", "system.posix_acl_access")
    equal("system.posix_acl_access" in os.listxattr("lower"), False)
    fails(errno.EINVAL, os.setxattr, "lower", "system.posix_acl_access", b"\2\0\0\0\1\0")
    equal(child(os.setxattr, "lower", "system.posix_acl_access", acl((USER_OBJ, 7, NOBODY), (GROUP_OBJ, 7, NOBODY), (OTHERS, 7, NOBODY)), uid=OTHER), errno.EPERM)
    os.setxattr("lower", "system.posix_acl_access", acl((USER_OBJ, 7, NOBODY), (GROUP_OBJ, 5, NOBODY), (OTHERS, 4, NOBODY)))
    equal((oct(permissions("lower")), "system.posix_acl_access" in os.listxattr("lower")), (oct(0o754), False), "what a mode can say is a mode")


@case("hands default ACLs on, and lets them take the umask's place", needs_root=True)
def inherited_acls():
    default = acl((USER_OBJ, 7, NOBODY), (USER, 7, OTHER), (GROUP_OBJ, 5, NOBODY), (MASK, 7, NOBODY), (OTHERS, 0, NOBODY))
    for directory in ["dir", "new"]:
        if directory == "new":
            os.mkdir("new")
        os.setxattr(directory, "system.posix_acl_default", default)
        os.umask(0o077)
        write(f"{directory}/file", b"", permissions=0o666)
        os.mkdir(f"{directory}/below", 0o777)
        os.umask(0o022)
        equal(oct(permissions(f"{directory}/file")), oct(0o660), "the umask does not count")
        equal(os.getxattr(f"{directory}/file", "system.posix_acl_access"), acl((USER_OBJ, 6, NOBODY), (USER, 7, OTHER), (GROUP_OBJ, 5, NOBODY), (MASK, 6, NOBODY), (OTHERS, 0, NOBODY)))
        equal(os.getxattr(f"{directory}/below", "system.posix_acl_default"), default)
        equal(os.getxattr(f"{directory}/below", "system.posix_acl_access"), default)
        equal(child(write, f"{directory}/below/theirs", b"", uid=OTHER), None)
        equal(child(os.listdir, f"{directory}/below", uid=THIRD), errno.EACCES)
    fails(errno.EACCES, os.setxattr, "lower", "system.posix_acl_default", default)
