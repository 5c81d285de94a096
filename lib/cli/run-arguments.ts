/**
 * The command line of `stratafs run`. Pure: paths come back absolute, nothing is opened.
 * What comes after `--` belongs to the command that is run and is never read.
 */
import { isAbsolute, normalize, resolve } from "node:path";
import { readArguments } from "./arguments.js";
import { UsageError } from "./usage.js";

export interface Volume {
  /** On the host. */
  readonly source: string;
  /** In the root. */
  readonly target: string;
  readonly readOnly: boolean;
}

/** What only a run of an image or container has. */
export interface ImageRequest {
  /** An image or container of the store. */
  readonly target: string;
  readonly store: string | undefined;
  /** Keep what changes in a container of this name. */
  readonly name: string | undefined;
  /** Instead of the image's, one word. */
  readonly entrypoint: string | undefined;
  /** Instead of the image's: USER or USER:GROUP, names or numbers. */
  readonly user: string | undefined;
  /** Instead of the image's. */
  readonly cwd: string | undefined;
  /** Compare contents with their digests. */
  readonly verify: boolean;
}

export interface RunRequest {
  /** Undefined for a run in directories. */
  readonly image: ImageRequest | undefined;
  /** Topmost first, never empty. */
  readonly lowers: readonly string[];
  /** "temporary" is made for this run, and removed unless `keep`; "none" makes the root read-only. */
  readonly upper: "temporary" | "none" | { readonly path: string; readonly work: string | undefined };
  readonly keep: boolean;
  readonly diff: boolean;
  /** Where in the host's tree the root is mounted meanwhile; undefined for nowhere. */
  readonly root: string | undefined;
  readonly data: "auto" | "passthrough" | "cached";
  readonly cwd: string;
  /** NAME to value, added to the caller's. */
  readonly env: Readonly<Record<string, string>>;
  readonly uid: number;
  readonly gid: number;
  readonly volumes: readonly Volume[];
  readonly hostname: string | undefined;
  readonly network: boolean;
  /** Empty only for an image, whose own command it is then. */
  readonly command: readonly string[];
}

const options = {
  lower: { type: "string", multiple: true },
  upper: { type: "string" },
  work: { type: "string" },
  root: { type: "string" },
  data: { type: "string" },
  workdir: { type: "string" },
  env: { type: "string", multiple: true },
  user: { type: "string" },
  volume: { type: "string", multiple: true },
  hostname: { type: "string" },
  "no-network": { type: "boolean" },
  "read-only": { type: "boolean" },
  diff: { type: "boolean" },
  keep: { type: "boolean" },
  store: { type: "string" },
  name: { type: "string" },
  entrypoint: { type: "string" },
  verify: { type: "boolean" },
} as const;
/** What describes a root of directories, and what one of an image. */
const ofDirectories = ["lower", "upper", "work"] as const;
const ofImages = ["store", "name", "entrypoint", "verify"] as const;

