// Between fork and exec. The child shares no lock with its parent but has copies of all that were held: system calls only,
// no allocation, no stdio.
#pragma once
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// fork(2) as the bare system call, with every signal blocked while it happens, so that no handler of Node's ever runs in the child.
// In the child: handlers are back to the default (ignored signals stay ignored), `before` is the mask to restore. `shared` are CLONE_* flags. Negative errno on failure.
pid_t fork_quietly(sigset_t* before, int shared = 0);

// execve of `name` as found in the colon-separated `dirs` (or as it is, when it has a slash). Returns a negative errno.
int exec_in(const char* dirs, const char* name, char* const* argv, char* const* envp);

// Carries out an encoded plan (lib/sys/plan.ts) in the child and never returns.
[[noreturn]] void carry_out(const uint8_t* plan, size_t length, int error_fd);
