/** Mounts for tests that are not ours: kernel overlayfs, and taking things down again whatever happened. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/**
 * `lowers` topmost first. Throws with mount(8)'s words. A directory that was an upper a moment ago can still be in use, in a mount
 * namespace that some other process is about to leave: busy is tried again for some seconds.
 */
export function kernelOverlay(lowers: readonly string[], upper: string, work: string, target: string, options: string): void {
  const args = ["-t", "overlay", "overlay", "-o", `lowerdir=${lowers.join(":")},upperdir=${upper},workdir=${work},${options}`, target];
  for (let tries = 0; ; tries++) {
    const done = spawnSync("mount", args, { encoding: "utf8" });
    if (done.status === 0) return;
    if (tries === 40 || !/busy|already mounted/.test(done.stderr)) throw new Error(done.stderr);
    spawnSync("sleep", ["0.2"]);
  }
}

/** Unmounts, by force if it must be; never throws. */
export function unmountQuietly(target: string): void {
  if (spawnSync("umount", [target], { stdio: "ignore", timeout: 10_000 }).status !== 0) {
    spawnSync("umount", ["-f", "-l", target], { stdio: "ignore", timeout: 10_000 });
  }
}

/** Every object of a directory on disk with its mode, owner, times and content: one line each. */
export function snapshotOfFiles(root: string): string[] {
  const lines: string[] = [];
  const visit = (path: string): void => {
    const at = join(root, path);
    const stat = lstatSync(at, { bigint: true });
    let content = "";
    if (stat.isFile()) content = createHash("sha256").update(readFileSync(at)).digest("hex");
    if (stat.isSymbolicLink()) content = readlinkSync(at);
    lines.push(`${path} ${stat.mode} ${stat.uid}:${stat.gid} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs} ${stat.rdev} ${content}`);
    if (stat.isDirectory()) for (const name of readdirSync(at).sort()) visit(join(path, name));
  };
  visit("");
  return lines;
}
