/**
 * The first minute with stratafs: a process lives in a copy-on-write view of this machine's own root filesystem. It installs, edits,
 * deletes and renames; the machine stays as it was, and everything it did is one directory. Run by `npm start`, as root or not.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const stratafs = fileURLToPath(new URL("../../stratafs.js", import.meta.url));
const work = mkdtempSync(join(tmpdir(), "stratafs-first-minute-"));
const upper = join(work, "upper");
const gifts = join(work, "gifts");
const SHOWN_CHANGES = 30;

/** Things of this machine that the process is going to change in its own view. */
const victim = ["/usr/share/doc", "/usr/share/locale", "/usr/share/info"].find(existsSync);
const renamed = ["/usr/share/man", "/usr/share/terminfo", "/usr/share/zoneinfo"].find(existsSync);
const watched = ["/etc", "/usr/share", "/usr/local", "/var/lib/dpkg", victim, renamed].filter((path) => path !== undefined && existsSync(path)) as string[];

try {
  mkdirSync(gifts);
  // dpkg locks files that only root may read, so an ordinary user's view of them cannot be copied up.
  const dpkg = process.getuid!() === 0 && existsSync("/usr/bin/dpkg") && existsSync("/usr/bin/dpkg-deb");
  const install = dpkg ? debianPackage() : plainProgram();
  const before = fingerprint();

  say(`A process gets this machine's / as its root, copy-on-write${process.getuid!() === 0 ? "" : ", without being root here"}:`);
  const steps = [
    'echo "127.0.0.9  first-minute.example" >> /etc/hosts && tail -n 1 /etc/hosts',
    install,
    "first-minute-hello",
    ...(victim === undefined ? [] : [`rm -rf ${victim} && ls -d ${victim} 2>&1 || true`]),
    ...(renamed === undefined ? [] : [`mv ${renamed} ${renamed}-renamed && ls -d ${renamed}-renamed`]),
  ];
  const script = ["set -e", ...steps.flatMap((step) => [`echo '$ ${step.replaceAll("'", "'\\''")}'`, step])].join("\n");
  const began = Date.now();
  const run = spawnSync(stratafs, ["run", "--upper", upper, "--volume", `${gifts}:/opt/gifts:ro`, "--", "sh", "-c", script], { stdio: ["ignore", "inherit", "inherit"] });
  if (run.status !== 0) throw new Error(`the process in the root ended with status ${run.status ?? run.signal}`);
  say(`That took ${((Date.now() - began) / 1000).toFixed(1)} s. What it changed is in ${upper}; stratafs diff lists it:`);

  const changes = execFileSync(stratafs, ["diff", upper, "--lower", "/"], { encoding: "utf8" }).trimEnd().split("\n");
  for (const line of changes.slice(0, SHOWN_CHANGES)) console.log(line);
  if (changes.length > SHOWN_CHANGES) console.log(`… and ${changes.length - SHOWN_CHANGES} more`);

  const after = fingerprint();
  say("The machine itself, a checksum of names, owners, modes, sizes, times (and of the data of /etc/hosts):");
  console.log(`before ${before}\nafter  ${after}`);
  if (before !== after) throw new Error("the machine has changed");
  console.log(`unchanged; there is ${existsSync("/usr/bin/first-minute-hello") || existsSync("/usr/local/bin/first-minute-hello") ? "a" : "no"} first-minute-hello here`);
} catch (error) {
  console.error(`first-minute: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}

function say(text: string): void {
  console.log(`\n── ${text}`);
}

/** A real package, built on the spot; the command that installs it. */
function debianPackage(): string {
  const tree = join(work, "package");
  mkdirSync(join(tree, "DEBIAN"), { recursive: true });
  mkdirSync(join(tree, "usr/bin"), { recursive: true });
  writeFileSync(
    join(tree, "DEBIAN/control"),
    "Package: first-minute-hello\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: says hello from a package\n",
  );
  writeFileSync(join(tree, "usr/bin/first-minute-hello"), '#!/bin/sh\necho "hello from a package that only this root has"\n', { mode: 0o755 });
  execFileSync("dpkg-deb", ["--root-owner-group", "--build", tree, join(gifts, "hello.deb")], { stdio: "ignore" });
  return "dpkg -i /opt/gifts/hello.deb";
}

/** For machines without dpkg, and for ordinary users. */
function plainProgram(): string {
  writeFileSync(join(gifts, "first-minute-hello"), '#!/bin/sh\necho "hello from a program that only this root has"\n', { mode: 0o755 });
  return "mkdir -p /usr/local/bin && cp /opt/gifts/first-minute-hello /usr/local/bin/";
}

/** One digest of everything watched. Only what is going to be touched is looked at in depth: this takes well under a second. */
function fingerprint(): string {
  const digest = createHash("sha256");
  digest.update(readFileSync("/etc/hosts"));
  for (const path of watched) addTree(digest, path, 3);
  return digest.digest("hex");
}

function addTree(digest: ReturnType<typeof createHash>, path: string, depth: number): void {
  const stat = lstatSync(path, { bigint: true });
  digest.update(`${path} ${stat.mode} ${stat.uid} ${stat.gid} ${stat.size} ${stat.mtimeNs}\n`);
  if (!stat.isDirectory() || depth === 0) return;
  let names: string[];
  try {
    names = readdirSync(path).sort();
  } catch {
    // Not ours to read, so not ours to change either.
    return;
  }
  for (const name of names) addTree(digest, join(path, name), depth - 1);
}
