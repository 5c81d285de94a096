/**
 * What an image says of itself: which layers, which configuration. OCI image layouts (with indexes, nested or not) and docker archives
 * come out as the same plan. Sources: OCI image-spec image-layout.md, image-index.md, manifest.md, config.md; docker image spec v1.2.
 */
import { digestOf, type Digest } from "../store/digest.js";
import { readBlob, type Blobs } from "./blobs.js";
import { ImageError } from "./errors.js";
import { digestOfField, fieldsOf, listOf, optionalText, parseJson, sizeOf, textOfField, type Fields } from "./json.js";

export interface Platform {
  readonly os: string;
  /** As Go spells it: "amd64", "arm64". */
  readonly architecture: string;
  readonly variant: string | undefined;
}

export interface PlannedLayer {
  /** Where the blob is in the image. */
  readonly path: string;
  readonly digest: Digest | undefined;
  readonly size: number | undefined;
  readonly diffId: Digest;
}

export interface ImagePlan {
  /** Names that the image has for itself; may be none. */
  readonly names: readonly string[];
  readonly layers: readonly PlannedLayer[];
  readonly config: Buffer;
  /** Undefined for docker archives, which have none. */
  readonly manifest: Buffer | undefined;
}

export interface Choice {
  /** One of the names that the layout gives its images, where it holds several. */
  readonly reference?: string | undefined;
  readonly platform?: Platform | undefined;
}

const MAX_DOCUMENT = 8 << 20;
const MAX_LAYERS = 1000;
const MAX_MANIFESTS = 1000;
const MAX_NESTING = 4;

const INDEXES = new Set(["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"]);
const MANIFESTS = new Set(["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"]);
const LAYERS = /^application\/vnd\.(oci\.image\.layer|docker\.image\.rootfs)\.[a-z0-9.+]+$/;
const REF_NAME = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME = "io.containerd.image.name";

/** The platform of this process. */
export function hostPlatform(): Platform {
  const names: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386", arm64: "arm64", arm: "arm", ppc64: "ppc64le", s390x: "s390x", riscv64: "riscv64" };
  return { os: "linux", architecture: names[process.arch] ?? process.arch, variant: undefined };
}

/** "linux/arm64/v8" as the option spells it. Throws ERR_IMAGE_FORMAT. */
export function parsePlatform(text: string): Platform {
  const [os, architecture, variant, ...more] = text.split("/");
  if (os === undefined || os === "" || architecture === undefined || architecture === "" || more.length > 0) {
    throw new ImageError("ERR_IMAGE_FORMAT", `expected a platform as os/architecture or os/architecture/variant, found ${JSON.stringify(text)}`);
  }
  return { os, architecture, variant };
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly platform: Platform | undefined;
  readonly names: readonly string[];
}

/** The plan of the one image that `choice` leaves in an OCI layout. Throws ERR_IMAGE_FORMAT, ERR_IMAGE_MISSING, ERR_IMAGE_DIGEST, ERR_IMAGE_LIMIT. */
export async function planOciLayout(blobs: Blobs, choice: Choice): Promise<ImagePlan> {
  const layout = fieldsOf(parseJson(await readBlob(blobs, "oci-layout", 4096), "oci-layout"), "oci-layout");
  const version = textOfField(layout["imageLayoutVersion"], "imageLayoutVersion");
  if (!version.startsWith("1.")) throw new ImageError("ERR_IMAGE_FORMAT", `expected an OCI image layout of version 1, found ${version}`);
  const index = fieldsOf(parseJson(await readBlob(blobs, "index.json", MAX_DOCUMENT), "index.json"), "index.json");
  const top = listOf(index["manifests"], "manifests of index.json", MAX_MANIFESTS).map((value) => descriptorOf(value, []));
  const named = choice.reference === undefined ? top : top.filter(({ names }) => names.includes(choice.reference as string));
  if (named.length === 0) throw new ImageError("ERR_IMAGE_MISSING", `expected an image called ${choice.reference ?? "anything"}, found ${namesFor(top)}`);
  const candidates = await flatten(blobs, named, 0);
  const chosen = choose(candidates, choice);
  const bytes = await document(blobs, chosen, "manifest");
  const manifest = fieldsOf(parseJson(bytes, "manifest"), "manifest");
  const config = await document(blobs, descriptorOf(manifest["config"], []), "config");
  const diffIds = diffIdsOf(config);
  const layers = listOf(manifest["layers"], "layers of the manifest", MAX_LAYERS).map((value) => descriptorOf(value, []));
  if (layers.length !== diffIds.length) throw new ImageError("ERR_IMAGE_FORMAT", `expected as many layers as diffIDs, found ${layers.length} and ${diffIds.length}`);
  return {
    names: chosen.names,
    layers: layers.map(({ mediaType, digest, size }, i) => {
      if (!LAYERS.test(mediaType)) throw new ImageError("ERR_IMAGE_FORMAT", `expected a layer's media type, found ${JSON.stringify(mediaType)}`);
      return { path: blobPath(digest), digest, size, diffId: diffIds[i] as Digest };
    }),
    config, manifest: bytes,
  };
}

