// How JavaScript reaches a call: numbers, latin1 strings and buffers in; one number out, negative errno on failure.
// A call decides nothing and throws nothing. The only checks are those that keep memory safe: a length fits its buffer, a path its array.
#pragma once
#define NAPI_VERSION 8
#include <errno.h>
#include <limits.h>
#include <node_api.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

constexpr int kMaxArgs = 7;

// A Uint8Array's or Float64Array's memory. Belongs to JavaScript; valid until the call returns.
struct Bytes {
  uint8_t* data = nullptr;
  size_t length = 0;  // in elements
  bool holds(int64_t offset, int64_t count) const {
    return offset >= 0 && count >= 0 && static_cast<uint64_t>(offset) <= length && static_cast<uint64_t>(count) <= length - offset;
  }
};

struct Args {
  napi_env env;
  napi_value value[kMaxArgs];

  // An argument that is no number reads as -1: an invalid descriptor rather than stdin.
  int32_t i32(int n) const {
    int32_t out;
    return napi_get_value_int32(env, value[n], &out) == napi_ok ? out : -1;
  }
  int64_t i64(int n) const {
    int64_t out;
    return napi_get_value_int64(env, value[n], &out) == napi_ok ? out : -1;
  }
  Bytes bytes(int n) const {
    Bytes out;
    void* data = nullptr;
    if (napi_get_typedarray_info(env, value[n], nullptr, &out.length, &data, nullptr, nullptr) != napi_ok) return Bytes();
    out.data = static_cast<uint8_t*>(data);
    return out;
  }
  // At least `count` doubles, or nullptr.
  double* doubles(int n, size_t count) const {
    Bytes out = bytes(n);
    return out.length >= count ? reinterpret_cast<double*>(out.data) : nullptr;
  }
};

// A path, or any other string the kernel bounds by a page. Never truncated: one that does not fit sets `error`.
struct Path {
  char text[PATH_MAX + 1];
  int error = 0;
  Path(const Args& args, int n) {
    size_t length = 0;
    if (napi_get_value_string_latin1(args.env, args.value[n], text, sizeof text, &length) != napi_ok) {
      text[0] = 0;
      error = -EINVAL;
    } else if (length >= PATH_MAX) {
      error = -ENAMETOOLONG;
    }
  }
  bool empty() const { return text[0] == 0; }
  const char* or_null() const { return empty() ? nullptr : text; }
};

using Call = int64_t (*)(const Args&);
struct Method {
  const char* name;
  Call call;
};

// The C convention (-1 and errno) into ours.
inline int64_t outcome(int64_t result) { return result < 0 ? -errno : result; }

// "/proc/self/fd/N": the way to act on an O_PATH descriptor with calls that know only paths.
struct ProcFd {
  char text[32];
  explicit ProcFd(int fd);
};

// pread(2) until `length` bytes are there or the file ends; an error counts only when nothing was read before it.
int64_t read_fully(int fd, uint8_t* into, size_t length, off_t position);

extern const Method kFileMethods[], kXattrMethods[], kDataMethods[], kMountMethods[], kFuseMethods[], kUringMethods[], kWatchMethods[],
    kJobMethods[], kProcessMethods[], kLookMethods[], kHeirMethods[];

// The one call that returns memory: an ArrayBuffer, or a negative errno.
napi_value map_shared(napi_env env, napi_callback_info info);
