// Descriptors and names: calls that Node lacks, or has only with paths. All run on the calling thread.
// A fallback is chosen by the kernel's answer and remembered, so that an old kernel pays for the question once.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>

#include "call.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef RESOLVE_CACHED
#define RESOLVE_CACHED 0x20
#endif

// AT_EMPTY_PATH when the name is empty: the descriptor itself is meant, and it may be O_PATH.
static int self_or(const Path& path, int flags) { return path.empty() ? AT_EMPTY_PATH : flags; }

static int64_t call_open(const Args& args) {
  Path path(args, 1);
  if (path.error) return path.error;
  int dirfd = args.i32(0), flags = args.i32(2) | O_CLOEXEC;
  uint32_t mode = args.i32(3) & 07777;
  uint64_t resolve = args.i64(4);
  int64_t result;
  if (resolve == 0) {
    do result = outcome(syscall(SYS_openat, dirfd, path.text, flags, mode));
    while (result == -EINTR);
    return result;
  }
  struct open_how how;
  memset(&how, 0, sizeof how);
  how.flags = static_cast<uint32_t>(flags);
  how.mode = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? mode : 0;
  how.resolve = resolve;
  // The kernel answers EAGAIN when a rename elsewhere made it unsure that ".." stayed beneath the root.
  for (int attempt = 0; attempt < 64; attempt++) {
    result = outcome(syscall(SYS_openat2, dirfd, path.text, &how, sizeof how));
    if (result != -EINTR && (result != -EAGAIN || (resolve & RESOLVE_CACHED))) break;
  }
  return result;
}

// Not repeated after EINTR: Linux has released the number by then.
static int64_t call_close(const Args& args) { return outcome(close(args.i32(0))); }

static int64_t call_dup(const Args& args) { return outcome(fcntl(args.i32(0), F_DUPFD_CLOEXEC, 3)); }

static int64_t call_statx(const Args& args) {
  Path path(args, 1);
  if (path.error) return path.error;
  double* out = args.doubles(3, 21);
  if (!out) return -EFAULT;
  int flags = args.i32(2) | (path.empty() ? AT_EMPTY_PATH : 0);
  struct statx st;
  st.stx_mnt_id = 0;
  int64_t result = outcome(syscall(SYS_statx, args.i32(0), path.text, flags, STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, &st));
  if (result < 0) return result;
  bool birth = st.stx_mask & STATX_BTIME;
  out[0] = static_cast<double>(st.stx_ino & ((1ull << 53) - 1));
  out[1] = st.stx_mode;
  out[2] = st.stx_nlink;
  out[3] = st.stx_uid;
  out[4] = st.stx_gid;
  out[5] = (st.stx_rdev_minor & 0xff) | (st.stx_rdev_major & 0xfff) << 8 | (st.stx_rdev_minor & ~0xffu) << 12;
  out[6] = static_cast<double>(st.stx_size);
  out[7] = static_cast<double>(st.stx_blocks);
  out[8] = static_cast<double>(st.stx_atime.tv_sec);
  out[9] = st.stx_atime.tv_nsec;
  out[10] = static_cast<double>(st.stx_mtime.tv_sec);
  out[11] = st.stx_mtime.tv_nsec;
  out[12] = static_cast<double>(st.stx_ctime.tv_sec);
  out[13] = st.stx_ctime.tv_nsec;
  out[14] = birth ? static_cast<double>(st.stx_btime.tv_sec) : 0;
  out[15] = birth ? static_cast<double>(st.stx_btime.tv_nsec) : -1;
  out[16] = st.stx_dev_major * 1048576.0 + st.stx_dev_minor;
  out[17] = static_cast<double>(st.stx_mnt_id);
  out[18] = static_cast<uint32_t>(st.stx_attributes);
  out[19] = st.stx_blksize;
  out[20] = static_cast<uint32_t>(st.stx_ino >> 32);
  return 0;
}

static int64_t call_getdents(const Args& args) {
  Bytes into = args.bytes(1);
  return outcome(syscall(SYS_getdents64, args.i32(0), into.data, into.length));
}

static int64_t call_readlink(const Args& args) {
  Path path(args, 1);
  if (path.error) return path.error;
  Bytes into = args.bytes(2);
  return outcome(readlinkat(args.i32(0), path.text, reinterpret_cast<char*>(into.data), into.length));
}

static int64_t call_mkdir(const Args& args) {
  Path path(args, 1);
  if (path.error) return path.error;
  return outcome(mkdirat(args.i32(0), path.text, args.i32(2)));
}

static int64_t call_mknod(const Args& args) {
  Path path(args, 1);
  if (path.error) return path.error;
  return outcome(syscall(SYS_mknodat, args.i32(0), path.text, args.i32(2), static_cast<uint32_t>(args.i32(3))));
}

static int64_t call_symlink(const Args& args) {
  Path target(args, 0), path(args, 2);
  if (target.error) return target.error;
  if (path.error) return path.error;
  return outcome(symlinkat(target.text, args.i32(1), path.text));
}

