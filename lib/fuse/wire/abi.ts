/**
 * The FUSE protocol as the kernel spells it: opcodes, flags, and where each field lies. Source: linux/fuse.h, 7.31 to 7.45.
 * Integers are in host byte order; every machine this runs on is little-endian. Offsets of request structs count from
 * the start of the body (after fuse_in_header), those of reply structs from the start of their own struct.
 * Each drawn struct adds up to its SIZE constant.
 */

export const FUSE_KERNEL_VERSION = 7;
export const FUSE_KERNEL_MINOR_VERSION = 45;
/** Older kernels lack NO_OPENDIR_SUPPORT, CACHE_SYMLINKS or WRITE_KILL_PRIV, on which the policy rests. */
export const OLDEST_MINOR_VERSION = 31;
export const FUSE_ROOT_ID = 1;

// ── opcodes ──
export const FUSE_LOOKUP = 1;
export const FUSE_FORGET = 2;
export const FUSE_GETATTR = 3;
export const FUSE_SETATTR = 4;
export const FUSE_READLINK = 5;
export const FUSE_SYMLINK = 6;
export const FUSE_MKNOD = 8;
export const FUSE_MKDIR = 9;
export const FUSE_UNLINK = 10;
export const FUSE_RMDIR = 11;
export const FUSE_RENAME = 12;
export const FUSE_LINK = 13;
export const FUSE_OPEN = 14;
export const FUSE_READ = 15;
export const FUSE_WRITE = 16;
export const FUSE_STATFS = 17;
export const FUSE_RELEASE = 18;
export const FUSE_FSYNC = 20;
export const FUSE_SETXATTR = 21;
export const FUSE_GETXATTR = 22;
export const FUSE_LISTXATTR = 23;
export const FUSE_REMOVEXATTR = 24;
export const FUSE_FLUSH = 25;
export const FUSE_INIT = 26;
export const FUSE_OPENDIR = 27;
export const FUSE_READDIR = 28;
export const FUSE_RELEASEDIR = 29;
export const FUSE_FSYNCDIR = 30;
export const FUSE_GETLK = 31;
export const FUSE_SETLK = 32;
export const FUSE_SETLKW = 33;
export const FUSE_ACCESS = 34;
export const FUSE_CREATE = 35;
export const FUSE_INTERRUPT = 36;
export const FUSE_BMAP = 37;
export const FUSE_DESTROY = 38;
export const FUSE_IOCTL = 39;
export const FUSE_POLL = 40;
export const FUSE_NOTIFY_REPLY = 41;
export const FUSE_BATCH_FORGET = 42;
export const FUSE_FALLOCATE = 43;
export const FUSE_READDIRPLUS = 44;
export const FUSE_RENAME2 = 45;
export const FUSE_LSEEK = 46;
export const FUSE_COPY_FILE_RANGE = 47;
export const FUSE_SETUPMAPPING = 48;
export const FUSE_REMOVEMAPPING = 49;
export const FUSE_SYNCFS = 50;
export const FUSE_TMPFILE = 51;
export const FUSE_STATX = 52;
export const FUSE_COPY_FILE_RANGE_64 = 53;
/** One more than the highest opcode known here. */
export const OPCODE_COUNT = 54;

// ── notifications: the code travels in fuse_out_header.error, unique is 0 ──
export const FUSE_NOTIFY_INVAL_INODE = 2;
/** Linux 6.9: every request that was read and not answered is sent again. */
export const FUSE_NOTIFY_RESEND = 7;
/** Linux 6.18: names and inodes that nobody uses are forgotten. */
export const FUSE_NOTIFY_PRUNE = 9;

// ── INIT flags, low word ──
export const FUSE_ASYNC_READ = 1 << 0;
export const FUSE_ATOMIC_O_TRUNC = 1 << 3;
export const FUSE_BIG_WRITES = 1 << 5;
export const FUSE_DONT_MASK = 1 << 6;
export const FUSE_DO_READDIRPLUS = 1 << 13;
export const FUSE_READDIRPLUS_AUTO = 1 << 14;
export const FUSE_ASYNC_DIO = 1 << 15;
export const FUSE_WRITEBACK_CACHE = 1 << 16;
export const FUSE_NO_OPEN_SUPPORT = 1 << 17;
export const FUSE_PARALLEL_DIROPS = 1 << 18;
export const FUSE_POSIX_ACL = 1 << 20;
export const FUSE_MAX_PAGES = 1 << 22;
export const FUSE_CACHE_SYMLINKS = 1 << 23;
export const FUSE_NO_OPENDIR_SUPPORT = 1 << 24;
export const FUSE_HANDLE_KILLPRIV_V2 = 1 << 28;
export const FUSE_SETXATTR_EXT = 1 << 29;
export const FUSE_INIT_EXT = 1 << 30;
// ── INIT flags, high word (bits 32…63 shifted down) ──
export const FUSE_DIRECT_IO_ALLOW_MMAP = 1 << 4;
export const FUSE_PASSTHROUGH = 1 << 5;
export const FUSE_NO_EXPORT_SUPPORT = 1 << 6;
export const FUSE_HAS_RESEND = 1 << 7;
export const FUSE_OVER_IO_URING = 1 << 9;

