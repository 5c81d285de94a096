// What one JavaScript environment (the main thread or a worker) owns. Touched by that thread only, but for Jobs behind its mutex.
// Life: made when the addon is loaded there; taken down by an asynchronous cleanup hook, which waits until every uv handle is closed.
#pragma once
#include <pthread.h>
#include <uv.h>

#include "call.h"

struct Watch {
  uv_poll_t poll;
  struct Env* owner;
  napi_ref handler;
  int32_t id;
  Watch* next;
};

struct Job {
  int32_t id, kind, a, b;
  int64_t c, d, result;
  char* bytes;    // owned, with two NULs behind them; nullptr for jobs that need none
  size_t length;  // of the bytes, without those
  const bool* end;  // Jobs::stop
  bool cancelled;   // written by the environment's thread under the mutex; as `end`, a hint for the job in progress
  Job* next;
};

// First in, first out; the nodes belong to whoever took them last.
struct JobQueue {
  Job* first = nullptr;
  Job** last = &first;
  void push(Job* job) {
    job->next = nullptr;
    *last = job;
    last = &job->next;
  }
  Job* take() {
    Job* job = first;
    if (job) first = job->next;
    if (!first) last = &first;
    return job;
  }
};

constexpr int kJobThreads = 2;

struct Jobs {
  // Under the mutex: waiting, running, done, stop (also read without it, as a hint, by a job in progress).
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
  pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
  JobQueue waiting, done;
  Job* running[kJobThreads] = {};
  bool stop = false;
  // The environment's thread only.
  pthread_t threads[kJobThreads];
  int started = 0;
  bool listening = false;
  uv_async_t async;
  napi_ref handler = nullptr;
  int32_t last_id = 0;
  int pending = 0;
};

struct Env {
  napi_env env;
  uv_loop_t* loop;
  Watch* watches = nullptr;
  int32_t last_watch = 0;
  struct Ring* rings = nullptr;  // see uring.cc
  struct Look* look = nullptr;   // see look.cc
  struct Look* killed = nullptr;
  Jobs jobs;
  uint8_t* reply = nullptr;  // see fuseReplyData
  int open_handles = 0;      // uv handles whose close callback is still to come
  napi_async_cleanup_hook_handle hook = nullptr;
  bool ending = false;
};

Env* env_of(const Args& args);
// Calls `handler` as an event: process.nextTick and promise callbacks run after it, what it throws becomes an uncaughtException.
void call_handler(Env* self, napi_ref handler, int argc, const int32_t* argv);
// From the close callback of a uv handle, after its memory is free. May delete `self`.
void handle_closed(Env* self);

void close_watches(Env* self);
void close_rings(Env* self);
void close_look(Env* self);
// Ends the threads (waiting for the system call each is in) and drops what had not begun.
void close_jobs(Env* self);
