/** How long the import of one image takes beside umoci unpack and podman load, in turns, and what each keeps on the disk. */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { sh, step, stratafs } from "./shell.js";

interface Runner {
  readonly name: string;
  /** $1 is an empty folder, $2 the image's reference; the image lies in the layout `lay` and in `lay-IMAGE.tar`. */
  readonly script: string;
}

const runners: readonly Runner[] = [
  { name: "stratafs import", script: `exec ${stratafs} import --store "$1/s" lay --reference "$2" --name x` },
  { name: "umoci unpack", script: `exec umoci unpack --image "lay:$2" "$1/u"` },
  { name: "podman load", script: `exec podman --root "$1/p" --runroot "$1/r" --storage-driver overlay load -q -i "lay-$2.tar"` },
];

/** Every run has a folder of its own and none is removed before the end: ext4 is slow to use again what has just been deleted. */
export function race(ground: string, image: string, rounds: number): void {
  const folder = join(ground, "race");
  sh(`mkdir "$1"; skopeo copy -q --insecure-policy "oci:lay:$2" "oci-archive:lay-$2.tar:$2"; cat lay/blobs/sha256/* "lay-$2.tar" >/dev/null`, [folder, image], ground);
  const times = new Map<string, number[]>(runners.map(({ name }) => [name, []]));
  const sizes = new Map<string, string>();
  for (let round = 0; round < rounds; round++) {
    for (const { name, script } of [...runners.slice(round % runners.length), ...runners.slice(0, round % runners.length)]) {
      const place = join(folder, `${round}-${name.replace(" ", "-")}`);
      mkdirSync(place);
      sh("sync");
      const started = performance.now();
      const { status, stderr } = spawnSync("sh", ["-c", script, "sh", place, image], { cwd: ground, encoding: "utf8" });
      const seconds = (performance.now() - started) / 1000;
      if (status !== 0) throw new Error(`${name}: ${stderr}`);
      times.get(name)!.push(seconds);
      if (round === 0) sizes.set(name, sh(`du -sm "$1" | cut -f 1`, [place]).trim());
    }
  }
  const median = (name: string): number => [...times.get(name)!].sort((a, b) => a - b)[Math.floor(rounds / 2)]!;
  const ours = median("stratafs import");
  for (const { name } of runners) {
    step(`${image}: ${name} ${median(name).toFixed(2)} s (${times.get(name)!.map((time) => time.toFixed(2)).join(", ")}), ${(median(name) / ours).toFixed(2)} times ours; ${sizes.get(name)} MiB on disk`);
  }
  sh(`for p in "$1"/*-podman-load; do podman --root $p/p --runroot $p/r --storage-driver overlay rmi -a -f >/dev/null 2>&1 || :; done; rm -rf "$1" "lay-$2.tar"`, [folder, image], ground);
}
