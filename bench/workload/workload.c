/*
 * The clients of the benchmark: the inner loops that a user's program would run, in C so that the time is that of the
 * file system. The harness compiles this file with cc into its work directory and starts one process per use.
 *
 * workload [-p N] COMMAND ARGUMENT...
 *   -p N   N processes at once; "%" in an argument becomes the number of the process, 0...N-1.
 *
 * A command first prepares (names, buffers, descriptors), then calls begin(), works, and calls end(). With -p all processes
 * leave begin() together. One line goes to standard output: ns, ops, bytes, sum: the time from the first begin() to the last
 * end(), and what was done, summed over the processes, so that the caller can prove the work. Any failure ends with status 1
 * and a line on standard error; a number without the work is never printed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_PROCESSES 64

struct share {
  atomic_int ready;
  atomic_int go;
  struct { int64_t begin, end; uint64_t ops, bytes, sum; } of[MAX_PROCESSES];
};

static struct share *shared;
static int processes = 1;
static int self = 0;
static uint64_t ops, bytes, sum;

static void die(const char *format, ...) {
  int code = errno;
  va_list list;
  va_start(list, format);
  fputs("workload: ", stderr);
  vfprintf(stderr, format, list);
  va_end(list);
  fprintf(stderr, ": %s\n", strerror(code));
  exit(1);
}

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void begin(void) {
  if (processes > 1) {
    atomic_fetch_add(&shared->ready, 1);
    while (!atomic_load(&shared->go)) usleep(200);
  }
  shared->of[self].begin = now();
}

static void end(void) {
  shared->of[self].end = now();
  shared->of[self].ops = ops;
  shared->of[self].bytes = bytes;
  shared->of[self].sum = sum;
}

/* A small generator: the same numbers on every machine. */
static uint32_t random_state = 2463534242u;
static uint32_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state;
}

static long number(const char *text) {
  char *rest;
  errno = EINVAL;
  long value = strtol(text, &rest, 10);
  if (*rest != 0 || rest == text || value < 0) die("'%s' is not a number", text);
  return value;
}

static void *buffer(size_t size) {
  char *p;
  if (posix_memalign((void **)&p, 4096, size)) die("no memory");
  for (size_t i = 0; i < size; i++) p[i] = (char)(i * 31 + i / 251);
  return p;
}

/* FNV-1a, only to prove that the right bytes came: cheap enough on small files, and on large ones taken of samples. */
static uint64_t fnv(uint64_t hash, const void *data, size_t size) {
  const unsigned char *p = data;
  while (size--) hash = (hash ^ *p++) * 1099511628211u;
  return hash;
}

static int is_dot(const char *name) { return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0)); }

/* ---- trees ---- */

typedef void visit(int dirfd, const char *name, const struct stat *st);

/* Every entry below `dirfd`, a directory before what is in it. Takes over the descriptor. */
static void tree(int dirfd, visit *before, visit *after) {
  DIR *dir = fdopendir(dirfd);
  if (!dir) die("fdopendir");
  for (;;) {
    errno = 0;
    struct dirent *e = readdir(dir);
    if (!e) {
      if (errno) die("readdir");
      break;
    }
    if (is_dot(e->d_name)) continue;
    struct stat st;
    if (fstatat(dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW)) die("stat %s", e->d_name);
    if (before) before(dirfd, e->d_name, &st);
    if (S_ISDIR(st.st_mode)) {
      int child = openat(dirfd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (child < 0) die("open %s", e->d_name);
      tree(child, before, after);
    }
    if (after) after(dirfd, e->d_name, &st);
  }
  closedir(dir);
}

static int open_dir(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) die("open %s", path);
  return fd;
}

static void count_entry(int dirfd, const char *name, const struct stat *st) {
  (void)dirfd; (void)name;
  ops++;
  if (S_ISREG(st->st_mode)) bytes += st->st_size;
}

/* walk DIR: stat of every entry; bytes is the sum of the sizes of regular files. */
static void walk(char **a) {
  int fd = open_dir(a[0]);
  begin();
  tree(fd, count_entry, NULL);
  end();
}

static char *read_buffer;

static void read_entry(int dirfd, const char *name, const struct stat *st) {
  if (!S_ISREG(st->st_mode)) return;
  int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) die("open %s", name);
  ssize_t got;
  while ((got = read(fd, read_buffer, 65536)) > 0) {
    bytes += got;
    sum += fnv(1469598103934665603u, read_buffer, got < 64 ? got : 64);
  }
  if (got < 0) die("read %s", name);
  close(fd);
  ops++;
}

