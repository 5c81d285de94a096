/**
 * Where an image is, also as skopeo, podman and their kin spell it: TRANSPORT:PATH[:NAME]. A path that looks like that is meant with ./
 * before it.
 */
import { UsageError } from "./usage.js";

export interface Place {
  /** Undefined for a plain path. */
  readonly transport: "oci" | "oci-archive" | "docker-archive" | undefined;
  readonly path: string;
  /** What the image is called there. */
  readonly name: string | undefined;
}

const known = ["oci", "oci-archive", "docker-archive"] as const;
const foreign = ["docker", "docker-daemon", "containers-storage", "dir", "ostree", "sif", "tarball", "atomic"];

/** Throws UsageError for a transport that is not ours, or without a path. */
export function placeOf(command: string, text: string): Place {
  const [word = "", path = "", ...rest] = text.split(":");
  if (foreign.includes(word) && text.includes(":")) {
    const copy = command === "import" ? `${text} oci:DIR` : `oci:DIR ${text}`;
    throw new UsageError(`${command}: expected a path, ${known.map((each) => `${each}:`).join(", ")}, found ${word}:; skopeo copy ${copy} goes between them`);
  }
  const transport = known.find((each) => each === word);
  if (transport === undefined || !text.includes(":")) return { transport: undefined, path: text, name: undefined };
  if (path === "") throw new UsageError(`${command}: no path behind ${transport}:`);
  const name = rest.join(":");
  return { transport, path, name: name === "" ? undefined : name };
}
