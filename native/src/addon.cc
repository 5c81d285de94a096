// Registration, and the life of an environment.
#include <stdlib.h>
#include <stdio.h>

#include <new>

#include "env.h"

ProcFd::ProcFd(int fd) { snprintf(text, sizeof text, "/proc/self/fd/%d", fd); }

Env* env_of(const Args& args) {
  void* data = nullptr;
  napi_get_instance_data(args.env, &data);
  return static_cast<Env*>(data);
}

void call_handler(Env* self, napi_ref handler, int argc, const int32_t* argv) {
  napi_handle_scope scope;
  if (napi_open_handle_scope(self->env, &scope) != napi_ok) return;
  napi_value function, receiver, result, values[2];
  if (napi_get_reference_value(self->env, handler, &function) == napi_ok && napi_get_global(self->env, &receiver) == napi_ok) {
    for (int i = 0; i < argc; i++) napi_create_int32(self->env, argv[i], &values[i]);
    if (napi_make_callback(self->env, nullptr, receiver, function, argc, values, &result) == napi_pending_exception) {
      napi_value error;
      if (napi_get_and_clear_last_exception(self->env, &error) == napi_ok) napi_fatal_exception(self->env, error);
    }
  }
  napi_close_handle_scope(self->env, scope);
}

static void finish_when_closed(Env* self) {
  if (!self->ending || self->open_handles > 0) return;
  napi_async_cleanup_hook_handle hook = self->hook;
  free(self->reply);
  delete self;
  napi_remove_async_cleanup_hook(hook);
}

void handle_closed(Env* self) {
  self->open_handles--;
  finish_when_closed(self);
}

static void end(napi_async_cleanup_hook_handle, void* data) {
  Env* self = static_cast<Env*>(data);
  close_jobs(self);
  close_watches(self);
  close_rings(self);
  close_look(self);
  self->ending = true;
  finish_when_closed(self);
}

static napi_value enter(napi_env env, napi_callback_info info) {
  Args args;
  args.env = env;
  size_t argc = kMaxArgs;
  void* method;
  napi_get_cb_info(env, info, &argc, args.value, nullptr, &method);
  int64_t result = static_cast<const Method*>(method)->call(args);
  napi_value out = nullptr;
  if (result >= INT32_MIN && result <= INT32_MAX) {
    napi_create_int32(env, static_cast<int32_t>(result), &out);
  } else {
    napi_create_double(env, static_cast<double>(result), &out);
  }
  return out;
}

NAPI_MODULE_INIT() {
  Env* self = new (std::nothrow) Env;
  if (!self) return nullptr;
  self->env = env;
  napi_get_uv_event_loop(env, &self->loop);
  napi_set_instance_data(env, self, nullptr, nullptr);
  napi_add_async_cleanup_hook(env, end, self, &self->hook);

  const Method* groups[] = {kFileMethods, kXattrMethods, kDataMethods, kMountMethods,
                            kFuseMethods, kUringMethods, kWatchMethods, kJobMethods, kProcessMethods, kLookMethods, kHeirMethods};
  for (const Method* group : groups) {
    for (const Method* method = group; method->name; method++) {
      napi_value function;
      napi_create_function(env, method->name, NAPI_AUTO_LENGTH, enter, const_cast<Method*>(method), &function);
      napi_set_named_property(env, exports, method->name, function);
    }
  }
  napi_value map;
  napi_create_function(env, "mapShared", NAPI_AUTO_LENGTH, map_shared, nullptr, &map);
  napi_set_named_property(env, exports, "mapShared", map);
  return exports;
}
