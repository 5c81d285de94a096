// Readability as an event of the calling thread's loop. A watch belongs to its environment from watch() until the close callback after
// unwatch() or the environment's end. libuv puts the descriptor into non-blocking mode.
#include <new>

#include "env.h"

static void on_readable(uv_poll_t* poll, int status, int events) {
  Watch* watch = static_cast<Watch*>(poll->data);
  // After an error libuv has stopped the handle: this is its last event. The watch may be gone when the handler returns.
  call_handler(watch->owner, watch->handler, 0, nullptr);
}

static void on_closed(uv_handle_t* handle) {
  Watch* watch = static_cast<Watch*>(handle->data);
  Env* owner = watch->owner;
  delete watch;
  handle_closed(owner);
}

static int64_t call_watch(const Args& args) {
  Env* self = env_of(args);
  Watch* watch = new (std::nothrow) Watch;
  if (!watch) return -ENOMEM;
  int result = uv_poll_init(self->loop, &watch->poll, args.i32(0));
  if (result < 0) {
    delete watch;
    return result;
  }
  self->open_handles++;
  watch->poll.data = watch;
  watch->owner = self;
  watch->handler = nullptr;
  napi_create_reference(args.env, args.value[1], 1, &watch->handler);
  watch->id = ++self->last_watch;
  watch->next = self->watches;
  self->watches = watch;
  uv_poll_start(&watch->poll, UV_READABLE, on_readable);
  return watch->id;
}

// Takes the watch out of the list and begins to close it.
static void drop(Env* self, Watch** link) {
  Watch* watch = *link;
  *link = watch->next;
  if (watch->handler) napi_delete_reference(self->env, watch->handler);
  watch->handler = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&watch->poll), on_closed);
}

static int64_t call_unwatch(const Args& args) {
  Env* self = env_of(args);
  int32_t id = args.i32(0);
  for (Watch** link = &self->watches; *link; link = &(*link)->next) {
    if ((*link)->id != id) continue;
    drop(self, link);
    return 0;
  }
  return -ENOENT;
}

void close_watches(Env* self) {
  while (self->watches) drop(self, &self->watches);
}

const Method kWatchMethods[] = {
    {"watch", call_watch},
    {"unwatch", call_unwatch},
    {nullptr, nullptr},
};
