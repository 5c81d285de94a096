"""Names and directories: listings, inode numbers, long, strange and deep names, renames."""
import ctypes, errno, os
from case import *

NOREPLACE, EXCHANGE = 1, 2


class Listing:
    """opendir and what follows, through libc: Python has no telldir."""
    def __init__(self, path):
        self.dir = libc.opendir(path.encode())
        true(self.dir, "opendir")

    def next(self):
        entry = libc.readdir(self.dir)
        return None if not entry else ctypes.string_at(entry + 19)

    def rest(self):
        return list(iter(self.next, None))

    def tell(self):
        return libc.telldir(self.dir)

    def seek(self, position):
        libc.seekdir(self.dir, position)

    def close(self):
        libc.closedir(self.dir)


@case("comes back to a place in a listing (telldir, seekdir), also after names went")
def places_in_a_listing():
    os.mkdir("many")
    for i in range(1500):
        write(f"many/{i:04}", b"")
    listing = Listing("many")
    places, names = [], []
    while True:
        place = listing.tell()
        name = listing.next()
        if name is None:
            break
        places.append(place)
        names.append(name)
    equal(sorted(name.decode() for name in names), sorted([".", ".."] + [f"{i:04}" for i in range(1500)]))
    for i in [0, 1, 700, 1501, 2, 1000]:
        listing.seek(places[i])
        equal(listing.next(), names[i], f"place {i}")
    for name in names[100:600]:
        if name not in (b".", b".."):
            os.unlink(b"many/" + name)
    listing.seek(places[700])
    equal(listing.rest(), names[700:], "after 500 names before it went")
    libc.rewinddir(ctypes.c_void_p(listing.dir))
    equal(len(listing.rest()), 1502 - 500 + sum(1 for name in names[100:600] if name in (b".", b"..")))
    listing.close()


@case("lists every entry with the inode number and the type that stat gives, also after copy-up and rename")
def listed_inode_numbers():
    def look(path, found):
        with os.scandir(path) as entries:
            for entry in entries:
                stat = os.lstat(entry.path)
                equal(entry.inode(), stat.st_ino, entry.path)
                equal((entry.is_dir(follow_symlinks=False), entry.is_symlink()), (os.path.isdir(entry.path) and not os.path.islink(entry.path), os.path.islink(entry.path)))
                found[entry.path] = stat.st_ino
                if entry.is_dir(follow_symlinks=False):
                    look(entry.path, found)
        return found
    before = look(".", {})
    os.chmod("lower", 0o600)
    write("dir/inner/file", b"changed", os.O_WRONLY)
    os.chmod("dir", 0o700)
    os.unlink("fifo")
    os.mkfifo("fifo2")
    after = look(".", {})
    for path, ino in before.items():
        if path != "./fifo":
            equal(after[path], ino, f"{path} after a copy-up")
    os.rename("dir/inner/file", "moved")
    os.rename("symlink", "moved-link")
    os.mkdir("new")
    os.rename("new", "renamed")
    moved = look(".", {})
    equal((moved["./moved"], moved["./moved-link"]), (before["./dir/inner/file"], before["./symlink"]), "after a rename")
    equal(moved["./lower"], moved["./dir/second-name"], "two names of one file")
    names = dict((entry.name, entry.inode()) for entry in os.scandir("."))
    equal(os.stat("renamed").st_ino, names["renamed"])
    listing = Listing("dir")
    dots = set(name for name in listing.rest() if name.startswith(b"."))
    equal(dots, {b".", b".."})


@case("has names of 255 bytes, and none longer")
def long_names():
    name = "n" * 255
    write(name, b"long")
    os.link(name, "dir/" + name[:-1] + "o")
    os.mkdir("m" * 255)
    os.symlink("x" * 4095, "long-target")
    equal(os.readlink("long-target"), "x" * 4095)
    equal(set(os.listdir(".")) - {"dir", "fifo", "lower", "symlink", "long-target"}, {name, "m" * 255})
    os.rename(name, "dir/" + name)
    equal(read("dir/" + name), b"long")
    for act in [lambda: os.stat("n" * 256), lambda: write("n" * 256, b""), lambda: os.mkdir("n" * 256), lambda: os.rename("lower", "n" * 256),
                lambda: os.link("lower", "n" * 256), lambda: os.symlink("x", "n" * 256), lambda: os.unlink("n" * 256)]:
        fails(errno.ENAMETOOLONG, act)


