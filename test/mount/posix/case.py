"""What a case is and what cases are made with. A case runs in a process of its own whose cwd is its own directory in the mount (or in
a plain directory: every case must hold there too). What it finds in that directory at the start came from prepare(), as a lower layer."""
import ctypes, os, sys

cases = {}
# "plain", "cached" or "passthrough": where a case says so, the modes differ on purpose.
mode = sys.argv[3] if len(sys.argv) > 3 else "plain"
libc = ctypes.CDLL(None, use_errno=True)
for name, result, arguments in [
    ("fallocate", ctypes.c_int, [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]),
    ("linkat", ctypes.c_int, [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]),
    ("opendir", ctypes.c_void_p, [ctypes.c_char_p]),
    ("readdir", ctypes.c_void_p, [ctypes.c_void_p]),
    ("telldir", ctypes.c_long, [ctypes.c_void_p]),
    ("seekdir", None, [ctypes.c_void_p, ctypes.c_long]),
    ("closedir", ctypes.c_int, [ctypes.c_void_p]),
    ("renameat2", ctypes.c_int, [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]),
]:
    getattr(libc, name).restype = result
    getattr(libc, name).argtypes = arguments

KIB = 1024
SPARSE = {0: b"first", 3 * 1024 * KIB: b"middle", 40 * 1024 * KIB: b"late"}
SPARSE_SIZE = 64 * 1024 * KIB


def case(title, needs_root=False):
    def register(run):
        cases[run.__name__] = (title, needs_root, run)
        return run
    return register


def prepare(root):
    """Makes the lower layer: one directory a case, all with the same content."""
    os.umask(0o022)
    for name in cases:
        home = os.path.join(root, name)
        os.makedirs(os.path.join(home, "dir", "inner"))
        write(os.path.join(home, "lower"), b"lower bytes")
        write(os.path.join(home, "dir", "inner", "file"), b"deep")
        os.link(os.path.join(home, "lower"), os.path.join(home, "dir", "second-name"))
        os.symlink("lower", os.path.join(home, "symlink"))
        os.mkfifo(os.path.join(home, "fifo"))
        os.utime(os.path.join(home, "lower"), ns=(1_000_000_000_123_456_789, 1_100_000_000_987_654_321))
    with open(os.path.join(root, "sparse_through_copy_up", "sparse"), "wb") as file:
        for position, data in SPARSE.items():
            file.seek(position)
            file.write(data)
        file.truncate(SPARSE_SIZE)
    write(os.path.join(root, "lock_file_below", "lock"), b"")
    at = os.open(os.path.join(root, "deeper_than_path_max"), os.O_RDONLY)
    for _ in range(DEEP):
        at = descend(at, b"d" * 100, True)
    write_at(at, "bottom", b"lower")
    os.close(at)


DEEP = 60


def descend(at, name, make=False):
    """The descriptor of a directory below `at`, which is closed."""
    if make:
        os.mkdir(name, dir_fd=at)
    below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
    os.close(at)
    return below


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data, flags=os.O_CREAT | os.O_WRONLY | os.O_TRUNC, permissions=0o644):
    fd = os.open(path, flags, permissions)
    os.write(fd, data)
    os.close(fd)


def write_at(directory, name, data):
    fd = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644, dir_fd=directory)
    os.write(fd, data)
    os.close(fd)


def equal(actual, expected, what=""):
    if actual != expected:
        raise AssertionError(f"{what}{': ' if what else ''}expected {shown(expected)}, found {shown(actual)}")


def shown(value):
    text = repr(value)
    return text if len(text) < 300 else text[:150] + " ... " + text[-100:]


def true(found, what):
    if not found:
        raise AssertionError(what)


def fails(code, act, *arguments, **named):
    """`act` must raise OSError with this errno."""
    try:
        act(*arguments, **named)
    except OSError as error:
        equal(error.strerror, os.strerror(code), f"{act.__name__}{arguments!r}")
        return
    raise AssertionError(f"{act.__name__}{arguments!r} should have failed with {os.strerror(code)}")


def checked(result):
    """A call of libc through ctypes, with OSError in place of -1."""
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def child(act, *arguments, uid=None, gid=None, groups=()):
    """Runs `act` in a child process, as another user if asked. Returns None, or the errno of the OSError it ended with."""
    pid = fork(act, *arguments, uid=uid, gid=gid, groups=groups)
    return finish(pid)


def fork(act, *arguments, uid=None, gid=None, groups=()):
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 251
    try:
        if uid is not None:
            os.setgroups(list(groups))
            os.setgid(uid if gid is None else gid)
            os.setuid(uid)
        act(*arguments)
        status = 0
    except OSError as error:
        status = error.errno
    except BaseException as error:
        print(f"in a child: {error!r}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(status)


def finish(pid):
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    true(0 <= status < 200, f"a child process ended with {status}")
    return status or None


def permissions(path):
    return os.stat(path).st_mode & 0o7777
