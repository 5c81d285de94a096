"""python3 posix list | prepare DIRECTORY | run CASE MODE (in the cwd's directory of that name) | inodes DIRECTORY |
snapshot DIRECTORY. Both print a line for every object below, however deep; a snapshot has all that must stay as it is in a lower layer."""
import hashlib, json, os, stat, sys, traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import case, data, locks, names, objects, owners, times

command = sys.argv[1]
if command == "list":
    print(json.dumps([{"name": name, "title": title, "needsRoot": root} for name, (title, root, _) in case.cases.items()]))
elif command == "prepare":
    case.prepare(sys.argv[2])
elif command == "inodes":
    for directory, _, _, at in os.fwalk(os.fsencode(sys.argv[2])):
        with os.scandir(at) as entries:
            for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
                print(ascii(os.path.join(directory, os.fsencode(entry.name))), entry.inode(), entry.stat(follow_symlinks=False).st_ino)
elif command == "snapshot":
    for directory, _, _, at in os.fwalk(os.fsencode(sys.argv[2])):
        for name in [b"."] + sorted(os.fsencode(name) for name in os.listdir(at)):
            now = os.stat(name, dir_fd=at, follow_symlinks=False)
            digest, xattrs = "", []
            if stat.S_ISREG(now.st_mode):
                with open(os.open(name, os.O_RDONLY | os.O_NOATIME, dir_fd=at), "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest() if now.st_size else ""
            elif stat.S_ISLNK(now.st_mode):
                digest = os.readlink(name, dir_fd=at)
            if stat.S_ISREG(now.st_mode) or stat.S_ISDIR(now.st_mode):
                fd = os.open(name, os.O_RDONLY, dir_fd=at)
                xattrs = [(key, os.getxattr(fd, key)) for key in sorted(os.listxattr(fd))]
                os.close(fd)
            print(ascii(os.path.join(directory, name)), now.st_ino, oct(now.st_mode), now.st_nlink, now.st_uid, now.st_gid, now.st_rdev, now.st_size,
                  now.st_blocks, now.st_mtime_ns, now.st_ctime_ns, digest, xattrs)
else:
    os.umask(0o022)
    os.chdir(sys.argv[2])
    try:
        case.cases[sys.argv[2]][2]()
    except BaseException as error:
        traceback.print_exc()
        sys.exit(1)
