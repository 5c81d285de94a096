// FUSE over io_uring (Linux 6.14): one ring for all queues of a connection, used by the thread that made it and by no other.
// Requests arrive in entries; an entry is the kernel's until a request is taken from it, then ours until the reply is committed.
// Owner: a Ring owns its descriptors, its mapped rings and the entries' memory until uringClose or the environment's end. Task work is
// deferred (IORING_SETUP_DEFER_TASKRUN): the kernel fills entries only inside our own io_uring_enter, so their memory may go once the ring is closed.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <new>

#include "env.h"

// linux/fuse.h, since 7.42.
struct EntryInOut {  // struct fuse_uring_ent_in_out
  uint64_t flags;
  uint64_t commit_id;
  uint32_t payload_size;
  uint32_t padding;
  uint64_t reserved;
};
struct Headers {  // struct fuse_uring_req_header
  uint8_t in_out[128];
  uint8_t op_in[128];
  EntryInOut entry;
};
struct CommandRequest {  // struct fuse_uring_cmd_req
  uint64_t flags;
  uint64_t commit_id;
  uint16_t queue;
  uint8_t padding[6];
};
constexpr uint32_t kRegister = 1, kCommitAndFetch = 2;

struct InHeader {  // the fields of struct fuse_in_header that are needed here; 40 bytes in all
  uint32_t length, opcode;
  uint64_t unique;
};
constexpr size_t kInHeader = 40;
struct OutHeader {  // struct fuse_out_header
  uint32_t length;
  int32_t error;
  uint64_t unique;
};

// linux/io_uring.h, newer than Linux 6.1.
constexpr unsigned kSubmitAll = 1u << 7, kSqe128 = 1u << 10, kSingleIssuer = 1u << 12, kDeferTaskrun = 1u << 13, kNoSqArray = 1u << 16;
constexpr size_t kSqe = 128;

struct Entry {
  Headers* headers;
  uint8_t* payload;
  uint64_t unique;
  uint16_t queue;
  bool ours;
};

struct Ring {
  int id;  // the eventfd
  int fd, fuse;
  Entry* entries;
  unsigned count, queued;
  Entry* last;  // taken last: most replies are for it
  size_t payload_size;
  uint8_t* memory;
  size_t memory_size;
  uint8_t* rings;
  size_t rings_size;
  uint8_t* sqes;
  size_t sqes_size;
  unsigned *sq_tail, *cq_head, *cq_tail, *cq_flags;
  unsigned sq_mask, cq_mask;
  struct io_uring_cqe* cqes;
  Ring* next;
};

static Ring* ring_of(const Args& args) {
  int id = args.i32(0);
  for (Ring* ring = env_of(args)->rings; ring; ring = ring->next) {
    if (ring->id == id) return ring;
  }
  return nullptr;
}

static void destroy(Ring* ring) {
  if (ring->fd >= 0) close(ring->fd);
  if (ring->id >= 0) close(ring->id);
  if (ring->rings) munmap(ring->rings, ring->rings_size);
  if (ring->sqes) munmap(ring->sqes, ring->sqes_size);
  if (ring->memory) munmap(ring->memory, ring->memory_size);
  free(ring->entries);
  delete ring;
}

static uint8_t* map(size_t size, int fd, off_t offset) {
  int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED | MAP_POPULATE;
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, offset);
  return at == MAP_FAILED ? nullptr : static_cast<uint8_t*>(at);
}