@case("has every byte but slash and NUL in names")
def strange_names():
    names = [bytes([byte]) for byte in range(1, 256) if byte not in (0x2F, 0x2E)]
    names += [b"\xff\xfe", b"\xc3\x28", b"...", "\u00e9".encode(), "e\u0301".encode(), b"a\nb"]
    os.mkdir("strange")
    for name in names:
        write(b"strange/" + name, name)
    equal(sorted(os.listdir(b"strange")), sorted(names))
    for name in names:
        equal(read(b"strange/" + name), name)
        os.rename(b"strange/" + name, b"strange/" + name + b"\x80")
    equal(sorted(os.listdir(b"strange")), sorted(name + b"\x80" for name in names))
    os.symlink(b"strange/\xff\x80", b"link-\xff")
    equal((os.readlink(b"link-\xff"), read(b"link-\xff")), (b"strange/\xff\x80", b"\xff"))
    for name in os.listdir(b"strange"):
        os.unlink(b"strange/" + name)
    os.rmdir("strange")


@case("has directories deeper than a path can say, lower and new, reached by descriptors")
def deeper_than_path_max():
    at = os.open(".", os.O_RDONLY)
    for _ in range(DEEP):
        at = descend(at, b"d" * 100)
    equal(os.listdir(at), ["bottom"])
    write_at(at, "bottom", b"upper")
    write_at(at, "beside", b"new")
    for _ in range(20):
        at = descend(at, b"e" * 100, True)
    write_at(at, "bottom", b"deepest")
    fd = os.open("bottom", os.O_RDONLY, dir_fd=at)
    equal(os.read(fd, 99), b"deepest")
    os.close(fd)
    for _ in range(20):
        os.unlink("bottom", dir_fd=at) if "bottom" in os.listdir(at) else None
        at = descend(at, b"..")
        os.rmdir(b"e" * 100, dir_fd=at)
    fd = os.open("bottom", os.O_RDONLY, dir_fd=at)
    equal(os.read(fd, 99), b"upper")
    for name in os.listdir(at):
        os.unlink(name, dir_fd=at)
    for _ in range(DEEP):
        at = descend(at, b"..")
        os.rmdir(b"d" * 100, dir_fd=at)
    equal(os.path.exists("d" * 100), False)


@case("renames over, beside and in exchange")
def renames():
    write("new", b"new")
    fails(errno.EEXIST, lambda: checked(libc.renameat2(-100, b"new", -100, b"lower", NOREPLACE)))
    checked(libc.renameat2(-100, b"new", -100, b"lower", EXCHANGE))
    equal((read("new"), read("lower"), read("dir/second-name")), (b"lower bytes", b"new", b"lower bytes"))
    os.rename("new", "dir/second-name")
    equal((read("new"), read("dir/second-name")), (b"lower bytes", b"lower bytes"), "two names of one file: nothing happens")
    os.rename("lower", "new")
    equal((read("new"), os.path.exists("lower"), os.stat("dir/second-name").st_nlink), (b"new", False, 1))
    os.mkdir("empty")
    fails(errno.ENOTEMPTY, os.rename, "empty", "dir")
    fails(errno.ENOTDIR, os.rename, "empty", "new")
    fails(errno.EISDIR, os.rename, "new", "empty")
    fails(errno.EINVAL, os.rename, "dir", "dir/inner/below")
    try:
        os.rename("dir", "moved")
    except OSError as error:
        equal(error.errno, errno.EXDEV, "a merged directory moves, or says EXDEV")
    else:
        equal((sorted(os.listdir("moved")), os.path.exists("dir")), (["inner", "second-name"], False))


@case("counts links, and has a name again where one was removed")
def links_and_removed_names():
    equal(os.stat("lower").st_nlink, 2)
    os.link("lower", "third")
    equal([os.stat(path).st_nlink for path in ["lower", "dir/second-name", "third"]], [3] * 3)
    os.unlink("lower")
    equal(os.stat("third").st_nlink, 2)
    os.mkdir("lower")
    equal(os.listdir("lower"), [])
    os.rmdir("lower")
    os.unlink("dir/inner/file")
    os.rmdir("dir/inner")
    os.mkdir("dir/inner")
    equal(os.listdir("dir/inner"), [], "a directory made again is empty")
    fails(errno.ENOTEMPTY, os.rmdir, "dir")
    fails(errno.EPERM, os.link, "dir", "dir2")


@case("fills in statfs")
def filesystem_statistics():
    stat = os.statvfs(".")
    equal(stat.f_namemax, 255)
    true(stat.f_bsize > 0 and stat.f_blocks >= stat.f_bfree >= stat.f_bavail > 0 and stat.f_files >= stat.f_ffree > 0, str(stat))
    equal(os.fstatvfs(os.open("lower", os.O_RDONLY)).f_blocks, stat.f_blocks)