/** Throws UsageError. */
export function parseRun(args: readonly string[], cwd: () => string): RunRequest {
  const end = args.indexOf("--");
  const { values, positionals } = readArguments("run", end === -1 ? args : args.slice(0, end), options);
  const command = end === -1 ? [] : args.slice(end + 1);
  const [target] = positionals;
  const ofDirectory = ofDirectories.find((option) => values[option] !== undefined);
  if (positionals.length > 1 || (target !== undefined && ofDirectory !== undefined)) throw new UsageError(`run: put -- before the command: -- ${positionals.join(" ")}`);
  if (target === "") throw new UsageError("run: the image's name is empty");
  const ofImage = ofImages.find((option) => values[option] !== undefined);
  if (target === undefined && ofImage !== undefined) throw new UsageError(`run: --${ofImage} is of no use without an image or container`);
  if ((target === undefined && command.length === 0) || command[0] === "") throw new UsageError("run: no command given; it goes after --");

  const host = (path: string, option: string): string => {
    if (path === "") throw new UsageError(`run: --${option} is empty`);
    return isAbsolute(path) ? normalize(path) : resolve(cwd(), path);
  };
  const [uid, gid] = target === undefined ? readUser(values.user ?? "0") : [0, 0];
  if (values.work !== undefined && values.upper === undefined) throw new UsageError("run: --work is of no use without --upper");
  if (values["read-only"] === true && values.upper !== undefined) throw new UsageError("run: --read-only and --upper contradict each other");
  if (values["read-only"] === true && values.name !== undefined) throw new UsageError("run: --read-only and --name contradict each other");
  if (values["read-only"] === true && values.diff === true) throw new UsageError("run: --diff has nothing to list with --read-only");
  return {
    image: target === undefined ? undefined : {
      target, store: values.store === undefined ? undefined : host(values.store, "store"), name: values.name, entrypoint: values.entrypoint, user: values.user,
      cwd: values.workdir === undefined ? undefined : inside(values.workdir, "--workdir"), verify: values.verify ?? false,
    },
    lowers: (values.lower ?? ["/"]).map((path) => host(path, "lower")),
    upper: values["read-only"] === true ? "none"
      : values.upper === undefined ? "temporary"
      : { path: host(values.upper, "upper"), work: values.work === undefined ? undefined : host(values.work, "work") },
    keep: values.keep ?? false,
    diff: values.diff ?? false,
    root: values.root === undefined ? undefined : host(values.root, "root"),
    data: readData(values.data ?? "auto"),
    cwd: inside(values.workdir ?? "/", "--workdir"),
    env: Object.fromEntries((values.env ?? []).map(readVariable)),
    uid,
    gid,
    volumes: (values.volume ?? []).map((text) => readVolume(text, host)),
    hostname: values.hostname === undefined ? undefined : readHostname(values.hostname),
    network: values["no-network"] !== true,
    command,
  };
}

function readData(word: string): "auto" | "passthrough" | "cached" {
  if (word === "auto" || word === "passthrough" || word === "cached") return word;
  throw new UsageError(`run: --data is one of auto, passthrough, cached; found ${JSON.stringify(word)}`);
}

function readVariable(text: string): [string, string] {
  const equals = text.indexOf("=");
  if (equals < 1) throw new UsageError(`run: --env needs NAME=VALUE, found ${JSON.stringify(text)}`);
  return [text.slice(0, equals), text.slice(equals + 1)];
}

function readUser(text: string): [uid: number, gid: number] {
  const [, uid, gid] = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(text) ?? [];
  const ids = [Number(uid), Number(gid ?? uid)] as const;
  if (uid === undefined || ids.some((id) => id >= 2 ** 32 - 1)) throw new UsageError(`run: --user needs UID or UID:GID in numbers, found ${JSON.stringify(text)}`);
  return [ids[0], ids[1]];
}

function readVolume(text: string, host: (path: string, option: string) => string): Volume {
  const [source, target, mode, ...rest] = text.split(":");
  if (source === undefined || target === undefined || rest.length > 0 || (mode !== undefined && mode !== "ro" && mode !== "rw")) {
    throw new UsageError(`run: --volume needs SRC:DST or SRC:DST:ro, found ${JSON.stringify(text)}`);
  }
  return { source: host(source, "volume"), target: inside(target, "--volume"), readOnly: mode === "ro" };
}

/** A path in the new root. */
function inside(path: string, what: string): string {
  if (!isAbsolute(path)) throw new UsageError(`run: ${what} needs an absolute path in the root, found ${JSON.stringify(path)}`);
  const plain = normalize(path);
  return plain.length > 1 && plain.endsWith("/") ? plain.slice(0, -1) : plain;
}

function readHostname(text: string): string {
  if (!/^[A-Za-z0-9.-]{1,64}$/.test(text)) throw new UsageError(`run: --hostname needs 1 to 64 letters, digits, dots and dashes, found ${JSON.stringify(text)}`);
  return text;
}
