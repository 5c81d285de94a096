"""One file, open in three ways at once: buffered, O_DIRECT and mapped. Every read is compared with a copy in memory.

    mixed.py FILE SECONDS SEED

Ends with 0 when no read ever differed. Direct I/O is in whole blocks; what the kernel refuses to do directly here (EINVAL) is done through the cache.
"""
import errno, mmap, os, random, sys, time

BLOCK, BLOCKS = 4096, 64
path, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
size = BLOCK * BLOCKS


def patch(at, length):
    return bytes(rng.getrandbits(8) for _ in range(min(length, 64))) * (length // 64 + 1)


fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
have = os.pread(fd, size, 0)
os.ftruncate(fd, size)
model = bytearray(have.ljust(size, b"\0"))
try:
    direct = os.open(path, os.O_RDWR | os.O_DIRECT)
except OSError as error:
    if error.errno != errno.EINVAL:
        raise
    direct = os.open(path, os.O_RDWR)
mapped = mmap.mmap(fd, size)
aligned = mmap.mmap(-1, size)  # memory that O_DIRECT takes


def expect(what, at, length, found):
    if bytes(found) != bytes(model[at:at + length]):
        wrong = next(i for i in range(length) if found[i:i + 1] != model[at + i:at + i + 1])
        sys.exit(f"seed {seed}, step {step}: {what} of {length} bytes at {at} differs from byte {at + wrong}")


def span(unit):
    at = rng.randrange(size // unit) * unit
    return at, rng.randrange(1, min(size - at, 16 * BLOCK) // unit + 1) * unit


step = 0
end = time.monotonic() + seconds
while time.monotonic() < end:
    step += 1
    way = rng.choice(["pwrite", "pread", "dwrite", "dread", "mwrite", "mread", "fsync", "msync", "truncate"])
    at, length = span(BLOCK if way in ("dwrite", "dread") else 1)
    if way.endswith("write"):
        data = patch(at, length)[:length]
        model[at:at + length] = data
        if way == "pwrite":
            assert os.pwrite(fd, data, at) == length
        elif way == "mwrite":
            mapped[at:at + length] = data
        else:
            aligned[:length] = data
            assert os.pwritev(direct, [memoryview(aligned)[:length]], at) == length
    elif way == "pread":
        expect(way, at, length, os.pread(fd, length, at))
    elif way == "mread":
        expect(way, at, length, mapped[at:at + length])
    elif way == "dread":
        assert os.preadv(direct, [memoryview(aligned)[:length]], at) == length
        expect(way, at, length, aligned[:length])
    elif way == "fsync" and step % 8 == 0:
        os.fsync(fd)
    elif way == "msync" and step % 8 == 0:
        mapped.flush()
    elif way == "truncate" and step % 16 == 0:
        # The mapping is not touched between the two.
        os.ftruncate(fd, at)
        os.ftruncate(fd, size)
        model[at:] = bytes(size - at)
print(f"{step} steps")
