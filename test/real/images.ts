/**
 * Real images through the store: imported, mounted in both data modes, compared entry by entry with what umoci unpacks and with what kernel
 * overlayfs shows of podman's layers, exported, read back by skopeo and umoci; killed and starved; timed beside umoci and podman.
 *
 *   npm run test:images [-- --base FOLDER] [--only million,compare,kills,full,cache,race] [--race ROUNDS] [--kills ROUNDS] [--keep]
 *
 * Needs root, umoci, skopeo, buildah, podman, and Debian's package registry. FOLDER is a debootstrapped root, which is copied.
 * Always true: what it makes lies in one temporary directory and is gone when it ends.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fullDisk, killLoop } from "./images/kills.js";
import { makeImages } from "./images/make.js";
import { millionEntries } from "./images/million.js";
import { pageCache } from "./images/page-cache.js";
import { race } from "./images/race.js";
import { check, failed, sh, step } from "./images/shell.js";
import { differences, listing } from "./images/tree.js";
import { isInstalled } from "./suite.js";

const { values } = parseArgs({ options: { base: { type: "string" }, only: { type: "string" }, race: { type: "string" }, kills: { type: "string" }, keep: { type: "boolean" } } });
const wanted = (part: string): boolean => values.only === undefined || values.only.split(",").includes(part);
const missing = process.getuid?.() !== 0 ? "root" : ["umoci", "skopeo", "buildah", "podman", "dpkg-deb", "getfattr"].find((program) => !isInstalled(program));
if (missing !== undefined) {
  console.log(`skipped: needs ${missing}`);
  process.exit(0);
}
const ground = mkdtempSync(join(tmpdir(), "stratafs-images-"));
const run = (script: string, ...args: string[]): string => sh(script, args, ground);

/** `kernel`: podman can load it, too; it unpacks each layer alone and so knows no links to files of lower ones. */
function compare(image: string, kernel: boolean, directoryTimes = true): void {
  run(`$S import --store store lay --reference "$1" --name "$1" >/dev/null`, image);
  run(`umoci unpack --image "lay:$1" unpacked; mkdir mnt`, image);
  const umoci = listing(join(ground, "unpacked/rootfs"), { directoryTimes });
  const mounted = new Map<string, Map<string, string>>();
  for (const data of ["passthrough", "cached"]) {
    run(`$S mount -o "image=$1,store=$PWD/store,verify,data=$2,dev,suid,log=$PWD/log" mnt`, image, data);
    try {
      mounted.set(data, listing(join(ground, "mnt"), { directoryTimes }));
    } finally {
      run("$S umount mnt");
    }
    check(`${image}: ${umoci.size} entries, data=${data}, as umoci unpacks them`, differences(mounted.get(data)!, umoci, "umoci"));
  }
  if (kernel) {
    run(`skopeo copy -q --insecure-policy "oci:lay:$1" "oci-archive:l.tar:$1"; podman --root "$PWD/p" --runroot "$PWD/pr" --storage-driver overlay load -q -i l.tar >/dev/null; rm l.tar`, image);
    const root = run(`podman --root "$PWD/p" --runroot "$PWD/pr" --storage-driver overlay image mount $(podman --root "$PWD/p" --runroot "$PWD/pr" --storage-driver overlay images -q)`).trim();
    try {
      run(`$S mount -o "image=$1,store=$PWD/store,dev,suid" mnt`, image);
      const [ours, theirs] = [join(ground, "mnt"), root].map((folder) => {
        // podman makes directories that a layer only implies anew, with times of their own, and the root read-only; it knows no times before 1970.
        const tree = listing(folder, { directoryTimes: false });
        for (const path of [".", "./srv/kinds/old"]) tree.delete(path);
        return tree;
      }) as [Map<string, string>, Map<string, string>];
      check(`${image}: ${theirs.size} entries as kernel overlayfs shows podman's layers`, differences(ours, theirs, "kernel overlayfs"));
    } finally {
      run(`$S umount mnt; podman --root "$PWD/p" --runroot "$PWD/pr" --storage-driver overlay image umount -a >/dev/null; podman --root "$PWD/p" --runroot "$PWD/pr" --storage-driver overlay rmi -a -f >/dev/null; rm -rf p pr`);
    }
  }
  exported(image, umoci, directoryTimes);
  run("rm -rf unpacked mnt");
}

/** Out again, and through other programs. */
function exported(image: string, umoci: ReadonlyMap<string, string>, directoryTimes: boolean): void {
  const diffIds = (layout: string): string => run(`skopeo inspect --config --raw "oci:$1:$2" | python3 -c 'import json, sys; print(*json.load(sys.stdin)["rootfs"]["diff_ids"])'`, layout, image);
  run(`$S export --store store "$1" plain --compression none; $S export --store store "$1" same; $S export --store store "$1" docker.tar --format docker`, image);
  const blobs = run(`skopeo inspect --raw "oci:plain:$1" | python3 -c 'import json, sys; print(*[l["digest"] for l in json.load(sys.stdin)["layers"]])'; cd plain/blobs/sha256; sha256sum -- * | awk '$1 != $2'`, image);
  check(`${image}: every layer's tar is exported with its diffID`, blobs === diffIds("lay") ? [] : ["the plain layers have other digests than the diffIDs", blobs.slice(0, 300)]);
  run(`umoci unpack --image "same:$1" again`, image);
  check(`${image}: umoci unpacks the export into the same tree`, differences(listing(join(ground, "again/rootfs"), { directoryTimes }), umoci, "the original"));
  run(`skopeo copy -q --insecure-policy docker-archive:docker.tar "oci:from-docker:$1"; skopeo copy -q --insecure-policy "oci:same:$1" "docker-archive:again.tar:x:y"`, image);
  const added = run(`$S import --store store from-docker --reference "$1" --name a --json | tail -n 1; $S import --store store again.tar --name a --json | tail -n 1`, image);
  const both = added.trim().split("\n").map((line) => JSON.parse(line) as { image: { layers: string[]; addedBytes: number } });
  const same = both.every(({ image: { layers, addedBytes } }) => addedBytes === 0 && layers.map((id) => `sha256:${id}`).join(" ") === diffIds("lay").trim());
  check(`${image}: skopeo carries it through both formats, nothing new comes back`, same ? [] : [added.slice(0, 500)]);
  run("rm -rf plain same docker.tar again from-docker again.tar; $S rm --store store a >/dev/null");
}

try {
  if (wanted("million")) await millionEntries(ground);
  if (["compare", "kills", "full", "cache", "race"].some(wanted)) await makeImages(ground, values.base);
  if (wanted("compare")) {
    compare("many", true);
    // Its directories that only their entries imply have the time of unpacking with umoci.
    compare("odd", false, false);
    compare("built", true);
    run("$S fsck --store store");
    console.log(run("$S stats --store store"));
  }
  if (wanted("kills")) await killLoop(ground, "built", Number(values.kills ?? 40));
  if (wanted("full")) fullDisk(ground, "base");
  if (wanted("cache")) pageCache(ground, "built");
  if (wanted("race")) for (const image of ["many", "built"]) race(ground, image, Number(values.race ?? 3));
} finally {
  if (values.keep === true) step(`kept: ${ground}`);
  else rmSync(ground, { recursive: true, force: true });
}
step(failed() === 0 ? "all well" : `${failed()} checks failed`);
process.exitCode = failed() === 0 ? 0 : 1;
