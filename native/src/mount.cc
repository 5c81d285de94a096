// Mounts: mount(2), umount2(2), and the calls on detached mounts. All run on the calling thread.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call.h"

// Spelt out: the headers of glibc 2.36 and of Linux disagree about who defines these.
constexpr int kOpenTree = 428, kMoveMount = 429, kFsopen = 430, kFsconfig = 431, kFsmount = 432, kMountSetattr = 442;
constexpr unsigned kFsopenCloexec = 1, kFsmountCloexec = 1, kOpenTreeCloexec = O_CLOEXEC;
constexpr unsigned kConfigFlag = 0, kConfigString = 1, kConfigCreate = 6;
constexpr unsigned kMoveFromEmptyPath = 4, kMoveToEmptyPath = 0x40;

struct MountAttr {  // struct mount_attr of linux/mount.h
  uint64_t set, clear, propagation, userns_fd;
};

static int64_t call_mount(const Args& args) {
  Path source(args, 0), target(args, 1), type(args, 2), data(args, 4);
  if (source.error) return source.error;
  if (target.error) return target.error;
  if (type.error) return type.error;
  if (data.error) return data.error;
  return outcome(mount(source.or_null(), target.text, type.or_null(), static_cast<unsigned long>(args.i64(3)), data.or_null()));
}

static int64_t call_umount(const Args& args) {
  Path target(args, 0);
  if (target.error) return target.error;
  return outcome(umount2(target.text, args.i32(1)));
}

static int64_t call_open_tree(const Args& args) {
  Path path(args, 1);
  if (path.error) return path.error;
  unsigned flags = static_cast<unsigned>(args.i32(2)) | kOpenTreeCloexec | (path.empty() ? AT_EMPTY_PATH : 0);
  return outcome(syscall(kOpenTree, args.i32(0), path.text, flags));
}

static int64_t call_mount_setattr(const Args& args) {
  MountAttr attr = {static_cast<uint64_t>(args.i64(1)), static_cast<uint64_t>(args.i64(2)), 0, 0};
  return outcome(syscall(kMountSetattr, args.i32(0), "", AT_EMPTY_PATH | args.i32(3), &attr, sizeof attr));
}

// One fsconfig(2) per line of `options`, which is cut up in place.
static int64_t configure(int fd, char* options) {
  char* rest = options;
  for (char* line; (line = strsep(&rest, "\n"));) {
    if (!*line) continue;
    char* value = strchr(line, '=');
    if (value) *value++ = 0;
    if (syscall(kFsconfig, fd, value ? kConfigString : kConfigFlag, line, value, 0) < 0) return -errno;
  }
  return outcome(syscall(kFsconfig, fd, kConfigCreate, nullptr, nullptr, 0));
}

static int64_t call_fsmount(const Args& args) {
  Path type(args, 0);
  if (type.error) return type.error;
  size_t length = 0;
  napi_get_value_string_latin1(args.env, args.value[1], nullptr, 0, &length);
  char* options = static_cast<char*>(malloc(length + 1));
  if (!options) return -ENOMEM;
  options[0] = 0;
  napi_get_value_string_latin1(args.env, args.value[1], options, length + 1, nullptr);
  int64_t fd = outcome(syscall(kFsopen, type.text, kFsopenCloexec)), result = fd;
  if (fd >= 0) {
    result = configure(static_cast<int>(fd), options);
    if (result >= 0) result = outcome(syscall(kFsmount, fd, kFsmountCloexec, args.i32(2)));
    close(static_cast<int>(fd));
  }
  free(options);
  return result;
}

static int64_t call_move_mount(const Args& args) {
  Path to(args, 2);
  if (to.error) return to.error;
  unsigned flags = kMoveFromEmptyPath | (to.empty() ? kMoveToEmptyPath : 0);
  return outcome(syscall(kMoveMount, args.i32(0), "", args.i32(1), to.text, flags));
}

const Method kMountMethods[] = {
    {"mount", call_mount},     {"umount", call_umount},        {"openTree", call_open_tree}, {"mountSetattr", call_mount_setattr},
    {"fsmount", call_fsmount}, {"moveMount", call_move_mount}, {nullptr, nullptr},
};
