/**
 * The requests of fuse-native, answered from a FileSystem. Every request is answered exactly once, a failure with its errno.
 * The package does not say who asks: what is made belongs to the user of this process, and the kernel has applied the umask.
 */
import type Fuse from "fuse-native";
import type { Attr, AttrChanges } from "../base/attr.js";
import { FsError, errnoFrom } from "../base/errors.js";
import { O_ACCMODE, O_RDWR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, isDirectory } from "../base/mode.js";
import type { Caller, FileSystem, NewNode, OpenFile } from "../vfs.js";
import { PathNodes, bytesOf, utf8Of } from "./path-nodes.js";

export interface NativeOperations {
  readonly operations: Fuse.Operations;
  readonly counts: Readonly<Record<string, number>>;
  /** Closes what clients left open. */
  closeFiles(): void;
}

interface Handle {
  readonly node: object;
  readonly file: OpenFile;
  /** The directories it was opened through: they are not forgotten before what is in them. */
  readonly above: readonly object[];
}

/** An id that a request leaves as it is, as the kernel sends it. */
const unchanged = 0xffffffff;
const nodesKept = 16_384;

export function nativeOperations(tree: FileSystem, report: (operation: string, path: string, error: unknown) => void): NativeOperations {
  const nodes = new PathNodes(tree, nodesKept);
  const handles = new Map<number, Handle>();
  const inodes = new ShortInodes();
  const counts: Record<string, number> = {};
  const caller: Caller = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, pid: 0, umask: 0 };
  let lastHandle = 0;

  /** Runs one request and answers it, now or when its promise settles. */
  const answer = <T>(operation: string, path: string, done: Fuse.Answer<T>, run: () => T | Promise<T>): void => {
    counts[operation] = (counts[operation] ?? 0) + 1;
    const fail = (error: unknown): void => {
      if (!(error instanceof FsError)) report(operation, path, error);
      done(errnoFrom(error));
    };
    try {
      nodes.begin();
      const result = run();
      if (result instanceof Promise) result.then((value) => done(0, value), fail);
      else done(0, result);
    } catch (error) {
      fail(error);
    }
  };
  /** For read and write, which give the count in place of the error. */
  const counted = (operation: string, path: string, done: Fuse.Done, run: () => number | Promise<number>): void =>
    answer<number>(operation, path, (error, count) => done(error === 0 ? (count ?? 0) : error), run);
  const nothing = (value: unknown): undefined | Promise<undefined> => (value instanceof Promise ? value.then(() => undefined) : undefined);
  /** Keeps nodes while a request that may wait uses them. */
  const holding = <T>(held: readonly object[], run: () => T | Promise<T>): T | Promise<T> => {
    for (const node of held) nodes.kept.pin(node);
    const release = (): void => held.forEach((node) => nodes.kept.unpin(node));
    try {
      const result = run();
      if (result instanceof Promise) return result.finally(release);
      release();
      return result;
    } catch (error) {
      release();
      throw error;
    }
  };
  const change = (operation: string, path: string, done: Fuse.Done, changes: () => AttrChanges): void =>
    answer(operation, path, done, () => {
      const node = nodes.find(path);
      return nothing(holding([node], () => tree.setAttr(node, changes(), caller)));
    });
  const create = (operation: string, path: string, done: Fuse.Done, mode: number, more: () => Partial<NewNode> = () => ({})): void =>
    answer(operation, path, done, () => {
      const { dir, name } = nodes.place(path);
      nodes.kept.saw(tree.create(dir, name, { mode, ...more() }, caller));
      nodes.changed(path, false);
      return undefined;
    });
  const unpin = (node: object, above: readonly object[], gone: boolean): void => {
    nodes.kept.unpin(node, gone);
    for (const dir of above) nodes.kept.unpin(dir);
  };
  const opened = (path: string, node: object, flags: number): number | Promise<number> => {
    const above = nodes.above(path);
    for (const each of [node, ...above]) nodes.kept.pin(each);
    const keep = (file: OpenFile): number => {
      handles.set(++lastHandle, { node, file, above });
      return lastHandle;
    };
    const lose = (error: unknown): never => {
      unpin(node, above, false);
      throw error;
    };
    try {
      const file = tree.open(node, flags);
      return file instanceof Promise ? file.then(keep, lose) : keep(file);
    } catch (error) {
      return lose(error);
    }
  };
  const handle = (fd: number): Handle => {
    const found = handles.get(fd);
    if (found === undefined) throw new FsError("EBADF", "file handle");
    return found;
  };
  const close = (fd: number): void => {
    const { node, file, above } = handle(fd);
    handles.delete(fd);
    const gone = tree.getAttr(node).nlink === 0;
    try {
      file.close();
    } finally {
      unpin(node, above, gone);
    }
  };
  const removed = (path: string, node: object): void => {
    const { nlink, mode } = tree.getAttr(node);
    nodes.changed(path, isDirectory(mode));
    if (nlink === 0 || isDirectory(mode)) nodes.kept.drop(node);
  };

  const operations: Fuse.Operations = {
    getattr: (path, done) => answer("getattr", path, done, () => statOf(tree.getAttr(nodes.find(path)), inodes)),
    // The package asks getattr, by path, even here; this only makes it known as served.
    fgetattr: (path, _fd, done) => answer("fgetattr", path, done, () => statOf(tree.getAttr(nodes.find(path)), inodes)),
    readdir(path, done) {
      answer<{ names: string[]; stats: Partial<Fuse.Stat>[] }>(
        "readdir", path, (error, found) => done(error, found?.names, found?.stats), () => listing(tree, nodes.find(path), inodes),
      );
    },
    open: (path, flags, done) => answer("open", path, done, () => opened(path, nodes.find(path), flags & O_ACCMODE)),
    create(path, mode, done) {
      answer("create", path, done, () => {
        const { dir, name } = nodes.place(path);
        const node = tree.create(dir, name, { mode: S_IFREG | (mode & ~S_IFMT) }, caller);
        nodes.kept.saw(node);
        nodes.changed(path, false);
        return opened(path, node, O_RDWR);
      });
    },
    read: (path, fd, buffer, length, position, done) =>
      counted("read", path, done, () => handle(fd).file.read(buffer.subarray(0, length), position)),
    write: (path, fd, buffer, length, position, done) =>
      counted("write", path, done, () => handle(fd).file.write(buffer.subarray(0, length), position)),
    release: (path, fd, done) => answer("release", path, done, () => close(fd)),
    fsync: (path, dataOnly, fd, done) => answer("fsync", path, done, () => nothing(handle(fd).file.sync(dataOnly !== 0))),
    fsyncdir: (path, _dataOnly, _fd, done) => answer("fsyncdir", path, done, () => nothing(tree.syncDir(nodes.find(path)))),
    truncate: (path, size, done) => change("truncate", path, done, () => ({ size })),
    ftruncate: (path, fd, size, done) => answer("ftruncate", path, done, () => nothing(tree.setAttr(handle(fd).node, { size }, caller))),
    unlink(path, done) {
      answer("unlink", path, done, () => {
        const { dir, name } = nodes.place(path);
        const node = nodes.find(path);
        tree.unlink(dir, name);
        removed(path, node);
      });
    },
    rmdir(path, done) {
      answer("rmdir", path, done, () => {
        const { dir, name } = nodes.place(path);
        const node = nodes.find(path);
        tree.rmdir(dir, name);
        removed(path, node);
      });
    },
    rename(from, to, done) {
      answer("rename", from, done, () => {
        const source = nodes.place(from);
        const target = nodes.place(to);
        const node = nodes.find(from);
        const over = nodes.lookup(to);
        // Two names of one file: the kernel takes them for two files here, so it is us who must leave both alone.
        if (over === node) return undefined;
        const held = over === undefined ? [node, source.dir, target.dir] : [node, source.dir, target.dir, over];
        const finish = (): undefined => {
          nodes.changed(from, isDirectory(tree.getAttr(node).mode));
          nodes.changed(to, false);
          return undefined;
        };
        const moved = holding(held, () => {
          const result = tree.rename(source.dir, source.name, target.dir, target.name, "replace");
          return result instanceof Promise ? result.then(finish) : finish();
        });
        const drop = (): undefined => {
          if (over !== undefined) removed(to, over);
          return undefined;
        };
        return moved instanceof Promise ? moved.then(drop) : drop();
      });
    },
    link(existing, path, done) {
      answer("link", path, done, () => {
        const node = nodes.find(existing);
        const { dir, name } = nodes.place(path);
        const result = nothing(holding([node, dir], () => tree.link(node, dir, name)));
        nodes.changed(path, false);
        return result;
      });
    },
    symlink: (target, path, done) => create("symlink", path, done, S_IFLNK | 0o777, () => ({ target: bytesOf(target) })),
    mkdir: (path, mode, done) => create("mkdir", path, done, S_IFDIR | (mode & ~S_IFMT)),
    mknod: (path, mode, rdev, done) => create("mknod", path, done, (mode & S_IFMT) === 0 ? S_IFREG | mode : mode, () => ({ rdev })),
    readlink(path, done) {
      answer("readlink", path, done, () => {
        const target = utf8Of(tree.readlink(nodes.find(path)));
        if (target === undefined) throw new FsError("EINVAL", "readlink", "of a target that is not UTF-8");
        return target;
      });
    },
    chmod: (path, mode, done) => change("chmod", path, done, () => ({ mode: mode & 0o7777 })),
    chown: (path, uid, gid, done) => change("chown", path, done, () => ({ ...(uid === unchanged ? {} : { uid }), ...(gid === unchanged ? {} : { gid }) })),
    utimens: (path, atime, mtime, done) => change("utimens", path, done, () => ({ atime: timeOf(atime), mtime: timeOf(mtime) })),
    statfs: (path, done) => answer("statfs", path, done, () => statfsOf(tree)),
    setxattr(path, key, value, _position, flags, done) {
      answer("setxattr", path, done, () => {
        const only = (flags & 1) !== 0 ? "create" : (flags & 2) !== 0 ? "replace" : undefined;
        const node = nodes.find(path);
        // A copy: the value lies in libfuse's memory.
        return nothing(holding([node], () => tree.setXattr(node, bytesOf(key), Uint8Array.from(value), only)));
      });
    },
    getxattr(path, key, _position, done) {
      answer("getxattr", path, done, () => {
        const value = tree.getXattr(nodes.find(path), bytesOf(key));
        if (value === undefined) throw new FsError("ENODATA", "getxattr");
        return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      });
    },
    listxattr: (path, done) => answer("listxattr", path, done, () => tree.listXattr(nodes.find(path)).flatMap((key) => utf8Of(key) ?? [])),
    removexattr(path, key, done) {
      answer("removexattr", path, done, () => {
        const node = nodes.find(path);
        return nothing(holding([node], () => tree.setXattr(node, bytesOf(key), undefined)));
      });
    },
  };
  return {
    operations, counts,
    closeFiles: () => {
      for (const fd of [...handles.keys()]) close(fd);
    },
  };
}