static int64_t call_link(const Args& args) {
  Path from(args, 1), to(args, 3);
  if (from.error) return from.error;
  if (to.error) return to.error;
  int from_dir = args.i32(0), to_dir = args.i32(2);
  int64_t result = outcome(linkat(from_dir, from.text, to_dir, to.text, args.i32(4) | self_or(from, 0)));
  // AT_EMPTY_PATH asks for CAP_DAC_READ_SEARCH (before Linux 6.10, always) and says ENOENT without it.
  if (result == -ENOENT && from.empty()) {
    result = outcome(linkat(AT_FDCWD, ProcFd(from_dir).text, to_dir, to.text, AT_SYMLINK_FOLLOW));
  }
  return result;
}

static int64_t call_unlink(const Args& args) {
  Path path(args, 1);
  if (path.error) return path.error;
  return outcome(unlinkat(args.i32(0), path.text, args.i32(2)));
}

static int64_t call_rename(const Args& args) {
  Path from(args, 1), to(args, 3);
  if (from.error) return from.error;
  if (to.error) return to.error;
  return outcome(syscall(SYS_renameat2, args.i32(0), from.text, args.i32(2), to.text, args.i32(4)));
}

static int64_t call_chmod(const Args& args) {
  static std::atomic<bool> missing{false};
  Path path(args, 1);
  if (path.error) return path.error;
  int dirfd = args.i32(0);
  uint32_t mode = args.i32(2) & 07777;
  if (!missing) {
    int64_t result = outcome(syscall(SYS_fchmodat2, dirfd, path.text, mode, self_or(path, AT_SYMLINK_NOFOLLOW)));
    if (result != -ENOSYS) return result;
    missing = true;
  }
  int fd = dirfd;
  if (!path.empty()) {
    fd = openat(dirfd, path.text, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return -errno;
  }
  struct stat st;
  int64_t result = outcome(fstatat(fd, "", &st, AT_EMPTY_PATH));
  if (result == 0) result = S_ISLNK(st.st_mode) ? -EOPNOTSUPP : outcome(chmod(ProcFd(fd).text, mode));
  if (fd != dirfd) close(fd);
  return result;
}

static int64_t call_chown(const Args& args) {
  Path path(args, 1);
  if (path.error) return path.error;
  return outcome(fchownat(args.i32(0), path.text, args.i32(2), args.i32(3), self_or(path, AT_SYMLINK_NOFOLLOW)));
}

static int64_t call_utimens(const Args& args) {
  Path path(args, 1);
  if (path.error) return path.error;
  struct timespec times[2];
  times[0].tv_sec = args.i64(2);
  times[0].tv_nsec = args.i32(3);
  times[1].tv_sec = args.i64(4);
  times[1].tv_nsec = args.i32(5);
  return outcome(syscall(SYS_utimensat, args.i32(0), path.text, times, self_or(path, AT_SYMLINK_NOFOLLOW)));
}

static int64_t call_statfs(const Args& args) {
  double* out = args.doubles(1, 10);
  if (!out) return -EFAULT;
  struct statfs st;
  if (fstatfs(args.i32(0), &st) < 0) return -errno;
  out[0] = static_cast<uint32_t>(st.f_type);
  out[1] = st.f_bsize;
  out[2] = st.f_frsize;
  out[3] = static_cast<double>(st.f_blocks);
  out[4] = static_cast<double>(st.f_bfree);
  out[5] = static_cast<double>(st.f_bavail);
  out[6] = static_cast<double>(st.f_files);
  out[7] = static_cast<double>(st.f_ffree);
  out[8] = st.f_namelen;
  out[9] = st.f_flags;
  return 0;
}

static int64_t call_name_to_handle(const Args& args) {
  Path path(args, 1);
  if (path.error) return path.error;
  Bytes into = args.bytes(2);
  if (into.length < 4) return -EFAULT;
  struct {
    struct file_handle head;
    uint8_t room[MAX_HANDLE_SZ];
  } handle;
  handle.head.handle_bytes = MAX_HANDLE_SZ;
  int mount_id;
  int64_t result = outcome(name_to_handle_at(args.i32(0), path.text, &handle.head, &mount_id, self_or(path, 0)));
  if (result < 0) return result;
  uint32_t count = handle.head.handle_bytes;
  if (count > into.length - 4) return -EOVERFLOW;
  memcpy(into.data, handle.head.f_handle, count);
  memcpy(into.data + into.length - 4, &count, 4);
  return handle.head.handle_type;
}

// Of the process, as every umask, in its first thread. Any other gets one of its own when it first comes here (and a working directory of its
// own with it): two mounts served by two threads would else make files with the mask of each other's callers.
static int64_t call_umask(const Args& args) {
  static thread_local bool own = false;
  if (!own && syscall(SYS_gettid) != getpid() && unshare(CLONE_FS) < 0) return -errno;
  own = true;
  return umask(args.i32(0));
}

const Method kFileMethods[] = {
    {"open", call_open},         {"close", call_close},     {"dup", call_dup},         {"statx", call_statx},
    {"getdents", call_getdents}, {"readlink", call_readlink}, {"mkdir", call_mkdir},   {"mknod", call_mknod},
    {"symlink", call_symlink},   {"link", call_link},       {"unlink", call_unlink},   {"rename", call_rename},
    {"chmod", call_chmod},       {"chown", call_chown},     {"utimens", call_utimens}, {"statfs", call_statfs},
    {"nameToHandle", call_name_to_handle}, {"umask", call_umask}, {nullptr, nullptr},
};