static int64_t set_up(Ring* ring, unsigned queues, unsigned depth) {
  struct io_uring_params params;
  memset(&params, 0, sizeof params);
  params.flags = kSqe128 | kSubmitAll | kSingleIssuer | kDeferTaskrun | kNoSqArray;
  ring->fd = static_cast<int>(syscall(SYS_io_uring_setup, ring->count, &params));
  if (ring->fd < 0) return -errno;
  ring->id = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (ring->id < 0) return -errno;
  if (syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_EVENTFD, &ring->id, 1) < 0) return -errno;

  ring->rings_size = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
  ring->sqes_size = params.sq_entries * kSqe;
  // Each entry: a page for its headers, then the payload. Pages that are never used cost nothing.
  size_t entry_size = 4096 + ring->payload_size;
  ring->memory_size = entry_size * ring->count;
  ring->rings = map(ring->rings_size, ring->fd, IORING_OFF_SQ_RING);
  ring->sqes = map(ring->sqes_size, ring->fd, IORING_OFF_SQES);
  ring->memory = map(ring->memory_size, -1, 0);
  ring->entries = static_cast<Entry*>(calloc(ring->count, sizeof(Entry)));
  if (!ring->rings || !ring->sqes || !ring->memory || !ring->entries) return -ENOMEM;

  auto at = [ring](uint32_t offset) { return reinterpret_cast<unsigned*>(ring->rings + offset); };
  ring->sq_tail = at(params.sq_off.tail);
  ring->sq_mask = *at(params.sq_off.ring_mask);
  ring->cq_head = at(params.cq_off.head);
  ring->cq_tail = at(params.cq_off.tail);
  ring->cq_mask = *at(params.cq_off.ring_mask);
  ring->cq_flags = at(params.cq_off.flags);
  ring->cqes = reinterpret_cast<struct io_uring_cqe*>(at(params.cq_off.cqes));
  for (unsigned i = 0; i < ring->count; i++) {
    Entry* entry = &ring->entries[i];
    entry->headers = reinterpret_cast<Headers*>(ring->memory + i * entry_size);
    entry->payload = ring->memory + i * entry_size + 4096;
    entry->queue = static_cast<uint16_t>(i / depth);
  }
  ring->last = ring->entries;
  return ring->id;
}

static int64_t call_uring_open(const Args& args) {
  int64_t queues = args.i64(1), depth = args.i64(2), payload_size = args.i64(3);
  if (queues < 1 || queues > UINT16_MAX || depth < 1 || depth > 64 || queues * depth > 32768 || payload_size < 8192) return -EINVAL;
  Ring* ring = new (std::nothrow) Ring();
  if (!ring) return -ENOMEM;
  ring->id = ring->fd = -1;
  ring->fuse = args.i32(0);
  ring->count = static_cast<unsigned>(queues * depth);
  ring->payload_size = payload_size;
  int64_t result = set_up(ring, static_cast<unsigned>(queues), static_cast<unsigned>(depth));
  if (result < 0) {
    destroy(ring);
    return result;
  }
  Env* self = env_of(args);
  ring->next = self->rings;
  self->rings = ring;
  return result;
}

static int64_t call_uring_close(const Args& args) {
  Env* self = env_of(args);
  int id = args.i32(0);
  for (Ring** link = &self->rings; *link; link = &(*link)->next) {
    Ring* ring = *link;
    if (ring->id != id) continue;
    *link = ring->next;
    destroy(ring);
    return 0;
  }
  return -EBADF;
}

void close_rings(Env* self) {
  while (self->rings) {
    Ring* ring = self->rings;
    self->rings = ring->next;
    destroy(ring);
  }
}

// Queues a command for `entry`. There are as many places as entries, and each has one command at a time: there is always room.
static void queue(Ring* ring, Entry* entry, uint32_t command, const struct iovec* parts) {
  unsigned tail = *ring->sq_tail;
  uint8_t* place = ring->sqes + (tail & ring->sq_mask) * kSqe;
  memset(place, 0, kSqe);
  struct io_uring_sqe* sqe = reinterpret_cast<struct io_uring_sqe*>(place);
  sqe->opcode = IORING_OP_URING_CMD;
  sqe->fd = ring->fuse;
  sqe->cmd_op = command;
  sqe->user_data = entry - ring->entries;
  if (parts) {
    sqe->addr = reinterpret_cast<uintptr_t>(parts);
    sqe->len = 2;
  }
  CommandRequest request = {0, command == kCommitAndFetch ? entry->unique : 0, entry->queue, {}};
  memcpy(place + offsetof(struct io_uring_sqe, cmd), &request, sizeof request);
  __atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);
  ring->queued++;
}

