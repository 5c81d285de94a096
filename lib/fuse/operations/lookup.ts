/** LOOKUP and its reverse, FORGET and BATCH_FORGET. */
import { NO_REPLY, replyEntry, type Operation } from "../serving.js";
import { BATCH_FORGET_IN, ENTRY_OUT, FORGET_ONE } from "../wire/abi.js";

/** A missing name is an answer like any other: nodeid 0 with a lifetime, which the kernel keeps. */
export const lookup: Operation = (s) => {
  const dir = s.nodes.get(s.request.nodeid).node;
  const node = s.tree.lookup(dir, s.request.name(0));
  if (node === undefined) return s.reply.missing(s.policy.entrySec);
  replyEntry(s, 0, node);
  return ENTRY_OUT.SIZE;
};

export const forget: Operation = (s) => {
  s.nodes.forget(s.request.nodeid, s.request.u64(0));
  return NO_REPLY;
};

export const batchForget: Operation = (s) => {
  const { request, nodes } = s;
  const count = request.u32(BATCH_FORGET_IN.count);
  for (let i = 0, at = BATCH_FORGET_IN.SIZE; i < count && at + FORGET_ONE.SIZE <= request.bodyLength; i++, at += FORGET_ONE.SIZE) {
    nodes.forget(request.u64(at + FORGET_ONE.nodeid), request.u64(at + FORGET_ONE.nlookup));
  }
  return NO_REPLY;
};
