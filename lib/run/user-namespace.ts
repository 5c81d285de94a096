/**
 * Being root without being root: which ids a user namespace gets, and the plan that enters one and starts this program again inside.
 * With ranges in /etc/subuid and newuidmap at hand, the namespace has them; else it has one id, the caller's own, seen as root.
 */
import { pathBytes } from "../base/name.js";
import { CLONE_NEWNS, CLONE_NEWUSER } from "../sys/flags.js";
import { Plan } from "../sys/plan.js";

export interface IdExtent {
  readonly inside: number;
  readonly outside: number;
  readonly length: number;
}

export interface NamespaceIds {
  readonly uids: readonly IdExtent[];
  readonly gids: readonly IdExtent[];
  /** The kernel lets a process write only its own id by itself; the rest needs newuidmap(1) and newgidmap(1). */
  readonly needsHelpers: boolean;
}

/** Ranges granted to a user in the text of /etc/subuid or /etc/subgid: `name-or-uid:first:count` lines (subuid(5)). */
export function grantedRanges(text: string, userName: string | undefined, uid: number): { first: number; count: number }[] {
  const ranges: { first: number; count: number }[] = [];
  for (const line of text.split("\n")) {
    const [, owner, first, count] = /^([^:#][^:]*):(\d+):(\d+)\s*$/.exec(line) ?? [];
    if (owner === undefined || (owner !== userName && owner !== String(uid)) || Number(count) === 0) continue;
    ranges.push({ first: Number(first), count: Number(count) });
  }
  return ranges;
}

/** The caller as 0, then the granted ranges from 1 on. `helpers`: newuidmap and newgidmap exist. */
export function namespaceIds(
  uid: number, gid: number, subuids: readonly { first: number; count: number }[], subgids: readonly { first: number; count: number }[], helpers: boolean,
): NamespaceIds {
  const needsHelpers = helpers && subuids.length > 0 && subgids.length > 0;
  return {
    uids: extents(uid, needsHelpers ? subuids : []),
    gids: extents(gid, needsHelpers ? subgids : []),
    needsHelpers,
  };
}

function extents(own: number, ranges: readonly { first: number; count: number }[]): IdExtent[] {
  const list: IdExtent[] = [{ inside: 0, outside: own, length: 1 }];
  let inside = 1;
  for (const { first, count } of ranges) {
    list.push({ inside, outside: first, length: count });
    inside += count;
  }
  return list;
}

/** The arguments of newuidmap after the pid. */
export function helperArguments(map: readonly IdExtent[]): string[] {
  return map.flatMap(({ inside, outside, length }) => [String(inside), String(outside), String(length)]);
}

export interface Reentry {
  readonly ids: NamespaceIds;
  /** The child's ends of two pipes, used when helpers write the maps: it says it is there, and waits for the go-ahead. */
  readonly ready: number;
  readonly goAhead: number;
  readonly program: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
}

/** Enters a user and a mount namespace as its root and executes `program`. */
export function reentryPlan(r: Reentry): Plan {
  const plan = new Plan().setPdeathsig(SIGKILL).unshare(CLONE_NEWUSER);
  if (r.ids.needsHelpers) plan.writeByte(r.ready).readByte(r.goAhead);
  else {
    // Without this the kernel refuses a gid map written without privileges (user_namespaces(7)).
    plan.writeFile("/proc/self/setgroups", "deny");
    plan.writeFile("/proc/self/uid_map", mapText(r.ids.uids)).writeFile("/proc/self/gid_map", mapText(r.ids.gids));
  }
  plan.setresgid(0, 0, 0).setresuid(0, 0, 0).unshare(CLONE_NEWNS);
  // Changing ids has cleared it.
  plan.setPdeathsig(SIGKILL);
  for (const fd of [0, 1, 2]) plan.dup2(fd, fd).orIgnore();
  return plan.closeFrom(3).exec(pathBytes(r.program), r.argv.map(pathBytes), r.env.map(pathBytes));
}

const SIGKILL = 9;

function mapText(map: readonly IdExtent[]): string {
  return map.map(({ inside, outside, length }) => `${inside} ${outside} ${length}\n`).join("");
}