// Submits what is queued, lets the kernel fill entries, and waits up to `wait_us` for the first. A signal ends the wait.
static int64_t enter(Ring* ring, int64_t wait_us) {
  struct __kernel_timespec limit = {0, wait_us * 1000};
  struct io_uring_getevents_arg extra;
  memset(&extra, 0, sizeof extra);
  extra.ts = reinterpret_cast<uintptr_t>(&limit);
  int64_t result = outcome(wait_us > 0 ? syscall(SYS_io_uring_enter, ring->fd, ring->queued, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &extra, sizeof extra)
                                       : syscall(SYS_io_uring_enter, ring->fd, ring->queued, 0, IORING_ENTER_GETEVENTS, nullptr, 0));
  // With something submitted the result counts that, however the wait ended.
  if (result > 0) ring->queued -= static_cast<unsigned>(result);
  return result == -ETIME || result == -EINTR ? 0 : result;
}

static int64_t call_uring_register(const Args& args) {
  Ring* ring = ring_of(args);
  if (!ring) return -EBADF;
  struct iovec(*parts)[2] = static_cast<struct iovec(*)[2]>(calloc(ring->count, sizeof *parts));
  if (!parts) return -ENOMEM;
  for (unsigned i = 0; i < ring->count; i++) {
    Entry* entry = &ring->entries[i];
    parts[i][0] = {entry->headers, sizeof(Headers)};
    parts[i][1] = {entry->payload, ring->payload_size};
    queue(ring, entry, kRegister, parts[i]);
  }
  int64_t result = enter(ring, 0);
  free(parts);
  if (result < 0) return result;
  // A refusal is there at once. Requests may be there too: they stay for uringNext.
  unsigned tail = __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE);
  for (unsigned head = *ring->cq_head; head != tail; head++) {
    int32_t refused = ring->cqes[head & ring->cq_mask].res;
    if (refused < 0) return refused;
  }
  return 0;
}

static bool waiting(Ring* ring) { return *ring->cq_head != __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE); }

// Puts the parts of a request together as /dev/fuse would give it.
static int64_t assemble(Entry* entry, const Bytes& into, size_t payload_size) {
  InHeader header;
  memcpy(&header, entry->headers->in_out, sizeof header);
  size_t payload = entry->headers->entry.payload_size;
  entry->unique = header.unique;
  entry->ours = true;
  if (header.length < kInHeader + payload || payload > payload_size) return -EIO;
  size_t specific = header.length - kInHeader - payload;
  if (specific > sizeof entry->headers->op_in || header.length > into.length) return -EIO;
  memcpy(into.data, entry->headers->in_out, kInHeader);
  memcpy(into.data + kInHeader, entry->headers->op_in, specific);
  memcpy(into.data + kInHeader + specific, entry->payload, payload);
  return header.length + static_cast<int64_t>(entry->queue) * (1 << 21);
}

static int64_t call_uring_next(const Args& args) {
  Ring* ring = ring_of(args);
  if (!ring) return -EBADF;
  Bytes into = args.bytes(1);
  if (into.length >= 1 << 21) return -EINVAL;
  __atomic_store_n(ring->cq_flags, IORING_CQ_EVENTFD_DISABLED, __ATOMIC_RELAXED);
  for (bool entered = false;;) {
    while (waiting(ring)) {
      unsigned head = *ring->cq_head;
      struct io_uring_cqe* cqe = &ring->cqes[head & ring->cq_mask];
      Entry* entry = &ring->entries[cqe->user_data];
      int32_t result = cqe->res;
      __atomic_store_n(ring->cq_head, head + 1, __ATOMIC_RELEASE);
      // The connection is ending, which /dev/fuse says too.
      if (result == -ENOTCONN || result == -ECONNABORTED || result == -ECANCELED) continue;
      if (result < 0) return result == -EAGAIN ? -EIO : result;
      ring->last = entry;
      return assemble(entry, into, ring->payload_size);
    }
    if (entered) return -EAGAIN;
    entered = true;
    int64_t result = enter(ring, args.i64(2));
    if (result < 0) return result;
  }
}