/* read-all DIR: every regular file from begin to end. */
static void read_all(char **a) {
  read_buffer = buffer(65536);
  int fd = open_dir(a[0]);
  begin();
  tree(fd, read_entry, NULL);
  end();
}

static void print_entry(int dirfd, const char *name, const struct stat *st) {
  (void)dirfd;
  struct { uint32_t mode, uid, gid, nlink; int64_t size, sec, nsec; } of = {
    st->st_mode, st->st_uid, st->st_gid, S_ISDIR(st->st_mode) ? 0 : (uint32_t)st->st_nlink,
    S_ISDIR(st->st_mode) ? 0 : st->st_size, st->st_mtim.tv_sec, st->st_mtim.tv_nsec };
  sum += fnv(fnv(1469598103934665603u, name, strlen(name)), &of, sizeof of);
  ops++;
}

/* fingerprint DIR: sum over names, modes, owners, sizes and times; tells whether anybody touched the tree. */
static void fingerprint(char **a) {
  begin();
  tree(open_dir(a[0]), print_entry, NULL);
  end();
}

static void chmod_entry(int dirfd, const char *name, const struct stat *st) {
  if (S_ISLNK(st->st_mode)) return;
  if (fchmodat(dirfd, name, (st->st_mode & 07777) ^ 0040, 0)) die("chmod %s", name);
  ops++;
}

/* chmod-tree DIR: chmod g^r of everything below, like chmod -R. */
static void chmod_tree(char **a) {
  int fd = open_dir(a[0]);
  begin();
  tree(fd, chmod_entry, NULL);
  end();
}

static void remove_entry(int dirfd, const char *name, const struct stat *st) {
  if (unlinkat(dirfd, name, S_ISDIR(st->st_mode) ? AT_REMOVEDIR : 0)) die("unlink %s", name);
  ops++;
}

/* remove-tree DIR: everything below, like rm -r. */
static void remove_tree(char **a) {
  int fd = open_dir(a[0]);
  begin();
  tree(fd, NULL, remove_entry);
  end();
}

/* list DIR: names only. */
static void list(char **a) {
  int fd = open_dir(a[0]);
  begin();
  DIR *dir = fdopendir(fd);
  if (!dir) die("fdopendir");
  struct dirent *e;
  errno = 0;
  while ((e = readdir(dir))) {
    if (is_dot(e->d_name)) continue;
    ops++;
    sum += fnv(1469598103934665603u, e->d_name, strlen(e->d_name));
  }
  if (errno) die("readdir");
  closedir(dir);
  end();
}

/* ---- names: the fixture's small files are dNN/fNNNN, 100 to a directory ---- */

static void small_name(char *into, const char *dir, long i) { sprintf(into, "%s/d%02ld/f%04ld", dir, i / 100, i); }

/* open-read-close DIR FILES ROUNDS: up to 16 KiB of each file, by path. */
static void open_read_close(char **a) {
  long files = number(a[1]), rounds = number(a[2]);
  char path[PATH_MAX];
  read_buffer = buffer(16384);
  begin();
  for (long r = 0; r < rounds; r++)
    for (long i = 0; i < files; i++) {
      small_name(path, a[0], i);
      int fd = open(path, O_RDONLY | O_CLOEXEC);
      if (fd < 0) die("open %s", path);
      ssize_t got = read(fd, read_buffer, 16384);
      if (got < 0) die("read %s", path);
      bytes += got;
      close(fd);
      ops++;
    }
  end();
}

/* missing DIR NAMES ROUNDS: stat of names that are not there, in existing directories, as module resolution asks. */
static void missing(char **a) {
  static const char *const suffix[] = { "", ".js", ".json", ".node", "/package.json", ".mjs", ".cjs", "/index.js" };
  long names = number(a[1]), rounds = number(a[2]);
  char path[PATH_MAX];
  struct stat st;
  begin();
  for (long r = 0; r < rounds; r++)
    for (long i = 0; i < names; i++) {
      sprintf(path, "%s/d%02ld/module-%ld%s", a[0], (i / 8) % 3, i / 8, suffix[i % 8]);
      if (stat(path, &st) == 0) { errno = EEXIST; die("%s", path); }
      if (errno != ENOENT) die("stat %s", path);
      ops++;
    }
  end();
}

