/** Imports, exports, commits and checks of a store, with their progress as async iterables. Options and errors are those of the functions named. */
import { running, type Running } from "../base/progress.js";
import { fsckStore, type FsckOptions, type FsckResult } from "../store/fsck.js";
import type { Store } from "../store/store.js";
import { commitContainer, type CommitEvent, type CommitOptions, type CommittedImage } from "./commit.js";
import { exportLayout, type ExportEvent, type ExportOptions } from "./export.js";
import { importImage, type ImageInput, type ImportedImage, type ImportEvent, type ImportOptions } from "./import.js";

/** `bytes`: of objects read so far. */
export interface FsckEvent {
  readonly type: "progress";
  readonly bytes: number;
}

/** importImage(). */
export function importing(store: Store, input: ImageInput, options: Omit<ImportOptions, "onEvent"> = {}): Running<ImportEvent, readonly ImportedImage[]> {
  return running((onEvent) => importImage(store, input, { ...options, onEvent }));
}

/** exportLayout(). For a tar there is imageTar(), whose reader sees the progress. */
export function exporting(store: Store, name: string, folder: string, options: Omit<ExportOptions, "format" | "onEvent"> = {}): Running<ExportEvent, void> {
  return running((onEvent) => exportLayout(store, name, folder, { ...options, onEvent }));
}

/** commitContainer(). */
export function committing(store: Store, container: string, options: Omit<CommitOptions, "onEvent">): Running<CommitEvent, CommittedImage> {
  return running((onEvent) => commitContainer(store, container, { ...options, onEvent }));
}

/** fsckStore(). */
export function checking(store: Store, options: Omit<FsckOptions, "onProgress"> = {}): Running<FsckEvent, FsckResult> {
  return running((onEvent) => fsckStore(store, { ...options, onProgress: (bytes) => onEvent({ type: "progress", bytes }) }));
}