/** The plans of all images in a docker archive that `choice` leaves. Throws as planOciLayout(). */
export async function planDockerArchive(blobs: Blobs, choice: Choice): Promise<readonly ImagePlan[]> {
  const plans: ImagePlan[] = [];
  for (const value of listOf(parseJson(await readBlob(blobs, "manifest.json", MAX_DOCUMENT), "manifest.json"), "manifest.json", MAX_MANIFESTS)) {
    const image = fieldsOf(value, "an image of manifest.json");
    const tags = image["RepoTags"] ?? [];
    const names = listOf(tags, "RepoTags", MAX_MANIFESTS).map((tag) => textOfField(tag, "RepoTags"));
    if (choice.reference !== undefined && !names.includes(choice.reference)) continue;
    const configPath = textOfField(image["Config"], "Config");
    const config = await readBlob(blobs, configPath, MAX_DOCUMENT);
    // Docker names the configuration by its digest, as HEX.json or as blobs/sha256/HEX.
    const stated = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(configPath)?.[1];
    if (stated !== undefined && stated !== digestOf(config)) throw new ImageError("ERR_IMAGE_DIGEST", `expected ${configPath} to have the digest in its name, found ${digestOf(config)}`);
    const diffIds = diffIdsOf(config);
    const paths = listOf(image["Layers"], "Layers", MAX_LAYERS).map((path) => textOfField(path, "Layers"));
    if (paths.length !== diffIds.length) throw new ImageError("ERR_IMAGE_FORMAT", `expected as many layers as diffIDs, found ${paths.length} and ${diffIds.length}`);
    plans.push({ names, config, manifest: undefined, layers: paths.map((path, i) => ({ path, digest: undefined, size: undefined, diffId: diffIds[i] as Digest })) });
  }
  if (plans.length === 0) throw new ImageError("ERR_IMAGE_MISSING", `expected an image called ${choice.reference ?? "anything"} in manifest.json, found none`);
  return plans;
}

export const blobPath = (digest: Digest): string => `blobs/sha256/${digest}`;

/** All image manifests beneath these descriptors; names go down to what they contain. */
async function flatten(blobs: Blobs, descriptors: readonly Descriptor[], depth: number): Promise<Descriptor[]> {
  if (depth > MAX_NESTING) throw new ImageError("ERR_IMAGE_LIMIT", `expected indexes nested at most ${MAX_NESTING} deep`);
  const found: Descriptor[] = [];
  for (const descriptor of descriptors) {
    if (MANIFESTS.has(descriptor.mediaType)) found.push(descriptor);
    if (INDEXES.has(descriptor.mediaType)) {
      const index = fieldsOf(parseJson(await document(blobs, descriptor, "index"), "index"), "index");
      const inner = listOf(index["manifests"], "manifests of an index", MAX_MANIFESTS).map((value) => descriptorOf(value, descriptor.names));
      // A layout may hold only some of the platforms that its index names.
      const present = inner.filter(({ digest }) => blobs.has(blobPath(digest)));
      found.push(...(await flatten(blobs, present, depth + 1)));
    }
    if (found.length > MAX_MANIFESTS) throw new ImageError("ERR_IMAGE_LIMIT", `expected at most ${MAX_MANIFESTS} manifests`);
  }
  return found;
}

