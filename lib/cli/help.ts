/** What --help prints. One text for each command; the README tells the rest. */
import { suggestion, UsageError } from "./usage.js";

const overview = `stratafs: copy-on-write filesystem layers, mounted through FUSE as the root filesystem of a process

  stratafs mount [-o OPTIONS] [SOURCE] MOUNTPOINT   mount a stack of layers
  stratafs umount [-l] MOUNTPOINT                   unmount it
  stratafs status MOUNTPOINT                        how it is served, and what waits for an answer
  stratafs upgrade MOUNTPOINT                       replace the process that serves a supervised mount by this version
  stratafs run [OPTIONS] -- COMMAND [ARGUMENT...]   run a process in a copy-on-write root
  stratafs diff UPPER [--lower DIR]... [--json]     list what an upper directory changes

  stratafs import SOURCE [--name NAME]              an image, a tar or a directory into the store
  stratafs export IMAGE TARGET                      an image out of it
  stratafs images | tag | inspect | ls | cat        look at images
  stratafs diff A B                                 what differs between two images, or an image and a container
  stratafs create IMAGE, run IMAGE|CONTAINER        a container above an image; a process in it
  stratafs ps | rm | commit | squash | bundle       containers, and images made of them
  stratafs stats | fsck | sweep                     the store itself
  stratafs dedup DIRECTORY...                       equal files in plain directories share their data (btrfs, xfs)
  stratafs --version, stratafs COMMAND --help

Called by the name fuse-overlayfs, or by mount -t fuse.stratafs, it behaves as stratafs mount.`;