/* create DIR FILES: as tar extracts: mkdir per 100 files, then create, write, chmod, utimens, close. */
static void create(char **a) {
  long files = number(a[1]);
  char path[PATH_MAX];
  char *data = buffer(8192);
  struct timespec times[2] = { { 1500000000, 1 }, { 1500000000, 123456789 } };
  begin();
  for (long i = 0; i < files; i++) {
    if (i % 100 == 0) {
      sprintf(path, "%s/d%02ld", a[0], i / 100);
      if (mkdir(path, 0755)) die("mkdir %s", path);
    }
    small_name(path, a[0], i);
    size_t size = 512 + (size_t)(i * 977 % 7000);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) die("create %s", path);
    if (write(fd, data, size) != (ssize_t)size) die("write %s", path);
    if (fchmod(fd, 0644)) die("chmod %s", path);
    if (futimens(fd, times)) die("utimens %s", path);
    close(fd);
    bytes += size;
    ops++;
  }
  end();
}

/* unlink DIR FILES: the small files by name; directories stay. */
static void unlink_files(char **a) {
  long files = number(a[1]);
  char path[PATH_MAX];
  begin();
  for (long i = 0; i < files; i++) {
    small_name(path, a[0], i);
    if (unlink(path)) die("unlink %s", path);
    ops++;
  }
  end();
}

/* rename DIR FILES: each small file to a new name in the same directory. */
static void rename_files(char **a) {
  long files = number(a[1]);
  char from[PATH_MAX], to[PATH_MAX];
  begin();
  for (long i = 0; i < files; i++) {
    small_name(from, a[0], i);
    sprintf(to, "%s/d%02ld/renamed-%04ld", a[0], i / 100, i);
    if (rename(from, to)) die("rename %s", from);
    ops++;
  }
  end();
}

/* mkdirs DIR PATHS: mkdir -p of paths four deep: every component is tried from the top, as mkdir -p and installers do. */
static void mkdirs(char **a) {
  long paths = number(a[1]);
  char path[PATH_MAX];
  begin();
  for (long i = 0; i < paths; i++) {
    int at = sprintf(path, "%s", a[0]);
    long part[4] = { i / 512 % 8, i / 64 % 8, i / 8 % 8, i };
    for (int level = 0; level < 4; level++) {
      at += sprintf(path + at, "/n%ld", part[level]);
      if (mkdir(path, 0755) == 0) ops++;
      else if (errno != EEXIST) die("mkdir %s", path);
    }
  }
  end();
}

/* ---- large files ---- */

static int open_file(const char *path, int flags) {
  int fd = open(path, flags | O_CLOEXEC, 0644);
  if (fd < 0) die("open %s", path);
  return fd;
}

static void sample(const char *data, size_t size) { sum += fnv(1469598103934665603u, data, size < 16 ? size : 16); }

/* read FILE BLOCK: sequential read(2). */
static void read_file(char **a) {
  long block = number(a[1]);
  char *data = buffer(block);
  begin();
  int fd = open_file(a[0], O_RDONLY);
  ssize_t got;
  while ((got = read(fd, data, block)) > 0) {
    bytes += got;
    ops++;
    sample(data, got);
  }
  if (got < 0) die("read %s", a[0]);
  close(fd);
  end();
}

/* map FILE: reads one word of every cache line through a private read-only mapping. */
static void map_file(char **a) {
  begin();
  int fd = open_file(a[0], O_RDONLY);
  struct stat st;
  if (fstat(fd, &st)) die("stat %s", a[0]);
  char *data = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) die("mmap %s", a[0]);
  uint64_t words = 0;
  for (off_t at = 0; at + 8 <= st.st_size; at += 64) words += *(volatile uint64_t *)(data + at);
  munmap(data, st.st_size);
  close(fd);
  bytes = st.st_size;
  sum = words;
  ops = 1;
  end();
}

/* write FILE BLOCK BYTES: a new file, sequential write(2), no fsync. */
static void write_file(char **a) {
  long block = number(a[1]), size = number(a[2]);
  char *data = buffer(block);
  begin();
  int fd = open_file(a[0], O_WRONLY | O_CREAT | O_EXCL);
  for (long at = 0; at < size; at += block) {
    size_t part = size - at < block ? size - at : block;
    if (write(fd, data, part) != (ssize_t)part) die("write %s", a[0]);
    bytes += part;
    ops++;
  }
  if (close(fd)) die("close %s", a[0]);
  end();
}

/* write-at FILE BLOCK COUNT: pwrite at random multiples of BLOCK in an existing file, open for all of them. */
static void write_at(char **a) {
  long block = number(a[1]), count = number(a[2]);
  char *data = buffer(block);
  int fd = open_file(a[0], O_RDWR);
  struct stat st;
  if (fstat(fd, &st)) die("stat %s", a[0]);
  begin();
  for (long i = 0; i < count; i++) {
    off_t at = (off_t)(next_random() % (st.st_size / block)) * block;
    if (pwrite(fd, data, block, at) != block) die("write %s", a[0]);
    bytes += block;
    ops++;
  }
  end();
  close(fd);
}

