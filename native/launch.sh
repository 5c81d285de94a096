#!/bin/sh
':' /*
# The lines up to the closing mark are for sh; to JavaScript they are one comment.
# A mount must outlive the command that asked for it, so two processes are needed. Starting Node twice in a row costs twice
# its 60 ms; here sh waits for the serving process instead. Everything that is not plainly a mount goes straight to Node,
# which understands the same calls and starts the same serving process itself (lib/cli/daemon.ts).
# It is a program of its own (lib/cli/server.ts), small, and told by STRATAFS_NAME what this one was called as.
# STRATAFS_SERVE tells the serving process who waits. What it says before the mount is live comes over its descriptors 2
# and 3, and the last line is "status N". It closes both then: that is what the command substitution waits for.
mount=
case ${0##*[/]} in fuse-overlayfs | mount.fuse.stratafs | mount.stratafs) mount=yes ;; *) case $1 in mount | -o*) mount=yes ;; esac ;; esac
for arg in "$@"; do
  case $arg in -o*) ;; -*) mount= ;; esac
done
[ -n "$mount" ] || exec node "$0" "$@"
self=$(readlink -f -- "$0")
said=$(STRATAFS_SERVE=$$ STRATAFS_NAME=$0 node "${self%/*}/server.cjs" "$@" 3>&1 </dev/null >/dev/null 2>&3 &)
status=${said##*status }
case $status in
  [0-9] | [0-9][0-9]) said=${said%status "$status"} ;;
  *) status=1; said="${said:-stratafs: the serving process ended before the mount was live}
" ;;
esac
[ -z "$said" ] || printf '%s' "$said" >&2
exit "$status"
*/
