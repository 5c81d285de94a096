/** The public names of stratafs. */
export { FsError } from "./base/errors.js";
export type { ErrnoName } from "./base/errors.js";
export { checkName, name, pathBytes, textOf } from "./base/name.js";
export type { Name } from "./base/name.js";
export type { Attr, AttrChanges, Caller, DirEntry, FileSystem, NewNode, OpenFile, RenameMode, StatFs } from "./vfs.js";

// Layers, described in plain data or opened.
export { directoryLayer, directoryUpper, memoryLayer, memoryUpper, openLayer, openUpper, storeLayer } from "./layer/description.js";
export type { LayerDescription, UpperDescription } from "./layer/description.js";
export type { Backing, Layer, LayerEntry, LayerNode, Marks } from "./layer/layer.js";
export type { UpperLayer, WritableBacking } from "./layer/upper.js";

// The merged view, with and without a mount.
export { Overlay } from "./overlay/overlay.js";
export type { OverlayOptions } from "./overlay/overlay.js";
export { nodeFs } from "./node-fs/node-fs.js";
export type { NodeFs, NodeFsOptions } from "./node-fs/node-fs.js";
export { mount, overlay, serve } from "./mount.js";
export type { DataChoice, Mount, MountOptions, Served, StackDescription } from "./mount.js";
export { isMountFlag, mountFuse, unmount } from "./fuse/mountpoint.js";
export type { Mounted, MountFlag, MountRequest, SecurityContexts, UnmountOptions } from "./fuse/mountpoint.js";

// Processes in a mounted root.
export { closeDescriptor, CommandError, detachedCopy, hasSingleId, inInitialUserNamespace, mayMount, runContained, runInUserNamespace } from "./run/contained.js";
export type { Container, Exit } from "./run/contained.js";
export { detachProcess } from "./run/detach.js";