/** Inode numbers in the 32 bits that fuse-native has: small ones as they are, others by a table, each its own number as long as the mount lives. */
class ShortInodes {
  readonly #given = new Map<number, number>();

  of(ino: number): number {
    if (ino < 0x80000000) return ino;
    let short = this.#given.get(ino);
    if (short === undefined) this.#given.set(ino, (short = 0x80000000 + (this.#given.size % 0x7fffffff)));
    return short;
  }
}

function statOf(attr: Attr, inodes: ShortInodes): Fuse.Stat {
  return {
    mode: attr.mode, uid: attr.uid, gid: attr.gid, size: attr.size, dev: 0, nlink: attr.nlink, ino: inodes.of(attr.ino), rdev: attr.rdev,
    blksize: 4096, blocks: attr.blocks,
    atime: milliseconds(attr.atimeSec, attr.atimeNsec), mtime: milliseconds(attr.mtimeSec, attr.mtimeNsec), ctime: milliseconds(attr.ctimeSec, attr.ctimeNsec),
  };
}

/** Whole and not negative: all that the package can carry. */
const milliseconds = (sec: number, nsec: number): number => Math.max(0, sec * 1000 + Math.floor(nsec / 1e6));

/** Throws EINVAL for times before 1970: they arrive as very large ones, rounded, and cannot be told. */
function timeOf(ms: number): { sec: number; nsec: number } {
  if (ms > Number.MAX_SAFE_INTEGER) throw new FsError("EINVAL", "utimens", "to a time before 1970: the fuse-native host cannot carry it");
  const sec = Math.floor(ms / 1000);
  return { sec, nsec: (ms - sec * 1000) * 1_000_000 };
}

