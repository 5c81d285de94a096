"""Contents: opening, appending, truncating, holes, mappings, programs that run."""
import ctypes, errno, mmap, os, signal, subprocess, time
from case import *

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16


@case("keeps an unlinked file, new or lower, for whoever has it open")
def unlinked_open_files():
    for path in ["new", "lower"]:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.pwrite(fd, b"0123456789", 0)
        others = os.fstat(fd).st_nlink - 1
        os.unlink(path)
        equal(os.path.exists(path), False)
        equal(os.fstat(fd).st_nlink, others, "link count")
        os.ftruncate(fd, 5)
        os.pwrite(fd, b"abc", 7)
        equal(os.pread(fd, 20, 0), b"01234\0\0abc")
        os.fchmod(fd, 0o600)
        os.fsync(fd)
        equal(os.fstat(fd).st_mode & 0o777, 0o600)
        write(path, b"another")
        equal(os.pread(fd, 20, 0), b"01234\0\0abc")
        equal(read(path), b"another")
        os.close(fd)
    reader = os.open("dir/inner/file", os.O_RDONLY)
    os.unlink("dir/inner/file")
    os.rmdir("dir/inner")
    equal((os.pread(reader, 9, 0), os.fstat(reader).st_nlink), (b"deep", 0))
    equal(read(f"/proc/self/fd/{reader}"), b"deep", "reopened through /proc")


@case("makes files without a name (O_TMPFILE), and gives them one where that is allowed")
def unnamed_files():
    fd = os.open("dir", os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, b"unnamed")
    equal(os.fstat(fd).st_nlink, 0)
    checked(libc.linkat(-100, f"/proc/self/fd/{fd}".encode(), -100, b"dir/named", 0x400))
    equal((read("dir/named"), os.fstat(fd).st_nlink, permissions("dir/named")), (b"unnamed", 1, 0o640))
    os.write(fd, b" no more")
    equal(read("dir/named"), b"unnamed no more")
    os.close(fd)
    private = os.open("dir", os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
    fails(errno.ENOENT, lambda: checked(libc.linkat(-100, f"/proc/self/fd/{private}".encode(), -100, b"dir/other", 0x400)))
    equal(sorted(os.listdir("dir")), ["inner", "named", "second-name"])


@case("empties a file on O_TRUNC, also for who has it open, and not when the open is refused")
def open_with_truncation():
    write("new", b"x" * 10000)
    for path in ["new", "lower"]:
        other = os.open(path, os.O_RDWR)
        write(path, b"short")
        equal((read(path), os.pread(other, 99, 0), os.fstat(other).st_size), (b"short", b"short", 5))
        os.close(other)
        fails(errno.EEXIST, os.open, path, os.O_RDWR | os.O_TRUNC | os.O_CREAT | os.O_EXCL)
        fails(errno.ENOTDIR, os.open, path, os.O_RDONLY | os.O_DIRECTORY)
        equal(read(path), b"short")
    fails(errno.EISDIR, os.open, "dir", os.O_WRONLY | os.O_TRUNC)
    equal(os.stat("dir/second-name").st_size, 5, "the other name of the lower file")


@case("appends (O_APPEND) from several processes without losing a line")
def appends_from_several_processes():
    def append(path, who):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        for i in range(300):
            os.write(fd, b"%d:%03d\n" % (who, i))
        os.close(fd)
    for path in ["new", "lower"]:
        start = len(read(path)) if path == "lower" else 0
        writers = [fork(append, path, who) for who in range(4)]
        equal([finish(pid) for pid in writers], [None] * 4)
        lines = read(path)[start:].splitlines()
        equal(len(lines), 1200)
        for who in range(4):
            equal([line for line in lines if line.startswith(b"%d:" % who)], [b"%d:%03d" % (who, i) for i in range(300)])


@case("truncates by name and by descriptor, down and up, and what comes new is zero")
def truncation():
    os.truncate("lower", 5)
    equal(read("lower"), b"lower")
    os.truncate("lower", 8000)
    equal(read("lower"), b"lower" + bytes(7995))
    fd = os.open("dir/inner/file", os.O_RDWR)
    os.pwrite(fd, b"x" * 9000, 0)
    os.ftruncate(fd, 4097)
    os.ftruncate(fd, 3)
    os.ftruncate(fd, 10000)
    equal(os.pread(fd, 20000, 0), b"xxx" + bytes(9997))
    os.close(fd)
    fails(errno.EISDIR, os.truncate, "dir", 0)
    fails(errno.EINVAL, os.truncate, "lower", -1)
    fd = os.open("lower", os.O_RDONLY)
    fails(errno.EINVAL, os.ftruncate, fd, 0)


@case("allocates, punches holes and zeroes ranges (fallocate)")
def allocation():
    for path in ["new", "lower"]:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.pwrite(fd, b"A" * 64 * KIB, 0)
        checked(libc.fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 8 * KIB, 16 * KIB))
        equal(os.pread(fd, 64 * KIB, 0), b"A" * 8 * KIB + bytes(16 * KIB) + b"A" * 40 * KIB, "punched")
        checked(libc.fallocate(fd, ZERO_RANGE, 60 * KIB, 8 * KIB))
        equal(os.fstat(fd).st_size, 68 * KIB)
        equal(os.pread(fd, 100 * KIB, 32 * KIB), b"A" * 28 * KIB + bytes(8 * KIB), "zeroed")
        checked(libc.fallocate(fd, KEEP_SIZE, 0, 256 * KIB))
        equal(os.fstat(fd).st_size, 68 * KIB)
        checked(libc.fallocate(fd, 0, 0, 128 * KIB))
        equal(os.fstat(fd).st_size, 128 * KIB)
        true(os.fstat(fd).st_blocks * 512 >= 128 * KIB, "blocks are allocated")
        fails(errno.EINVAL, lambda: checked(libc.fallocate(fd, 0, 0, 0)))
        os.close(fd)
    reader = os.open("dir/inner/file", os.O_RDONLY)
    fails(errno.EBADF, lambda: checked(libc.fallocate(reader, 0, 0, 10)))


