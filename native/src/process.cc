// Processes: starting one by a plan, waiting for it, and what a process says about itself. All run on the calling thread.
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call.h"
#include "process.h"

constexpr int kPidfdSendSignal = 424, kPidfdOpen = 434;
constexpr idtype_t kPidfd = static_cast<idtype_t>(3);  // P_PIDFD

pid_t fork_quietly(sigset_t* before, int shared) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, before);
  // The bare call: glibc's fork would run other people's handlers and take locks that the child may not need.
  pid_t child = static_cast<pid_t>(outcome(syscall(SYS_clone, SIGCHLD | shared, 0, 0, 0, 0)));
  if (child != 0) {
    pthread_sigmask(SIG_SETMASK, before, nullptr);
    return child;
  }
  struct sigaction action;
  for (int signal = 1; signal < NSIG; signal++) {
    if (sigaction(signal, nullptr, &action) < 0 || action.sa_handler == SIG_IGN || action.sa_handler == SIG_DFL) continue;
    action.sa_handler = SIG_DFL;
    action.sa_flags = 0;
    sigaction(signal, &action, nullptr);
  }
  return 0;
}

// The plan is read by the child in its own copy of the memory; the caller's buffer is free again when this returns.
static int64_t call_run_plan(const Args& args) {
  Bytes plan = args.bytes(0);
  int error_fd = args.i32(1);
  sigset_t before;
  pid_t child = fork_quietly(&before);
  if (child != 0) return child;
  sigprocmask(SIG_SETMASK, &before, nullptr);
  carry_out(plan.data, plan.length, error_fd);
}

// The processors that this thread was allowed before it was first told where to run.
static thread_local cpu_set_t allowed;
static thread_local bool allowed_known = false;

static int64_t call_run_on(const Args& args) {
  int cpu = args.i32(0);
  if (!allowed_known && sched_getaffinity(0, sizeof allowed, &allowed) < 0) return -errno;
  allowed_known = true;
  if (cpu < 0) return outcome(sched_setaffinity(0, sizeof allowed, &allowed));
  if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &allowed)) return -EINVAL;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  return outcome(sched_setaffinity(0, sizeof one, &one));
}

static int64_t call_pidfd_open(const Args& args) { return outcome(syscall(kPidfdOpen, args.i32(0), 0)); }

static int64_t call_pidfd_wait(const Args& args) {
  siginfo_t info;
  info.si_pid = 0;
  if (waitid(kPidfd, args.i32(0), &info, WEXITED | WNOHANG) < 0) return -errno;
  if (info.si_pid == 0) return -EAGAIN;
  return info.si_code == CLD_EXITED ? info.si_status : 256 + info.si_status;
}

static int64_t call_pidfd_signal(const Args& args) { return outcome(syscall(kPidfdSendSignal, args.i32(0), args.i32(1), nullptr, 0)); }

static int64_t call_pipe(const Args& args) {
  double* out = args.doubles(0, 2);
  if (!out) return -EFAULT;
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) < 0) return -errno;
  out[0] = fds[0];
  out[1] = fds[1];
  return 0;
}

static int64_t call_raise_file_limit(const Args& args) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
  return limit.rlim_max > INT32_MAX ? INT32_MAX : static_cast<int64_t>(limit.rlim_max);
}

// Of the calling thread: 0 names it, whatever the header says of processes.
static int64_t call_sched_batch(const Args& args) {
  struct sched_param param = {};
  return outcome(sched_setscheduler(0, SCHED_BATCH, &param));
}

static int64_t call_set_parent_death_signal(const Args& args) { return outcome(prctl(PR_SET_PDEATHSIG, args.i32(0), 0, 0, 0)); }

static int64_t call_setsid(const Args& args) { return outcome(setsid()); }

static int64_t call_has_sys_admin(const Args& args) {
  struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &head, data) < 0) return -errno;
  return data[0].effective >> CAP_SYS_ADMIN & 1;
}

const Method kProcessMethods[] = {
    {"runPlan", call_run_plan},
    {"pidfdOpen", call_pidfd_open},
    {"pidfdWait", call_pidfd_wait},
    {"pidfdSignal", call_pidfd_signal},
    {"pipe", call_pipe},
    {"raiseFileLimit", call_raise_file_limit},
    {"schedBatch", call_sched_batch},
    {"runOn", call_run_on},
    {"setParentDeathSignal", call_set_parent_death_signal},
    {"setsid", call_setsid},
    {"hasSysAdmin", call_has_sys_admin},
    {nullptr, nullptr},
};
