// Work that would block: two threads per environment, started by the first job. Never libuv's pool, which the mount's own users may fill.
// startJob and the handler run on the environment's thread; run() on a job thread, which touches nothing of JavaScript.
// Descriptors belong to the caller and stay open until the job's result has come back.
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <new>

#include "env.h"

constexpr size_t kChunk = 16 << 20;    // between two looks at the stop flag
constexpr size_t kBounce = 1 << 20;    // where the kernel cannot copy by itself

static bool stopping(const Job* job) {
  return __atomic_load_n(job->end, __ATOMIC_RELAXED) || __atomic_load_n(&job->cancelled, __ATOMIC_RELAXED);
}

static int64_t copy_through_memory(const Job* job, int from, int to, int64_t position, int64_t end) {
  char* buffer = static_cast<char*>(malloc(kBounce));
  if (!buffer) return -ENOMEM;
  int64_t result = 0;
  while (position < end && result >= 0) {
    if (stopping(job)) {
      result = -ECANCELED;
      break;
    }
    size_t want = end - position < static_cast<int64_t>(kBounce) ? end - position : kBounce;
    result = outcome(pread(from, buffer, want, position));
    if (result == -EINTR) result = 1;
    else if (result == 0) break;
    else if (result > 0) {
      int64_t got = result, written = 0;
      while (written < got && result >= 0) {
        result = outcome(pwrite(to, buffer + written, got - written, position + written));
        if (result == -EINTR) result = 0;
        if (result > 0) written += result;
      }
      position += written;
    }
  }
  free(buffer);
  return result < 0 ? result : 0;
}

static int64_t copy_extent(const Job* job, int from, int to, int64_t position, int64_t end) {
  while (position < end) {
    if (stopping(job)) return -ECANCELED;
    loff_t in = position, out = position;
    size_t want = end - position < static_cast<int64_t>(kChunk) ? end - position : kChunk;
    int64_t done = outcome(copy_file_range(from, &in, to, &out, want, 0));
    if (done == -EINTR) continue;
    // 0 before the end: the file shrank, or a filesystem that answers copies it cannot make with "nothing left". Reading tells.
    if (done == 0 || done == -EXDEV || done == -EINVAL || done == -EOPNOTSUPP || done == -ENOSYS) {
      return copy_through_memory(job, from, to, position, end);
    }
    if (done < 0) return done;
    position += done;
  }
  return 0;
}

// All of the first `length` bytes; `to` holds no data yet, so what is skipped stays a hole.
static int64_t copy_data(const Job* job, int from, int to, int64_t length) {
  struct stat st;
  if (fstat(from, &st) < 0) return -errno;
  if (st.st_size == length && ioctl(to, FICLONE, from) == 0) {
    // To cut a file to the size it has would end the sharing of its last block, on xfs.
    if (fstat(to, &st) < 0) return -errno;
    return st.st_size == length ? 0 : outcome(ftruncate(to, length));
  }
  int64_t position = 0;
  while (position < length) {
    int64_t data = outcome(lseek(from, position, SEEK_DATA));
    if (data == -ENXIO) break;
    if (data < 0) data = position;  // no such question here: all is data
    if (data >= length) break;
    int64_t end = outcome(lseek(from, data, SEEK_HOLE));
    if (end <= data || end > length) end = length;
    int64_t result = copy_extent(job, from, to, data, end);
    if (result < 0) return result;
    position = end;
  }
  return outcome(ftruncate(to, length));
}

// All entries of a directory that can be unlinked. Returns 0 or the first error; what somebody else removes meanwhile is none.
static int64_t empty_directory(const Job* job, int parent, const char* name, char* buffer) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  int dir = openat(parent, name, kFlags);
  // Who owns a directory may still have to open it to itself.
  if (dir < 0 && errno == EACCES && fchmodat(parent, name, 0700, 0) == 0) dir = openat(parent, name, kFlags);
  if (dir < 0) return -errno;
  int64_t result = 0, length;
  while (result >= 0 && (length = outcome(syscall(SYS_getdents64, dir, buffer, kBounce))) > 0) {
    for (int64_t at = 0; at < length && result >= 0;) {
      // struct linux_dirent64: the record's length is at 16, the name at 19.
      uint16_t step;
      memcpy(&step, buffer + at + 16, sizeof step);
      const char* entry = buffer + at + 19;
      at += step;
      if (strcmp(entry, ".") == 0 || strcmp(entry, "..") == 0) continue;
      result = stopping(job) ? -ECANCELED : outcome(unlinkat(dir, entry, 0));
      if (result == -EACCES && fchmod(dir, 0700) == 0) result = outcome(unlinkat(dir, entry, 0));
      if (result == -ENOENT) result = 0;
    }
  }
  close(dir);
  return result < 0 ? result : length;
}

