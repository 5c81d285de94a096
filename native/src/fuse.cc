// The FUSE device: whole messages in and out, backing files, and fusermount for those who may not mount. All run on the calling thread.
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "env.h"
#include "process.h"

extern char** environ;

struct BackingMap {  // struct fuse_backing_map of linux/fuse.h, since Linux 6.9
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap), kBackingClose = _IOW(229, 2, uint32_t);

struct OutHeader {  // struct fuse_out_header
  uint32_t length;
  int32_t error;
  uint64_t unique;
};

constexpr size_t kReplyRoom = (1 << 20) + (64 << 10);

static int64_t now_us() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static int64_t call_fuse_read(const Args& args) {
  Bytes into = args.bytes(1);
  int fd = args.i32(0);
  int64_t until = args.i64(2) > 0 ? now_us() + args.i64(2) : 0, result;
  // ENOENT: the request was interrupted before it could be read.
  do result = outcome(read(fd, into.data, into.length));
  while (result == -EINTR || result == -ENOENT || (result == -EAGAIN && until > 0 && now_us() < until));
  return result;
}

static int64_t call_fuse_write(const Args& args) {
  Bytes from = args.bytes(1);
  int64_t length = args.i64(2), result;
  if (!from.holds(0, length)) return -EFAULT;
  int fd = args.i32(0);
  do result = outcome(write(fd, from.data, length));
  while (result == -EINTR);
  return result;
}

static int64_t call_fuse_reply_data(const Args& args) {
  Env* self = env_of(args);
  Bytes head = args.bytes(1);
  int64_t length = args.i64(4);
  if (head.length < sizeof(OutHeader) || length < 0 || length > static_cast<int64_t>(kReplyRoom)) return -EINVAL;
  if (!self->reply) self->reply = static_cast<uint8_t*>(malloc(kReplyRoom));
  if (!self->reply) return -ENOMEM;

  int fd = args.i32(0), file = args.i32(2);
  off_t position = args.i64(3);
  int64_t filled = read_fully(file, self->reply, length, position);
  OutHeader out;
  memcpy(&out, head.data, sizeof out);
  out.error = filled < 0 ? static_cast<int32_t>(filled) : 0;
  if (filled < 0) filled = 0;
  out.length = static_cast<uint32_t>(sizeof out + filled);
  memcpy(head.data, &out, sizeof out);

  struct iovec parts[2] = {{head.data, sizeof out}, {self->reply, static_cast<size_t>(filled)}};
  int64_t result;
  do result = outcome(writev(fd, parts, filled > 0 ? 2 : 1));
  while (result == -EINTR);
  return result;
}

static int64_t call_backing_open(const Args& args) {
  BackingMap map = {args.i32(1), 0, 0};
  return outcome(ioctl(args.i32(0), kBackingOpen, &map));
}

static int64_t call_backing_close(const Args& args) {
  uint32_t id = args.i32(1);
  return outcome(ioctl(args.i32(0), kBackingClose, &id));
}

static int64_t call_wait_readable(const Args& args) {
  struct pollfd one = {args.i32(0), POLLIN, 0};
  int64_t result;
  do result = outcome(poll(&one, 1, args.i32(1)));
  while (result == -EINTR);
  return result;
}

// The descriptor that fusermount sends over its socket; -EPERM when it hung up without sending one (it has said why on stderr).
static int receive_fd(int socket) {
  char byte;
  struct iovec part = {&byte, 1};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got;
  do got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0) return -errno;
  struct cmsghdr* first = got > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (!first || first->cmsg_type != SCM_RIGHTS) return -EPERM;
  int fd;
  memcpy(&fd, CMSG_DATA(first), sizeof fd);
  return fd;
}

static int64_t call_fusermount(const Args& args) {
  Path program(args, 0), mountpoint(args, 1), options(args, 2);
  if (program.error) return program.error;
  if (mountpoint.error) return mountpoint.error;
  if (options.error) return options.error;

  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) return -errno;
  // All that the child needs is made here, where memory may still be allocated.
  size_t count = 0;
  while (environ[count]) count++;
  char** envp = static_cast<char**>(malloc((count + 2) * sizeof *envp));
  if (!envp) {
    close(pair[0]);
    close(pair[1]);
    return -ENOMEM;
  }
  char descriptor[32];
  snprintf(descriptor, sizeof descriptor, "_FUSE_COMMFD=%d", pair[1]);
  size_t used = 0;
  for (size_t i = 0; i < count; i++) {
    if (strncmp(environ[i], "_FUSE_COMMFD=", 13) != 0) envp[used++] = environ[i];
  }
  envp[used++] = descriptor;
  envp[used] = nullptr;
  char dash_o[] = "-o", end[] = "--", fusermount3[] = "fusermount3", fusermount[] = "fusermount";
  char* argv[] = {program.empty() ? fusermount3 : program.text, dash_o, options.text, end, mountpoint.text, nullptr};
  if (options.empty()) {
    argv[1] = end;
    argv[2] = mountpoint.text;
    argv[3] = nullptr;
  }
  const char* dirs = getenv("PATH");
  if (!dirs) dirs = "/usr/local/bin:/usr/bin:/bin";

  sigset_t before;
  pid_t child = fork_quietly(&before);
  if (child == 0) {
    sigprocmask(SIG_SETMASK, &before, nullptr);
    fcntl(pair[1], F_SETFD, 0);
    for (int fd = 0; fd <= 2; fd++) fcntl(fd, F_SETFD, 0);  // Node marks them close-on-exec
    exec_in(dirs, argv[0], argv, envp);
    if (program.empty()) {
      argv[0] = fusermount;
      exec_in(dirs, argv[0], argv, envp);
    }
    _exit(127);
  }
  free(envp);
  close(pair[1]);
  int64_t result = child;
  if (child > 0) {
    result = receive_fd(pair[0]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (result < 0 && WIFEXITED(status) && WEXITSTATUS(status) == 127) result = -ENOENT;
    if (result >= 0) fcntl(static_cast<int>(result), F_SETFL, fcntl(static_cast<int>(result), F_GETFL) | O_NONBLOCK);
  }
  close(pair[0]);
  return result;
}

const Method kFuseMethods[] = {
    {"fuseRead", call_fuse_read},
    {"fuseWrite", call_fuse_write},
    {"fuseReplyData", call_fuse_reply_data},
    {"backingOpen", call_backing_open},
    {"backingClose", call_backing_close},
    {"waitReadable", call_wait_readable},
    {"fusermount", call_fusermount},
    {nullptr, nullptr},
};