// ── flags of single requests and replies ──
/** In the high half of `unique`: the request was sent before. Its answer carries it too. */
export const FUSE_UNIQUE_RESEND = 0x8000_0000;
export const FATTR_MODE = 1 << 0;
export const FATTR_UID = 1 << 1;
export const FATTR_GID = 1 << 2;
export const FATTR_SIZE = 1 << 3;
export const FATTR_ATIME = 1 << 4;
export const FATTR_MTIME = 1 << 5;
export const FATTR_FH = 1 << 6;
export const FATTR_ATIME_NOW = 1 << 7;
export const FATTR_MTIME_NOW = 1 << 8;
export const FATTR_CTIME = 1 << 10;
export const FATTR_KILL_SUIDGID = 1 << 11;
export const FOPEN_KEEP_CACHE = 1 << 1;
export const FOPEN_PASSTHROUGH = 1 << 7;
export const FUSE_WRITE_KILL_SUIDGID = 1 << 2;
export const FUSE_OPEN_KILL_SUIDGID = 1 << 0;
export const FUSE_FSYNC_FDATASYNC = 1 << 0;
export const FUSE_SETXATTR_ACL_KILL_SGID = 1 << 0;
export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;
export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
export const STATX_BASIC_STATS = 0x7ff;
export const STATX_BTIME = 0x800;

/**
 * fuse_in_header, 40 bytes:
 * | len 4 | opcode 4 | unique 8 | nodeid 8 | uid 4 | gid 4 | pid 4 | total_extlen 2 | padding 2 |
 */
export const IN_HEADER = { len: 0, opcode: 4, unique: 8, nodeid: 16, uid: 24, gid: 28, pid: 32, totalExtlen: 36, SIZE: 40 } as const;

/** fuse_out_header, 16 bytes: | len 4 | error 4, negative errno | unique 8 | */
export const OUT_HEADER = { len: 0, error: 4, unique: 8, SIZE: 16 } as const;

/** fuse_init_in, 64 bytes (16 without INIT_EXT): | major 4 | minor 4 | max_readahead 4 | flags 4 | flags2 4 | unused 44 | */
export const INIT_IN = { major: 0, minor: 4, maxReadahead: 8, flags: 12, flags2: 16, COMPAT_SIZE: 16, SIZE: 64 } as const;

/**
 * fuse_init_out, 64 bytes:
 * | major 4 | minor 4 | max_readahead 4 | flags 4 | max_background 2 | congestion_threshold 2 | max_write 4 | time_gran 4 |
 * | max_pages 2 | map_alignment 2 | flags2 4 | max_stack_depth 4 | request_timeout 2 | unused 22 |
 */
export const INIT_OUT = {
  major: 0, minor: 4, maxReadahead: 8, flags: 12, maxBackground: 16, congestionThreshold: 18, maxWrite: 20, timeGran: 24,
  maxPages: 28, mapAlignment: 30, flags2: 32, maxStackDepth: 36, requestTimeout: 40, SIZE: 64,
} as const;

/**
 * fuse_attr, 88 bytes:
 * | ino 8 | size 8 | blocks 8 | atime 8 | mtime 8 | ctime 8 | atimensec 4 | mtimensec 4 | ctimensec 4 |
 * | mode 4 | nlink 4 | uid 4 | gid 4 | rdev 4 | blksize 4 | flags 4 |
 */
export const ATTR = {
  ino: 0, size: 8, blocks: 16, atime: 24, mtime: 32, ctime: 40, atimensec: 48, mtimensec: 52, ctimensec: 56,
  mode: 60, nlink: 64, uid: 68, gid: 72, rdev: 76, blksize: 80, flags: 84, SIZE: 88,
} as const;

