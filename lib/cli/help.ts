/** What --help prints. One text for each command; the README tells the rest. */
import { suggestion, UsageError } from "./usage.js";

const overview = `stratafs: copy-on-write filesystem layers, mounted through FUSE as the root filesystem of a process

  stratafs mount [-o OPTIONS] [SOURCE] MOUNTPOINT   mount a stack of layers
  stratafs umount [-l] MOUNTPOINT                   unmount it
  stratafs run [OPTIONS] -- COMMAND [ARGUMENT...]   run a process in a copy-on-write root
  stratafs diff UPPER [--lower DIR]... [--json]     list what an upper directory changes
  stratafs --version, stratafs COMMAND --help

Called by the name fuse-overlayfs, or by mount -t fuse.stratafs, it behaves as stratafs mount.`;

const texts: Readonly<Record<string, string>> = {
  mount: `stratafs mount [-f] [-d] -o lowerdir=A:B[,upperdir=U,workdir=W][,OPTION...] [SOURCE] MOUNTPOINT

Mounts the directories A over B, with changes going to U; without upperdir the mount is read-only.
The command returns when the mount is live; a process of its own serves it until it is unmounted.

  -f, --foreground   serve in this process and end with the mount
  -d, --debug        the same, and log to stderr
  -h, --help         this text
  -V, --version      the version

layers
  lowerdir=A:B       lower directories, topmost first; \\: and \\, stand for a colon and a comma in a path
  lowerdir=A::D      D gives only data to metadata-only copies in A
  lowerdir+=A        one more lower below the others; datadir+=D one more data-only one
  upperdir=U         where changes go; workdir=W an empty directory on the same filesystem
  redirect_dir=on|off|follow|nofollow, metacopy=on|off
                     rename lower directories by redirect, copy up metadata alone (both off unless asked for)
  userxattr          keep marks in user.overlay.* instead of trusted.overlay.*
  uidmapping=D:P:N[:D:P:N...], gidmapping=...
                     N ids from D on disk are presented as P
  squash_to_root, squash_to_uid=ID, squash_to_gid=ID
                     present one owner for everything
  xattr_permissions=0|1|2
                     keep owners and modes in the files, in security.* or in user.containers.*
  volatile           sync nothing, not even when the mount ends
  fsync=0|1          with 0, fsync is answered at once; the upper is synced when the mount ends

serving
  data=auto|passthrough|cached
                     how file data travels: by the kernel past this process, or through its page cache
  host=device|fuse-native
                     how requests arrive
  timeout=SECONDS    how long the kernel may keep names and attributes (for ever, unless asked for)
  noacl              no POSIX ACLs
  xino=auto|on|off, ino32_t, static_nlink
                     inode numbers are unique across layers whatever xino says; within 32 bits; one link for every directory
  threaded=0|1, max_idle_threads=N
                     accepted; one thread serves a mount
  log=FILE           where the serving process writes what goes wrong (nowhere, unless asked for)

mount
  ro, rw, [no]suid, [no]dev, [no]exec, [no]atime, relatime, sync, ...
  allow_other, default_permissions, fsname=NAME, subtype=NAME
  context=LABEL, fscontext=, defcontext=, rootcontext=
                     SELinux labels, where the kernel has SELinux

An option not listed here is reported on stderr and ignored.`,

  umount: `stratafs umount [-l] MOUNTPOINT

Unmounts; everything written is in the upper directory when it returns.

  -l, --lazy   detach now, finish when nobody uses it any more`,

  run: `stratafs run [OPTIONS] -- COMMAND [ARGUMENT...]

Runs COMMAND with the merged layers as its root filesystem, in its own mount, pid, uts and ipc namespaces, as root or as an
ordinary user (who is then root in a user namespace). Ends with COMMAND's exit status, or 128+N when signal N killed it.

  --lower DIR        a lower directory, topmost first, may be repeated; / unless given
  --upper DIR        where changes go, kept afterwards; a temporary directory unless given
  --work DIR         an empty directory on the same filesystem as --upper; beside it unless given
  --diff             list what changed when COMMAND has ended (on stderr)
  --keep             keep the temporary upper directory and say where it is
  --read-only        no upper directory at all
  --root DIR         mount at DIR of the host, visible to COMMAND's namespace alone, rather than nowhere
  --workdir PATH     COMMAND's working directory; / unless given
  --env NAME=VALUE   set a variable, may be repeated; --env NAME passes the caller's on
  --user UID[:GID]   run as this user; root unless given
  --volume SRC:DST[:ro]
                     show the host's SRC at DST, which must exist in the root; may be repeated
  --hostname NAME    the host name it sees
  --no-network       a network of its own with nothing but a loopback device
  --data MODE        auto, passthrough or cached, as for mount`,

  diff: `stratafs diff UPPER [--lower DIR]... [--json]

Lists what an upper directory does to the layers below it, one line each: a letter, a space and the path.

  A  added          the lowers have nothing of this name
  C  changed        in data, owner, mode, times, xattrs or kind
  D  deleted        hidden from the lowers
  R  renamed        a directory moved here: R NEW <- OLD

Without --lower nobody can tell added from changed: both are then listed as

  U  in the upper   added or changed

  --lower DIR   what was below, topmost first, may be repeated
  --json        one JSON object per line: {"change": "added", "path": "/etc/motd", ...}`,
};

/** The text for `topic`, or the overview. Throws UsageError for a command that does not exist. */
export function helpText(topic: string | undefined): string {
  if (topic === undefined) return overview;
  const text = Object.hasOwn(texts, topic) ? texts[topic] : undefined;
  if (text === undefined) throw new UsageError(`unknown command ${topic}${suggestion(topic, Object.keys(texts))}`);
  return text;
}
