/** All subjects, in the order of the report. */
import { imageSubjects } from "./images.js";
import { kernelOverlayfs } from "./kernel-overlayfs.js";
import { mountProgram } from "./mount-program.js";
import { plain } from "./plain.js";
import { storeSubjects } from "./store.js";
import { stratafsSubjects } from "./stratafs.js";
import type { Subject } from "./subject.js";
import { unionfsFuse } from "./unionfs-fuse.js";

export interface Peer {
  readonly name: string;
  readonly path: string;
}

export function allSubjects(peers: readonly Peer[]): readonly Subject[] {
  return [
    ...stratafsSubjects,
    ...storeSubjects,
    kernelOverlayfs,
    mountProgram("fuse-overlayfs", "fuse-overlayfs", "the mount program of podman and buildah"),
    ...peers.map((peer) => mountProgram(peer.name, peer.path, `--peer ${peer.path}`)),
    unionfsFuse,
    plain,
    ...imageSubjects,
  ];
}
