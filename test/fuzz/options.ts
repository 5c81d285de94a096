/** Fuzz target: command lines of `mount` and `run`, arguments with NUL between them. A mistake is a UsageError of one line; what passes makes sense. */
import { parseMount } from "../../lib/cli/mount-arguments.js";
import { parseRun } from "../../lib/cli/run-arguments.js";
import { mountOptionsOf, stackOf } from "../../lib/cli/mount-stack.js";
import { UsageError } from "../../lib/cli/usage.js";
import { expectThat, refusedBy, type Target } from "./fuzz.js";

const here = (): string => "/here";

export const optionsTarget: Target = {
  name: "options",
  words: [
    "lowerdir=", "upperdir=", "workdir=", "lowerdir+=", "datadir+=", "::", ":", ",", ",,", "\\:", "\\,", "\\", '"', 'context="', "uidmapping=", "0:0:1", "4294967295", "squash_to_uid=", "redirect_dir=on", "metacopy=off",
    "userxattr", "xattr_permissions=2", "timeout=1.5", "volatile", "ro", "nodev", "suid", "-o", "--", "-f", "--data=cached", "--volume", ":ro", "--env", "__proto__", "constructor", "\0", "\n",
  ],
  maxBytes: 4096,
  run(input) {
    const [command = "", ...args] = input.toString("utf8").split("\0");
    try {
      if (command === "run") {
        const request = parseRun(args, here);
        expectThat(request.lowers.every((path) => path.startsWith("/")), () => `a lower that is not absolute: ${request.lowers.join()}`);
        expectThat(isId(request.uid) && isId(request.gid), () => `ids ${request.uid}:${request.gid}`);
      } else {
        const parsed = parseMount(args, command === "helper" ? "helper" : "command", here);
        if (parsed.kind !== "mount") return;
        const { request } = parsed;
        expectThat(request.mountpoint.startsWith("/"), () => `a mountpoint that is not absolute: ${request.mountpoint}`);
        expectThat(request.lowers.length > 0 && !request.lowers.includes(""), () => "no lower, or an empty one");
        for (const { onDisk, presented, length } of [...request.uidMap, ...request.gidMap]) {
          expectThat(length > 0 && onDisk + length <= 2 ** 32 && presented + length <= 2 ** 32, () => `a range ${onDisk}:${presented}:${length}`);
        }
        expectThat([request.squashUid, request.squashGid].every((id) => id === undefined || isId(id)), () => `squash to ${request.squashUid}:${request.squashGid}`);
        expectThat(request.timeoutSec === undefined || Number.isFinite(request.timeoutSec), () => `timeout ${request.timeoutSec}`);
        for (const warning of request.warnings) expectThat(!warning.includes("\n"), () => `a warning of two lines: ${JSON.stringify(warning)}`);
        stackOf(request, {});
        for (const root of [true, false]) mountOptionsOf(request, root);
      }
    } catch (error) {
      refusedBy(error, UsageError);
      expectThat(!(error as Error).message.includes("\n"), () => `a complaint of two lines: ${JSON.stringify((error as Error).message)}`);
    }
  },
  async samples() {
    const lines = {
      podman: ["mount", "-o", "lowerdir=l/A:l/B,upperdir=x/diff,workdir=x/work,,volatile,context=\"a:b:c:s0:c1,c2\",uidmapping=:0:1000:1:1:110000:65536", "/merged"],
      snapshotter: ["helper", "overlay", "/target", "-o", "workdir=/w", "-o", "upperdir=/u", "-o", "lowerdir=/a:/b", "-o", "dev,suid"],
      kernel: ["mount", "-olowerdir+=/a,lowerdir+=/b,datadir+=/c,upperdir=/u,workdir=/w,metacopy=on,redirect_dir=on,userxattr,xino=auto,squash_to_root", "-f", "m"],
      data: ["mount", "-o", "lowerdir=/a\\:b::/d,fsname=x\\,y,timeout=2,noatime,log=log", "--data=cached", "/m"],
      run: ["run", "--lower", "debian", "--upper", "u", "--env", "A=b", "--volume", "/src:/dst:ro", "--user", "1000:100", "--hostname", "h", "--", "sh", "-c", "true"],
      image: ["run", "--name", "box", "--entrypoint", "/init", "--user", "www:www", "debian:12", "--", "ls"],
    };
    return Object.fromEntries(Object.entries(lines).map(([name, words]) => [name, Buffer.from(words.join("\0"))]));
  },
};

const isId = (id: number): boolean => Number.isInteger(id) && id >= 0 && id < 2 ** 32 - 1;
