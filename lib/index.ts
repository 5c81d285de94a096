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
export type { ChannelChoice, DataChoice, Mount, MountOptions, Served, StackDescription } from "./mount.js";
export { continueMount, deviceOf, hindranceToLasting, inheritedJournal, mountLasting } from "./lasting-mount.js";
export { head as journalHead } from "./supervised/journal.js";
export type { LastingMount, Program } from "./lasting-mount.js";
export { isMountFlag, mountFuse, remountFuse, unmount } from "./fuse/mountpoint.js";
export type { Mounted, MountFlag, MountRequest, SecurityContexts, UnmountOptions } from "./fuse/mountpoint.js";

export { askServer, HEIR_NAME, mountView } from "./fuse/status.js";
export type { MountView, ServerStatus, ServingProcess, WaitingRequest } from "./fuse/status.js";

// Processes in a mounted root.
export { closeDescriptor, CommandError, detachedCopy, hasSingleId, inInitialUserNamespace, mayMount, runContained, runInUserNamespace } from "./run/contained.js";
export type { Container, Exit } from "./run/contained.js";
export { detachProcess } from "./run/detach.js";

// Plain directories.
export { dedupDirectories, deduping } from "./dedup/dedup.js";
export type { DedupEvent, DedupOptions, DedupResult } from "./dedup/dedup.js";

// The store, images and containers.
export { openStore } from "./store/store.js";
export type { OpenStoreOptions, Store } from "./store/store.js";
export type { Digest } from "./store/digest.js";
export type { ImageRef } from "./store/refs.js";
export { createContainer, holdContainer, listContainers, readContainer, removeContainer } from "./store/containers.js";
export type { Container as StoredContainer, ContainerStatus, HeldContainer, NewContainer } from "./store/containers.js";
export { sweepStore } from "./store/sweep.js";
export type { SweepOptions, SweepResult } from "./store/sweep.js";
export { storeStats } from "./store/stats.js";
export type { ImageStats, StoreStats } from "./store/stats.js";
export { fsckStore } from "./store/fsck.js";
export type { FsckOptions, FsckResult, Problem } from "./store/fsck.js";
export { StoreError } from "./store/errors.js";
export type { StoreCode } from "./store/errors.js";
export { TarError } from "./tar/errors.js";
export { importImage } from "./image/import.js";
export type { ImageInput, ImportedImage, ImportEvent, ImportOptions } from "./image/import.js";
export { exportLayout, imageTar } from "./image/export.js";
export type { ExportEvent, ExportFormat, ExportOptions } from "./image/export.js";
export { commitContainer, imageOf, importDirectory, squashImage } from "./image/commit.js";
export type { CommitEvent, CommitOptions, CommittedImage } from "./image/commit.js";
export { diffChains, diffImages } from "./image/diff.js";
export type { Difference, DifferentPart, DiffOptions } from "./image/diff.js";
export { parsePlatform } from "./image/manifest.js";
export type { Platform } from "./image/manifest.js";
export { processConfigOf, readConfig } from "./image/config.js";
export type { ProcessConfig } from "./image/config.js";
export { checking, committing, exporting, importing } from "./image/progress.js";
export type { FsckEvent } from "./image/progress.js";
export type { Running } from "./base/progress.js";
export { ImageError } from "./image/errors.js";
export type { ImageCode } from "./image/errors.js";
export { layerTarBytes } from "./image/recipe.js";