const texts: Readonly<Record<string, string>> = {
  mount: `stratafs mount [-f] [-d] -o lowerdir=A:B|image=NAME[,upperdir=U,workdir=W][,OPTION...] [SOURCE] MOUNTPOINT

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
  image=NAME         an image of the store, below all of these; store=DIR where the store is
  verify             compare the content of each of its files with its digest when it is first opened: EIO and a line in the log
  upperdir=U         where changes go; workdir=W an empty directory on the same filesystem
  redirect_dir=on|off|follow|nofollow, metacopy=on|off
                     rename lower directories by redirect, copy up metadata alone (both off unless asked for)
  index=off, nfs_export=off, verity=off, uuid=off|null|auto
                     accepted: what they turn off is not here
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
                     who receives requests
  channel=auto|device|uring
                     how they arrive at the host "device": read from /dev/fuse, or through an io_uring where fuse.enable_uring is on
  supervised=auto|on|off
                     (or --supervised) another process goes on when the one that serves the mount dies, see stratafs upgrade; auto is on but with
                     -f, -d, ino32_t, host=fuse-native, channel=uring and on Linux before 6.9
  timeout=SECONDS    how long the kernel may keep names and attributes (for ever, unless asked for)
  noacl              no POSIX ACLs
  xino=auto|on|off, ino32_t, static_nlink
                     inode numbers are unique across layers whatever xino says; within 32 bits; one link for every directory
  threaded=0|1, max_idle_threads=N
                     accepted; one thread serves a mount
  log=FILE           where the serving process writes what goes wrong (nowhere, unless asked for)

mount
  remount            give a mount that is there other flags of these; its layers stay as they are
  ro, rw, [no]suid, [no]dev, [no]exec, [no]atime, relatime, sync, ...
  allow_other, default_permissions, fsname=NAME, subtype=NAME
  context=LABEL, fscontext=, defcontext=, rootcontext=
                     SELinux labels, where the kernel has SELinux

An option not listed here is reported on stderr and ignored.`,

  upgrade: `stratafs upgrade MOUNTPOINT

Has the process that serves a supervised mount hand it over to one that runs this version of stratafs; returns when that one serves.
Whoever uses the mount notices a pause.`,

  umount: `stratafs umount [-l] MOUNTPOINT

Unmounts; when it returns everything written is in the upper directory and the serving process has ended. umount(8) returns earlier,
unless it finds this command by the name umount.fuse.stratafs in /sbin.

  -l, --lazy   detach now, finish when nobody uses it any more; waits for nothing`,

  status: `stratafs status MOUNTPOINT [--json]

Says who serves a mount and how, what was served, and which requests wait for an answer. A server that does not answer within two seconds
is said to hang; the mount itself is not touched. Exit status 1 when the mount is not served. For who mounted it, and root.

  --json     one JSON object: {"mountpoint": "/mnt", "connection": 59, "waiting": 0, "servers": [{"pid": 4711, "state": "S"}], "server": {...}}
  --server   only what the server says, as JSON, however long it takes`,

  run: `stratafs run [OPTIONS] -- COMMAND [ARGUMENT...]
stratafs run [OPTIONS] IMAGE|CONTAINER [-- COMMAND [ARGUMENT...]]

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
  --data MODE        auto, passthrough or cached, as for mount

With an image or container of the store, its Env, Entrypoint, Cmd, WorkingDir and User count, and the caller's variables do not. COMMAND
stands for Cmd. A container of an image is made for the run and removed after it, unless --name or --keep is given. A container
goes before an image of the same name.

  --name NAME        keep the changes in a container of this name
  --keep             keep them in one with a name of its own, and say which
  --entrypoint PROGRAM
                     instead of the image's; '' for none
  --user USER[:GROUP]
                     also names, which the image's /etc/passwd and /etc/group know
  --verify           compare the content of each file with its digest when it is first opened
  --store DIR        the store; see stratafs images --help`,

  diff: `stratafs diff UPPER [--lower DIR]... [--json]
stratafs diff CONTAINER | IMAGE IMAGE | IMAGE CONTAINER [--store DIR] [--json]

Lists what an upper directory does to the layers below it, or a container to its image, or what the second image has other than the
first; one line each: a letter, a space and the path.

  A  added          the lowers have nothing of this name
  C  changed        in data, owner, mode, times, xattrs or kind
  D  deleted        hidden from the lowers
  R  renamed        a directory moved here: R NEW <- OLD

Without --lower nobody can tell added from changed: both are then listed as

  U  in the upper   added or changed

  --lower DIR   what was below, topmost first, may be repeated
  --json        one JSON object per line: {"change": "added", "path": "/etc/motd", ...}
  --no-times    between images, modification times do not count`,

  import: `stratafs import SOURCE [--name NAME]... [--store DIR]

Puts an image into the store: an OCI image layout (directory or tar), a docker archive (docker save), the tar of a root filesystem, plain,
gzip or zstd, or a directory. SOURCE may be - for standard input, or be spelt as skopeo and podman do: oci:DIR[:NAME],
oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], with NAME as for --reference. What is not as announced stores nothing.

  --name NAME        the image's name instead of its own; needed where it has none; may be repeated
  --reference NAME   which image, where SOURCE holds several
  --platform OS/ARCH[/VARIANT]
                     which platform; this machine's unless given
  --absolute-names refuse|strip
                     what to do with names in layers that begin with a slash; refuse unless given
  --keep-blobs       keep compressed layers that cannot be made again as they were
  --json             events, one JSON object per line
  --store DIR        the store; see stratafs images --help`,

  export: `stratafs export IMAGE TARGET [--format FORMAT] [--store DIR]

Writes an image: the layers' tars are those that were imported, byte for byte. TARGET may be spelt as skopeo and podman do:
oci:DIR[:NAME], oci-archive:FILE[:NAME] or docker-archive:FILE[:NAME] say the format and the reference as well.

  --format oci       an OCI image layout in the directory TARGET, which is made or empty (unless given)
  --format oci-tar, --format docker
                     a tar of that, or what docker load reads, in the file TARGET; - for standard output
  --compression original|gzip|none
                     the blobs that were imported where they can be made again; all in one way of ours; plain tars
  --reference NAME   what the image is called in there; its name here unless given
  --json             events, one JSON object per line
  --store DIR        the store; see stratafs images --help`,

  images: `stratafs images [--store DIR] [--json]

Lists the images: name, the first digits of the configuration's digest, layers, size of all files, size of what no other image has.

  --json        one JSON object per line
  --store DIR   the store: else $STRATAFS_STORE, else /var/lib/stratafs for root, and $XDG_DATA_HOME/stratafs
                or ~/.local/share/stratafs for others`,

  tag: `stratafs tag IMAGE NAME [--store DIR]

Gives an image one more name. What was called so before loses it.`,

  inspect: `stratafs inspect IMAGE|CONTAINER [--store DIR] [--json]

Prints what the store knows of it as JSON, with or without --json: layers with their sizes, and the configuration.`,

  ls: `stratafs ls [-l] [-R] IMAGE|CONTAINER [PATH] [--store DIR] [--json]

Lists a directory, or names a file, without mounting anything. Symbolic links in PATH lead inside of the image.

  -l, --long        mode, links, owner, size (or device), time (UTC), name
  -R, --recursive   with all that is below
  --json            one JSON object per line, with extended attributes in base64`,

  cat: `stratafs cat IMAGE|CONTAINER PATH [--store DIR]

Writes the bytes of a file to standard output.`,

  create: `stratafs create IMAGE [--name NAME] [--store DIR]

Makes a container: an upper directory above the image, which stays in the store for as long. Prints its name.`,

  ps: `stratafs ps [--store DIR] [--json]

Lists the containers and who uses them.`,

  rm: `stratafs rm [--image] NAME... [--store DIR]

Removes containers with all that was changed in them, and images' names; stratafs sweep frees what they alone needed. A container goes
before an image of the same name.

  --image   only images`,

  commit: `stratafs commit CONTAINER IMAGE [OPTIONS] [--store DIR]

Makes an image of a container: its changes become one more layer. Takes as long as the changes are large, whatever the image's size.
With SOURCE_DATE_EPOCH set (seconds since 1970) equal changes give equal images.

  -m, --message TEXT, -a, --author TEXT
                       for the image's history
  --cmd WORDS, --entrypoint WORDS
                       the new image's: words between spaces, or a JSON list
  --env NAME=VALUE     the new image's variables, instead of the old one's; may be repeated
  --workdir PATH, --user USER[:GROUP]
  --json               events, one JSON object per line`,

  squash: `stratafs squash IMAGE NAME [OPTIONS] [--store DIR]

Makes an image with all layers of IMAGE in one. The options are those of stratafs commit.`,

  bundle: `stratafs bundle CONTAINER DIR [OPTIONS] [--store DIR] [-- COMMAND [ARGUMENT...]]

Writes an OCI runtime bundle: DIR/config.json, and the container mounted at DIR/rootfs, so that runc run -b DIR NAME runs it. The process
is what the image says, with COMMAND for its Cmd. The mount and the container's use end with stratafs umount DIR/rootfs. Needs root.

  -f, --foreground   serve the mount in this process
  -t, --terminal     the process gets a terminal
  --hostname NAME    the container's name unless given
  --log FILE         where the serving process writes what goes wrong (nowhere, unless asked for)`,

  stats: `stratafs stats [--store DIR] [--json]

Says what the store holds, what storing equal files once saves, and for each image what is its own and what it shares.`,

  fsck: `stratafs fsck [--repair] [--store DIR] [--json]

Reads everything in the store, says what is wrong and which images it concerns. Exit status 1 when something is.

  --repair   move what is wrong out of the way, so that a new import brings it back whole`,

  sweep: `stratafs sweep [--grace TIME] [--dry-run] [--store DIR] [--json]

Frees what no image, container or running process needs.

  --grace TIME   keep what is younger (90s, 10m, 2h, 1d); 10 minutes unless given
  --dry-run      say what would be freed`,

  dedup: `stratafs dedup DIRECTORY... [--dry-run] [--json]

Lets equal files in the directories share their data on the disk, for layers that are plain directories on btrfs or xfs; images in
the store need no such thing. Nothing of the files changes that could be seen: the kernel compares and shares the bytes. Mounts
inside of the directories are left out, and no symbolic link is followed. May be stopped, and repeated, at any time.

  --dry-run   only say what would be shared, going by hashes
  --json      events, one JSON object per line`,
};

/** The text for `topic`, or the overview. Throws UsageError for a command that does not exist. */
export function helpText(topic: string | undefined): string {
  if (topic === undefined) return overview;
  const text = Object.hasOwn(texts, topic) ? texts[topic] : undefined;
  if (text === undefined) throw new UsageError(`unknown command ${topic}${suggestion(topic, Object.keys(texts))}`);
  return text;
}
