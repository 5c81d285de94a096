/** kill -9 in a loop during import, commit and sweep; a full disk under import and commit. The real command on a real image. */
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { check, sh, step, stratafs } from "./shell.js";

/** `image`: a reference in the layout `lay`. A store that anything was killed in must check as good, and take the same image afterwards. */
export async function killLoop(ground: string, image: string, rounds: number): Promise<void> {
  const store = join(ground, "killed");
  const run = (script: string): string => sh(script, [store, image], ground);
  run(`$S import --store "$1" lay --reference base --name base >/dev/null; for c in a b; do $S create --store "$1" base --name $c >/dev/null; done
    for c in a b; do cp -a base/usr/share "$1/containers/$c/upper/copy-$c"; rm -f "$1/containers/$c/upper/copy-$c/nothing"; done`);
  const problems: string[] = [];
  let inTime = 0;
  for (let round = 0; round < rounds; round++) {
    const children = [
      ["import", "lay", "--reference", image, "--name", `i${round % 3}`], ["commit", round % 2 === 0 ? "a" : "b", `c${round % 3}`], ["sweep", "--grace", "0"],
    ].map((args) => spawn(stratafs, [...args, "--store", store], { cwd: ground, stdio: "ignore" }));
    const ended = children.map((child) => new Promise<boolean>((resolve) => child.once("exit", (_, signal) => resolve(signal === "SIGKILL"))));
    // From the first calls to the last: the command needs a tenth of a second to start, an import some seconds.
    await new Promise((resolve) => setTimeout(resolve, 50 + ((round * 397) % 4000)));
    for (const child of children) child.kill("SIGKILL");
    inTime += (await Promise.all(ended)).filter(Boolean).length;
    try {
      run(`$S fsck --store "$1" >fsck.log || { cat fsck.log >&2; exit 1; }`);
    } catch (error) {
      problems.push(`round ${round}: ${(error as Error).message}`);
      break;
    }
  }
  step(`${rounds} rounds, ${inTime} of ${3 * rounds} processes killed before they ended`);
  try {
    run(`$S sweep --store "$1" --grace 0 >/dev/null; test -z "$(ls "$1/staging" "$1/leases" | grep -v :)"
      $S import --store "$1" lay --reference "$2" --name after >/dev/null; $S commit --store "$1" a after-commit >/dev/null; $S fsck --store "$1" >/dev/null
      $S cat --store "$1" after-commit copy-a/common-licenses/GPL-3 >/dev/null; rm -rf "$1"`);
  } catch (error) {
    problems.push((error as Error).message);
  }
  check("kill -9 of imports, commits and sweeps leaves a good store every time", problems);
}

/** An ext4 of 150 MiB is too small for the root: one error, and nothing of it in the store. */
export function fullDisk(ground: string, image: string): void {
  const mountpoint = join(ground, "small");
  mkdirSync(mountpoint);
  const run = (script: string): string => sh(script, [mountpoint, image], ground);
  run(`truncate -s 150M small.img; mkfs.ext4 -q small.img; mount -o loop small.img "$1"`);
  try {
    const problems: string[] = [];
    for (const [what, script] of [
      ["import says that the disk is full", `$S import --store "$1/s" lay --reference "$2" --name x 2>said && exit 1; grep -q ERR_STORE_FULL said; test "$(wc -l < said)" = 1`],
      ["nothing of it is left", `test -z "$($S images --store "$1/s" --json)"; test -z "$(find "$1/s/objects" "$1/s/layers" "$1/s/staging" "$1/s/leases" "$1/s/refs" -type f)"; $S fsck --store "$1/s" >/dev/null`],
      ["a smaller image fits afterwards", `mkdir tiny; head -c 3000000 /dev/urandom > tiny/file; $S import --store "$1/s" tiny --name tiny >/dev/null; $S create --store "$1/s" tiny --name c >/dev/null`],
      ["commit says that the disk is full", `head -c 30000000 /dev/urandom > "$1/s/containers/c/upper/f"; fallocate -l $(($(df --output=avail -B1 "$1" | tail -n 1) - 5000000)) "$1/filler"; $S commit --store "$1/s" c y 2>said && exit 1; grep -q ERR_STORE_FULL said`],
      ["the store is good, and commits when there is room", `test "$($S images --store "$1/s" --json | wc -l)" = 1; $S fsck --store "$1/s" >/dev/null; rm "$1/filler"; $S commit --store "$1/s" c y >/dev/null; $S fsck --store "$1/s" >/dev/null`],
    ] as const) {
      try {
        run(script);
      } catch (error) {
        problems.push(`${what}: ${(error as Error).message}`);
      }
    }
    check("a full disk is one error with nothing half visible", problems);
  } finally {
    run(`umount "$1"; rm small.img; rm -rf tiny`);
  }
}
