/**
 * The addon's calls. Numbers and buffers in, a number out: the result, or a negative errno. Nothing is checked, nothing thrown.
 * Strings are latin1, one character per byte, without NUL; a path of 4096 bytes or more is -ENAMETOOLONG. A length that does not fit its buffer is -EFAULT. All calls run on the calling thread and block it, unless said otherwise.
 * `dirfd` may be AT_FDCWD (-100). `path` "" means dirfd itself (AT_EMPTY_PATH) in statx, chown, utimens, link and the xattr calls.
 */
export interface NativeBinding {
  // ── descriptors and names ──
  /** openat2(2), O_CLOEXEC added; `resolve` is RESOLVE_* bits. Plain openat(2) when resolve is 0; `mode` counts only where a file is made. */
  open(dirfd: number, path: string, flags: number, mode: number, resolve: number): number;
  close(fd: number): number;
  dup(fd: number): number;
  /** statx(2) with basic stats and btime. `flags` as AT_*. Fills out[0…20], see below. */
  statx(dirfd: number, path: string, flags: number, out: Float64Array): number;
  /** getdents64(2): bytes of struct linux_dirent64 put in `into`; 0 at the end. */
  getdents(fd: number, into: Uint8Array): number;
  readlink(dirfd: number, path: string, into: Uint8Array): number;
  mkdir(dirfd: number, path: string, mode: number): number;
  mknod(dirfd: number, path: string, mode: number, rdev: number): number;
  symlink(target: string, dirfd: number, path: string): number;
  /** linkat(2); `flags` AT_SYMLINK_FOLLOW (0x400) with "/proc/self/fd/N" gives an unnamed file a name. */
  link(oldDirfd: number, oldPath: string, newDirfd: number, newPath: string, flags: number): number;
  /** unlinkat(2); AT_REMOVEDIR 0x200. */
  unlink(dirfd: number, path: string, flags: number): number;
  /** renameat2(2); RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, RENAME_WHITEOUT 4. */
  rename(oldDirfd: number, oldPath: string, newDirfd: number, newPath: string, flags: number): number;
  /** Permission bits; never follows a final symlink (fchmodat2, else O_PATH and /proc/self/fd). path "" is dirfd itself, which may be O_PATH. */
  chmod(dirfd: number, path: string, mode: number): number;
  /** -1 leaves an id. Never follows. */
  chown(dirfd: number, path: string, uid: number, gid: number): number;
  /** nsec UTIME_NOW 0x3fffffff, UTIME_OMIT 0x3ffffffe. Never follows. */
  utimens(dirfd: number, path: string, atimeSec: number, atimeNsec: number, mtimeSec: number, mtimeNsec: number): number;
  /** Never follow a final symlink; path "" is the descriptor itself, which may be O_PATH (through /proc/self/fd). */
  getxattr(dirfd: number, path: string, key: string, into: Uint8Array): number;
  setxattr(dirfd: number, path: string, key: string, value: Uint8Array, flags: number): number;
  listxattr(dirfd: number, path: string, into: Uint8Array): number;
  removexattr(dirfd: number, path: string, key: string): number;
  /** statfs(2) of a descriptor: out = type, bsize, frsize, blocks, bfree, bavail, files, ffree, namelen, flags. */
  statfs(fd: number, out: Float64Array): number;
  /** name_to_handle_at(2): handle type in the result, bytes in `into`, their count in into's last 4 bytes (u32, little-endian). */
  nameToHandle(dirfd: number, path: string, into: Uint8Array): number;
  /** umask(2); the old one, or a negative errno. In a thread other than the first it is that thread's alone. */
  umask(mask: number): number;

  // ── data ──
  /** pread(2)/pwrite(2) of into[offset, offset+length). Retries EINTR. */
  pread(fd: number, into: Uint8Array, offset: number, length: number, position: number): number;
  pwrite(fd: number, from: Uint8Array, offset: number, length: number, position: number): number;
  ftruncate(fd: number, size: number): number;
  fallocate(fd: number, mode: number, position: number, length: number): number;
  /** SEEK_SET 0, SEEK_CUR 1, SEEK_END 2, SEEK_DATA 3, SEEK_HOLE 4; a result above 2^53 does not occur. Moves the file offset, which no other call here uses but getdents. */
  lseek(fd: number, position: number, whence: number): number;
  /** ioctl FICLONE. */
  clone(to: number, from: number): number;
  /** copy_file_range(2) at explicit positions; may copy less. */
  copyRange(from: number, fromPosition: number, to: number, toPosition: number, length: number): number;
  /** ioctl FS_IOC_FIEMAP, nothing flushed: how many extents; of each, out = position, place on the disk, length, FIEMAP_EXTENT_* bits. At most 64, or as many as `out` holds. */
  extents(fd: number, out: Float64Array): number;
  fsync(fd: number): number;
  fdatasync(fd: number): number;
  syncfs(fd: number): number;
  flock(fd: number, operation: number): number;
  fcntlGetFlags(fd: number): number;

