/**
 * A mount that outlives the process that serves it: lib/supervised keeps what must be kept, this joins it with layers and a session.
 * Always true: from the moment the mount is live there is an heir, a process that takes over when this one is gone (native/src/heir.cc);
 * what it needs lies in the journal and in the descriptors that the journal lists.
 */
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { resolve } from "node:path";
import { check, FsError } from "./base/errors.js";
import { pathBytes } from "./base/name.js";
import { mountFuse, unmount } from "./fuse/mountpoint.js";
import type { Policy } from "./fuse/policy.js";
import { Session } from "./fuse/session.js";
import { FUSE_HAS_RESEND } from "./fuse/wire/abi.js";
import type { LayerDescription, UpperDescription } from "./layer/description.js";
import { readyForStores } from "./layer/store-layer.js";
import { checkAgreed, ended, mountRequestOf, overlay, sessionOptionsOf, unmountAnyway } from "./mount.js";
import type { Mount, MountOptions, StackDescription } from "./mount.js";
import type { Overlay } from "./overlay/overlay.js";
import { Heir, type Program } from "./supervised/heir.js";
import { Journal } from "./supervised/journal.js";
import { JournaledChannel } from "./supervised/journaled-channel.js";
import { OnceTree } from "./supervised/once-tree.js";
import { MountRecorder } from "./supervised/recorder.js";
import { closeStrayBacking, remembered, restore } from "./supervised/recovery.js";
import { native } from "./sys/binding.js";
import { AT_FDCWD, O_DIRECTORY, O_PATH } from "./sys/flags.js";

export type { Program };

/** What the next process is told, as JSON. */
interface Job {
  readonly stack: StackDescription;
  readonly mountpoint: string;
  readonly options: Omit<MountOptions, "log">;
  readonly policy: Policy;
  readonly fuseFd: number;
}

export interface LastingMount extends Mount {
  /** Lets another process take over: everything taken so far is answered, then this process ends, with status 0. */
  handOver(): Promise<never>;
}

/** Processes in a row that may die before they have answered anything. */
const ATTEMPTS = 20;
/** A server that has lived so long has not failed, even if nobody asked it anything. */
const SETTLED_MS = 1000;
const HAND_OVER_MS = 10_000;
/** The first with FUSE_NOTIFY_RESEND. */
const LEAST_LINUX = [6, 9] as const;

/**
 * Mounts a described stack and serves it in this thread, whose process should do nothing else. `successor` is the program that goes on
 * with it: it is started with the number of the journal's descriptor in the variable that heirs are told by (see inheritedJournal).
 * Throws FsError: EOPNOTSUPP, EINVAL for what cannot be handed on.
 */
export async function mountLasting(stack: StackDescription, mountpoint: string, options: MountOptions, successor: Program): Promise<LastingMount> {
  const hindrance = hindranceToLasting(stack, options);
  if (hindrance !== undefined) throw hindrance;
  const { log = complain, ...plain } = options;
  if (usesStores(stack)) await readyForStores();
  const opened: number[] = [];
  let tree: Overlay | undefined;
  let mounted: { readonly fd: number } | undefined;
  try {
    const pinned = pin(stack, opened);
    tree = overlay(pinned, log);
    sessionOptionsOf(options);
    mounted = mountFuse(mountRequestOf(mountpoint, options));
    const journal = Journal.create(journalName(mountpoint));
    for (const fd of [...opened, ...tree.locks(), mounted.fd]) journal.keep(fd);
    journal.begin(process.pid);
    const heir = new Heir(journal, mounted.fd, successor, log);
    const { session } = sessionOf(journal, tree, mounted.fd, { ...options, log }, heir);
    session.start();
    const policy = await session.ready;
    checkAgreed(policy, options);
    if ((policy.flags2 & FUSE_HAS_RESEND) === 0) throw new FsError("EOPNOTSUPP", "mount", `with supervised: it needs Linux ${LEAST_LINUX.join(".")} or later`);
    const described = { ...pinned, ...(pinned.upper === undefined ? {} : { upper: withLocks(pinned.upper, tree.locks()) }) };
    journal.job = JSON.stringify({ stack: described, mountpoint, options: plain, policy, fuseFd: mounted.fd } satisfies Job);
    journal.ready = true;
    heir.start();
    return lasting(session, tree, mountpoint, journal, heir);
  } catch (error) {
    if (mounted !== undefined) await unmount(mountpoint, { force: true, lazy: true }).catch(() => {});
    tree?.close();
    for (const fd of opened) native.close(fd);
    throw error;
  }
}

