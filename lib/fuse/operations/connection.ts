/** Requests about the connection as a whole: INIT, STATFS, SYNCFS, INTERRUPT, DESTROY, and those with one fixed answer. */
import { errnoOf } from "../../base/errors.js";
import { CONGESTION_THRESHOLD, MAX_BACKGROUND, negotiate } from "../policy.js";
import { NO_REPLY, then, type Operation } from "../serving.js";
import {
  FUSE_INIT_EXT, FUSE_KERNEL_MINOR_VERSION, FUSE_KERNEL_VERSION, INIT_IN, INIT_OUT, INTERRUPT_IN, MAX_PAGES, MAX_WRITE, OLDEST_MINOR_VERSION,
} from "../wire/abi.js";

/**
 * A kernel of a later major is told ours and sends INIT again; an older one, by major or minor, cannot be served.
 * Source: "Version negotiation" in linux/fuse.h.
 */
export const init: Operation = (s) => {
  const { request, reply } = s;
  const major = request.u32(INIT_IN.major);
  const minor = request.u32(INIT_IN.minor);
  reply.zero(0, INIT_OUT.SIZE);
  reply.u32(INIT_OUT.major, FUSE_KERNEL_VERSION);
  reply.u32(INIT_OUT.minor, FUSE_KERNEL_MINOR_VERSION);
  if (major > FUSE_KERNEL_VERSION) return INIT_OUT.SIZE;
  if (major < FUSE_KERNEL_VERSION || minor < OLDEST_MINOR_VERSION) {
    s.refuse(`the kernel speaks FUSE ${major}.${minor}; ${FUSE_KERNEL_VERSION}.${OLDEST_MINOR_VERSION} or later is needed`);
    return -71; // EPROTO, which no tree may answer and the errno table does not have.
  }
  const flags = request.u32(INIT_IN.flags);
  const policy = negotiate({
    minor,
    maxReadahead: request.u32(INIT_IN.maxReadahead),
    flags,
    flags2: (flags & FUSE_INIT_EXT) !== 0 ? request.u32(INIT_IN.flags2) : 0,
  }, s.policyOptions);
  s.agree(policy);
  reply.u32(INIT_OUT.minor, policy.minor);
  reply.u32(INIT_OUT.maxReadahead, policy.maxReadahead);
  reply.u32(INIT_OUT.flags, policy.flags);
  reply.u32(INIT_OUT.flags2, policy.flags2);
  reply.u16(INIT_OUT.maxBackground, MAX_BACKGROUND);
  reply.u16(INIT_OUT.congestionThreshold, CONGESTION_THRESHOLD);
  reply.u32(INIT_OUT.maxWrite, MAX_WRITE);
  reply.u32(INIT_OUT.timeGran, 1);
  reply.u16(INIT_OUT.maxPages, MAX_PAGES);
  reply.u32(INIT_OUT.maxStackDepth, policy.maxStackDepth);
  return INIT_OUT.SIZE;
};

export const statfs: Operation = (s) => s.reply.statfs(s.tree.statfs());

export const syncfs: Operation = (s) => then(s.tree.sync(), () => 0);

/** The request that it names waits, has been answered just now, or (with rings) has not been read yet. */
export const interrupt: Operation = (s) => {
  s.interrupted(s.request.u32(INTERRUPT_IN.unique), s.request.u32(INTERRUPT_IN.unique + 4));
  return NO_REPLY;
};

/** The last request; the device reports the end by itself. */
export const destroy: Operation = () => 0;

export const notifyReply: Operation = () => NO_REPLY;

/** The kernel remembers this answer for the whole connection and does not ask again. */
export const notImplemented: Operation = () => -errnoOf("ENOSYS");

/** Not ENOSYS: what a device or filesystem answers that has no such ioctl. */
export const ioctl: Operation = () => -errnoOf("ENOTTY");
