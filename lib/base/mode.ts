/** Bits of st_mode, open flags and directory entry types, as the kernel spells them. Source: Linux uapi. */

export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_ISVTX = 0o1000;

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_ACCMODE = 3;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_NOATIME = 0o1000000;
export const O_CLOEXEC = 0o2000000;

export const isDirectory = (mode: number): boolean => (mode & S_IFMT) === S_IFDIR;
export const isRegular = (mode: number): boolean => (mode & S_IFMT) === S_IFREG;
export const isSymlink = (mode: number): boolean => (mode & S_IFMT) === S_IFLNK;

/** The d_type of a directory entry (DT_REG = 8, …) for S_IF* bits, and back. */
export const dtypeOf = (mode: number): number => (mode & S_IFMT) >>> 12;
export const typeOfDtype = (dtype: number): number => dtype << 12;

/** makedev(3) as glibc packs it, for majors and minors below 2^20; never above 2^53. */
export function makedev(major: number, minor: number): number {
  return ((major & 0xfff) << 8 | minor & 0xff) + (minor & 0xfff00) * 0x1000;
}
export const majorOf = (rdev: number): number => (rdev >>> 8) & 0xfff;
export const minorOf = (rdev: number): number => (rdev & 0xff) | (Math.floor(rdev / 0x1000) & 0xfff00);
