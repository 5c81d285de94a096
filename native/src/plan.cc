// The interpreter of plans (lib/sys/plan.ts describes and encodes them). Runs in a forked child: system calls only.
// Credentials and groups by bare calls: glibc's forms would look for the other threads, which the child does not have.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call.h"
#include "process.h"

constexpr int kCloseRange = 436, kMoveMount = 429;
constexpr unsigned kCloseRangeCloexec = 4, kMoveFromEmptyPath = 4;

// In the order of `operations` in lib/sys/plan.ts.
enum Operation : uint8_t {
  kUnshare, kSetns, kWriteFile, kReadByte, kWriteByte, kFork, kMount, kMoveMountTo, kUmount, kPivotRoot, kChroot, kChdir, kMkdir,
  kMknod, kSymlink, kCreateFile, kSethostname, kSetgroups, kSetresgid, kSetresuid, kUmask, kSetsid, kSetctty, kDup2, kCloseFrom,
  kSetPdeathsig, kNoNewPrivs, kCapDrop, kResetSignals, kLoopbackUp, kExec, kExecPath,
};

// What the operands are read from. Nothing is aligned.
struct Cursor {
  const uint8_t* at;
  uint32_t u32() {
    uint32_t out;
    memcpy(&out, at, 4);
    at += 4;
    return out;
  }
  int i32() { return static_cast<int>(u32()); }
  int64_t i64() {
    int64_t out;
    memcpy(&out, at, 8);
    at += 8;
    return out;
  }
  // u32 length, that many bytes, NUL.
  const char* text(uint32_t* length = nullptr) {
    uint32_t count = u32();
    if (length) *length = count;
    const char* out = reinterpret_cast<const char*>(at);
    at += count + 1;
    return out;
  }
  const char* text_or_null() {
    const char* out = text();
    return *out ? out : nullptr;
  }
};

struct Child {
  int error_fd;
  int report_fd;  // to the process that waits in a fork step, -1 before the first
  sigset_t mask;  // the signals blocked at the start
};

static bool is_passed_on(int signal) {
  return signal == SIGTERM || signal == SIGINT || signal == SIGHUP || signal == SIGQUIT || signal == SIGUSR1 || signal == SIGUSR2 ||
         signal == SIGWINCH;
}

// Descriptors first…last: closed, or marked close-on-exec.
static void close_span(unsigned first, unsigned last, unsigned flags) {
  if (first > last || syscall(kCloseRange, first, last, flags) == 0) return;
  if (last > 65535) last = 65535;
  for (unsigned fd = first; fd <= last; fd++) {
    if (flags & kCloseRangeCloexec) fcntl(fd, F_SETFD, FD_CLOEXEC);
    else close(fd);
  }
}

// Everything above stderr but `a` and `b`, either of which may be -1.
static void close_all_but(int a, int b) {
  unsigned low = a < b ? a : b, high = a < b ? b : a;
  unsigned next = 3;
  if (static_cast<int>(low) >= 3) {
    close_span(next, low - 1, 0);
    next = low + 1;
  }
  if (static_cast<int>(high) >= 3) {
    close_span(next, high - 1, 0);
    next = high + 1;
  }
  close_span(next, ~0u, 0);
}

// Leaves the world as the child did. The first process of a pid namespace cannot be killed from inside it: it reports the signal upwards.
[[noreturn]] static void exit_like(int status, int report_fd) {
  if (WIFEXITED(status)) _exit(WEXITSTATUS(status));
  uint8_t signal = WTERMSIG(status);
  if (report_fd >= 0 && write(report_fd, &signal, 1) < 0) _exit(128 + signal);
  struct rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = SIG_DFL;
  sigaction(signal, &action, nullptr);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  sigprocmask(SIG_UNBLOCK, &one, nullptr);
  kill(getpid(), signal);
  _exit(128 + signal);
}

struct Span {
  uintptr_t start, end;
};

// Where the kernel shows what a process was called with and its environment: fields 48 to 51 of /proc/self/stat.
static Span words_at_start() {
  char text[2048];
  Span none = {0, 0};
  int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return none;
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return none;
  text[length] = 0;
  const char* at = strrchr(text, ')');
  for (int field = 2; at && field < 48; field++) at = strchr(at + 1, ' ');
  if (!at) return none;
  char* next;
  Span words;
  words.start = strtoul(at + 1, &next, 10);
  for (int field = 49; field <= 51; field++) words.end = strtoul(next, &next, 10);
  return words;
}

