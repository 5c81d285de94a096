/**
 * Fuzz target: the documents of images. An input is index.json, manifest and configuration with NUL between them, or, with one or two documents, a
 * docker archive's; digests and sizes in the documents are put right for what they name, where they are written as IT and IT_SIZE.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { TarError } from "../../lib/tar/errors.js";
import { processConfigOf } from "../../lib/image/config.js";
import type { Blob, Blobs } from "../../lib/image/blobs.js";
import { ImageError } from "../../lib/image/errors.js";
import { fieldsOf, parseJson } from "../../lib/image/json.js";
import { planDockerArchive, planOciLayout, type ImagePlan } from "../../lib/image/manifest.js";
import { digestOf } from "../../lib/store/digest.js";
import { StoreError } from "../../lib/store/errors.js";
import { expectThat, refusedBy, scratchFolder, type Target } from "./fuzz.js";

const diffId = `sha256:${digestOf(Buffer.from("layer"))}`;

export const imageTarget: Target = {
  name: "image",
  words: [
    '"IT"', '"IT_SIZE"', "IT_SIZE", '"__proto__":{"x":1}', "null", "[]", "{}", '""', "1e400", "-1", "9007199254740993", '"sha256:"', `"${diffId}"`, '"manifests"', '"layers"', '"../../etc/passwd"', '"/etc/passwd"',
    '"application/vnd.oci.image.index.v1+json"', '"application/vnd.oci.image.manifest.v1+json"', "[[[[[[[[[[[[[[[[", "\\u0000", "\0", '"rootfs"', '"diff_ids"', '"Env"', '"User"',
  ],
  maxBytes: 8192,
  async run(input) {
    const documents = input.toString("latin1").split("\0").map((text) => Buffer.from(text, "latin1"));
    const files = documents.length > 2 ? layoutOf(documents) : new Map<string, Buffer>([["manifest.json", documents[0] ?? Buffer.alloc(0)], ["config.json", documents[1] ?? Buffer.alloc(0)]]);
    try {
      const plans = documents.length > 2 ? [await planOciLayout(new MapBlobs(files), {})] : await planDockerArchive(new MapBlobs(files), {});
      for (const plan of plans) checkPlan(plan);
    } catch (error) {
      refusedBy(error, ImageError, StoreError, TarError);
    }
  },
  async samples() {
    const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: diffId, size: 100 };
    const config = {
      architecture: "amd64", os: "linux", config: { Env: ["A=b"], Cmd: ["sh"], Entrypoint: null, WorkingDir: "/w", User: "1000:100", StopSignal: "SIGINT" },
      rootfs: { type: "layers", diff_ids: [diffId] }, history: [{ created_by: "x", empty_layer: true }],
    };
    const manifest = { schemaVersion: 2, config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: "IT", size: "IT_SIZE" }, layers: [layer] };
    const index = { schemaVersion: 2, manifests: [{ mediaType: "application/vnd.oci.image.manifest.v1+json", digest: "IT", size: "IT_SIZE", platform: { os: "linux", architecture: "amd64" }, annotations: { "org.opencontainers.image.ref.name": "a:b" } }] };
    const nested = { ...index, manifests: [{ ...index.manifests[0], mediaType: "application/vnd.oci.image.index.v1+json" }] };
    const joined = (...parts: readonly unknown[]): Buffer => Buffer.from(parts.map((part) => JSON.stringify(part).replace(/"IT_SIZE"/g, "IT_SIZE")).join("\0"));
    return {
      oci: joined(index, manifest, config),
      nested: joined(nested, index, manifest, config),
      docker: joined([{ Config: "config.json", RepoTags: ["a:b", "c:d"], Layers: ["x/layer.tar"] }], config),
    };
  },
};

/** Each document names the next one. */
function layoutOf(documents: readonly Buffer[]): Map<string, Buffer> {
  const files = new Map<string, Buffer>([["oci-layout", Buffer.from('{"imageLayoutVersion":"1.0.0"}')]]);
  let next: Buffer = Buffer.alloc(0);
  for (const [i, document] of [...documents.entries()].reverse()) {
    const text = document.toString("latin1").replaceAll("IT_SIZE", String(next.length)).replaceAll('"IT"', `"sha256:${digestOf(next)}"`);
    next = Buffer.from(text, "latin1");
    files.set(i === 0 ? "index.json" : `blobs/sha256/${digestOf(next)}`, next);
  }
  return files;
}

function checkPlan(plan: ImagePlan): void {
  for (const { path, diffId: layer, size } of plan.layers) {
    expectThat(/^[0-9a-f]{64}$/.test(layer), () => `diffID ${layer}`);
    expectThat(size === undefined || (Number.isSafeInteger(size) && size >= 0), () => `size ${size}`);
    expectThat(typeof path === "string", () => `path ${String(path)}`);
  }
  const process = processConfigOf(fieldsOf(parseJson(plan.config, "config"), "config"));
  expectThat([...process.env, ...process.cmd, ...process.entrypoint, process.user, process.workingDir].every((text) => typeof text === "string"), () => "a process of something else than text");
}

/** The files of one case, one after the other in a file of this process, which every case writes anew. */
class MapBlobs implements Blobs {
  readonly #blobs = new Map<string, Blob>();

  constructor(files: ReadonlyMap<string, Buffer>) {
    let offset = 0;
    for (const [path, { length }] of files) {
      this.#blobs.set(path, { file: scratch(), offset, size: length });
      offset += length;
    }
    writeFileSync(scratch(), Buffer.concat([...files.values()]));
  }

  has(path: string): boolean {
    return this.#blobs.has(path);
  }

  open(path: string): Blob | undefined {
    return this.#blobs.get(path);
  }
}

let file: string | undefined;
const scratch = (): string => (file ??= join(scratchFolder(), "blobs"));
