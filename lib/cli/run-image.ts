/**
 * What `stratafs run` needs of an image or container: its layers and upper, and what the image says about its processes.
 * Order: the container made or taken, under its lock; the run; a container that was made for it removed, the lock let go.
 */
import {
  createContainer, directoryLayer, directoryUpper, holdContainer, processConfigOf, readConfig, removeContainer, storeLayer, type Digest, type FileSystem,
  type HeldContainer, type LayerDescription, type StackDescription, type Store,
} from "../index.js";
import type { Change } from "./changes.js";
import { diffOf } from "./diff.js";
import { userOf, type ImageUser } from "./image-user.js";
import type { ImageRequest, RunRequest } from "./run-arguments.js";
import { storeFor, storeIds, targetOf, type Target } from "./store-options.js";

export const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** How a command is started. */
export interface ImageProcess {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly cwd: string;
  readonly command: readonly string[];
  /** NAME=VALUE. */
  readonly env: readonly string[];
  /** Where to look for the program. */
  readonly path: string;
}

export interface UsedImage {
  readonly stack: StackDescription;
  /** The same, to be looked at alone. */
  readonly shown: readonly LayerDescription[];
  /** What the image says, and the request in its stead; `look` shows the root, for the names in its passwd and group. Throws Error. */
  process(look: FileSystem, request: Pick<RunRequest, "command" | "env">): ImageProcess;
  readonly changes: (() => Promise<Change[]>) | undefined;
  /** The name of a container that stays and that nobody has been told of. */
  readonly kept: string | undefined;
  end(): Promise<void>;
}

/** Throws StoreError; Error when there is no image or container of the name. */
export async function useImage(image: ImageRequest, { readOnly, keep }: { readonly readOnly: boolean; readonly keep: boolean }): Promise<UsedImage> {
  const { store, target } = await found(image);
  if (target.kind === "container" && image.name !== undefined) throw new Error(`${image.target} is a container, which has its name`);
  if (readOnly && target.kind === "image") return described(store, image, target.image.layers, target.image.config, undefined, undefined, async () => {});

  const isNew = target.kind === "image";
  const temporary = isNew && image.name === undefined && !keep;
  const { name } = isNew ? await createContainer(store, target.image, { name: image.name, temporary }) : target.container;
  const held = await holdContainer(store, name);
  const { layers, config } = held.container;
  return described(store, image, layers, config, { ...held, readOnly }, isNew && !temporary && image.name === undefined ? name : undefined, async () => {
    held.release();
    if (temporary) await removeContainer(store, name);
  });
}

async function found(image: ImageRequest): Promise<{ readonly store: Store; readonly target: Target }> {
  try {
    const store = await storeFor(image.store);
    return { store, target: targetOf(store, image.target) };
  } catch (error) {
    // Most likely nobody meant an image.
    throw new Error(`${(error as Error).message} (a command goes after --)`, { cause: error });
  }
}

async function described(
  store: Store, image: ImageRequest, layers: readonly Digest[], config: Digest | undefined, held: (HeldContainer & { readonly readOnly: boolean }) | undefined,
  kept: string | undefined, end: () => Promise<void>,
): Promise<UsedImage> {
  try {
    const below = await storeLayer(store.path, layers, { ...storeIds(), verify: image.verify });
    const shownUpper = held === undefined ? undefined : directoryLayer(held.upper, storeIds());
    const shown = shownUpper === undefined ? [below] : [shownUpper, below];
    return {
      shown, kept, end,
      stack: held === undefined || held.readOnly ? { lowers: shown } : {
        lowers: [below],
        // Only we read this upper: its marks need not be what every kernel follows.
        upper: directoryUpper(held.upper, { ...storeIds(), workdir: held.work, redirect: true, metacopy: true, volatile: held.container.temporary }),
      },
      process: (look, request) => processOf(store, config, image, look, request),
      changes: shownUpper === undefined ? undefined : () => diffOf(shownUpper, [below]),
    };
  } catch (error) {
    await end();
    throw error;
  }
}

function processOf(store: Store, config: Digest | undefined, image: ImageRequest, look: FileSystem, request: Pick<RunRequest, "command" | "env">): ImageProcess {
  const stated = processConfigOf(readConfig(store, config));
  const user = userOf(look, image.user ?? stated.user);
  const entrypoint = image.entrypoint === undefined ? stated.entrypoint : image.entrypoint === "" ? [] : [image.entrypoint];
  // As container engines do: another entrypoint makes the image's Cmd meaningless.
  const cmd = request.command.length > 0 ? request.command : image.entrypoint === undefined ? stated.cmd : [];
  const command = [...entrypoint, ...cmd];
  if (command.length === 0) throw new Error(`${image.target} has no command of its own; give one after --`);
  const env = environmentOf(stated.env, user, request.env);
  return { uid: user.uid, gid: user.gid, groups: user.groups, cwd: image.cwd ?? (stated.workingDir === "" ? "/" : pathOf(stated.workingDir)), command, ...env };
}

/** The image's variables over the usual ones, with those asked for over both. */
function environmentOf(stated: readonly string[], user: ImageUser, asked: Readonly<Record<string, string>>): { env: string[]; path: string } {
  const all = new Map<string, string>([["PATH", DEFAULT_PATH], ["HOME", user.home]]);
  const { TERM: terminal } = process.env;
  if (terminal !== undefined && process.stdin.isTTY) all.set("TERM", terminal);
  for (const variable of stated) {
    const equals = variable.indexOf("=");
    if (equals > 0) all.set(variable.slice(0, equals), variable.slice(equals + 1));
  }
  for (const [name, value] of Object.entries(asked)) all.set(name, value);
  return { env: [...all].map(([name, value]) => `${name}=${value}`), path: all.get("PATH") ?? DEFAULT_PATH };
}

const pathOf = (path: string): string => (path.startsWith("/") ? path : `/${path}`);

/** The same for those who start the process themselves (bundle). Throws as processOf does. */
export const processOfContainer = (store: Store, config: Digest | undefined, target: string, look: FileSystem, command: readonly string[]): ImageProcess =>
  processOf(store, config, { target, store: undefined, name: undefined, entrypoint: undefined, user: undefined, cwd: undefined, verify: false }, look, { command, env: {} });
