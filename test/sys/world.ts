/** A scratch directory per test, held by descriptor, and skips that say why. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, it } from "mocha";
import { check } from "../../lib/base/errors.js";
import { O_RDONLY } from "../../lib/base/mode.js";
import { native } from "../../lib/sys/binding.js";
import { AT_FDCWD, O_DIRECTORY } from "../../lib/sys/flags.js";

export interface Scratch {
  path: string;
  fd: number;
}

/** Fresh before each test of the suite, gone after it. */
export function scratch(): Scratch {
  const world: Scratch = { path: "", fd: -1 };
  beforeEach(() => {
    world.path = mkdtempSync(join(tmpdir(), "stratafs-sys-"));
    world.fd = openAt(AT_FDCWD, world.path, O_RDONLY | O_DIRECTORY);
  });
  afterEach(() => {
    native.close(world.fd);
    rmSync(world.path, { recursive: true, force: true });
  });
  return world;
}

export function openAt(dirfd: number, path: string, flags: number, mode = 0o644): number {
  return check(native.open(dirfd, path, flags, mode, 0), "open", path);
}

export function itAsRoot(title: string, body: () => void | Promise<void>): void {
  if (process.getuid?.() === 0) it(title, body);
  else it.skip(`${title} (skipped: not root)`, body);
}
