// Extended attributes of (dirfd, path), never through a final symlink; path "" is the descriptor itself.
// Three roads: the *xattrat calls of Linux 6.13; "/proc/self/fd/<dirfd>/<path>" with the l-forms before that; for path "" the f-forms,
// and "/proc/self/fd/<fd>" where the descriptor is O_PATH (the f-forms say EBADF). That magic link is followed, what it leads to is not.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>

#include "call.h"

constexpr int kSetxattrat = 463, kGetxattrat = 464, kListxattrat = 465, kRemovexattrat = 466;

struct XattrArgs {  // struct xattr_args of linux/xattr.h
  uint64_t value;
  uint32_t size;
  uint32_t flags;
};

static std::atomic<bool> without_xattrat{false};

// "/proc/self/fd/<dirfd>/<path>", or the path alone from the working directory or the root.
struct Reachable {
  char text[PATH_MAX + 32];
  Reachable(int dirfd, const Path& path) {
    if (dirfd == AT_FDCWD || path.text[0] == '/') {
      memcpy(text, path.text, strlen(path.text) + 1);
    } else {
      snprintf(text, sizeof text, "/proc/self/fd/%d/%s", dirfd, path.text);
    }
  }
};

// True when the answer stands; false when the kernel does not know the *xattrat calls.
static bool answered(int64_t result) {
  if (result != -ENOSYS) return true;
  without_xattrat = true;
  return false;
}

static int64_t call_getxattr(const Args& args) {
  Path path(args, 1), key(args, 2);
  if (path.error) return path.error;
  if (key.error) return -ERANGE;
  int dirfd = args.i32(0);
  Bytes into = args.bytes(3);
  if (path.empty()) {
    int64_t result = outcome(fgetxattr(dirfd, key.text, into.data, into.length));
    return result != -EBADF ? result : outcome(getxattr(ProcFd(dirfd).text, key.text, into.data, into.length));
  }
  if (!without_xattrat) {
    XattrArgs io = {reinterpret_cast<uintptr_t>(into.data), static_cast<uint32_t>(into.length), 0};
    int64_t result = outcome(syscall(kGetxattrat, dirfd, path.text, AT_SYMLINK_NOFOLLOW, key.text, &io, sizeof io));
    if (answered(result)) return result;
  }
  return outcome(lgetxattr(Reachable(dirfd, path).text, key.text, into.data, into.length));
}

static int64_t call_setxattr(const Args& args) {
  Path path(args, 1), key(args, 2);
  if (path.error) return path.error;
  if (key.error) return -ERANGE;
  int dirfd = args.i32(0), flags = args.i32(4);
  Bytes value = args.bytes(3);
  if (path.empty()) {
    int64_t result = outcome(fsetxattr(dirfd, key.text, value.data, value.length, flags));
    return result != -EBADF ? result : outcome(setxattr(ProcFd(dirfd).text, key.text, value.data, value.length, flags));
  }
  if (!without_xattrat) {
    XattrArgs io = {reinterpret_cast<uintptr_t>(value.data), static_cast<uint32_t>(value.length), static_cast<uint32_t>(flags)};
    int64_t result = outcome(syscall(kSetxattrat, dirfd, path.text, AT_SYMLINK_NOFOLLOW, key.text, &io, sizeof io));
    if (answered(result)) return result;
  }
  return outcome(lsetxattr(Reachable(dirfd, path).text, key.text, value.data, value.length, flags));
}

static int64_t call_listxattr(const Args& args) {
  Path path(args, 1);
  if (path.error) return path.error;
  int dirfd = args.i32(0);
  Bytes into = args.bytes(2);
  char* data = reinterpret_cast<char*>(into.data);
  if (path.empty()) {
    int64_t result = outcome(flistxattr(dirfd, data, into.length));
    return result != -EBADF ? result : outcome(listxattr(ProcFd(dirfd).text, data, into.length));
  }
  if (!without_xattrat) {
    int64_t result = outcome(syscall(kListxattrat, dirfd, path.text, AT_SYMLINK_NOFOLLOW, data, into.length));
    if (answered(result)) return result;
  }
  return outcome(llistxattr(Reachable(dirfd, path).text, data, into.length));
}

static int64_t call_removexattr(const Args& args) {
  Path path(args, 1), key(args, 2);
  if (path.error) return path.error;
  if (key.error) return -ERANGE;
  int dirfd = args.i32(0);
  if (path.empty()) {
    int64_t result = outcome(fremovexattr(dirfd, key.text));
    return result != -EBADF ? result : outcome(removexattr(ProcFd(dirfd).text, key.text));
  }
  if (!without_xattrat) {
    int64_t result = outcome(syscall(kRemovexattrat, dirfd, path.text, AT_SYMLINK_NOFOLLOW, key.text));
    if (answered(result)) return result;
  }
  return outcome(lremovexattr(Reachable(dirfd, path).text, key.text));
}

const Method kXattrMethods[] = {
    {"getxattr", call_getxattr},
    {"setxattr", call_setxattr},
    {"listxattr", call_listxattr},
    {"removexattr", call_removexattr},
    {nullptr, nullptr},
};
