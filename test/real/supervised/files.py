"""
Random reads, writes, truncations, mappings and changes of names on one file, each compared with a copy in memory, in the manner of fsx:
files.py DIRECTORY STOP SEED. Every so often the file is unlinked and used on through its descriptor, and directories are listed while
they change.
"""
import mmap, os, random, sys

where, stop, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.makedirs(where, exist_ok=True)
rng = random.Random(seed)
LIMIT = 256 * 1024
path = os.path.join(where, "file")
copy = bytearray()
fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
linked, names, steps = True, 0, 0

def fail(what):
    raise SystemExit(f"step {steps}, seed {seed}: {what}")

def write(at, data):
    if len(copy) < at:
        copy.extend(bytes(at - len(copy)))
    copy[at:at + len(data)] = data

def check(at, got, what):
    want = bytes(copy[at:at + len(got)])
    if got != want:
        bad = next(i for i in range(len(got)) if i >= len(want) or got[i] != want[i])
        fail(f"{what} at {at}: byte {at + bad} differs")

def step():
    global fd, path, linked, names
    kind = rng.randrange(16)
    at, length = rng.randrange(LIMIT), rng.randrange(1, 40000)
    if kind < 4:
        data = rng.randbytes(length)
        if os.pwrite(fd, data, at) != length: fail("short write")
        write(at, data)
    elif kind < 8:
        got = os.pread(fd, length, at)
        if len(got) != max(0, min(length, len(copy) - at)): fail(f"read of {len(got)}")
        check(at, got, "read")
    elif kind == 8:
        os.ftruncate(fd, at)
        if at < len(copy): del copy[at:]
        else: copy.extend(bytes(at - len(copy)))
    elif kind == 9 and len(copy) > 0:
        with mmap.mmap(fd, len(copy)) as m:
            at = rng.randrange(len(copy)); data = rng.randbytes(min(length, len(copy) - at))
            m[at:at + len(data)] = data; write(at, data)
            check(0, m[:], "mapping")
    elif kind == 10 and rng.randrange(10) == 0:
        os.fsync(fd)
    elif kind == 11 and linked:
        names += 1
        new = os.path.join(where, f"name{names}")
        os.rename(path, new); path = new
    elif kind == 12 and linked:
        os.close(fd); fd = os.open(path, os.O_RDWR)
    elif kind == 13:
        stat = os.fstat(fd)
        if stat.st_size != len(copy): fail(f"size {stat.st_size}, expected {len(copy)}")
        if stat.st_nlink != (1 if linked else 0): fail(f"nlink {stat.st_nlink}")
    elif kind == 14 and rng.randrange(8) == 0:
        if linked:
            os.unlink(path); linked = False
        else:
            os.close(fd); copy.clear(); linked = True
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    elif kind == 15 and rng.randrange(8) == 0:
        listing()

def listing():
    """What stays is seen once, whatever else comes and goes."""
    dir = os.path.join(where, "dir")
    os.mkdir(dir)
    stay = {f"stay{i}" for i in range(300)}
    for name in stay: open(os.path.join(dir, name), "x").close()
    for i in range(100): open(os.path.join(dir, f"go{i}"), "x").close()
    seen = []
    with os.scandir(dir) as entries:
        for n, entry in enumerate(entries):
            seen.append(entry.name)
            if n < 50: os.unlink(os.path.join(dir, f"go{n}"))
            if n < 20: os.mkdir(os.path.join(dir, f"come{n}"))
    if len(seen) != len(set(seen)): fail("a name was listed twice")
    if not stay <= set(seen): fail(f"not listed: {sorted(stay - set(seen))[:3]}")
    for name in os.listdir(dir):
        at = os.path.join(dir, name)
        os.rmdir(at) if name.startswith("come") else os.unlink(at)
    os.rmdir(dir)

while not os.path.exists(stop):
    step()
    steps += 1
check(0, os.pread(fd, len(copy) + 1, 0), "the whole")
print(steps, "steps")
