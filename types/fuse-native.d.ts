/**
 * The part of fuse-native 2.2 that lib/fuse uses. It is CommonJS and is loaded with require, lazily.
 * Callbacks take 0 or a negative errno; those of read and write take the count instead.
 */
declare module "fuse-native" {
  namespace Fuse {
    type Done = (error: number) => void;
    type Answer<T> = (error: number, value?: T) => void;

    interface Stat {
      mode: number;
      uid: number;
      gid: number;
      size: number;
      dev: number;
      nlink: number;
      /** 32 bits. */
      ino: number;
      rdev: number;
      blksize: number;
      blocks: number;
      /** Milliseconds since 1970, whole and not negative. */
      atime: number;
      mtime: number;
      ctime: number;
    }
    /** 32 bits each. */
    interface Statfs {
      bsize: number;
      frsize: number;
      blocks: number;
      bfree: number;
      bavail: number;
      files: number;
      ffree: number;
      favail: number;
      namemax: number;
    }
    interface Operations {
      getattr(path: string, done: Answer<Stat>): void;
      fgetattr(path: string, fd: number, done: Answer<Stat>): void;
      readdir(path: string, done: (error: number, names?: string[], stats?: Partial<Stat>[]) => void): void;
      open(path: string, flags: number, done: Answer<number>): void;
      create(path: string, mode: number, done: Answer<number>): void;
      /** `buffer` is libfuse's own memory, gone once `done` is called. */
      read(path: string, fd: number, buffer: Buffer, length: number, position: number, done: Done): void;
      write(path: string, fd: number, buffer: Buffer, length: number, position: number, done: Done): void;
      release(path: string, fd: number, done: Done): void;
      fsync(path: string, dataOnly: number, fd: number, done: Done): void;
      fsyncdir(path: string, dataOnly: number, fd: number, done: Done): void;
      truncate(path: string, size: number, done: Done): void;
      ftruncate(path: string, fd: number, size: number, done: Done): void;
      unlink(path: string, done: Done): void;
      rmdir(path: string, done: Done): void;
      rename(from: string, to: string, done: Done): void;
      link(existing: string, path: string, done: Done): void;
      symlink(target: string, path: string, done: Done): void;
      mkdir(path: string, mode: number, done: Done): void;
      mknod(path: string, mode: number, rdev: number, done: Done): void;
      readlink(path: string, done: Answer<string>): void;
      chmod(path: string, mode: number, done: Done): void;
      /** 2^32-1 leaves an id. */
      chown(path: string, uid: number, gid: number, done: Done): void;
      /** Milliseconds. */
      utimens(path: string, atime: number, mtime: number, done: Done): void;
      statfs(path: string, done: Answer<Statfs>): void;
      /** `value` is libfuse's own memory, gone once `done` is called. */
      setxattr(path: string, key: string, value: Buffer, position: number, flags: number, done: Done): void;
      getxattr(path: string, key: string, position: number, done: Answer<Buffer>): void;
      listxattr(path: string, done: Answer<string[]>): void;
      removexattr(path: string, key: string, done: Done): void;
    }
    interface Options {
      /** Milliseconds after which a request is answered with ETIMEDOUT; false waits. */
      timeout?: number | false;
      allowOther?: boolean;
      defaultPermissions?: boolean;
      fsname?: string;
      subtype?: string;
    }
    type Signal = (result: number, ...values: unknown[]) => void;
  }

  class Fuse {
    constructor(mountpoint: string, operations: Partial<Fuse.Operations>, options?: Fuse.Options);
    /** Called by unmount(); may be replaced. */
    static unmount(mountpoint: string, done: (error: Error | null) => void): void;
    mount(done: (error?: Error | null) => void): void;
    unmount(done: (error?: Error | null) => void): void;
    /** How the two requests below are answered inside the package; `buffer` has the size the client gave, 0 when it asks for one. */
    protected _op_getxattr(signal: Fuse.Signal, path: string, key: string, buffer: Buffer, position: number): void;
    protected _op_listxattr(signal: Fuse.Signal, path: string, buffer: Buffer): void;
  }
  export = Fuse;
}
