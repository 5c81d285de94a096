/** An ordinary user for the time of a run, who has subordinate ids. Needs root. */
import { spawnSync } from "node:child_process";
import { accessSync, constants, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { isInstalled } from "./suite.js";

/** A user with subordinate ids, as useradd gives them by default. The reason when there is none. */
export function makeUser(user: string, ground: string): string | undefined {
  if (!isInstalled("useradd") || !isInstalled("runuser")) return "useradd, runuser not installed";
  const { status, stderr } = spawnSync("useradd", ["--create-home", "--home-dir", join(ground, "home"), "--shell", "/bin/sh", user], { encoding: "utf8" });
  if (status !== 0) return `useradd: ${stderr.trim()}`;
  if (!isInstalled("newuidmap")) return "newuidmap not installed";
  return readFileSync("/etc/subuid", "utf8").includes(`${user}:`) ? undefined : "useradd gave no subordinate ids";
}

/**
 * podman leaves a process that holds the user's namespace; a user with processes cannot be removed. buildah makes directories in /tmp whatever
 * XDG_RUNTIME_DIR says.
 */
export function removeUser(user: string): void {
  const uid = spawnSync("id", ["-u", user], { encoding: "utf8" }).stdout?.trim() ?? "";
  const { stdout } = spawnSync("pgrep", ["-u", user], { encoding: "utf8" });
  for (const pid of (stdout ?? "").split("\n")) if (pid !== "") spawnSync("kill", ["-KILL", pid]);
  if (uid !== "") for (const name of ["containers-user", "podman-run"]) rmSync(`/tmp/${name}-${uid}`, { recursive: true, force: true });
  spawnSync("userdel", ["--force", user]);
}

/** Why the ordinary user cannot mount with `program`. */
export function unusable(program: string, user: string): string | undefined {
  if ((statSync("/dev/fuse").mode & 0o006) !== 0o006) return "/dev/fuse is not for everybody";
  const { status } = spawnSync("runuser", ["-u", user, "--", program, "--version"]);
  if (status !== 0) return `${program} cannot be run by an ordinary user; copy it to where it can`;
  try {
    accessSync("/proc/self/ns/user", constants.F_OK);
    return undefined;
  } catch {
    return "the kernel has no user namespaces";
  }
}