// One line of /proc/self/maps, "START-END rwxp OFFSET DEV INODE NAME", is to be kept: code and its data, what this thread stands on, and what is not memory.
static bool is_kept(const char* line, Span span, uintptr_t* file_end) {
  uintptr_t here = reinterpret_cast<uintptr_t>(&span), thread = reinterpret_cast<uintptr_t>(&errno);
  const char* field = line;
  for (int i = 0; i < 4 && field; i++) field = strchr(field + 1, ' ');
  bool file = field && strtoul(field, nullptr, 10) != 0;
  // What lies right behind a file's pages are its variables that begin as zeros.
  bool variables = span.start == *file_end;
  *file_end = file ? span.end : 0;
  if (file || variables || strstr(line, "[v") || strstr(line, "[stack]")) return true;
  return (here >= span.start && here < span.end) || (thread >= span.start && thread < span.end);
}

// The process that stands for a container's command is a copy of the one that serves it, and whoever is root in the container may read its
// memory: what was in there (the caller's environment, keys, other mounts) goes. Afterwards only system calls are made, by functions that
// are bound already (-z now). Without /proc nobody else can look either.
static void forget() {
  static Span spans[4096];
  size_t count = 0;
  int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    char text[8192];
    size_t held = 0;
    uintptr_t file_end = 0;
    for (ssize_t got; (got = read(fd, text + held, sizeof text - 1 - held)) > 0;) {
      held += got;
      text[held] = 0;
      char* line = text;
      for (char* end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        char* dash;
        Span span = {strtoul(line, &dash, 16), 0};
        span.end = strtoul(dash + 1, nullptr, 16);
        if (!is_kept(line, span, &file_end) && count < sizeof spans / sizeof *spans) spans[count++] = span;
      }
      held = text + held - line;
      memmove(text, line, held);
    }
    close(fd);
  }
  Span words = words_at_start();
  static const char kName[] = "stratafs: init";
  if (words.end > words.start + sizeof kName) {
    memset(reinterpret_cast<void*>(words.start), 0, words.end - words.start);
    memcpy(reinterpret_cast<void*>(words.start), kName, sizeof kName);
  }
  for (size_t i = 0; i < count; i++) munmap(reinterpret_cast<void*>(spans[i].start), spans[i].end - spans[i].start);
}

// The parent's part of a fork step: stands for the child until it ends, and buries orphans where it is the first of a pid namespace.
// Holds nothing of the mount: no memory, no descriptor above 2 but the two pipes, and "/" as its directory. The child sees the other end of
// its pipe close when that is so.
[[noreturn]] static void stand_for(pid_t child, int reports, int report_fd, const sigset_t* waited) {
  forget();
  close_all_but(reports, report_fd);
  if (chdir("/") < 0) _exit(125);
  for (;;) {
    siginfo_t info;
    int signal = sigwaitinfo(waited, &info);
    if (signal < 0) continue;
    if (signal != SIGCHLD) {
      // What a terminal sends goes to its whole foreground group, so a child that shares the group has had it already.
      if (info.si_code <= 0 || getpgid(child) != getpgrp()) kill(child, signal);
      continue;
    }
    int status;
    for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) > 0;) {
      if (ended != child) continue;
      uint8_t signal_below = 0;
      if (read(reports, &signal_below, 1) == 1 && WIFEXITED(status)) status = signal_below;  // the encoding of "killed by"
      exit_like(status, report_fd);
    }
  }
}

static int64_t fork_step(Child* self) {
  int report[2], gate[2];
  if (pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0) return -errno;
  if (pipe2(gate, O_CLOEXEC) < 0) return -errno;
  sigset_t waited, before;
  sigemptyset(&waited);
  sigaddset(&waited, SIGCHLD);
  for (int signal = 1; signal < 32; signal++) {
    if (is_passed_on(signal)) sigaddset(&waited, signal);
  }
  // Blocked before the fork, so that none is lost; and SIGCHLD not ignored, else there would be no status.
  sigprocmask(SIG_BLOCK, &waited, &before);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = SIG_DFL;
  sigaction(SIGCHLD, &action, nullptr);

  pid_t child = static_cast<pid_t>(outcome(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)));
  if (child > 0) {
    close(report[1]);
    stand_for(child, report[0], self->report_fd, &waited);
  }
  // The kernel drops a signal with its default action on the way to the first process of a pid namespace. There they stay blocked, and so
  // pending, until its own fork step waits for them and passes them on. (A plan in which that process itself executes resets its signals.)
  if (child < 0) sigprocmask(SIG_SETMASK, &before, nullptr);
  else if (getpid() != 1) sigprocmask(SIG_SETMASK, &self->mask, nullptr);
  close(report[0]);
  close(gate[1]);
  if (child < 0) {
    close(report[1]);
    close(gate[0]);
    return child;
  }
  uint8_t none;
  while (read(gate[0], &none, 1) < 0 && errno == EINTR) continue;
  close(gate[0]);
  if (self->report_fd >= 0) close(self->report_fd);
  self->report_fd = report[1];
  return 0;
}

