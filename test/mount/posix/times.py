"""Times to the nanosecond, set and not set."""
import errno, os, subprocess, time
from case import *

ATIME, MTIME = 1_000_000_000_123_456_789, 1_100_000_000_987_654_321


@case("keeps times to the nanosecond through copy-up and rename")
def nanoseconds():
    stat = os.stat("lower")
    equal((stat.st_atime_ns >= ATIME, stat.st_mtime_ns), (True, MTIME))
    os.chmod("lower", 0o600)
    equal(os.stat("lower").st_mtime_ns, MTIME, "after chmod")
    fd = os.open("lower", os.O_RDWR)
    equal(os.fstat(fd).st_mtime_ns, MTIME, "after an open for writing")
    os.rename("lower", "renamed")
    os.link("renamed", "linked")
    equal(os.stat("linked").st_mtime_ns, MTIME, "after rename and link")
    before = time.time_ns() - 20_000_000
    os.write(fd, b"x")
    os.close(fd)
    true(os.stat("linked").st_mtime_ns >= before, "a write is a new time")
    true(os.stat("linked").st_ctime_ns >= before, "and a change")


@case("sets times in every form of utimensat")
def setting_times():
    earlier, later = 123_456_789_000_000_001, 2_000_000_000_999_999_999
    for path in ["lower", "dir", "fifo"]:
        os.utime(path, ns=(earlier, later))
        stat = os.stat(path)
        equal((stat.st_atime_ns, stat.st_mtime_ns), (earlier, later), path)
    os.utime("symlink", ns=(1, 2), follow_symlinks=False)
    stat = os.lstat("symlink")
    equal((stat.st_mtime_ns, os.stat("symlink").st_mtime_ns), (2, later), "a link's own")
    os.utime("lower", ns=(-5_000_000_000, -1_500_000_000))
    equal((os.stat("lower").st_atime_ns, os.stat("lower").st_mtime_ns), (-5_000_000_000, -1_500_000_000), "before 1970")
    fd = os.open("dir/inner/file", os.O_RDWR)
    os.utime(fd, ns=(3, 4))
    equal(os.fstat(fd).st_mtime_ns, 4, "by descriptor")
    # touch(1) with -a and -m uses UTIME_OMIT and UTIME_NOW.
    now = time.time_ns() - 20_000_000
    subprocess.run(["touch", "-m", "lower"], check=True)
    stat = os.stat("lower")
    true(stat.st_atime_ns == -5_000_000_000 and stat.st_mtime_ns >= now, "omitted and now")
    subprocess.run(["touch", "-a", "-d", "@77.000000001", "lower"], check=True)
    equal((os.stat("lower").st_atime_ns, os.stat("lower").st_mtime_ns), (77_000_000_001, stat.st_mtime_ns))


@case("lets who may write set the time to now, and only the owner to anything else", needs_root=True)
def who_sets_times():
    os.chmod("lower", 0o666)
    equal(child(os.utime, "lower", uid=1234), None)
    equal(child(lambda: os.utime("lower", ns=(1, 1)), uid=1234), errno.EPERM)
    os.chmod("lower", 0o644)
    equal(child(os.utime, "lower", uid=1234), errno.EACCES)


@case("changes a directory's times when its names change")
def directory_times():
    for act in [lambda: write("dir/new", b""), lambda: os.rename("dir/new", "dir/renamed"), lambda: os.unlink("dir/renamed"), lambda: os.mkdir("dir/below"),
                lambda: os.rmdir("dir/below"), lambda: os.unlink("dir/second-name")]:
        os.utime("dir", ns=(1, 1))
        act()
        true(os.stat("dir").st_mtime_ns > 1_000_000_000, "a name changed")
    os.utime("dir", ns=(1, 1))
    write("dir/inner/file", b"changed", os.O_WRONLY)
    os.chmod("dir/inner", 0o700)
    equal(os.stat("dir").st_mtime_ns, 1, "a copy-up below is no change of the directory")


@case("knows when a file was made (statx)")
def birth_times():
    birth = lambda path: float(subprocess.run(["stat", "-c", "%.9W", path], capture_output=True, check=True).stdout)
    before = time.time() - 1
    write("new", b"")
    os.utime("new", ns=(1, 1))
    true(before <= birth("new") <= time.time() + 1, f"new: {birth('new')}")
    true(birth("lower") > 0, "lower")


@case("shows a write's time and size to everybody at once")
def attributes_while_writing():
    fd = os.open("lower", os.O_RDWR)
    os.utime("lower", ns=(1, 1))
    os.pwrite(fd, b"x" * 5000, 0)
    stat = os.stat("dir/second-name")
    true(stat.st_size == 5000 and stat.st_mtime_ns > 1_000_000_000, str(stat))
    size = subprocess.run(["stat", "-c", "%s", "lower"], capture_output=True, check=True).stdout
    equal(size, b"5000\n")