function choose(candidates: readonly Descriptor[], choice: Choice): Descriptor {
  const wanted = choice.platform ?? hostPlatform();
  const fits = ({ platform }: Descriptor): boolean =>
    platform === undefined
      ? choice.platform === undefined
      : platform.os === wanted.os && platform.architecture === wanted.architecture && (wanted.variant === undefined || platform.variant === wanted.variant);
  const fitting = candidates.filter(fits);
  const [first] = fitting;
  if (first === undefined) {
    const found = candidates.map(({ platform }) => (platform === undefined ? "one of no stated platform" : spelt(platform)));
    throw new ImageError("ERR_IMAGE_MISSING", `expected an image for ${spelt(wanted)}, found ${found.join(", ") || "none"}`);
  }
  const same = fitting.filter(({ digest }) => digest === first.digest);
  if (same.length < fitting.length) throw new ImageError("ERR_IMAGE_MISSING", `expected one image, found several; say which of ${namesFor(fitting)}`);
  return { ...first, names: [...new Set(same.flatMap(({ names }) => names))] };
}

/** A blob that must have the size and digest of its descriptor. */
async function document(blobs: Blobs, { digest, size }: Descriptor, what: string): Promise<Buffer> {
  const bytes = await readBlob(blobs, blobPath(digest), MAX_DOCUMENT);
  if (bytes.length !== size) throw new ImageError("ERR_IMAGE_DIGEST", `expected a ${what} of ${size} bytes, found ${bytes.length}`);
  if (digestOf(bytes) !== digest) throw new ImageError("ERR_IMAGE_DIGEST", `expected ${what} ${digest}, found ${digestOf(bytes)}`);
  return bytes;
}

function diffIdsOf(config: Uint8Array): Digest[] {
  const rootfs = fieldsOf(fieldsOf(parseJson(config, "config"), "config")["rootfs"], "rootfs of the config");
  if (rootfs["type"] !== "layers") throw new ImageError("ERR_IMAGE_FORMAT", `expected a rootfs of type "layers", found ${JSON.stringify(rootfs["type"])}`);
  const diffIds = listOf(rootfs["diff_ids"], "diff_ids of the config", MAX_LAYERS).map((value) => digestOfField(value, "a diffID"));
  if (diffIds.length === 0) throw new ImageError("ERR_IMAGE_FORMAT", "expected at least one layer, found none");
  return diffIds;
}

function descriptorOf(value: unknown, inherited: readonly string[]): Descriptor {
  const fields = fieldsOf(value, "a descriptor");
  const annotations: Fields = fields["annotations"] === undefined || fields["annotations"] === null ? {} : fieldsOf(fields["annotations"], "annotations");
  const own = [annotations[CONTAINERD_NAME], annotations[REF_NAME]].filter((name): name is string => typeof name === "string" && name !== "");
  return {
    mediaType: textOfField(fields["mediaType"], "mediaType of a descriptor"),
    digest: digestOfField(fields["digest"], "digest of a descriptor"),
    size: sizeOf(fields["size"], "size of a descriptor"),
    platform: fields["platform"] === undefined || fields["platform"] === null ? undefined : platformOf(fieldsOf(fields["platform"], "platform")),
    names: own.length > 0 ? own : inherited,
  };
}

function platformOf(fields: Fields): Platform {
  return { os: textOfField(fields["os"], "os"), architecture: textOfField(fields["architecture"], "architecture"), variant: optionalText(fields["variant"], "variant") };
}

const spelt = ({ os, architecture, variant }: Platform): string => [os, architecture, ...(variant === undefined ? [] : [variant])].join("/");
const namesFor = (descriptors: readonly Descriptor[]): string => descriptors.flatMap(({ names }) => names).join(", ") || "none with a name";