/** The journal's descriptor, in a process that was started to take over. */
export function inheritedJournal(): number | undefined {
  return Heir.inherited();
}

/** Goes on with the mount whose journal this process has inherited. Throws when that cannot be done; the mount then ends with this process. */
export async function continueMount(journalFd: number, successor: Program, log: (line: string) => void = complain): Promise<LastingMount> {
  native.closeOnExec(3);
  const { journal, job } = openedOrEnded(journalFd);
  const { stack, mountpoint, options, policy, fuseFd } = job;
  if (journal.attempts > ATTEMPTS) {
    journal.drop(fuseFd);
    throw new FsError("EIO", "mount", `of ${mountpoint}: ${ATTEMPTS} servers in a row have ended before they answered anything`);
  }
  if (usesStores(stack)) await readyForStores();
  const tree = overlay(stack, log);
  // The heir that has started this one holds the leases of its layers until there is the next: now these have their own.
  const heir = new Heir(journal, fuseFd, successor, log);
  heir.start();
  const state = rememberedOrEnded(journal, heir);
  const needed = new Set([journalFd, fuseFd, ...pinnedIn(stack), ...tree.locks()]);
  for (const { nameless } of state.nodes.values()) if (nameless !== undefined) needed.add(nameless.fd);
  for (const intent of state.intents.values()) if ("lost" in intent && intent.lost !== undefined) needed.add(intent.lost.fd);
  for (const fd of journal.keptDescriptors()) {
    if (needed.has(fd)) continue;
    journal.drop(fd);
    native.close(fd);
  }
  const { session, recorder, channel } = sessionOf(journal, tree, fuseFd, { ...options, log }, heir);
  const restored = restore(state, journal, tree, recorder, session, log);
  if (policy.passthrough) closeStrayBacking(journal, channel);
  session.resume({ policy, ...restored });
  setTimeout(() => journal.succeeded(), SETTLED_MS).unref();
  journal.ready = true;
  return lasting(session, tree, mountpoint, journal, heir);
}

/** No other server would find more in a journal that is damaged here: there is to be none. One of another version may find its program yet. */
function openedOrEnded(fd: number): { journal: Journal; job: Job } {
  try {
    const journal = Journal.open(fd);
    journal.ready = false;
    journal.begin(process.pid);
    return { journal, job: jobIn(journal) };
  } catch (error) {
    if (error instanceof FsError && error.code === "EIO") Journal.abandon(fd);
    throw error;
  }
}

function jobIn(journal: Journal): Job {
  try {
    return JSON.parse(journal.job) as Job;
  } catch {
    throw new FsError("EIO", "journal", "is damaged where it says what is mounted");
  }
}

/** No other server would find more in a damaged journal: there is to be none. */
function rememberedOrEnded(journal: Journal, heir: Heir): ReturnType<typeof remembered> {
  try {
    return remembered(journal);
  } catch (error) {
    heir.end();
    throw error;
  }
}

function sessionOf(journal: Journal, tree: Overlay, fuseFd: number, options: MountOptions, heir: Heir): { session: Session; recorder: MountRecorder; channel: JournaledChannel } {
  const recorder = new MountRecorder(journal, tree, (reason) => {
    heir.end();
    options.log?.(`this mount no longer outlives its server: ${reason.message}`);
  });
  const channel = new JournaledChannel(fuseFd, journal);
  const session = new Session(new OnceTree(tree, recorder), channel, { ...sessionOptionsOf(options), recorder, lasting: true });
  recorder.watch(session.nodes);
  return { session, recorder, channel };
}

function lasting(session: Session, tree: Overlay, mountpoint: string, journal: Journal, heir: Heir): LastingMount {
  const closed = ended(session.closed, tree);
  return {
    mountpoint,
    closed,
    unmount: () => unmountAnyway(mountpoint, closed),
    counters: () => Promise.resolve(session.counters()),
    handOver: async () => {
      heir.replace(journal.program);
      await Promise.race([session.pause(), new Promise((resolve) => setTimeout(resolve, HAND_OVER_MS))]);
      process.exit(0);
    },
  };
}

