"""What is neither file nor directory: sockets, fifos, devices."""
import errno, os, socket, stat
from case import *


@case("has unix sockets that are bound and connected to")
def unix_sockets():
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket")
    server.listen()
    true(stat.S_ISSOCK(os.stat("socket").st_mode), "a socket")
    fails(errno.EADDRINUSE, socket.socket(socket.AF_UNIX).bind, "socket")

    def call():
        client = socket.socket(socket.AF_UNIX)
        client.connect("socket")
        client.sendall(b"hello")
    pid = fork(call)
    connection, _ = server.accept()
    equal(connection.recv(99), b"hello")
    equal(finish(pid), None)
    os.chmod("socket", 0o600)
    os.rename("socket", "moved")
    again = socket.socket(socket.AF_UNIX)
    again.connect("moved")
    fails(errno.ENXIO, os.open, "moved", os.O_RDONLY)
    server.close()
    fails(errno.ECONNREFUSED, socket.socket(socket.AF_UNIX).connect, "moved")


@case("has fifos, lower and new, between processes")
def fifos():
    os.mkfifo("new")
    for path in ["fifo", "new"]:
        fails(errno.ENXIO, os.open, path, os.O_WRONLY | os.O_NONBLOCK)
        pid = fork(write, path, b"through the pipe", os.O_WRONLY)
        equal(read(path), b"through the pipe")
        equal(finish(pid), None)
        os.chmod(path, 0o640)
        pid = fork(write, path, b"again", os.O_WRONLY)
        equal(read(path), b"again", "after a copy-up")
        equal(finish(pid), None)


@case("has devices that work, and no way to make a whiteout", needs_root=True)
def devices():
    os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod("zero", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    os.mknod("block", stat.S_IFBLK | 0o600, os.makedev(7, 300000))
    equal([(os.stat(path).st_rdev, stat.S_IFMT(os.stat(path).st_mode)) for path in ["null", "zero", "block"]],
          [(os.makedev(1, 3), stat.S_IFCHR), (os.makedev(1, 5), stat.S_IFCHR), (os.makedev(7, 300000), stat.S_IFBLK)])
    write("null", b"nothing", os.O_WRONLY)
    fd = os.open("zero", os.O_RDONLY)
    equal(os.read(fd, 4), bytes(4))
    os.rename("null", "dir/null")
    os.link("dir/null", "null2")
    equal(os.stat("null2").st_rdev, os.makedev(1, 3))
    if mode != "plain":
        fails(errno.EPERM, os.mknod, "whiteout", stat.S_IFCHR | 0o600, 0)
    os.mknod("regular", stat.S_IFREG | 0o600)
    equal(read("regular"), b"")
    fails(errno.EPERM, os.mknod, "dir/directory", stat.S_IFDIR | 0o700)
    equal(child(os.mknod, "theirs", stat.S_IFCHR | 0o600, os.makedev(1, 3), uid=1234), errno.EACCES)
