/** The public names of stratafs. */
export { FsError } from "./base/errors.js";
export type { ErrnoName } from "./base/errors.js";
export { checkName, name, textOf } from "./base/name.js";
export type { Name } from "./base/name.js";
export type { Attr, AttrChanges, Caller, DirEntry, FileSystem, NewNode, OpenFile, RenameMode, StatFs } from "./vfs.js";