@case("says where data and holes are: exactly, or in cached mode that all is data")
def seeking_data_and_holes():
    fd = os.open("new", os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(fd, b"x" * 4096, 64 * KIB)
    os.ftruncate(fd, 256 * KIB)
    if mode == "cached":
        equal((os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 0, os.SEEK_HOLE)), (0, 256 * KIB))
    else:
        equal((os.lseek(fd, 0, os.SEEK_HOLE), os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 64 * KIB, os.SEEK_HOLE)), (0, 64 * KIB, 68 * KIB))
        fails(errno.ENXIO, os.lseek, fd, 100 * KIB, os.SEEK_DATA)
    fails(errno.ENXIO, os.lseek, fd, 256 * KIB, os.SEEK_DATA)
    fails(errno.ENXIO, os.lseek, fd, 256 * KIB, os.SEEK_HOLE)
    equal(os.lseek(fd, -10, os.SEEK_END), 256 * KIB - 10)


@case("copies between files in the kernel (copy_file_range)")
def kernel_copies():
    source = os.open("lower", os.O_RDONLY)
    target = os.open("new", os.O_RDWR | os.O_CREAT, 0o644)
    equal(os.copy_file_range(source, target, 100, 0, 0), 11)
    equal(os.copy_file_range(source, target, 5, 6, 20), 5)
    equal(os.pread(target, 99, 0), b"lower bytes" + bytes(9) + b"bytes")
    equal(os.copy_file_range(target, target, 5, 0, 100), 5)
    equal(os.pread(target, 99, 100), b"lower")
    equal(os.copy_file_range(source, target, 10, 11, 0), 0)
    changed = os.open("dir/inner/file", os.O_RDWR)
    equal(os.copy_file_range(source, changed, 5, 0, 2), 5)
    equal(read("dir/inner/file"), b"delower")
    large = os.urandom(5_000_000)
    write("large", large)
    fd = os.open("large", os.O_RDONLY)
    done = 0
    while done < len(large):
        done += os.copy_file_range(fd, target, len(large) - done, done, done)
    equal(read("new"), large)


@case("keeps shared mappings, descriptors and other processes in step")
def shared_mappings():
    for path in ["new", "lower"]:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.ftruncate(fd, 10000)
        with mmap.mmap(fd, 10000) as mapped:
            mapped[5000:5005] = b"hello"
            equal(os.pread(fd, 5, 5000), b"hello", "through the descriptor")
            os.pwrite(fd, b"world", 100)
            equal(mapped[100:105], b"world", "through the mapping")

            def other():
                with mmap.mmap(os.open(path, os.O_RDWR), 10000) as theirs:
                    equal(theirs[5000:5005], b"hello")
                    theirs[9000] = 7
            equal(child(other), None)
            equal(mapped[9000], 7, "what another process mapped and wrote")
            mapped.flush()
        os.close(fd)
        data = read(path)
        equal((data[100:105], data[5000:5005], data[9000], len(data)), (b"world", b"hello", 7, 10000))
    with mmap.mmap(os.open("dir/second-name", os.O_RDONLY), 0, access=mmap.ACCESS_READ) as mapped:
        equal(mapped[100:105], b"world", "another name of the lower file")