/** fuse_entry_out, 128 bytes: | nodeid 8 | generation 8 | entry_valid 8 | attr_valid 8 | entry_valid_nsec 4 | attr_valid_nsec 4 | attr 88 | */
export const ENTRY_OUT = { nodeid: 0, generation: 8, entryValid: 16, attrValid: 24, entryValidNsec: 32, attrValidNsec: 36, attr: 40, SIZE: 128 } as const;

/** fuse_attr_out, 104 bytes: | attr_valid 8 | attr_valid_nsec 4 | dummy 4 | attr 88 | */
export const ATTR_OUT = { attrValid: 0, attrValidNsec: 8, attr: 16, SIZE: 104 } as const;

/** fuse_open_out, 16 bytes: | fh 8 | open_flags 4 | backing_id 4 | */
export const OPEN_OUT = { fh: 0, openFlags: 8, backingId: 12, SIZE: 16 } as const;

/** fuse_write_out, fuse_getxattr_out, 8 bytes: | size 4 | padding 4 |; fuse_lseek_out and fuse_copy_file_range_out are one u64. */
export const SIZE_OUT_SIZE = 8;

/**
 * fuse_kstatfs, 80 bytes:
 * | blocks 8 | bfree 8 | bavail 8 | files 8 | ffree 8 | bsize 4 | namelen 4 | frsize 4 | padding 4 | spare 24 |
 */
export const STATFS_OUT = { blocks: 0, bfree: 8, bavail: 16, files: 24, ffree: 32, bsize: 40, namelen: 44, frsize: 48, SIZE: 80 } as const;

/**
 * fuse_statx_out, 288 bytes: | attr_valid 8 | attr_valid_nsec 4 | flags 4 | spare 16 | fuse_statx 256 |, and fuse_statx:
 * | mask 4 | blksize 4 | attributes 8 | nlink 4 | uid 4 | gid 4 | mode 2 | spare 2 | ino 8 | size 8 | blocks 8 | attributes_mask 8 |
 * | atime 16 | btime 16 | ctime 16 | mtime 16 | rdev_major 4 | rdev_minor 4 | dev_major 4 | dev_minor 4 | spare 112 |
 * where a time is | tv_sec 8 | tv_nsec 4 | reserved 4 |
 */
export const STATX_OUT = {
  attrValid: 0, attrValidNsec: 8, mask: 32, blksize: 36, nlink: 48, uid: 52, gid: 56, mode: 60, ino: 64, size: 72, blocks: 80,
  atime: 96, btime: 112, ctime: 128, mtime: 144, rdevMajor: 160, rdevMinor: 164, SIZE: 288,
} as const;

/** fuse_dirent: | ino 8 | off 8 | namelen 4 | type 4 | name, padded to 8 |. In READDIRPLUS each is preceded by a fuse_entry_out. */
export const DIRENT = { ino: 0, off: 8, namelen: 16, type: 20, name: 24 } as const;

/** fuse_notify_inval_inode_out, 24 bytes: | ino 8, a nodeid | off 8 | len 8 | */
export const INVAL_INODE_OUT = { nodeid: 0, off: 8, len: 16, SIZE: 24 } as const;

/** fuse_notify_prune_out: | count 4 | padding 4 | spare 8 |, then count times | nodeid 8 | */
export const PRUNE_OUT = { count: 0, padding: 4, spare: 8, SIZE: 16 } as const;

/** fuse_forget_in: | nlookup 8 |; fuse_batch_forget_in: | count 4 | dummy 4 |, then count times | nodeid 8 | nlookup 8 | */
export const FORGET_IN_SIZE = 8;
export const BATCH_FORGET_IN = { count: 0, SIZE: 8 } as const;
export const FORGET_ONE = { nodeid: 0, nlookup: 8, SIZE: 16 } as const;

/** fuse_getattr_in, 16 bytes: | getattr_flags 4 | dummy 4 | fh 8 | */
export const GETATTR_IN_SIZE = 16;

/** fuse_interrupt_in: | unique 8 | */
export const INTERRUPT_IN = { unique: 0, SIZE: 8 } as const;

/**
 * fuse_setattr_in, 88 bytes:
 * | valid 4 | padding 4 | fh 8 | size 8 | lock_owner 8 | atime 8 | mtime 8 | ctime 8 | atimensec 4 | mtimensec 4 | ctimensec 4 |
 * | mode 4 | unused 4 | uid 4 | gid 4 | unused 4 |
 */