static int64_t write_file(const char* path, const char* data, uint32_t length) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  // One write: the kernel takes an id map whole or not at all.
  int64_t result = outcome(write(fd, data, length));
  if (result >= 0) result = result == length ? 0 : -EIO;
  close(fd);
  return result;
}

static int64_t create_file(const char* path, int mode) {
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode);
  if (fd < 0) return -errno;
  close(fd);
  return 0;
}

static int64_t read_byte(int fd) {
  char byte;
  int64_t result;
  do result = outcome(read(fd, &byte, 1));
  while (result == -EINTR);
  return result == 0 ? -EPIPE : result;
}

static int64_t write_byte(int fd) {
  char byte = 0;
  int64_t result;
  do result = outcome(write(fd, &byte, 1));
  while (result == -EINTR);
  return result;
}

static int64_t set_groups(Cursor* in) {
  gid_t groups[1024];
  uint32_t count = in->u32();
  if (count > 1024) return -EINVAL;
  for (uint32_t i = 0; i < count; i++) groups[i] = in->u32();
  return outcome(syscall(SYS_setgroups, count, groups));
}

static void reset_signals() {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; signal++) sigaction(signal, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// A new network namespace has a loopback device, but it is down.
static int64_t loopback_up() {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  struct ifreq request;
  memset(&request, 0, sizeof request);
  memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  int64_t result = outcome(ioctl(fd, SIOCSIFFLAGS, &request));
  close(fd);
  return result;
}

int exec_in(const char* dirs, const char* name, char* const* argv, char* const* envp) {
  if (strchr(name, '/')) {
    execve(name, argv, envp);
    return -errno;
  }
  int failure = -ENOENT;
  size_t name_length = strlen(name);
  for (const char* dir = dirs;;) {
    const char* end = strchrnul(dir, ':');
    size_t length = end - dir;
    char path[PATH_MAX];
    if (length + name_length + 2 <= sizeof path) {
      memcpy(path, dir, length);
      if (length > 0) path[length++] = '/';
      memcpy(path + length, name, name_length + 1);
      execve(path, argv, envp);
      // As execvp(3): a name that is there but may not be run is the better answer than its absence elsewhere.
      if (errno != ENOENT && errno != ENOTDIR) {
        failure = -errno;
        if (errno != EACCES) return failure;
      }
    }
    if (!*end) return failure;
    dir = end + 1;
  }
}

// The pointers of argv and envp need memory: a mapping of their own, as the child may not allocate.
static int64_t exec_step(Cursor* in, bool search) {
  const char* dirs = search ? in->text() : "";
  const char* program = in->text();
  Cursor counting = *in;
  size_t pointers = 0;
  for (int list = 0; list < 2; list++) {
    uint32_t count = counting.u32();
    pointers += count + 1;
    for (uint32_t i = 0; i < count; i++) counting.text();
  }
  void* memory = mmap(nullptr, pointers * sizeof(char*), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return -errno;
  char** next = static_cast<char**>(memory);
  char** lists[2];
  for (int list = 0; list < 2; list++) {
    lists[list] = next;
    uint32_t count = in->u32();
    for (uint32_t i = 0; i < count; i++) *next++ = const_cast<char*>(in->text());
    *next++ = nullptr;
  }
  int64_t failure = 0;
  if (search) {
    failure = exec_in(dirs, program, lists[0], lists[1]);
  } else {
    execve(program, lists[0], lists[1]);
    failure = -errno;
  }
  munmap(memory, pointers * sizeof(char*));
  return failure;
}

// 0 or positive, or a negative errno.
static int64_t carry_out_step(Child* self, uint8_t operation, Cursor in) {
  switch (operation) {
    case kUnshare: return outcome(unshare(in.i32()));
    case kSetns: {
      int fd = in.i32(), flags = in.i32();
      return outcome(setns(fd, flags));
    }
    case kWriteFile: {
      const char* path = in.text();
      uint32_t length;
      const char* data = in.text(&length);
      return write_file(path, data, length);
    }
    case kReadByte: return read_byte(in.i32());
    case kWriteByte: return write_byte(in.i32());
    case kFork: return fork_step(self);
    case kMount: {
      const char *source = in.text_or_null(), *target = in.text(), *type = in.text_or_null();
      int64_t flags = in.i64();
      return outcome(mount(source, target, type, static_cast<unsigned long>(flags), in.text_or_null()));
    }
    case kMoveMountTo: {
      int fd = in.i32();
      return outcome(syscall(kMoveMount, fd, "", AT_FDCWD, in.text(), kMoveFromEmptyPath));
    }
    case kUmount: {
      const char* path = in.text();
      return outcome(umount2(path, in.i32()));
    }
    case kPivotRoot: {
      const char* root = in.text();
      return outcome(syscall(SYS_pivot_root, root, in.text()));
    }
    case kChroot: return outcome(chroot(in.text()));
    case kChdir: return outcome(chdir(in.text()));
    case kMkdir: {
      const char* path = in.text();
      int mode = in.i32();
      int64_t result = outcome(mkdir(path, mode));
      return result == -EEXIST && in.u32() ? 0 : result;
    }
    case kMknod: {
      const char* path = in.text();
      int mode = in.i32();
      uint32_t device = in.u32();
      int64_t result = outcome(syscall(SYS_mknodat, AT_FDCWD, path, mode, device));
      return result == -EEXIST && in.u32() ? 0 : result;
    }
    case kSymlink: {
      const char* target = in.text();
      int64_t result = outcome(symlink(target, in.text()));
      return result == -EEXIST && in.u32() ? 0 : result;
    }
    case kCreateFile: {
      const char* path = in.text();
      return create_file(path, in.i32());
    }
    case kSethostname: {
      uint32_t length;
      const char* name = in.text(&length);
      return outcome(sethostname(name, length));
    }
    case kSetgroups: return set_groups(&in);
    case kSetresgid: {
      uint32_t real = in.u32(), effective = in.u32(), saved = in.u32();
      return outcome(syscall(SYS_setresgid, real, effective, saved));
    }
    case kSetresuid: {
      uint32_t real = in.u32(), effective = in.u32(), saved = in.u32();
      return outcome(syscall(SYS_setresuid, real, effective, saved));
    }
    case kUmask: return umask(in.i32());
    case kSetsid: return outcome(setsid());
    case kSetctty: return outcome(ioctl(0, TIOCSCTTY, 0));
    case kDup2: {
      int from = in.i32(), to = in.i32();
      return outcome(from == to ? fcntl(from, F_SETFD, 0) : dup2(from, to));
    }
    case kCloseFrom: close_span(in.u32(), ~0u, kCloseRangeCloexec); return 0;
    case kSetPdeathsig: return outcome(prctl(PR_SET_PDEATHSIG, in.i32(), 0, 0, 0));
    case kNoNewPrivs: return outcome(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    case kCapDrop: return outcome(prctl(PR_CAPBSET_DROP, in.i32(), 0, 0, 0));
    case kResetSignals: reset_signals(); return 0;
    case kLoopbackUp: return loopback_up();
    case kExec: return exec_step(&in, false);
    case kExecPath: return exec_step(&in, true);
    default: return -EINVAL;
  }
}

void carry_out(const uint8_t* plan, size_t length, int error_fd) {
  Child self;
  self.error_fd = error_fd;
  self.report_fd = -1;
  sigprocmask(SIG_SETMASK, nullptr, &self.mask);
  Cursor in = {plan};
  const uint8_t* end = plan + length;
  for (uint32_t index = 0; in.at < end; index++) {
    uint8_t operation = in.at[0], may_fail = in.at[1];
    in.at += 4;
    uint32_t size = in.u32();
    int64_t result = carry_out_step(&self, operation, in);
    in.at += size;
    if (result >= 0 || may_fail) continue;
    uint32_t report[2] = {index, static_cast<uint32_t>(-result)};
    if (write(error_fd, report, sizeof report) < 0) _exit(124);
    _exit(125);
  }
  _exit(0);
}