/** What stands against a mount that outlives its server, EINVAL or EOPNOTSUPP: mostly what lives in this process alone. */
export function hindranceToLasting(stack: StackDescription, options: MountOptions): FsError | undefined {
  const { upper, ino32 } = stack;
  const lowers = [...stack.lowers, ...(stack.dataLayers ?? [])];
  const told = (code: "EINVAL" | "EOPNOTSUPP", what: string): FsError => new FsError(code, "mount", `with supervised: ${what}`);
  if (lowers.some(({ kind }) => kind === "memory")) return told("EINVAL", "a layer in memory would die with its server");
  if (lowers.some((layer) => layer.kind === "store" && typeof layer.what === "string")) return told("EINVAL", "an image's name may stand for another image by then");
  if (upper?.kind === "memory") return told("EINVAL", "an upper in memory would die with its server");
  if (upper?.kind === "directory" && upper.options.workdir === undefined) return told("EINVAL", "the upper needs a work directory that is named");
  if (ino32 === true) return told("EINVAL", "inode numbers of 32 bits depend on the order of asking");
  if (options.host === "fuse-native") return told("EINVAL", "the host fuse-native cannot go on with a connection");
  if (options.channel === "uring") return told("EINVAL", "requests in a ring end with it");
  const [major = 0, minor = 0] = release().split(".").map(Number);
  if (major < LEAST_LINUX[0] || (major === LEAST_LINUX[0] && minor < LEAST_LINUX[1])) return told("EOPNOTSUPP", `it needs Linux ${LEAST_LINUX.join(".")} or later`);
  return undefined;
}

function usesStores(stack: StackDescription): boolean {
  return [...stack.lowers, ...(stack.dataLayers ?? [])].some(({ kind }) => kind === "store");
}

/** The same stack by descriptors, which mean the same to the next process whatever becomes of the paths. */
function pin(stack: StackDescription, opened: number[]): StackDescription {
  const pinned = <T extends LayerDescription | UpperDescription>(layer: T): T => {
    if (layer.kind !== "directory" || typeof layer.at === "number") return layer;
    const fd = check(native.open(AT_FDCWD, pathBytes(layer.at), O_PATH | O_DIRECTORY, 0, 0), "open", `of the layer at ${layer.at}`);
    opened.push(fd);
    return { ...layer, at: fd };
  };
  const { upper } = stack;
  return {
    ...stack,
    lowers: stack.lowers.map(pinned),
    ...(stack.dataLayers === undefined ? {} : { dataLayers: stack.dataLayers.map(pinned) }),
    ...(upper?.kind === "directory" ? { upper: pinned({ ...upper, options: { ...upper.options, workdir: resolve(upper.options.workdir!), whole: true } }) } : {}),
  };
}

function pinnedIn(stack: StackDescription): number[] {
  const all = [...stack.lowers, ...(stack.dataLayers ?? []), ...(stack.upper === undefined ? [] : [stack.upper])];
  return all.flatMap((layer) => (layer.kind === "directory" && typeof layer.at === "number" ? [layer.at] : []));
}

function withLocks(upper: UpperDescription, locks: readonly number[]): UpperDescription {
  return upper.kind === "directory" ? { ...upper, options: { ...upper.options, locks } } : upper;
}

/** Found again by who knows the mountpoint only: with the device number of the mount in it. */
export function journalName(mountpoint: string): string {
  return `stratafs-${deviceOf(mountpoint) ?? "?"}`;
}

/** Device number of what is mounted there last, "0:57", without touching it. Lines of mountinfo: `36 35 0:57 / /mnt rw …`. */
export function deviceOf(mountpoint: string): string | undefined {
  let device: string | undefined;
  for (const line of readFileSync("/proc/self/mountinfo", "latin1").split("\n")) {
    const [, , number, , at = ""] = line.split(" ");
    const path = at.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
    if (path === pathBytes(mountpoint)) device = number;
  }
  return device;
}

function complain(line: string): void {
  process.stderr.write(`stratafs: ${line}\n`);
}
