// Bytes of files, at explicit positions. All run on the calling thread and block it; fsync and large copies have jobs.cc.
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "call.h"

int64_t read_fully(int fd, uint8_t* into, size_t length, off_t position) {
  size_t filled = 0;
  // A short read only means end of file when the next one says 0.
  while (filled < length) {
    int64_t got = outcome(pread(fd, into + filled, length - filled, position + filled));
    if (got == -EINTR) continue;
    if (got < 0 && filled == 0) return got;
    if (got <= 0) break;
    filled += got;
  }
  return filled;
}

static int64_t call_pread(const Args& args) {
  Bytes into = args.bytes(1);
  int64_t offset = args.i64(2), length = args.i64(3), result;
  if (!into.holds(offset, length)) return -EFAULT;
  int fd = args.i32(0);
  off_t position = args.i64(4);
  do result = outcome(pread(fd, into.data + offset, length, position));
  while (result == -EINTR);
  return result;
}

static int64_t call_pwrite(const Args& args) {
  Bytes from = args.bytes(1);
  int64_t offset = args.i64(2), length = args.i64(3), result;
  if (!from.holds(offset, length)) return -EFAULT;
  int fd = args.i32(0);
  off_t position = args.i64(4);
  do result = outcome(pwrite(fd, from.data + offset, length, position));
  while (result == -EINTR);
  return result;
}

static int64_t call_ftruncate(const Args& args) {
  int64_t result;
  do result = outcome(ftruncate(args.i32(0), args.i64(1)));
  while (result == -EINTR);
  return result;
}

static int64_t call_fallocate(const Args& args) {
  int64_t result;
  do result = outcome(fallocate(args.i32(0), args.i32(1), args.i64(2), args.i64(3)));
  while (result == -EINTR);
  return result;
}

static int64_t call_lseek(const Args& args) { return outcome(lseek(args.i32(0), args.i64(1), args.i32(2))); }

static int64_t call_clone(const Args& args) { return outcome(ioctl(args.i32(0), FICLONE, args.i32(1))); }

// Four doubles for each extent. What is not written yet is not: no flag asks for it.
static int64_t call_extents(const Args& args) {
  Bytes out = args.bytes(1);
  constexpr size_t kMost = 64;
  alignas(fiemap) uint8_t memory[sizeof(fiemap) + kMost * sizeof(fiemap_extent)] = {};
  fiemap* map = reinterpret_cast<fiemap*>(memory);
  map->fm_length = FIEMAP_MAX_OFFSET;
  map->fm_extent_count = out.length / 4 < kMost ? out.length / 4 : kMost;
  int64_t result = outcome(ioctl(args.i32(0), FS_IOC_FIEMAP, map));
  if (result < 0) return result;
  double* slots = args.doubles(1, map->fm_mapped_extents * 4);
  if (!slots) return -EFAULT;
  for (uint32_t i = 0; i < map->fm_mapped_extents; i++) {
    const fiemap_extent& extent = map->fm_extents[i];
    *slots++ = extent.fe_logical;
    *slots++ = extent.fe_physical;
    *slots++ = extent.fe_length;
    *slots++ = extent.fe_flags;
  }
  return map->fm_mapped_extents;
}

static int64_t call_copy_range(const Args& args) {
  loff_t from_position = args.i64(1), to_position = args.i64(3);
  return outcome(copy_file_range(args.i32(0), &from_position, args.i32(2), &to_position, args.i64(4), 0));
}

static int64_t call_fsync(const Args& args) { return outcome(fsync(args.i32(0))); }
static int64_t call_fdatasync(const Args& args) { return outcome(fdatasync(args.i32(0))); }
static int64_t call_syncfs(const Args& args) { return outcome(syncfs(args.i32(0))); }
static int64_t call_flock(const Args& args) { return outcome(flock(args.i32(0), args.i32(1))); }
static int64_t call_get_flags(const Args& args) { return outcome(fcntl(args.i32(0), F_GETFL)); }

const Method kDataMethods[] = {
    {"pread", call_pread},
    {"pwrite", call_pwrite},
    {"ftruncate", call_ftruncate},
    {"fallocate", call_fallocate},
    {"lseek", call_lseek},
    {"clone", call_clone},
    {"copyRange", call_copy_range},
    {"extents", call_extents},
    {"fsync", call_fsync},
    {"fdatasync", call_fdatasync},
    {"syncfs", call_syncfs},
    {"flock", call_flock},
    {"fcntlGetFlags", call_get_flags},
    {nullptr, nullptr},
};