  // ── work that would block: two threads of our own, never libuv's pool ──
  /** `handler(id, result)` is called on this thread when a job ends. One handler per environment. Jobs keep the loop alive while there is a handler. */
  setJobHandler(handler: ((id: number, result: number) => void) | null): number;
  /** kind 0 fsync(a), 1 fdatasync(a), 2 syncfs(a), 3 copy data: the first `c` bytes from descriptor a to b, which holds
   * no data yet, holes kept; b is `c` bytes long afterwards; 4 remove directories with all that is in them: `bytes` are their names, NUL between them, in
   * directory a; one with a subdirectory stays (-EISDIR) and keeps no other, and what is not there is no error; 5 make files of
   * mode b in directory a: `bytes` are records {u32 length of the body, u32 length of the name with its NUL, name, body}, little-endian; ends at the
   * first that cannot be made, of which nothing stays; 6 ioctl FIDEDUPERANGE: b shares the
   * `d` bytes (less than 2 GiB) at `c` of a; the result is how many, 0 when they differ. Else 0 or a negative errno; -ECANCELED
   * when the environment ends or cancelJob() was in time. Returns the job's id (> 0). `bytes` is copied. */
  startJob(kind: number, a: number, b: number, c: number, bytes?: Uint8Array, d?: number): number;
  /** Blocks until the work of a job is done. Its result comes to the handler later, as always. */
  waitJob(id: number): number;
  /** A job that has not begun will not; what copies, removes or makes many things ends at the next of them, a copy after 16 MiB; the rest is finished. */
  cancelJob(id: number): number;

  // ── mounts and FUSE ──
  mount(source: string, target: string, type: string, flags: number, data: string): number;
  umount(target: string, flags: number): number;
  /** open_tree(2), OPEN_TREE_CLOEXEC added; `flags` OPEN_TREE_CLONE 1, AT_RECURSIVE 0x8000. */
  openTree(dirfd: number, path: string, flags: number): number;
  /** mount_setattr(2) on an open_tree descriptor: MOUNT_ATTR_* to set and clear; `flags` 0 or AT_RECURSIVE 0x8000. */
  mountSetattr(fd: number, set: number, clear: number, flags: number): number;
  /** fsopen, fsconfig for each "key" or "key=value" line of `options` (newline-separated), fsmount with MOUNT_ATTR_*: a detached mount's descriptor. */
  fsmount(type: string, options: string, attributes: number): number;
  moveMount(fromFd: number, toDirfd: number, toPath: string): number;
  /**
   * Runs `program` ("" for fusermount3, else fusermount, as found in PATH) with `options` after -o, and waits for it. Returns the /dev/fuse
   * descriptor it sent over _FUSE_COMMFD, close-on-exec and non-blocking. -ENOENT when no such program could be run, -EPERM when it failed: it has said why on our stderr.
   */
  fusermount(program: string, mountpoint: string, options: string): number;
  /** One whole request into `into`, retrying EINTR; -EAGAIN when none waits (the descriptor is non-blocking) and none comes in the next `us`
   * microseconds, which are spent awake (default 0); -ENODEV when unmounted. */
  fuseRead(fd: number, into: Uint8Array, us?: number): number;
  /** Writes from[0, length) as one message (a reply or a notification). */
  fuseWrite(fd: number, from: Uint8Array, length: number): number;
  /**
   * Reply with file data that JavaScript need not see: fills the 16-byte out header (its length and error fields) in head[0,16), preads
   * `length` bytes (at most 1 MiB + 64 KiB, else -EINVAL) at `position` of `file` into the addon's own buffer and writes both as one message.
   * Short at end of file. A read error is sent as the error. Returns what the write returned.
   */
  fuseReplyData(fd: number, head: Uint8Array, file: number, position: number, length: number): number;
  /**
   * A ring (FUSE over io_uring) for the connection of `fuseFd`, with `depth` entries in each of `queues` queues, one for each processor that
   * could ever be there; `payloadSize` is what the kernel demands for an entry. Nothing is registered yet. Returns the ring's name (> 0), a
   * descriptor that is readable after uringRest when requests wait. This thread's only; to be closed before `fuseFd`.
   */
  uringOpen(fuseFd: number, queues: number, depth: number, payloadSize: number): number;
  /** Gives all entries to the kernel, which sends requests through them from now on; after INIT has been answered. A refusal leaves the connection on its device. */
  uringRegister(ring: number): number;
  /**
   * Sends replies not sent yet, then one request into `into` (less than 2 MiB), waiting up to `waitUs` (0: not at all): its length, plus the
   * number of its queue (the processor that its client ran on) times 2^21. -EAGAIN when there is none; any other error: the ring is broken.
   */
  uringNext(ring: number, into: Uint8Array, waitUs: number): number;
  /** Before going back to the event loop: sends replies, and makes the ring readable as soon as requests wait. 1 when some do already. */
  uringRest(ring: number): number;
  /** Answers with from[0, length), now (1), or (0) when the ring is next entered. -ENOENT when the request did not come through the ring. */
  uringReply(ring: number, from: Uint8Array, length: number, now: number): number;
  /** As fuseReplyData, read straight to where the kernel takes it from; -ENOENT (nothing is read) and `now` as uringReply. */
  uringReplyData(ring: number, head: Uint8Array, file: number, position: number, length: number, now: number): number;
  uringClose(ring: number): number;
  /** ioctl FUSE_DEV_IOC_BACKING_OPEN / _CLOSE. */
  backingOpen(fd: number, file: number): number;
  backingClose(fd: number, id: number): number;
  /**
   * Calls `handler` on this thread's event loop while `fd` is readable; once, for the last time, when it is in error. Promise callbacks run after
   * it; what it throws is an uncaught exception. Returns a watch id; keeps the loop alive until unwatch. Makes `fd` non-blocking. One watch per descriptor.
   */
  watch(fd: number, handler: () => void): number;
  unwatch(id: number): number;
  /** poll(2) for readability of one descriptor: 1, 0 on timeout. */
  waitReadable(fd: number, timeoutMs: number): number;