export const SETATTR_IN = {
  valid: 0, size: 16, atime: 32, mtime: 40, atimensec: 56, mtimensec: 60, mode: 68, uid: 76, gid: 80, SIZE: 88,
} as const;

/** fuse_statx_in, 24 bytes: | getattr_flags 4 | reserved 4 | fh 8 | sx_flags 4 | sx_mask 4 | */
export const STATX_IN_SIZE = 24;

/** fuse_mknod_in, 16 bytes, then the name: | mode 4 | rdev 4 | umask 4 | padding 4 | */
export const MKNOD_IN = { mode: 0, rdev: 4, umask: 8, SIZE: 16 } as const;
/** fuse_mkdir_in, 8 bytes, then the name: | mode 4 | umask 4 | */
export const MKDIR_IN = { mode: 0, umask: 4, SIZE: 8 } as const;
/** fuse_rename_in, 8 bytes, then both names: | newdir 8 | */
export const RENAME_IN = { newdir: 0, SIZE: 8 } as const;
/** fuse_rename2_in, 16 bytes, then both names: | newdir 8 | flags 4 | padding 4 | */
export const RENAME2_IN = { newdir: 0, flags: 8, SIZE: 16 } as const;
/** fuse_link_in, 8 bytes, then the name: | oldnodeid 8 | */
export const LINK_IN = { oldnodeid: 0, SIZE: 8 } as const;

/** fuse_open_in, 8 bytes: | flags 4 | open_flags 4 | */
export const OPEN_IN = { flags: 0, openFlags: 4, SIZE: 8 } as const;
/** fuse_create_in (also of TMPFILE), 16 bytes, then the name: | flags 4 | mode 4 | umask 4 | open_flags 4 | */
export const CREATE_IN = { flags: 0, mode: 4, umask: 8, openFlags: 12, SIZE: 16 } as const;
/** fuse_release_in, 24 bytes: | fh 8 | flags 4 | release_flags 4 | lock_owner 8 | */
export const RELEASE_IN_SIZE = 24;

/** fuse_read_in, 40 bytes: | fh 8 | offset 8 | size 4 | read_flags 4 | lock_owner 8 | flags 4 | padding 4 | */
export const READ_IN = { offset: 8, size: 16, SIZE: 40 } as const;
/** fuse_write_in, 40 bytes, then the data: | fh 8 | offset 8 | size 4 | write_flags 4 | lock_owner 8 | flags 4 | padding 4 | */
export const WRITE_IN = { offset: 8, size: 16, writeFlags: 20, SIZE: 40 } as const;
/** fuse_fsync_in, 16 bytes: | fh 8 | fsync_flags 4 | padding 4 | */
export const FSYNC_IN = { fsyncFlags: 8, SIZE: 16 } as const;
/** fuse_fallocate_in, 32 bytes: | fh 8 | offset 8 | length 8 | mode 4 | padding 4 | */
export const FALLOCATE_IN = { offset: 8, length: 16, mode: 24, SIZE: 32 } as const;
/** fuse_lseek_in, 24 bytes: | fh 8 | offset 8 | whence 4 | padding 4 | */
export const LSEEK_IN = { offset: 8, whence: 16, SIZE: 24 } as const;
/** fuse_copy_file_range_in, 56 bytes: | fh_in 8 | off_in 8 | nodeid_out 8 | fh_out 8 | off_out 8 | len 8 | flags 8 | */
export const COPY_FILE_RANGE_IN = { offIn: 8, nodeidOut: 16, offOut: 32, len: 40, flags: 48, SIZE: 56 } as const;

/** fuse_setxattr_in, 16 bytes (8 without SETXATTR_EXT), then name and value: | size 4 | flags 4 | setxattr_flags 4 | padding 4 | */
export const SETXATTR_IN = { size: 0, flags: 4, setxattrFlags: 8, COMPAT_SIZE: 8, SIZE: 16 } as const;
/** fuse_getxattr_in (also of LISTXATTR), 8 bytes, then the name: | size 4 | padding 4 | */
export const GETXATTR_IN = { size: 0, SIZE: 8 } as const;

/** Largest payload of one READ or WRITE: 256 pages. */
export const MAX_PAGES = 256;
export const MAX_WRITE = MAX_PAGES * 4096;
/** Room for a whole request or reply: the largest payload and every header before it. */
export const MESSAGE_SIZE = MAX_WRITE + 4096;