/** With "." and "..", which path-based hosts must name themselves; names that are not UTF-8 are left out. */
function listing(tree: FileSystem, dir: object, inodes: ShortInodes): { names: string[]; stats: Partial<Fuse.Stat>[] } {
  const parent = tree.parentOf(dir) ?? dir;
  const names = [".", ".."];
  const stats: Partial<Fuse.Stat>[] = [dir, parent].map((node) => ({ mode: S_IFDIR, ino: inodes.of(tree.getAttr(node).ino) }));
  for (const { name, ino, type } of tree.openDir(dir)) {
    const text = utf8Of(name);
    if (text === undefined) continue;
    names.push(text);
    stats.push({ mode: type, ino: inodes.of(ino) });
  }
  return { names, stats };
}

/** In units large enough for the counts to fit into 32 bits. */
function statfsOf(tree: FileSystem): Fuse.Statfs {
  const { blockSize, fragmentSize, blocks, free, available, files, filesFree, nameMax } = tree.statfs();
  let unit = 1;
  while (blocks / unit > 0xffffffff) unit *= 2;
  const small = (count: number): number => Math.min(0xffffffff, count);
  return {
    bsize: Math.max(blockSize, fragmentSize * unit), frsize: fragmentSize * unit, blocks: Math.floor(blocks / unit), bfree: Math.floor(free / unit),
    bavail: Math.floor(available / unit), files: small(files), ffree: small(filesFree), favail: small(filesFree), namemax: nameMax,
  };
}
