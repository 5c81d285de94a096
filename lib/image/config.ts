/**
 * An image's configuration: what a container of it runs as, and the same document with one more layer.
 * Fields that nothing here knows are kept as they are. Source: OCI image-spec, config.md.
 */
import type { Digest } from "../store/digest.js";
import type { Store } from "../store/store.js";
import { fieldsOf, listOf, optionalText, parseJson, textOfField, type Fields } from "./json.js";
import { hostPlatform } from "./manifest.js";

/** What an image says about the processes of its containers. */
export interface ProcessConfig {
  /** NAME=VALUE. */
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** "" for "/". */
  readonly workingDir: string;
  /** "" for root; USER or USER:GROUP, names or numbers. */
  readonly user: string;
  readonly stopSignal: string | undefined;
}

export interface HistoryEntry {
  readonly created_by: string;
  readonly comment?: string | undefined;
  readonly author?: string | undefined;
}

const MAX_CONFIG = 8 << 20;
const MAX_WORDS = 100_000;

/** The document; that of an image without one says no more than the platform. Throws ERR_STORE_MISSING, ERR_STORE_DAMAGED, ERR_IMAGE_FORMAT. */
export function readConfig(store: Store, config: Digest | undefined): Fields {
  if (config === undefined) {
    const { os, architecture } = hostPlatform();
    return { architecture, os, config: {}, history: [] };
  }
  return fieldsOf(parseJson(store.objects.read(config, MAX_CONFIG), "config"), "config");
}

/** Throws ERR_IMAGE_FORMAT. */
export function processConfigOf(document: Fields): ProcessConfig {
  const fields: Fields = document["config"] === undefined || document["config"] === null ? {} : fieldsOf(document["config"], "config of the config");
  const words = (name: string): string[] => (fields[name] === undefined || fields[name] === null ? [] : listOf(fields[name], name, MAX_WORDS).map((word) => textOfField(word, name)));
  return {
    env: words("Env"), entrypoint: words("Entrypoint"), cmd: words("Cmd"), workingDir: optionalText(fields["WorkingDir"], "WorkingDir") ?? "",
    user: optionalText(fields["User"], "User") ?? "", stopSignal: optionalText(fields["StopSignal"], "StopSignal"),
  };
}

/** The document with other layers, and one more entry of history: `created` in Unix milliseconds. `empty`: the step made no layer. */
export function configWith(document: Fields, layers: readonly Digest[], step: HistoryEntry, created: number, how: { readonly empty?: boolean; readonly alone?: boolean } = {}): Buffer {
  const time = new Date(created).toISOString();
  const before = how.alone === true || document["history"] === undefined || document["history"] === null ? [] : listOf(document["history"], "history", MAX_WORDS);
  return Buffer.from(JSON.stringify({
    ...document, created: time, rootfs: { type: "layers", diff_ids: layers.map((layer) => `sha256:${layer}`) },
    history: [...before, { created: time, ...step, ...(how.empty === true ? { empty_layer: true } : {}) }],
  }));
}
