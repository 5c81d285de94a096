/** Attributes of one filesystem object, as stat(2) reports them. */

/** Seconds are Unix time and may be negative; nanoseconds are 0…999 999 999. */
export interface Attr {
  /** Below 2^53. Unique within a layer; on a merged node, unique within the mount. */
  readonly ino: number;
  /** Type and permission bits, as st_mode. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  /** As makedev(3) packs it in 32 bits (the kernel's new_encode_dev); 0 unless a character or block node. */
  readonly rdev: number;
  /** Bytes. */
  readonly size: number;
  /** Units of 512 bytes, whatever the block size. */
  readonly blocks: number;
  readonly atimeSec: number;
  readonly atimeNsec: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly ctimeSec: number;
  readonly ctimeNsec: number;
  /** Birth time; btimeNsec is -1 where it is not known. */
  readonly btimeSec: number;
  readonly btimeNsec: number;
}

/** What setattr may change. "now" is the clock of the filesystem that keeps the object. */
export interface AttrChanges {
  /** Permission bits (07777); type bits are ignored. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Regular files only. */
  readonly size?: number;
  readonly atime?: "now" | Time;
  readonly mtime?: "now" | Time;
  /** Drop setuid, setgid (where group-executable) and security.capability, as a write by another user does. */
  readonly killPrivileges?: boolean;
}
export interface Time {
  readonly sec: number;
  readonly nsec: number;
}
