/**
 * An own read-only view of a directory's mount: whatever else is done with the mount, nothing is written through this one, not
 * even access times, no device is opened through it, and mounts inside it are not there.
 * Needs CAP_SYS_ADMIN over the mount namespace; undefined where that, or the kernel, is missing.
 */
import { O_CLOEXEC } from "../base/mode.js";
import { native } from "../sys/binding.js";
import { AT_EMPTY_PATH, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_RDONLY, MOUNT_ATTR__ATIME, OPEN_TREE_CLONE } from "../sys/flags.js";

/** Descriptor of the clone (O_PATH), the caller's to close; `dir` stays the caller's. */
export function privateClone(dir: number): number | undefined {
  const tree = native.openTree(dir, "", OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH);
  if (tree < 0) return undefined;
  // Access time flags of a mount that came from a parent user namespace are locked; read-only alone also keeps them still.
  if (native.mountSetattr(tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME, 0) >= 0) return tree;
  if (native.mountSetattr(tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, 0, 0) >= 0) return tree;
  native.close(tree);
  return undefined;
}
