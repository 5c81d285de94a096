/**
 * The command line of a mount, in every form it arrives: `stratafs mount`, the name fuse-overlayfs, and the helper that mount(8) calls.
 * Pure: argv and cwd in, a MountRequest or a word for help out. Throws UsageError with the one line that the caller shows to its user.
 */
import * as nodePath from "node:path";
import { applyOption, noOptions, type MountOptionSet } from "./mount-options.js";
import { splitOptions } from "./option-string.js";
import { UsageError } from "./usage.js";

export interface MountRequest extends MountOptionSet {
  /** Absolute. */
  mountpoint: string;
  /** The word in the first column of /proc/mounts. */
  source: string;
  /** Serve in this process rather than in a daemon. */
  foreground: boolean;
  debug: boolean;
  /** mount(8)'s -f: check the arguments, mount nothing. */
  fake: boolean;
}

export type MountCommand =
  | { readonly kind: "mount"; readonly request: MountRequest }
  | { readonly kind: "help" }
  | { readonly kind: "version" };

/** How a mount was asked for. "helper" is mount(8)'s convention, in which -f, -n, -s and -v mean other things. */
export type CallStyle = "command" | "helper";

/** The forms in which argv asks for a mount without the word `mount`; undefined when it does not. */
export function mountForm(program: string, args: readonly string[], commands: readonly string[]): CallStyle | undefined {
  if (program === "fuse-overlayfs") return "command";
  if (program === "mount.fuse.stratafs" || program === "mount.stratafs") return "helper";
  const [first, second, third] = args;
  if (first === undefined || commands.includes(first)) return undefined;
  // A person leaving out the word; `-o` alone cannot belong to any other command.
  if (first.startsWith("-o")) return "command";
  // mount.fuse runs `stratafs SOURCE TARGET -o OPTIONS` for the type fuse.stratafs.
  if (!first.startsWith("-") && second?.startsWith("/") === true && third?.startsWith("-o") === true) return "helper";
  return undefined;
}

/** Reads the arguments after the word `mount`, if there was one. The mountpoint and the log become absolute; layers stay as given. */
export function parseMount(args: readonly string[], style: CallStyle, cwd: () => string): MountCommand {
  const set = noOptions();
  const positionals: string[] = [];
  const seen = { foreground: false, debug: false, fake: false, help: false, version: false };
  let onlyPositionals = false;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? "";
    if (onlyPositionals || arg === "-" || !arg.startsWith("-")) positionals.push(arg);
    else if (arg === "--") onlyPositionals = true;
    else if (arg.startsWith("-o")) {
      const options = arg.length > 2 ? arg.slice(2) : args[++i];
      if (options === undefined) throw new UsageError("-o needs options after it, as in -o lowerdir=A:B,upperdir=U,workdir=W");
      for (const option of splitOptions(options)) applyOption(set, option);
    } else if (arg === "--help") seen.help = true;
    else if (arg === "--version") seen.version = true;
    else if (arg.startsWith("--")) i += readLong(arg, args[i + 1], set, seen);
    else i += readLetters(arg, style, seen);
  }
  if (seen.help) return { kind: "help" };
  if (seen.version) return { kind: "version" };
  const { source, mountpoint } = readPositionals(positionals);
  const absolute = (path: string): string => (nodePath.isAbsolute(path) ? nodePath.normalize(path) : nodePath.resolve(cwd(), path));
  if (!set.remount) checkLayers(set);
  if (set.supervised === "on" && (seen.foreground || seen.debug)) throw new UsageError("mount: a supervised mount is served by one process after another, none of them this one: not with -f or -d");
  return {
    kind: "mount",
    request: {
      ...set,
      mountpoint: absolute(mountpoint),
      // Opened when the cwd is "/" already.
      logFile: set.logFile === undefined ? undefined : absolute(set.logFile),
      source: set.fsname ?? source ?? "stratafs",
      foreground: seen.foreground || seen.debug,
      debug: seen.debug,
      fake: seen.fake,
    },
  };
}

interface Seen {
  foreground: boolean;
  debug: boolean;
  fake: boolean;
  help: boolean;
  version: boolean;
}

/**
 * `--data=cached` or `--data cached` is `-o data=cached`, for the options that choose how to serve; the value of --supervised can be left out, and so
 * must be joined to it. The result is how many following arguments belong to it.
 */
function readLong(arg: string, next: string | undefined, set: MountOptionSet, seen: Seen): number {
  if (arg === "--foreground") seen.foreground = true;
  else if (arg === "--debug") seen.debug = true;
  else {
    const [, key, value] = /^--(data|host|channel|log|supervised)(?:=(.*))?$/s.exec(arg) ?? [];
    if (key === undefined) throw new UsageError(`mount: unknown option ${arg}`);
    const takesNext = value === undefined && key !== "supervised";
    applyOption(set, { key, value: takesNext ? next : value });
    return takesNext ? 1 : 0;
  }
  return 0;
}

/** Reads `-fd` and the like; the result is how many following arguments belong to it. */
function readLetters(arg: string, style: CallStyle, seen: Seen): number {
  for (const letter of arg.slice(1)) {
    if (style === "helper" && letter === "f") seen.fake = true;
    else if (style === "helper" && (letter === "n" || letter === "s" || letter === "v")) continue;
    // -t TYPE and -N NAMESPACE are mount(8)'s own, already acted on.
    else if (style === "helper" && (letter === "t" || letter === "N")) return arg.endsWith(letter) ? 1 : 0;
    else if (letter === "f") seen.foreground = true;
    else if (letter === "d") seen.debug = true;
    // libfuse's "single thread", which is how every mount here is served.
    else if (letter === "s") continue;
    else if (letter === "h") seen.help = true;
    else if (letter === "V") seen.version = true;
    else throw new UsageError(`mount: unknown option -${letter}`);
  }
  return 0;
}

function readPositionals(positionals: readonly string[]): { source: string | undefined; mountpoint: string } {
  const [first, second, third] = positionals;
  if (first === undefined) throw new UsageError("mount: no mountpoint given");
  if (third !== undefined) throw new UsageError(`mount: expected SOURCE and MOUNTPOINT at most, found also ${JSON.stringify(third)}`);
  const mountpoint = second ?? first;
  if (mountpoint === "") throw new UsageError("mount: the mountpoint is empty");
  return { source: second === undefined ? undefined : first, mountpoint };
}

/** What only the whole set can tell. */
function checkLayers(set: MountOptionSet): void {
  if (set.image === undefined && (set.store !== undefined || set.verify)) throw new UsageError(`mount: ${set.verify ? "verify" : "store"} is of use with image=NAME alone`);
  if (set.lowers.length === 0 && (set.image === undefined || set.dataLowers.length > 0)) {
    throw new UsageError(set.dataLowers.length > 0 ? "mount: data-only layers need at least one lowerdir above them" : "mount: no lowerdir given");
  }
  if (set.upper !== undefined && set.work === undefined) throw new UsageError("mount: upperdir needs a workdir, an empty directory on the same filesystem");
  if (set.upper === undefined && set.work !== undefined) set.warnings.push("workdir ignored: there is no upperdir, so the mount is read-only");
  if (set.dataLowers.length > 0 && set.metacopy === false) throw new UsageError("mount: data-only layers are of no use with metacopy=off");
  if (set.userXattr && set.xattrPermissions === 1) throw new UsageError("mount: userxattr and xattr_permissions=1 contradict each other");
}