// Directories without subdirectories, and what is in them; one that cannot be removed keeps no other. Returns 0 or the first error.
static int64_t remove_directories(const Job* job, int parent, const char* names) {
  char* buffer = static_cast<char*>(malloc(kBounce));
  if (!buffer) return -ENOMEM;
  int64_t first = 0;
  for (const char* name = names; *name && first != -ECANCELED; name += strlen(name) + 1) {
    int64_t result = empty_directory(job, parent, name, buffer);
    if (result >= 0) result = outcome(unlinkat(parent, name, AT_REMOVEDIR));
    if (result < 0 && result != -ENOENT && (first == 0 || result == -ECANCELED)) first = result;
  }
  free(buffer);
  return first;
}

static int64_t write_file(int parent, const char* name, mode_t mode, const char* body, uint32_t length) {
  int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  if (fd < 0) return -errno;
  int64_t result = 0;
  for (uint32_t done = 0; done < length && result >= 0;) {
    result = outcome(write(fd, body + done, length - done));
    if (result > 0) done += result;
    else if (result == -EINTR) result = 0;
    else if (result == 0) result = -EIO;
  }
  int closed = close(fd);
  if (result >= 0 && closed < 0 && errno != EINTR) result = -errno;
  if (result < 0) unlinkat(parent, name, 0);
  return result < 0 ? result : 0;
}

// Records of two little-endian words and what they count: the body's length, the name's length with its NUL, name, body.
static int64_t write_files(const Job* job, int parent, mode_t mode, const char* bytes, size_t length) {
  for (size_t at = 0; at < length;) {
    if (stopping(job)) return -ECANCELED;
    uint32_t body, name;
    if (length - at < sizeof body + sizeof name) return -EFAULT;
    memcpy(&body, bytes + at, sizeof body);
    memcpy(&name, bytes + at + sizeof body, sizeof name);
    at += sizeof body + sizeof name;
    if (name == 0 || name > length - at || bytes[at + name - 1] != 0 || body > length - at - name) return -EFAULT;
    int64_t result = write_file(parent, bytes + at, mode, bytes + at + name, body);
    if (result < 0) return result;
    at += static_cast<size_t>(name) + body;
  }
  return 0;
}

// The kernel compares the ranges and shares what is equal, under the locks of both files. Bytes shared; 0 where they differ.
static int64_t dedupe(int from, int to, int64_t position, int64_t length) {
  alignas(file_dedupe_range) uint8_t memory[sizeof(file_dedupe_range) + sizeof(file_dedupe_range_info)] = {};
  file_dedupe_range* range = reinterpret_cast<file_dedupe_range*>(memory);
  file_dedupe_range_info* info = range->info;
  range->src_offset = info->dest_offset = position;
  range->src_length = length;
  range->dest_count = 1;
  info->dest_fd = to;
  if (ioctl(from, FIDEDUPERANGE, range) < 0) return -errno;
  if (info->status < 0) return info->status;
  return info->status == FILE_DEDUPE_RANGE_SAME ? info->bytes_deduped : 0;
}

static int64_t run(const Job* job) {
  if (stopping(job)) return -ECANCELED;
  switch (job->kind) {
    case 0: return outcome(fsync(job->a));
    case 1: return outcome(fdatasync(job->a));
    case 2: return outcome(syncfs(job->a));
    case 3: return copy_data(job, job->a, job->b, job->c);
    case 4: return job->bytes ? remove_directories(job, job->a, job->bytes) : -EINVAL;
    case 5: return job->bytes ? write_files(job, job->a, job->b, job->bytes, job->length) : -EINVAL;
    case 6: return dedupe(job->a, job->b, job->c, job->d);
    default: return -EINVAL;
  }
}

static void destroy(Job* job) {
  free(job->bytes);
  delete job;
}

static void* work(void* data) {
  Jobs* jobs = static_cast<Jobs*>(data);
  pthread_mutex_lock(&jobs->mutex);
  for (;;) {
    while (!jobs->stop && !jobs->waiting.first) pthread_cond_wait(&jobs->wake, &jobs->mutex);
    if (jobs->stop) break;
    Job* job = jobs->waiting.take();
    Job** place = jobs->running;
    while (*place) place++;
    *place = job;
    pthread_mutex_unlock(&jobs->mutex);
    job->result = run(job);
    pthread_mutex_lock(&jobs->mutex);
    *place = nullptr;
    pthread_cond_broadcast(&jobs->ended);
    jobs->done.push(job);
    // Under the mutex: the handle is closed only after this thread has been joined.
    uv_async_send(&jobs->async);
  }
  pthread_mutex_unlock(&jobs->mutex);
  return nullptr;
}

// The loop stays alive while somebody waits for a result.
static void hold_loop(Jobs* jobs) {
  uv_handle_t* handle = reinterpret_cast<uv_handle_t*>(&jobs->async);
  if (jobs->pending > 0 && jobs->handler) uv_ref(handle);
  else uv_unref(handle);
}

static void deliver(uv_async_t* async) {
  Env* self = static_cast<Env*>(async->data);
  Jobs* jobs = &self->jobs;
  for (;;) {
    pthread_mutex_lock(&jobs->mutex);
    Job* job = jobs->done.take();
    pthread_mutex_unlock(&jobs->mutex);
    if (!job) return;
    int32_t values[2] = {job->id, static_cast<int32_t>(job->result)};
    destroy(job);
    jobs->pending--;
    hold_loop(jobs);
    if (jobs->handler) call_handler(self, jobs->handler, 2, values);
  }
}

