/**
 * A subject: something that shows a stack of lower directories with a writable upper as one tree, or something that keeps images. All
 * subjects get the same directories. Everything here runs in the cell's own process, and every process it starts carries the cell's mark.
 */
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, symlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { mountsBeneath } from "../measure/mounts.js";

/** One mount's directories, made by makePlace. */
export interface Place {
  /** Holds all below; on the filesystem of the work directory. */
  readonly directory: string;
  /** Absolute, topmost first. */
  readonly lowers: readonly string[];
  /** The merged tree as one directory, for the subject that merges nothing. */
  readonly flat: string;
  /** Where the tree appears: the mountpoint, or for `plain` the directory itself. */
  readonly root: string;
  readonly upper: string;
  readonly work: string;
  /** Symlinks 0, 1, … to the lowers: short names, since mount(2) takes one page of options. */
  readonly links: string;
  /** Whether the scenario changes what came from the lowers. */
  readonly changesLowers: boolean;
}

interface Named {
  readonly name: string;
  readonly about: string;
  /** As the program itself says it. Throws with the reason when it is not here. */
  version(): string;
}

export interface ServerWords {
  /** How it really serves, which may be other than what was asked for. */
  readonly mode: string;
  /** Requests by opcode since the mount, this question included: one GETXATTR. */
  readonly served: Readonly<Record<string, number>>;
}

export interface MountSubject extends Named {
  /** `fuse`: has a daemon, and requests to count. */
  readonly kind: "directory" | "kernel" | "fuse";
  /** What is done once for a set of lowers and is no part of a mount; does nothing when it was done before. */
  prepare?(place: Place): void;
  /** Returns when the tree is there. Throws with the program's own words. */
  mount(place: Place): void;
  /** What the server of a live mount says of itself. */
  status?(root: string): Promise<ServerWords>;
  /** The arguments of a process that runs `command` with the tree as its root; mounts by itself. Absent: mount, then chroot. */
  start?(place: Place, command: readonly string[]): readonly string[];
}

/** Keeps images and makes containers of them. */
export interface ImageSubject extends Named {
  readonly kind: "images";
  /** A collection of its own, with nothing in it, in an empty directory, for images of an OCI layout. */
  open(directory: string, layout: string): Images;
}

export interface Images {
  /** Takes the image `name` out of the layout, so far that a root filesystem can be had of it at once. */
  import(name: string): void;
  /** Calls `use` with the root of a new container of an image that was imported or committed. The container stays. */
  container(name: string, use: (root: string) => void): void;
  /** Makes the image `to` of that container's changes. */
  commit(name: string, to: string): void;
}

export type Subject = MountSubject | ImageSubject;

/** True in a user namespace, even where its root may do everything on the machine's behalf. */
export const inUserNamespace = (): boolean => !readFileSync("/proc/self/uid_map", "latin1").includes("4294967295");

/** Makes the directories of one mount below `directory`. */
export function makePlace(directory: string, lowers: readonly string[], flat: string, plain: boolean, changesLowers: boolean): Place {
  const at = (name: string) => {
    mkdirSync(join(directory, name), { recursive: true });
    return join(directory, name);
  };
  const links = at("l");
  lowers.forEach((lower, i) => symlinkSync(lower, join(links, String(i))));
  const root = !plain ? at("root") : changesLowers ? join(directory, "copy") : flat;
  return { directory, lowers, flat, root, upper: at("upper"), work: at("work"), links, changesLowers };
}

/** `0:1:2`: the lowers by their links, for a program whose working directory is `links`. */
export const linkedLowers = (place: Place): string => place.lowers.map((_, i) => String(i)).join(":");

/** Runs a mount program and waits until it has gone to the background. Standard error goes to a file: a daemon may keep it open. */
export function runMountProgram(place: Place, argv: readonly string[]): void {
  const [program = "", ...args] = argv;
  const log = join(place.directory, "mount.stderr");
  const fd = openSync(log, "w");
  const done = spawnSync(program, args, { cwd: place.links, stdio: ["ignore", "ignore", fd], timeout: 60_000, killSignal: "SIGKILL" });
  closeSync(fd);
  if (done.status !== 0) throw new Error(`${program}: ${readFileSync(log, "utf8").trim() || done.error?.message || `status ${done.status}`}`);
  if (mountsBeneath(place.root).length === 0) throw new Error(`${program} ended well but nothing is mounted`);
}

/** What `program --version` says of the program itself: the libraries it names as well are left out. */
export function versionLine(program: string): string {
  const done = spawnSync(program, ["--version"], { encoding: "utf8", timeout: 20_000 });
  if (done.error !== undefined) throw new Error(`${program} is not installed`);
  const lines = `${done.stdout}${done.stderr}`.trim().split("\n");
  return lines.find((line) => line.startsWith(basename(program))) ?? lines[0] ?? "";
}