static int64_t call_uring_rest(const Args& args) {
  Ring* ring = ring_of(args);
  if (!ring) return -EBADF;
  uint64_t count;
  ssize_t ignored = read(ring->id, &count, sizeof count);
  (void)ignored;
  __atomic_store_n(ring->cq_flags, 0, __ATOMIC_RELAXED);
  // What came before the kernel saw that flag signals nothing: it is there for enter() to find.
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  int64_t result = enter(ring, 0);
  if (result < 0) return result;
  if (!waiting(ring)) return 0;
  count = 1;
  return outcome(write(ring->id, &count, sizeof count)) < 0 ? -errno : 1;
}

// The entry whose request has this `unique`, or nullptr.
static Entry* entry_of(Ring* ring, uint64_t unique) {
  if (ring->last->ours && ring->last->unique == unique) return ring->last;
  for (unsigned i = 0; i < ring->count; i++) {
    Entry* entry = &ring->entries[i];
    if (entry->ours && entry->unique == unique) return entry;
  }
  return nullptr;
}

static int64_t commit(Ring* ring, Entry* entry, const OutHeader& header, bool now) {
  memcpy(entry->headers->in_out, &header, sizeof header);
  entry->headers->entry.payload_size = static_cast<uint32_t>(header.length - sizeof header);
  entry->ours = false;
  queue(ring, entry, kCommitAndFetch, nullptr);
  int64_t result = now ? enter(ring, 0) : 0;
  return result < 0 ? result : header.length;
}

static int64_t call_uring_reply(const Args& args) {
  Ring* ring = ring_of(args);
  if (!ring) return -EBADF;
  Bytes from = args.bytes(1);
  int64_t length = args.i64(2);
  OutHeader header;
  if (!from.holds(0, length) || length < static_cast<int64_t>(sizeof header)) return -EFAULT;
  memcpy(&header, from.data, sizeof header);
  header.length = static_cast<uint32_t>(length);
  Entry* entry = entry_of(ring, header.unique);
  if (!entry) return -ENOENT;
  if (length - sizeof header > ring->payload_size) return -EINVAL;
  memcpy(entry->payload, from.data + sizeof header, length - sizeof header);
  return commit(ring, entry, header, args.i32(3) > 0);
}

static int64_t call_uring_reply_data(const Args& args) {
  Ring* ring = ring_of(args);
  if (!ring) return -EBADF;
  Bytes head = args.bytes(1);
  int64_t length = args.i64(4);
  OutHeader header;
  if (head.length < sizeof header) return -EFAULT;
  memcpy(&header, head.data, sizeof header);
  Entry* entry = entry_of(ring, header.unique);
  if (!entry) return -ENOENT;
  if (length < 0 || static_cast<size_t>(length) > ring->payload_size) return -EINVAL;
  int64_t filled = read_fully(args.i32(2), entry->payload, length, args.i64(3));
  header.error = filled < 0 ? static_cast<int32_t>(filled) : 0;
  header.length = static_cast<uint32_t>(sizeof header + (filled < 0 ? 0 : filled));
  return commit(ring, entry, header, args.i32(5) > 0);
}

const Method kUringMethods[] = {
    {"uringOpen", call_uring_open},
    {"uringClose", call_uring_close},
    {"uringRegister", call_uring_register},
    {"uringNext", call_uring_next},
    {"uringRest", call_uring_rest},
    {"uringReply", call_uring_reply},
    {"uringReplyData", call_uring_reply_data},
    {nullptr, nullptr},
};
