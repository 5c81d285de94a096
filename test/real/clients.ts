/**
 * Runs stratafs as the mount program of the tools that people use it with: podman, buildah, runc, crun, mount(8), and beside kernel overlayfs
 * and fuse-overlayfs. Needs root; what is not installed or not possible here is skipped with a reason. No registry is asked for anything but one
 * of our own on the loopback device.
 *
 *   npm run test:clients [-- --only WORDS] [--program /usr/bin/fuse-overlayfs] [--keep]
 *
 * Always true: what it makes (a directory in the temporary directory, a user, mounts, containers) is gone when it ends.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildahSuite } from "./buildah.js";
import { exchangeSuite, exchangeInUserNamespace } from "./exchange.js";
import { mountSuite, optionSuite, userNamespaceSuite } from "./mounting.js";
import { makeUser, removeUser, unusable } from "./ordinary-user.js";
import { podmanSuite } from "./podman.js";
import { rootlessRuntimeSuite, runSuite, runtimeSuite } from "./runtimes.js";
import { skopeoSuite } from "./skopeo.js";
import { makeSmallRoot } from "./small-root.js";
import { isInstalled, runScript, type Check, type Place, type Suite } from "./suite.js";
import { upperSuite } from "./uppers.js";

const suites: readonly Suite[] = [
  mountSuite, optionSuite, userNamespaceSuite, upperSuite, exchangeSuite, exchangeInUserNamespace, runtimeSuite, rootlessRuntimeSuite, runSuite,
  podmanSuite("root"), podmanSuite("user"), buildahSuite("root"), buildahSuite("user"), skopeoSuite("root"), skopeoSuite("user"),
];
const counts = { passed: 0, failed: 0, skipped: 0 };

function main(): number {
  const { values } = parseArgs({ options: { only: { type: "string" }, program: { type: "string" }, keep: { type: "boolean" } } });
  if (process.getuid?.() !== 0) {
    console.error("test:clients needs root: it makes a user, mounts and containers");
    return 1;
  }
  const ground = mkdtempSync(join(tmpdir(), "stratafs-clients-"));
  chmodSync(ground, 0o755);
  const user = `stratafs-${process.pid}`;
  try {
    const rootfs = join(ground, "rootfs");
    mkdirSync(rootfs);
    makeSmallRoot(rootfs);
    const noUser = makeUser(user, ground);
    const program = values.program ?? fileURLToPath(new URL("../../stratafs.js", import.meta.url));
    suites.forEach((suite, index) => {
      const here = join(ground, String(index));
      carryOut(suite, { program, rootfs, tar: `${rootfs}.tar`, here, user }, values.only ?? "", noUser ?? unusable(program, user));
    });
  } finally {
    if (values.keep === true) console.log(`kept: ${ground}`);
    else clean(ground);
    removeUser(user);
  }
  console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  return counts.failed === 0 ? 0 : 1;
}

function carryOut(suite: Suite, place: Place, only: string, noUser: string | undefined): void {
  const checks = suite.checks.filter((check) => `${suite.title}: ${check.title}`.includes(only));
  if (checks.length === 0) return;
  console.log(`\n${suite.title}`);
  const missing = suite.needs.filter((program) => !isInstalled(program));
  const reason = missing.length > 0 ? `${missing.join(", ")} not installed` : suite.as === "user" ? noUser : undefined;
  if (reason !== undefined) return checks.forEach((check) => skipped(check, reason));
  mkdirSync(place.here);
  if (suite.as === "user") spawnSync("chown", [`${place.user}:`, place.here]);
  const run = (script: string): string | undefined => runScript(place, suite.as, `${suite.prelude ?? ""}\n${script}`);
  try {
    const broken = run(suite.setup ?? "");
    for (const check of checks) {
      if (broken === undefined) runCheck(check, run);
      else failed(check, `setup: ${broken}`);
    }
  } finally {
    const said = run(suite.teardown ?? "");
    if (said !== undefined) failed({ title: "cleans up", script: "" }, said);
  }
}

function runCheck(check: Check, run: (script: string) => string | undefined): void {
  const missing = (check.needs ?? []).filter((program) => !isInstalled(program));
  if (missing.length > 0) return skipped(check, `${missing.join(", ")} not installed`);
  const cannot = run(check.only ?? "");
  if (cannot !== undefined) return skipped(check, cannot);
  const said = run(check.script);
  if (said !== undefined) return failed(check, said);
  counts.passed++;
  console.log(`  ok       ${check.title}`);
}

function skipped(check: Check, reason: string): void {
  counts.skipped++;
  console.log(`  skipped  ${check.title} (${reason})`);
}

function failed(check: Check, said: string): void {
  counts.failed++;
  console.log(`  FAILED   ${check.title}\n${said.replace(/^/gm, "           ")}`);
}

/** Unmounts what is left below `ground`, innermost first, and removes it. */
function clean(ground: string): void {
  const left = readFileSync("/proc/self/mounts", "latin1").split("\n").map((line) => line.split(" ")[1] ?? "").filter((path) => path.startsWith(`${ground}/`));
  for (const path of left.reverse()) spawnSync("umount", ["-l", path]);
  rmSync(ground, { recursive: true, force: true });
}

process.exitCode = main();