  // ── processes ──
  /**
   * Forks, and the child carries out `plan` with nothing but system calls, then execs. Returns the child's pid (as seen here) or a negative errno of fork.
   * The plan is a sequence of steps, documented in lib/sys/plan.ts beside its encoder; a step that fails makes the child write
   * {step index u32, errno u32} to `errorFd` and _exit(125). `errorFd` is close-on-exec.
   */
  runPlan(plan: Uint8Array, errorFd: number): number;
  pidfdOpen(pid: number): number;
  /** waitid(P_PIDFD) without blocking: exit code (0…255) or 256+signal; -EAGAIN while it runs. */
  pidfdWait(pidfd: number): number;
  pidfdSignal(pidfd: number, signal: number): number;
  /** pipe2(O_CLOEXEC): both descriptors in out[0], out[1]. */
  pipe(out: Float64Array): number;
  /** Raises the soft RLIMIT_NOFILE to the hard one; returns it. */
  raiseFileLimit(): number;
  /** sched_setscheduler(0, SCHED_BATCH). */
  schedBatch(): number;
  /**
   * Asks, without waiting, on which processor thread `tid` (as seen in /proc) ran last. Returns the answer to the question before, once;
   * -EAGAIN while there is none (while it is still being read, this question is dropped).
   */
  lookAt(tid: number): number;
  /**
   * Asks, without waiting, whether thread `tid` (as seen in /proc) is being killed: whether a SIGKILL waits for it, which is what the kernel makes of
   * every fatal signal. Returns the answer to the question before, once, as 2 tid + 1 for yes and 2 tid for no; -EAGAIN as lookAt().
   */
  isKilled(tid: number): number;
  /** Keeps the calling thread on one processor; -1 lets it go wherever it was allowed to before. -EINVAL for one that was not allowed. */
  runOn(cpu: number): number;
  /** prctl(PR_SET_PDEATHSIG) for this process's parent thread. */
  setParentDeathSignal(signal: number): number;
  /** setsid(2); unshare(2) of the calling thread is not offered: a plan does it in a child. */
  setsid(): number;
  // ── what outlives a process ──
  /** memfd_create(2), close-on-exec, `length` bytes of which only those are memory that are written. */
  memfd(name: string, length: number): number;
  /** mmap(2), shared, for the life of the process: an ArrayBuffer over the descriptor's first `length` bytes, or a negative errno. */
  mapShared(fd: number, length: number): ArrayBuffer | number;
  /** Marks every descriptor from `first` on close-on-exec. */
  closeOnExec(first: number): number;
  /**
   * Forks a process that shares this one's descriptor table. It waits for `parent` (a pidfd of this process). If `current` (shared memory, a
   * u32) holds `number` then, the connection of `fuseFd` lives, and that descriptor's bit in `kept` is set, it starts the next server, which
   * executes `argv` with `envp`, each strings ended by NUL, and inherits the descriptors whose bits are set in `kept` (shared memory), and 0,
   * 1, 2; bits of descriptors that are not open are cleared. It starts another one when that one ends, and is gone when `current` changes. Returns its pid, of a child to be waited for.
   */
  startHeir(argv: Uint8Array, envp: Uint8Array, parent: number, fuseFd: number, kept: Uint8Array, current: Uint8Array, number: number): number;
  /** 1 when the thread has CAP_SYS_ADMIN in its effective set (its own user namespace), by capget(2). */
  hasSysAdmin(): number;
}

/**
 * Slots of statx's `out` (Float64Array of at least 21): 0 ino (its low 53 bits), 1 mode, 2 nlink, 3 uid, 4 gid, 5 rdev (32 bits, new_encode_dev), 6 size, 7 blocks (512),
 * 8 atime sec, 9 nsec, 10 mtime sec, 11 nsec, 12 ctime sec, 13 nsec, 14 btime sec, 15 btime nsec (-1 when unknown),
 * 16 dev (major * 2^20 + minor), 17 mount id, 18 attributes (STATX_ATTR_* bits, low 32), 19 block size,
 * 20: ino high 32 bits; out[0] is the whole number when that is below 2^21.
 */
export type StatxSlots = Float64Array;
