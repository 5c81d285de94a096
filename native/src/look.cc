// On which processor another thread runs, read aside. /proc/<tid>/stat waits while that process is in execve(2), and execve may be waiting
// for an answer of the very thread that asks (it closes files of the mount): so a serving thread must never read it.
// One thread per environment, started by the first question. A Look belongs to both; who lets go last frees it. The thread is never joined:
// it may stand in a read that ends only after this environment has answered, or when the process ends.
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
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
  // Under the mutex.
  int32_t asked = 0;  // 0: nothing
  int32_t answer = -EAGAIN;
  int owners = 2;
};

static void let_go(Look* look) {
  bool last = --look->owners == 0;
  pthread_mutex_unlock(&look->mutex);
  if (last) delete look;
}

// The 39th field of /proc/<tid>/stat; the second, the name, is in parentheses and may hold anything.
static int32_t processor_of(int32_t tid) {
  char path[32], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", tid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  ssize_t length = read(fd, text, sizeof text - 1);
  int failed = length < 0 ? errno : 0;
  close(fd);
  if (failed != 0) return -failed;
  text[length] = 0;
  const char* at = strrchr(text, ')');
  for (int field = 2; at != nullptr && field < 39; field++) at = strchr(at + 1, ' ');
  return at == nullptr ? -EINVAL : static_cast<int32_t>(strtol(at + 1, nullptr, 10));
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
    int32_t answer = processor_of(tid);
    pthread_mutex_lock(&look->mutex);
    look->asked = 0;
    look->answer = answer;
  }
  let_go(look);
  return nullptr;
}

static Look* start() {
  Look* look = new (std::nothrow) Look;
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

static int64_t call_look_at(const Args& args) {
  Env* self = env_of(args);
  int32_t tid = args.i32(0);
  if (tid <= 0) return -EINVAL;
  if (!self->look && !(self->look = start())) return -ENOMEM;
  Look* look = self->look;
  pthread_mutex_lock(&look->mutex);
  int32_t answer = -EAGAIN;
  if (look->asked == 0) {
    answer = look->answer;
    look->answer = -EAGAIN;
    look->asked = tid;
    pthread_cond_signal(&look->wake);
  }
  pthread_mutex_unlock(&look->mutex);
  return answer;
}

void close_look(Env* self) {
  Look* look = self->look;
  self->look = nullptr;
  if (!look) return;
  pthread_mutex_lock(&look->mutex);
  pthread_cond_signal(&look->wake);
  let_go(look);
}

const Method kLookMethods[] = {
    {"lookAt", call_look_at},
    {nullptr, nullptr},
};
