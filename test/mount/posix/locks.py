"""Locks between processes, which the kernel keeps."""
import errno, fcntl, os, struct
from case import *

F_OFD_SETLK = 37


def record_lock(command, fd, kind, start, length):
    fcntl.fcntl(fd, command, struct.pack("hhqqi", kind, os.SEEK_SET, start, length, 0))


def held_elsewhere(take):
    """The errno that `take` ends with in another process, on a file opened there."""
    return child(lambda: take(os.open("lower", os.O_RDWR)))


@case("has flock between processes, bound to the open file")
def whole_file_locks():
    fd = os.open("lower", os.O_RDWR)
    exclusive = lambda theirs: fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
    shared = lambda theirs: fcntl.flock(theirs, fcntl.LOCK_SH | fcntl.LOCK_NB)
    fcntl.flock(fd, fcntl.LOCK_SH)
    equal((held_elsewhere(shared), held_elsewhere(exclusive)), (None, errno.EAGAIN))
    fcntl.flock(fd, fcntl.LOCK_EX)
    equal(held_elsewhere(shared), errno.EAGAIN)
    second = os.dup(fd)
    os.close(fd)
    equal(held_elsewhere(shared), errno.EAGAIN, "a duplicate still holds it")
    os.close(second)
    equal(held_elsewhere(exclusive), None)


@case("has fcntl locks of ranges, bound to the process")
def record_locks():
    fd = os.open("lower", os.O_RDWR)
    record_lock(fcntl.F_SETLK, fd, fcntl.F_WRLCK, 0, 5)
    take = lambda kind, start, length: held_elsewhere(lambda theirs: record_lock(fcntl.F_SETLK, theirs, kind, start, length))
    equal([take(fcntl.F_RDLCK, 0, 1), take(fcntl.F_WRLCK, 4, 9), take(fcntl.F_WRLCK, 5, 0)], [errno.EAGAIN, errno.EAGAIN, None])
    record_lock(fcntl.F_SETLK, fd, fcntl.F_UNLCK, 0, 2)
    equal([take(fcntl.F_WRLCK, 0, 2), take(fcntl.F_WRLCK, 2, 1)], [None, errno.EAGAIN])

    def who():
        answer = fcntl.fcntl(os.open("lower", os.O_RDWR), fcntl.F_GETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0))
        kind, _, start, length, pid = struct.unpack("hhqqi", answer)
        equal((kind, start, length, pid), (fcntl.F_WRLCK, 2, 3, os.getppid()))
    equal(child(who), None)
    os.close(os.open("lower", os.O_RDONLY))
    equal(take(fcntl.F_WRLCK, 0, 0), None, "closing any descriptor of the file ends a process's locks")


@case("has locks of ranges bound to the open file (F_OFD)")
def open_file_description_locks():
    one, two = os.open("lower", os.O_RDWR), os.open("lower", os.O_RDWR)
    record_lock(F_OFD_SETLK, one, fcntl.F_WRLCK, 0, 10)
    fails(errno.EAGAIN, record_lock, F_OFD_SETLK, two, fcntl.F_WRLCK, 5, 1)
    record_lock(F_OFD_SETLK, two, fcntl.F_WRLCK, 10, 1)
    os.close(os.open("lower", os.O_RDONLY))
    fails(errno.EAGAIN, record_lock, F_OFD_SETLK, two, fcntl.F_WRLCK, 5, 1)
    os.close(one)
    record_lock(F_OFD_SETLK, two, fcntl.F_WRLCK, 5, 1)


@case("wakes a process that waits for a lock")
def waiting_for_a_lock():
    fd = os.open("new", os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    start, go = os.pipe()

    def wait():
        theirs = os.open("new", os.O_RDWR)
        os.write(go, b"!")
        fcntl.flock(theirs, fcntl.LOCK_EX)
        os.write(theirs, b"mine")
    pid = fork(wait)
    os.read(start, 1)
    equal(read("new"), b"")
    fcntl.flock(fd, fcntl.LOCK_UN)
    equal(finish(pid), None)
    equal(read("new"), b"mine")


@case("keeps an empty lower file one file for who has locked it and who writes to it")
def lock_file_below():
    fd = os.open("lock", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)

    def write_and_lock():
        theirs = os.open("lock", os.O_RDWR)
        os.write(theirs, b"mine")
        fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
    equal(child(write_and_lock), errno.EAGAIN)
    equal(os.read(fd, 10), b"mine")
