/** Which store a command works on, and what its name arguments mean there. */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import {
  directoryLayer, hasSingleId, inInitialUserNamespace, openStore, readContainer, storeLayer, type ImageRef, type LayerDescription, type Store, type StoredContainer,
} from "../index.js";

/** For every command that needs a store. */
export const storeOption = { store: { type: "string" } } as const;

/** STRATAFS_STORE; for root /var/lib/stratafs, for others a folder under XDG_DATA_HOME. In a user namespace of ours the user stays who he is. */
export function defaultStorePath(env: NodeJS.ProcessEnv = process.env): string {
  const { STRATAFS_STORE: chosen, XDG_DATA_HOME: data } = env;
  if (chosen !== undefined && chosen !== "") return chosen;
  if (process.getuid!() === 0 && inInitialUserNamespace()) return "/var/lib/stratafs";
  return join(data !== undefined && data.startsWith("/") ? data : join(homedir(), ".local/share"), "stratafs");
}

/** The store that `--store` names, or the default one, made where it is missing when the command is about to put something in. */
export async function storeFor(path: string | undefined, create = false): Promise<Store> {
  const folder = path ?? defaultStorePath();
  if (!create && !existsSync(join(folder, "format"))) throw new Error(`there is no store in ${folder} yet; stratafs import makes one`);
  return await openStore(folder, { create });
}

export type Target = { readonly kind: "image"; readonly image: ImageRef } | { readonly kind: "container"; readonly container: StoredContainer };

/** What a name means: a container if there is one, else an image. Throws when it is neither. */
export function targetOf(store: Store, name: string): Target {
  const container = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(name) ? readContainer(store, name) : undefined;
  if (container !== undefined) return { kind: "container", container };
  const image = store.image(name);
  if (image === undefined) throw new Error(`no image or container ${name} in ${store.path}`);
  return { kind: "image", image };
}

/** Where there is one id only, everything is shown as root's. */
export function storeIds(): { ids?: { squashUid: number; squashGid: number } } {
  return hasSingleId() && !inInitialUserNamespace() ? { ids: { squashUid: 0, squashGid: 0 } } : {};
}

/** What an image or container shows, to be looked at and not written: layers for overlay(). */
export async function shownLayers(store: Store, target: Target): Promise<LayerDescription[]> {
  if (target.kind === "image") return [await storeLayer(store.path, target.image.layers, storeIds())];
  const { name, layers } = target.container;
  return [directoryLayer(join(store.folder("containers"), name, "upper"), storeIds()), await storeLayer(store.path, layers, storeIds())];
}