@case("keeps private mappings private")
def private_mappings():
    fd = os.open("lower", os.O_RDONLY)
    with mmap.mmap(fd, 11, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as mapped:
        mapped[0:5] = b"UPPER"
        equal(mapped[:], b"UPPER bytes")
        equal((read("lower"), os.pread(fd, 99, 0)), (b"lower bytes",) * 2)
    fails(errno.EACCES, lambda: mmap.mmap(fd, 11, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE))


@case("keeps a mapping alive when the file is unlinked and closed")
def mapping_of_an_unlinked_file():
    for path in ["new", "lower"]:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.pwrite(fd, b"mapped bytes", 0)
        mapped = mmap.mmap(fd, 12)
        os.close(fd)
        os.unlink(path)
        mapped[0:6] = b"MAPPED"
        equal(mapped[:], b"MAPPED bytes")
        mapped.close()


@case("lets a program run on while it is replaced, and refuses to write to it meanwhile")
def replacing_a_running_program():
    sleep = read("/bin/sleep")
    write("program", sleep, permissions=0o755)
    process = subprocess.Popen(["./program", "30"])
    try:
        deadline = time.time() + 5
        while os.readlink(f"/proc/{process.pid}/exe") != os.path.abspath("program") and time.time() < deadline:
            time.sleep(0.01)
        fails(errno.ETXTBSY, os.open, "program", os.O_WRONLY)
        write("program.new", b"#!/bin/sh\nexit 42\n", permissions=0o755)
        os.rename("program.new", "program")
        equal(subprocess.run(["./program"]).returncode, 42)
        equal(process.poll(), None, "the old one runs")
        equal(read(f"/proc/{process.pid}/exe"), sleep)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    write("lower", b"not a program")
    fails(errno.EACCES, subprocess.run, ["./lower"])


@case("keeps a sparse file sparse through a copy-up")
def sparse_through_copy_up():
    fd = os.open("sparse", os.O_RDWR)
    os.pwrite(fd, b"changed", 50 * 1024 * KIB)
    os.fsync(fd)
    stat = os.fstat(fd)
    equal(stat.st_size, SPARSE_SIZE)
    true(stat.st_blocks * 512 < 1024 * KIB, f"{stat.st_blocks} blocks of 512 are used")
    for position, data in SPARSE.items():
        equal(os.pread(fd, len(data) + 10, position), data + bytes(10))
    equal(os.pread(fd, 9, 50 * 1024 * KIB), b"changed\0\0")


@case("shows what one process writes to who reads the same lower file: the new bytes, or in passthrough what it opened")
def reader_of_a_lower_file_that_is_written():
    reader = os.open("lower", os.O_RDONLY)
    equal(os.pread(reader, 99, 0), b"lower bytes")

    def change():
        fd = os.open("lower", os.O_RDWR)
        os.pwrite(fd, b"UPPER", 0)
        equal(os.pread(fd, 99, 0), b"UPPER bytes")
        equal(os.fstat(fd).st_ino, os.fstat(reader).st_ino)
    equal(child(change), None)
    equal(os.pread(reader, 99, 0), b"lower bytes" if mode == "passthrough" else b"UPPER bytes", "the reader")
    equal(read("lower"), b"UPPER bytes", "who opens now")
    equal(read("dir/second-name"), b"UPPER bytes", "who opens the other name")
    equal(os.fstat(reader).st_ino, os.stat("lower").st_ino)


@case("reads and writes vectors, and past other file positions")
def positions():
    fd = os.open("lower", os.O_RDWR)
    equal(os.read(fd, 3), b"low")
    second = os.dup(fd)
    equal(os.read(second, 3), b"er ", "a duplicate shares the position")
    equal(os.writev(fd, [b"<", b"12", b">"]), 4)
    parts = [bytearray(4), bytearray(100)]
    equal(os.preadv(fd, parts, 2), 9)
    equal(bytes(parts[0]) + bytes(parts[1][:5]), b"wer <12>s")
    equal(os.lseek(fd, 0, os.SEEK_CUR), 10)
    equal(os.pwrite(fd, b"far", 1 << 33), 3)
    equal(os.fstat(fd).st_size, (1 << 33) + 3)
    os.ftruncate(fd, 0)


@case("writes with O_DIRECT, O_SYNC and O_DSYNC")
def unusual_open_flags():
    for flag in [os.O_SYNC, os.O_DSYNC, os.O_DIRECT]:
        fd = os.open("lower", os.O_RDWR | flag)
        with mmap.mmap(-1, 8192) as aligned:
            aligned[:] = b"d" * 8192
            equal(os.pwritev(fd, [aligned], 0), 8192)
            aligned[:] = bytes(8192)
            equal(os.preadv(fd, [aligned], 0), 8192)
            equal(aligned[:], b"d" * 8192)
        os.close(fd)
        equal(read("lower"), b"d" * 8192)