/* append FILE BLOCK COUNT: O_APPEND writes to one open file, as a log. */
static void append(char **a) {
  long block = number(a[1]), count = number(a[2]);
  char *data = buffer(block);
  int fd = open_file(a[0], O_WRONLY | O_APPEND | O_CREAT);
  begin();
  for (long i = 0; i < count; i++) {
    if (write(fd, data, block) != block) die("append %s", a[0]);
    bytes += block;
    ops++;
  }
  end();
  close(fd);
}

/* write-sync FILE BLOCK COUNT: append and fsync each, as a database's journal. */
static void write_sync(char **a) {
  long block = number(a[1]), count = number(a[2]);
  char *data = buffer(block);
  int fd = open_file(a[0], O_WRONLY | O_CREAT);
  begin();
  for (long i = 0; i < count; i++) {
    if (write(fd, data, block) != block) die("write %s", a[0]);
    if (fsync(fd)) die("fsync %s", a[0]);
    bytes += block;
    ops++;
  }
  end();
  close(fd);
}

/* first-write FILE: opens for writing and changes its first byte: the whole price of a copy-up with data. */
static void first_write(char **a) {
  begin();
  int fd = open_file(a[0], O_WRONLY);
  if (pwrite(fd, "X", 1, 0) != 1) die("write %s", a[0]);
  close(fd);
  ops = 1;
  end();
}

struct command { const char *name; int arguments; void (*run)(char **); };

static const struct command commands[] = {
  { "walk", 1, walk }, { "read-all", 1, read_all }, { "fingerprint", 1, fingerprint }, { "chmod-tree", 1, chmod_tree },
  { "remove-tree", 1, remove_tree }, { "list", 1, list }, { "open-read-close", 3, open_read_close }, { "missing", 3, missing },
  { "create", 2, create }, { "unlink", 2, unlink_files }, { "rename", 2, rename_files }, { "mkdirs", 2, mkdirs },
  { "read", 2, read_file }, { "map", 1, map_file }, { "write", 3, write_file }, { "write-at", 3, write_at },
  { "append", 3, append }, { "write-sync", 3, write_sync }, { "first-write", 1, first_write },
};

static char *numbered(const char *text, int index) {
  char *into = malloc(strlen(text) + 16), *at = into;
  for (; *text; text++)
    if (*text == '%') at += sprintf(at, "%d", index);
    else *at++ = *text;
  *at = 0;
  return into;
}

int main(int argc, char **argv) {
  int at = 1;
  errno = EINVAL;
  if (argc > 3 && !strcmp(argv[1], "-p")) {
    processes = number(argv[2]);
    at = 3;
    if (processes < 1 || processes > MAX_PROCESSES) die("-p takes 1...%d", MAX_PROCESSES);
  }
  if (at >= argc) die("a command is missing");
  const struct command *command = NULL;
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
    if (!strcmp(argv[at], commands[i].name)) command = &commands[i];
  if (!command) die("unknown command '%s'", argv[at]);
  if (argc - at - 1 != command->arguments) die("%s takes %d arguments", command->name, command->arguments);

  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) die("mmap");

  if (processes == 1) {
    command->run(argv + at + 1);
  } else {
    for (int i = 0; i < processes; i++) {
      pid_t pid = fork();
      if (pid < 0) die("fork");
      if (pid == 0) {
        self = i;
        random_state += i * 7919;
        char **own = calloc(argc, sizeof *own);
        for (int j = at + 1; j < argc; j++) own[j - at - 1] = numbered(argv[j], i);
        command->run(own);
        exit(0);
      }
    }
    int failed = 0, status;
    /* A process that fails while it prepares must not leave the others waiting. */
    while (atomic_load(&shared->ready) < processes && !failed) {
      pid_t ended = waitpid(-1, &status, WNOHANG);
      if (ended > 0) failed = 1;
      else usleep(200);
    }
    atomic_store(&shared->go, 1);
    while (waitpid(-1, &status, 0) > 0)
      if (status) failed = 1;
    if (failed) return 1;
  }

  int64_t first = INT64_MAX, last = 0;
  ops = bytes = sum = 0;
  for (int i = 0; i < processes; i++) {
    if (shared->of[i].begin < first) first = shared->of[i].begin;
    if (shared->of[i].end > last) last = shared->of[i].end;
    ops += shared->of[i].ops;
    bytes += shared->of[i].bytes;
    sum += shared->of[i].sum;
  }
  printf("{\"ns\":%" PRId64 ",\"ops\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"sum\":\"%016" PRIx64 "\"}\n", last - first, ops, bytes, sum);
  return 0;
}
