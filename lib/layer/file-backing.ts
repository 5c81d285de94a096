/**
 * Bytes of a regular file on disk, through a descriptor that this object owns.
 * Always true: positions are explicit; the descriptor's own offset is moved by seek() and used by nobody.
 */
import { FsError, check } from "../base/errors.js";
import { native } from "../sys/binding.js";
import { syncAndClose } from "./durability.js";
import type { Durability } from "./durability.js";
import type { Backing } from "./layer.js";
import type { WritableBacking } from "./upper.js";

export class FileBacking implements Backing {
  fd: number;

  /** Takes over the descriptor. */
  constructor(fd: number) {
    this.fd = fd;
  }

  read(into: Uint8Array, position: number): number {
    let done = 0;
    while (done < into.length) {
      const count = check(native.pread(this.fd, into, done, into.length - done, position + done), "read");
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  seek(position: number, whence: 3 | 4): number {
    return check(native.lseek(this.fd, position, whence), "lseek");
  }

  /** Idempotent: a second close must not hit somebody else's descriptor of that number. */
  close(): void {
    if (this.fd < 0) return;
    native.close(this.fd);
    this.fd = -1;
  }
}

export class WritableFileBacking extends FileBacking implements WritableBacking {
  private readonly durability: Durability;

  constructor(fd: number, durability: Durability) {
    super(fd);
    this.durability = durability;
  }

  write(from: Uint8Array, position: number): number {
    let done = 0;
    while (done < from.length) {
      const count = check(native.pwrite(this.fd, from, done, from.length - done, position + done), "write");
      if (count === 0) throw new FsError("EIO", "write", "nothing was written");
      done += count;
    }
    return done;
  }

  allocate(mode: number, position: number, length: number): void {
    check(native.fallocate(this.fd, mode, position, length), "fallocate");
  }

  sync(dataOnly: boolean): void | Promise<void> {
    if (this.durability === "none") return;
    // The job works on a duplicate: this backing may be closed before it ends.
    const fd = check(native.dup(this.fd), "fsync");
    return syncAndClose(fd, dataOnly ? "data" : "file", this.durability);
  }
}

/** A file without bytes and without a descriptor. */
export const emptyBacking: Backing = {
  fd: -1,
  read: () => 0,
  seek: () => {
    throw new FsError("ENXIO", "lseek");
  },
  close: () => undefined,
};
