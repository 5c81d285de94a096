// What outlives a process: memory shared by descriptor, and the heir, a process that shares the descriptor table and executes the next
// server when this one is gone. All run on the calling thread.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call.h"
#include "process.h"

constexpr int kCloseRange = 436;
constexpr unsigned kCloseRangeCloexec = 4;
constexpr int kTries = 15, kRestMs = 50, kLongRestMs = 5000, kLookMs = 5;  // 45 s until it gives up
constexpr int kKills = 100;  // in a row, before a server has an heir: that is no accident any more, but such as too little memory

static int64_t call_memfd(const Args& args) {
  Path name(args, 0);
  if (name.error) return name.error;
  int fd = static_cast<int>(syscall(SYS_memfd_create, name.text, 1 /* MFD_CLOEXEC */));
  if (fd < 0) return -errno;
  if (ftruncate(fd, args.i64(1)) == 0) return fd;
  int failure = -errno;
  close(fd);
  return failure;
}

// Mapped for as long as the process lives: nothing here unmaps it.
napi_value map_shared(napi_env env, napi_callback_info info) {
  Args args;
  args.env = env;
  size_t argc = kMaxArgs;
  napi_get_cb_info(env, info, &argc, args.value, nullptr, nullptr);
  int64_t length = args.i64(1);
  napi_value out = nullptr;
  void* memory = length > 0 ? mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, args.i32(0), 0) : MAP_FAILED;
  int failure = length > 0 ? -errno : -EINVAL;
  if (memory != MAP_FAILED && napi_create_external_arraybuffer(env, memory, length, nullptr, nullptr, &out) == napi_ok) return out;
  if (memory != MAP_FAILED) {
    munmap(memory, length);
    failure = -EOPNOTSUPP;
  }
  napi_create_int32(env, failure, &out);
  return out;
}

static int64_t call_close_on_exec(const Args& args) { return outcome(syscall(kCloseRange, args.i32(0), ~0u, kCloseRangeCloexec)); }

// Strings, each ended by NUL, as a list for execve; nullptr without memory.
static char** list_of(const Bytes& text) {
  size_t count = 0;
  for (size_t i = 0; i < text.length; i++) count += text.data[i] == 0;
  char** list = static_cast<char**>(malloc((count + 1) * sizeof *list + text.length));
  if (!list) return nullptr;
  char* at = reinterpret_cast<char*>(list + count + 1);
  memcpy(at, text.data, text.length);
  for (size_t i = 0; i < count; i++, at += strlen(at) + 1) list[i] = at;
  list[count] = nullptr;
  return list;
}

// What an heir is told, in memory that it has a copy of, but for what is shared.
struct Inheritance {
  int parent, fuse;
  uint8_t* kept;             // shared: one bit for each descriptor
  size_t kept_length;
  const uint32_t* current;   // shared: the number of the heir that counts
  uint32_t number;
  char **argv, **envp;
  sigset_t mask;

  bool is_kept(size_t fd) const { return kept[fd >> 3] >> (fd & 7) & 1; }
  bool counts() const { return __atomic_load_n(current, __ATOMIC_SEQ_CST) == number; }
  // The connection lives, and nobody meant to end it.
  bool is_needed() const {
    struct pollfd device = {fuse, 0, 0};
    return is_kept(fuse) && poll(&device, 1, 0) == 0;
  }
};

[[noreturn]] static void become_server(const Inheritance& self) {
  for (int fd = 0; fd <= 2; fd++) fcntl(fd, F_SETFD, 0);
  for (size_t fd = 3; fd < self.kept_length * 8; fd++) {
    if (!self.is_kept(fd) || fcntl(static_cast<int>(fd), F_SETFD, 0) == 0) continue;
    // Not open any more. The next server must not take what it opens itself under that number for this.
    self.kept[fd >> 3] &= static_cast<uint8_t>(~(1 << (fd & 7)));
  }
  sigprocmask(SIG_SETMASK, &self.mask, nullptr);
  execve(self.argv[0], self.argv, self.envp);
  _exit(1);
}

// The heir's life: system calls only, in a copy of its parent's memory, with its parent's descriptors. It holds them until the server that
// it starts has an heir of its own, or starts another one; the one store that makes the new heir count decides between the two.
[[noreturn]] static void inherit(const Inheritance& self) {
  prctl(PR_SET_NAME, "stratafs-heir", 0, 0, 0);
  if (chdir("/") != 0) _exit(1);  // nobody's directory is kept busy
  struct pollfd death = {self.parent, POLLIN, 0};
  while (poll(&death, 1, -1) < 0 && errno == EINTR) {
  }
  if ((death.revents & POLLIN) == 0) _exit(1);
  int rest = kRestMs, kills = 0;
  for (int failures = 0; failures < kTries && self.counts() && self.is_needed();) {
    pid_t child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    if (child == 0) become_server(self);
    int status = 0;
    while (child > 0 && self.counts() && waitpid(child, &status, WNOHANG) == 0) poll(nullptr, 0, kLookMs);
    if (!self.counts()) break;
    // A program that is being replaced may be missing, or half written, for a while. One that was killed has not failed.
    bool killed = child >= 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    bool failed = !killed || ++kills > kKills;
    poll(nullptr, 0, failed ? rest : kRestMs);
    if (!failed) continue;
    failures++;
    rest = rest * 2 < kLongRestMs ? rest * 2 : kLongRestMs;
  }
  _exit(0);
}

static int64_t call_start_heir(const Args& args) {
  Bytes argv = args.bytes(0), envp = args.bytes(1), kept = args.bytes(4), current = args.bytes(5);
  Inheritance self;
  self.parent = args.i32(2);
  self.fuse = args.i32(3);
  self.kept = kept.data;
  self.kept_length = kept.length;
  self.current = reinterpret_cast<const uint32_t*>(current.data);
  self.number = static_cast<uint32_t>(args.i64(6));
  if (self.fuse < 0 || static_cast<size_t>(self.fuse) >= kept.length * 8 || current.length < sizeof(uint32_t)) return -EINVAL;
  self.argv = list_of(argv);
  self.envp = list_of(envp);
  int64_t result = -ENOMEM;
  if (self.argv && self.envp && self.argv[0]) {
    pid_t child = fork_quietly(&self.mask, CLONE_FILES);
    // Signals stay blocked: what is sent to the whole group is meant for the server.
    if (child == 0) inherit(self);
    result = child;
  }
  free(self.argv);
  free(self.envp);
  return result;
}

const Method kHeirMethods[] = {
    {"memfd", call_memfd},
    {"closeOnExec", call_close_on_exec},
    {"startHeir", call_start_heir},
    {nullptr, nullptr},
};