static int listen(Env* self) {
  Jobs* jobs = &self->jobs;
  if (jobs->listening) return 0;
  int result = uv_async_init(self->loop, &jobs->async, deliver);
  if (result < 0) return result;
  jobs->async.data = self;
  jobs->listening = true;
  self->open_handles++;
  hold_loop(jobs);
  return 0;
}

static int start_threads(Jobs* jobs) {
  if (jobs->started > 0) return 0;
  // Signals are for Node's threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = 0;
  while (jobs->started < kJobThreads && !error) {
    error = pthread_create(&jobs->threads[jobs->started], nullptr, work, jobs);
    if (!error) jobs->started++;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return jobs->started > 0 ? 0 : -error;
}

static int64_t call_set_handler(const Args& args) {
  Env* self = env_of(args);
  Jobs* jobs = &self->jobs;
  int result = listen(self);
  if (result < 0) return result;
  if (jobs->handler) napi_delete_reference(args.env, jobs->handler);
  jobs->handler = nullptr;
  napi_valuetype type;
  napi_typeof(args.env, args.value[0], &type);
  if (type == napi_function) napi_create_reference(args.env, args.value[0], 1, &jobs->handler);
  hold_loop(jobs);
  return 0;
}

static int64_t call_start_job(const Args& args) {
  Env* self = env_of(args);
  Jobs* jobs = &self->jobs;
  int result = listen(self);
  if (result == 0) result = start_threads(jobs);
  if (result < 0) return result;
  Bytes given = args.bytes(4);
  char* bytes = nullptr;
  if (given.length > 0) {
    bytes = static_cast<char*>(malloc(given.length + 2));
    if (!bytes) return -ENOMEM;
    memcpy(bytes, given.data, given.length);
    bytes[given.length] = bytes[given.length + 1] = 0;
  }
  Job* job = new (std::nothrow) Job;
  if (!job) {
    free(bytes);
    return -ENOMEM;
  }
  jobs->last_id = jobs->last_id == INT32_MAX ? 1 : jobs->last_id + 1;
  int32_t id = jobs->last_id;
  *job = {id, args.i32(0), args.i32(1), args.i32(2), args.i64(3), args.i64(5), 0, bytes, given.length, &jobs->stop, false, nullptr};
  jobs->pending++;
  hold_loop(jobs);
  pthread_mutex_lock(&jobs->mutex);
  jobs->waiting.push(job);
  pthread_cond_signal(&jobs->wake);
  pthread_mutex_unlock(&jobs->mutex);
  return id;
}

static bool under_way(const Jobs* jobs, int32_t id) {
  for (const Job* job = jobs->waiting.first; job; job = job->next) {
    if (job->id == id) return true;
  }
  for (const Job* job : jobs->running) {
    if (job && job->id == id) return true;
  }
  return false;
}

static int64_t call_wait_job(const Args& args) {
  Jobs* jobs = &env_of(args)->jobs;
  int32_t id = args.i32(0);
  pthread_mutex_lock(&jobs->mutex);
  while (under_way(jobs, id)) pthread_cond_wait(&jobs->ended, &jobs->mutex);
  pthread_mutex_unlock(&jobs->mutex);
  return 0;
}

static int64_t call_cancel_job(const Args& args) {
  Jobs* jobs = &env_of(args)->jobs;
  int32_t id = args.i32(0);
  pthread_mutex_lock(&jobs->mutex);
  for (Job* job = jobs->waiting.first; job; job = job->next) {
    if (job->id == id) __atomic_store_n(&job->cancelled, true, __ATOMIC_RELAXED);
  }
  for (Job* job : jobs->running) {
    if (job && job->id == id) __atomic_store_n(&job->cancelled, true, __ATOMIC_RELAXED);
  }
  pthread_mutex_unlock(&jobs->mutex);
  return 0;
}

static void on_closed(uv_handle_t* handle) { handle_closed(static_cast<Env*>(handle->data)); }

void close_jobs(Env* self) {
  Jobs* jobs = &self->jobs;
  pthread_mutex_lock(&jobs->mutex);
  __atomic_store_n(&jobs->stop, true, __ATOMIC_RELAXED);
  pthread_cond_broadcast(&jobs->wake);
  pthread_mutex_unlock(&jobs->mutex);
  for (int i = 0; i < jobs->started; i++) pthread_join(jobs->threads[i], nullptr);
  while (Job* job = jobs->waiting.take()) destroy(job);
  while (Job* job = jobs->done.take()) destroy(job);
  if (jobs->handler) napi_delete_reference(self->env, jobs->handler);
  jobs->handler = nullptr;
  if (jobs->listening) uv_close(reinterpret_cast<uv_handle_t*>(&jobs->async), on_closed);
}

const Method kJobMethods[] = {
    {"setJobHandler", call_set_handler},
    {"startJob", call_start_job},
    {"waitJob", call_wait_job},
    {"cancelJob", call_cancel_job},
    {nullptr, nullptr},
};
