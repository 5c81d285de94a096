// What /proc says of another thread, read aside: on which processor it runs, and whether it is being killed. /proc/<tid>/stat waits while that
// process is in execve(2), and execve may be waiting for an answer of the very thread that asks (it closes files of the mount); and who reads
// /proc/<tid>/status of a process that is just ending may be the one who closes its mapped files. So a serving thread must never read them.
// One thread per environment and kind of question, started by the first. A Look belongs to both; who lets go last frees it. The thread is never
// joined: it may stand in a read that ends only after this environment has answered, or when the process ends.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <new>

#include "env.h"

struct Look {
  int64_t (*const read)(int32_t tid);
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
  // Under the mutex.
  int32_t asked = 0;  // 0: nothing
  int64_t answer = -EAGAIN;
  int owners = 2;
  explicit Look(int64_t (*read)(int32_t tid)) : read(read) {}
};

static void let_go(Look* look) {
  bool last = --look->owners == 0;
  pthread_mutex_unlock(&look->mutex);
  if (last) delete look;
}

// A file of /proc/<tid> as text. Returns 0 or a negative errno.
static int64_t read_text(int32_t tid, const char* name, char* text, size_t size) {
  char path[32];
  snprintf(path, sizeof path, "/proc/%d/%s", tid, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  ssize_t length = read(fd, text, size - 1);
  int failed = length < 0 ? errno : 0;
  close(fd);
  text[length < 0 ? 0 : length] = 0;
  return -failed;
}

// The 39th field of /proc/<tid>/stat; the second, the name, is in parentheses and may hold anything.
static int64_t processor_of(int32_t tid) {
  char text[1024];
  int64_t result = read_text(tid, "stat", text, sizeof text);
  if (result < 0) return result;
  const char* at = strrchr(text, ')');
  for (int field = 2; at != nullptr && field < 39; field++) at = strchr(at + 1, ' ');
  return at == nullptr ? -EINVAL : strtol(at + 1, nullptr, 10);
}

// A procfs of another pid namespace than this process's counts other threads.
static bool sees_itself() {
  char text[16];
  ssize_t length = readlink("/proc/self", text, sizeof text - 1);
  if (length < 0) return false;
  text[length] = 0;
  return strtol(text, nullptr, 10) == getpid();
}

// A fatal signal to a process becomes a SIGKILL to each of its threads (complete_signal() in kernel/signal.c), which stays pending until the thread
// has left the call that it is in. Signals that dump core do not, and do not end such a wait of the kernel's own either.
static int64_t killed(int32_t tid) {
  char text[4096];
  if (!sees_itself() || read_text(tid, "status", text, sizeof text) < 0) return 2 * static_cast<int64_t>(tid);
  // Names are escaped: no line of another's begins so.
  const char* at = strstr(text, "\nSigPnd:");
  uint64_t pending = at == nullptr ? 0 : strtoull(at + 8, nullptr, 16);
  return 2 * static_cast<int64_t>(tid) + ((pending >> (SIGKILL - 1)) & 1);
}

static void* look_after(void* data) {
  Look* look = static_cast<Look*>(data);
  pthread_mutex_lock(&look->mutex);
  while (look->owners == 2) {
    int32_t tid = look->asked;
    if (tid == 0) {
      pthread_cond_wait(&look->wake, &look->mutex);
      continue;
    }
    pthread_mutex_unlock(&look->mutex);
    int64_t answer = look->read(tid);
    pthread_mutex_lock(&look->mutex);
    look->asked = 0;
    look->answer = answer;
  }
  let_go(look);
  return nullptr;
}

static Look* start(int64_t (*read)(int32_t tid)) {
  Look* look = new (std::nothrow) Look(read);
  if (!look) return nullptr;
  // Signals are for Node's threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  int error = pthread_create(&thread, nullptr, look_after, look);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error) {
    delete look;
    return nullptr;
  }
  pthread_detach(thread);
  return look;
}

static int64_t ask(Look** place, int64_t (*read)(int32_t tid), int32_t tid) {
  if (tid <= 0) return -EINVAL;
  if (!*place && !(*place = start(read))) return -ENOMEM;
  Look* look = *place;
  pthread_mutex_lock(&look->mutex);
  int64_t answer = -EAGAIN;
  if (look->asked == 0) {
    answer = look->answer;
    look->answer = -EAGAIN;
    look->asked = tid;
    pthread_cond_signal(&look->wake);
  }
  pthread_mutex_unlock(&look->mutex);
  return answer;
}

static int64_t call_look_at(const Args& args) { return ask(&env_of(args)->look, processor_of, args.i32(0)); }

static int64_t call_is_killed(const Args& args) { return ask(&env_of(args)->killed, killed, args.i32(0)); }

static void close_one(Look** place) {
  Look* look = *place;
  *place = nullptr;
  if (!look) return;
  pthread_mutex_lock(&look->mutex);
  pthread_cond_signal(&look->wake);
  let_go(look);
}

void close_look(Env* self) {
  close_one(&self->look);
  close_one(&self->killed);
}

const Method kLookMethods[] = {
    {"lookAt", call_look_at},
    {"isKilled", call_is_killed},
    {nullptr, nullptr},
};
