/** From what was asked for to what the library takes: a MountRequest as a stack of layers and as options of the mount. Pure but for the image's store. */
import { directoryLayer, directoryUpper, storeLayer, type MountFlag, type MountOptions, type StackDescription } from "../index.js";
import type { MountOptionSet } from "./mount-options.js";
import type { MountRequest } from "./mount-arguments.js";
import { storeFor, storeIds } from "./store-options.js";

/**
 * Other tools own the directories of such a mount and read them as kernel overlayfs without options would: redirects and metadata-only
 * copies are written only on request, and opaque directories get the AUFS mark too.
 */
export function stackOf(request: MountOptionSet, env: NodeJS.ProcessEnv): StackDescription {
  const ids = idsOf(request);
  const honour = {
    redirect: request.redirect !== "nofollow", metacopy: request.metacopy !== false, ...(request.userXattr ? { userXattrs: true } : {}),
  };
  const plainWhiteouts = (env["FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT"] ?? "") !== "";
  return {
    lowers: request.lowers.map((path) => directoryLayer(path, { ids, honour })),
    dataLayers: request.dataLowers.map((path) => directoryLayer(path, { ids, honour })),
    ...(request.upper === undefined || request.work === undefined ? {} : {
      upper: directoryUpper(request.upper, {
        workdir: request.work, ids, honour, xattrPrefix: request.userXattr ? "user" : "auto", whiteouts: plainWhiteouts ? "dotwh" : "auto", opaqueSentinel: true,
        volatile: request.volatile, redirect: request.redirect === "on", metacopy: request.metacopy === true, xattrPermissions: request.xattrPermissions,
      }),
    }),
    ino32: request.ino32,
    staticNlink: request.staticNlink,
  };
}

/** The same with the image that is asked for below all lowers. Throws StoreError. */
export async function withImage(stack: StackDescription, request: MountOptionSet): Promise<StackDescription> {
  if (request.image === undefined) return stack;
  const store = await storeFor(request.store);
  // Its layers: the name may be another image's when the next server opens them.
  const what = store.image(request.image)?.layers ?? request.image;
  return { ...stack, lowers: [...stack.lowers, await storeLayer(store.path, what, { ids: { ...storeIds().ids, ...idsOf(request) }, verify: request.verify })] };
}

function idsOf(request: MountOptionSet) {
  return {
    uids: request.uidMap,
    gids: request.gidMap,
    ...(request.squashUid === undefined ? {} : { squashUid: request.squashUid }),
    ...(request.squashGid === undefined ? {} : { squashGid: request.squashGid }),
  };
}

/**
 * What root mounts is for everybody, with setuid programs working; device files only count when asked for. An ordinary user's mount is
 * his own, as fusermount wants it.
 */
export function mountOptionsOf(request: MountRequest, root: boolean): MountOptions {
  const readOnly = request.readOnly || request.upper === undefined;
  return {
    data: request.data,
    host: request.host,
    channel: request.channel,
    acl: request.acl,
    // A volatile upper syncs nothing anyway; this way the kernel need not ask.
    fsync: request.fsync && !request.volatile,
    contexts: request.contexts,
    allowOther: request.allowOther ?? root,
    defaultPermissions: request.defaultPermissions ?? true,
    flags: flagsOf(request.flags, root, readOnly),
    source: request.source,
    subtype: request.subtype ?? "stratafs",
    ...(request.timeoutSec === undefined ? {} : { timeoutSec: request.timeoutSec }),
  };
}

function flagsOf(asked: readonly MountFlag[], root: boolean, readOnly: boolean): MountFlag[] {
  const flags = [...asked];
  if (!flags.includes("dev") && !flags.includes("nodev")) flags.push("nodev");
  if (!root && !flags.includes("suid") && !flags.includes("nosuid")) flags.push("nosuid");
  if (readOnly) flags.push("ro");
  return flags;
}
