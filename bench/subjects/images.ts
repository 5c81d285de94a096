/**
 * Programs that keep images: stratafs's store through its command, umoci, podman. Each is used the way its own manual says, as root, with
 * its storage in the run's directory.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { command } from "./stratafs.js";
import { inUserNamespace, versionLine, type Images, type ImageSubject } from "./subject.js";

/** Runs to the end and returns the output. Throws with the program's own words. */
function run(program: string, ...args: string[]): string {
  const done = spawnSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  if (done.status !== 0) throw new Error(`${program} ${args.join(" ")}: ${done.error?.message ?? (done.stderr.trim() || `status ${done.status ?? done.signal}`)}`);
  return done.stdout.trim();
}

function stratafsImages(directory: string, layout: string): Images {
  const store = join(directory, "store");
  const stratafs = (...args: string[]) => run(command(), ...args, "--store", store);
  return {
    import: (name) => void stratafs("import", layout, "--reference", name, "--name", name),
    container(name, use) {
      const bundle = join(dirname(directory), `bundle-${name}`);
      stratafs("create", name, "--name", `of-${name}`);
      stratafs("bundle", `of-${name}`, bundle);
      const root = join(bundle, "rootfs");
      try {
        use(root);
      } finally {
        run(command(), "umount", root);
      }
    },
    commit: (name, to) => void stratafs("commit", `of-${name}`, to),
  };
}

function umociImages(directory: string, layout: string): Images {
  // A copy, since commits are written into it.
  const own = join(directory, "layout");
  cpSync(layout, own, { recursive: true });
  const unpack = (name: string) => run("umoci", "unpack", "--image", `${own}:${name}`, join(directory, name));
  return {
    import: (name) => void unpack(name),
    container(name, use) {
      if (!existsSync(join(directory, name))) unpack(name);
      use(join(directory, name, "rootfs"));
    },
    commit: (name, to) => void run("umoci", "repack", "--image", `${own}:${to}`, join(directory, name)),
  };
}

function podmanImages(directory: string, layout: string): Images {
  const beside = join(dirname(directory), "podman");
  mkdirSync(beside);
  const podman = (...args: string[]) =>
    run("podman", "--root", directory, "--runroot", join(beside, "run"), "--tmpdir", join(beside, "tmp"), "--storage-driver", "overlay", "--events-backend", "none", ...args);
  const ids = new Map<string, string>();
  return {
    import: (name) => void ids.set(name, podman("pull", "-q", `oci:${layout}:${name}`)),
    container(name, use) {
      podman("create", "-q", "--name", `of-${name}`, "--network", "none", ids.get(name) ?? name, "/bin/true");
      try {
        use(podman("mount", `of-${name}`));
      } finally {
        podman("umount", `of-${name}`);
      }
    },
    commit: (name, to) => void ids.set(to, podman("commit", "-q", `of-${name}`, to)),
  };
}

function images(name: string, about: string, version: () => string, open: ImageSubject["open"]): ImageSubject {
  return {
    name,
    about,
    kind: "images",
    version() {
      if (process.getuid?.() !== 0 || inUserNamespace()) throw new Error("image programs are compared as root of the machine");
      return version();
    },
    open,
  };
}

export const imageSubjects: readonly ImageSubject[] = [
  images("stratafs-images", "stratafs import, create, commit", () => versionLine(command()), stratafsImages),
  images("umoci", "unpacks images into directories", () => versionLine("umoci"), umociImages),
  images("podman", "containers-storage, overlay in the kernel", () => versionLine("podman"), podmanImages),
];
