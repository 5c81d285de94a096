/** The commands around the store, on an image that is made here: through the built command, as a user has them. */
import { expect } from "chai";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { mountView } from "../../lib/index.js";
import { addImage, emptyLayout, named, tarOf, writeLayout } from "../image/images.js";
import { call, command, Ground, isRoot, shell, type Outcome } from "./command.js";

/** Programs of the host and the libraries they need, so that a container has something to run. */
function rootTar(ground: Ground): Buffer {
  const made = shell(`
    set -e; mkdir -p tree/bin tree/etc tree/srv; cd tree
    for program in sh cat id ls mv rm env; do p=$(readlink -f "$(which $program)"); cp "$p" bin/$program; ldd "$p" | grep -o '/[^ ]*' | while read -r lib; do mkdir -p ".$(dirname "$lib")"; cp -L -n "$lib" ".$lib"; done; done
    printf 'root:x:0:0::/root:/bin/sh\\napp:x:1000:1001::/home/app:/bin/sh\\n' > etc/passwd; printf 'root:x:0:\\napps:x:1001:\\nextra:x:1002:app\\n' > etc/group
    head -c 100000 /dev/urandom > srv/big; tar --numeric-owner --owner=0 --group=0 -cf ../root.tar .`, { cwd: ground.path });
  if (made.status !== 0) throw new Error(made.stderr);
  return readFileSync(ground.at("root.tar"));
}

describe("the commands around the store", function () {
  this.timeout(120_000);
  let ground: Ground;
  const env = (): NodeJS.ProcessEnv => ({ STRATAFS_STORE: ground.at("store"), A: "caller" });
  const stratafs = (...args: string[]): Outcome => command(args, { cwd: ground.path, env: env() });
  /** Its output; it must have worked, and said nothing else. */
  function told(...args: string[]): string {
    const { status, stdout, stderr } = stratafs(...args);
    expect({ status, stderr }, args.join(" ")).to.deep.equal({ status: 0, stderr: "" });
    return stdout;
  }
  const lines = (text: string): string[] => text.split("\n").filter((line) => line !== "");

  before(async function () {
    if (!isRoot) this.skip(); // owners in the image, and mounts
    ground = new Ground();
    const layout = emptyLayout();
    const second = await tarOf({ name: "etc/motd", body: "hello\n" });
    layout.index.manifests.push(addImage(layout, [[rootTar(ground), "gzip"], [second, "none"]], named("box:1"), ({ config }) => {
      config.config = { Env: ["PATH=/bin", "A=image"], Entrypoint: ["/bin/sh", "-c"], Cmd: ["id -u; pwd; echo $A $HOME"], WorkingDir: "/srv/app", User: "app" };
    }).descriptor);
    writeLayout(ground.at("layout"), layout);
  });
  after(() => ground?.remove());

  it("say that there is no store before anything is in one", () => {
    expect(stratafs("images")).to.deep.equal({ status: 1, stdout: "", stderr: `stratafs: there is no store in ${ground.at("store")} yet; stratafs import makes one\n` });
    expect(stratafs("run", "ls")).to.deep.include({ status: 125, stderr: `stratafs: run: there is no store in ${ground.at("store")} yet; stratafs import makes one (a command goes after --)\n` });
  });

  it("import, with events on request", () => {
    const events = lines(told("import", "layout", "--json")).map((line) => JSON.parse(line) as { type: string });
    expect(events[0]).to.include({ type: "start", layers: 2 });
    expect(events.at(-1)).to.have.nested.property("image.names").that.deep.equals(["box:1"]);
    expect(told("import", "layout", "--name", "box:2")).to.equal("box:2: 2 layers, 0 B new\n");
    writeFileSync(ground.at("root.tar.gz"), gzipSync(readFileSync(ground.at("root.tar"))));
    expect(told("import", "root.tar.gz", "--name", "tar")).to.match(/^tar: 1 layer, 0 B new\n$/);
    expect(told("import", "tree", "--name", "tree")).to.match(/^tree: 1 layer, 0 B new\n$/);
    expect(stratafs("import", "tree").stderr).to.match(/a directory has no name of its own; give one with --name\n$/);
  });

  it("list, name and show", () => {
    expect(lines(told("images")).map((line) => line.split(/ +/)[0])).to.deep.equal(["IMAGE", "box:1", "box:2", "tar", "tree"]);
    told("tag", "box:2", "box:3");
    told("rm", "box:2");
    expect(lines(told("images", "--json")).map((line) => (JSON.parse(line) as { name: string }).name)).to.deep.equal(["box:1", "box:3", "tar", "tree"]);
    expect(JSON.parse(told("inspect", "box:1"))).to.deep.include({ kind: "image", name: "box:1" }).and.have.nested.property("config.config.User", "app");
    expect(lines(told("ls", "box:1", "/etc"))).to.deep.equal(["group", "motd", "passwd"]);
    expect(told("ls", "-l", "box:1", "/etc/motd")).to.match(/^-rw-r--r-- 1 0:0 6 1970-01-01 00:00 motd\n$/);
    expect(JSON.parse(told("ls", "--json", "box:1", "/etc/motd"))).to.include({ path: "motd", size: 6, mode: 0o100644 });
    expect(lines(told("ls", "-R", "box:1"))).to.include.members(["etc", "etc/motd", "srv/big"]);
    expect(told("cat", "box:1", "etc/motd")).to.equal("hello\n");
    expect(stratafs("cat", "box:1", "/etc").stderr).to.equal("stratafs: cat: /etc in box:1 is a directory; stratafs ls lists it\n");
    expect(stratafs("cat", "box:1", "/none").stderr).to.equal("stratafs: cat: nothing at /none in box:1\n");
  });

  it("run an image as it says, or as asked instead", () => {
    expect(told("run", "box:1")).to.equal("1000\n/srv/app\nimage /home/app\n");
    expect(told("run", "box:1", "--", "id -G; env")).to.match(/^1001 1002\n/).and.include("A=image\n").and.not.include("STRATAFS_STORE");
    expect(told("run", "--user", "0:apps", "--workdir", "/", "--env", "A=asked", "--entrypoint", "", "box:1", "--", "sh", "-c", "id -u; id -g; pwd; echo $A")).to.equal("0\n1001\n/\nasked\n");
    expect(stratafs("run", "--user", "nobody", "box:1")).to.deep.include({ status: 125, stderr: 'stratafs: run: no user "nobody" in the image\'s /etc/passwd\n' });
    expect(stratafs("run", "--user", "0", "box:1", "--", "exit 7").status).to.equal(7);
    expect(stratafs("run", "--read-only", "--user", "0", "box:1", "--", "echo x > /etc/x").status).to.not.equal(0);
    expect(told("run", "--verify", "--user", "0", "box:1", "--", "cat /srv/big > /dev/null")).to.equal("");
    expect(stratafs("run", "tree").stderr).to.match(/tree has no command of its own; give one after --\n$/);
    expect(lines(told("ps"))).to.have.length(1);
  });

  it("mount an image, checking its content on request: a file with other bytes is EIO and a line in the log", () => {
    for (const name of ["mnt", "mnt-upper", "mnt-work"]) mkdirSync(ground.at(name), { recursive: true });
    told("mount", "-o", "image=box:1,upperdir=mnt-upper,workdir=mnt-work,verify,log=log", "mnt");
    try {
      const look = (script: string): Outcome => shell(script, { cwd: ground.path });
      expect(look("cat mnt/etc/motd; head -c 5 mnt/srv/big | wc -c; echo more >> mnt/etc/motd; cat mnt-upper/etc/motd").stdout).to.equal("hello\n5\nhello\nmore\n");
      const [object] = lines(look("sha256sum mnt/bin/env").stdout.split(" ")[0]!);
      const file = ground.at(`store/objects/${object!.slice(0, 2)}/${object!.slice(2)}`);
      told("umount", "mnt");
      // Of the same size, so that only its digest tells.
      expect(look(`cp ${file} kept; chmod u+w ${file}; printf X | dd of=${file} bs=1 seek=99 conv=notrunc 2>&1`).status).to.equal(0);
      told("mount", "-o", "image=box:1,verify,log=log", "mnt");
      expect(look("cat mnt/bin/env").stderr).to.match(/Input\/output error/);
      expect(look("cat mnt/bin/cat").status).to.equal(0);
      expect(readFileSync(ground.at("log"), "utf8")).to.match(new RegExp(`object ${object} holds content with digest [0-9a-f]{64}`));
      told("umount", "mnt");
      told("mount", "-o", "image=box:1,log=log", "mnt");
      expect(look("cat mnt/bin/env").status).to.equal(0);
      expect(look(`cat kept > ${file}; chmod u-w ${file}`).status).to.equal(0);
    } finally {
      stratafs("umount", "mnt");
    }
    expect(stratafs("mount", "-o", "image=none:1", "mnt").stderr).to.match(/no image none:1/);
  });

  it("mount an image so that it outlives its server, and its name", async function () {
    mkdirSync(ground.at("mnt"), { recursive: true });
    told("tag", "box:1", "moving");
    told("mount", "-o", "image=moving", "mnt");
    try {
      const { servers, heirs } = mountView(ground.at("mnt"));
      if (heirs.length === 0) this.skip(); // before Linux 6.16 the processes of a connection cannot be told
      told("tag", "tree", "moving");
      process.kill(servers[0]!.pid, "SIGKILL");
      const look = (script: string): string => shell(script, { cwd: ground.path }).stdout;
      expect(look("cat mnt/etc/motd; cmp mnt/srv/big tree/srv/big && echo same")).to.equal("hello\nsame\n");
      expect(look("for lease in store/leases/*; do flock -n $lease true || echo held; done")).to.equal("held\n");
      expect(mountView(ground.at("mnt")).servers[0]!.pid).to.not.equal(servers[0]!.pid);
      told("rm", "moving");
    } finally {
      stratafs("umount", "mnt");
    }
  });

  it("keep what changes in a container, and list it", () => {
    expect(told("create", "box:1", "--name", "work")).to.equal("work\n");
    expect(stratafs("create", "box:1", "--name", "work").stderr).to.match(/there is a container called work already/);
    const { stdout, stderr } = stratafs("run", "--user", "0", "--diff", "work", "--", "rm /etc/motd; echo new > /etc/new; mv /srv /moved");
    expect({ stdout, stderr }).to.deep.equal({ stdout: "", stderr: "D /etc/motd\nA /etc/new\nR /moved/ <- /srv\n" });
    expect(told("diff", "work")).to.equal(stderr);
    expect(told("diff", "box:1", "work")).to.equal(stderr);
    expect(told("cat", "work", "/etc/new")).to.equal("new\n");
    expect(lines(told("ls", "work", "/moved"))).to.include("big");
    expect(lines(told("ps"))[1]).to.match(/^work +box:1 .* idle$/);
    expect(stratafs("run", "--user", "0", "--keep", "box:1", "--", "echo > /kept").stderr).to.match(/^stratafs: the container is [0-9a-f]{12}\n$/);
  });

  it("commit and squash, and tell images apart", () => {
    expect(told("commit", "work", "box:new", "-m", "why", "--cmd", '["id"]')).to.match(/^box:new: 3 layers; \d+ entries in the new layer, [\d.]+ KiB, 0 B new in the store\n$/);
    const { config } = JSON.parse(told("inspect", "box:new")) as { config: { config: object; history: object[] } };
    expect(config.config).to.deep.include({ Cmd: ["id"], User: "app" });
    expect(config.history.at(-1)).to.include({ created_by: "stratafs commit", comment: "why" });
    expect(told("diff", "box:1", "box:new", "--no-times")).to.equal("D /etc/motd\nA /etc/new\nA /moved/\nA /moved/big\nD /srv\nD /srv/big\n");
    expect(told("run", "--user", "0", "box:new", "--", "ls /moved; cat /etc/new")).to.equal("big\nnew\n");
    expect(told("squash", "box:new", "box:one")).to.match(/^box:one: 1 layer;/);
    expect(told("diff", "box:new", "box:one")).to.equal("");
  });

  it("export what comes back the same", () => {
    const { layers } = JSON.parse(told("inspect", "box:new")) as { layers: { diffId: string }[] };
    for (const [format, target] of [["oci", "out"], ["oci-tar", "out.tar"], ["docker", "docker.tar"]] as const) {
      expect(stratafs("export", "box:new", target, "--format", format).status).to.equal(0);
      expect(command(["import", target, "--store", `again-${format}`, "--name", "again"], { cwd: ground.path })).to.include({ status: 0 });
      const again = JSON.parse(command(["inspect", "again", "--store", `again-${format}`], { cwd: ground.path }).stdout) as { layers: { diffId: string }[] };
      expect(again.layers.map(({ diffId }) => diffId)).to.deep.equal(layers.map(({ diffId }) => diffId));
    }
    expect(stratafs("export", "box:new", "out").stderr).to.match(/expected an empty folder/);
    expect(stratafs("export", "none", "x.tar", "--format", "docker")).to.include({ status: 1 });
    expect(readdirSync(ground.path).filter((name) => name.includes("partial"))).to.deep.equal([]);
  });

  it("take and give images by the names of skopeo's transports", () => {
    told("export", "tree", "oci:named:v1");
    expect(JSON.parse(readFileSync(ground.at("named/index.json"), "utf8"))).to.have.nested.property("manifests[0].annotations").that.deep.equals({ "org.opencontainers.image.ref.name": "v1" });
    told("export", "tree", "docker-archive:named.tar:box:v2");
    told("export", "tree", "named-oci.tar", "--format", "oci-tar", "--reference", "v3");
    const imported = (...args: string[]): string => command(["import", ...args, "--store", "named-store"], { cwd: ground.path }).stdout;
    expect(imported("oci:named:v1")).to.match(/^v1: 1 layer,/);
    expect(imported("docker-archive:named.tar")).to.match(/^box:v2: 1 layer,/);
    expect(imported("oci-archive:named-oci.tar")).to.match(/^v3: 1 layer,/);
    expect(stratafs("import", "oci:named:v2").stderr).to.match(/expected an image called v2, found v1\n$/);
    expect(stratafs("import", "oci:tree", "--name", "x").stderr).to.match(/found no file "oci-layout"\n$/);
    expect(stratafs("export", "tree", "oci:x", "--format", "docker")).to.include({ status: 2 });
    expect(stratafs("export", "tree", "oci:x:1", "--reference", "2")).to.include({ status: 2 });
  });

  it("write bundles of a command, and nothing of one that there is none for", () => {
    told("create", "tree", "--name", "plain");
    expect(stratafs("bundle", "plain", "none").stderr).to.equal("stratafs: plain has no command of its own; give one after --\n");
    expect(existsSync(ground.at("none"))).to.equal(false);
    told("bundle", "plain", "bundle2", "--", "sh", "-c", "echo --terminal");
    told("umount", "bundle2/rootfs");
    expect(JSON.parse(readFileSync(ground.at("bundle2/config.json"), "utf8"))).to.have.nested.property("process.args").that.deep.equals(["sh", "-c", "echo --terminal"]);
    expect(stratafs("umount", "bundle2/rootfs").stderr).to.equal(`stratafs: EINVAL: umount: nothing is mounted at ${ground.at("bundle2/rootfs")}\n`);
    told("rm", "plain");
  });

  it("write bundles that runtimes run", function () {
    const runtimes = ["runc", "crun"].filter((program) => call(program, ["--version"]).status === 0);
    told("create", "box:1", "--name", "bundled");
    told("bundle", "bundled", "bundle");
    expect(JSON.parse(readFileSync(join(ground.at("bundle"), "config.json"), "utf8"))).to.deep.include({ hostname: "bundled", root: { path: "rootfs", readonly: false } })
      .and.have.nested.property("process.user").that.deep.equals({ uid: 1000, gid: 1001, additionalGids: [1001, 1002] });
    expect(stratafs("rm", "bundled").stderr).to.match(/container bundled is in use by process \d+\n$/);
    expect(stratafs("run", "bundled")).to.include({ status: 125 });
    for (const runtime of runtimes) {
      const { status, stdout, stderr } = call(runtime, ["--root", ground.at(runtime), "run", "-b", ground.at("bundle"), "test"]);
      // Machines that are containers themselves may forbid what a runtime needs: then its own words say so.
      if (status !== 0 && /permission|not permitted|cgroup/i.test(stderr)) continue;
      expect({ status, stdout }, `${runtime}: ${stderr}`).to.deep.equal({ status: 0, stdout: "1000\n/srv/app\nimage /home/app\n" });
    }
    told("umount", "bundle/rootfs");
    shell(`for i in 1 2 3 4 5 6 7 8 9 10; do ${process.execPath} -e 0; done`);
    told("rm", "bundled");
  });

  it("say what the store holds, check it and free it", () => {
    expect(told("stats")).to.match(/^store {6}.*\nfiles {6}\d+ in all layers/).and.match(/\nbox:1 /);
    expect(JSON.parse(told("stats", "--json"))).to.include.keys("logicalBytes", "dedupedBytes", "images");
    expect(told("fsck")).to.match(/: all well\n$/);
    const containers = lines(told("ps", "--json")).map((line) => (JSON.parse(line) as { name: string }).name);
    told("rm", ...containers, "box:1", "box:3", "box:new", "box:one", "tar", "tree");
    expect(told("images")).to.match(/^IMAGE[^\n]*\n$/);
    expect(told("sweep", "--grace", "1h")).to.match(/^0 layers, 0 objects, 0 chains, 0 containers, 0 leftovers: 0 B freed\n$/);
    const { objects, dryRun } = JSON.parse(told("sweep", "--json", "--dry-run", "--grace", "0")) as { objects: number; dryRun: boolean };
    expect(dryRun).to.equal(true);
    expect(told("sweep", "--grace", "0")).to.match(new RegExp(`, ${objects} objects, .* freed\n$`));
    expect(shell("find store/objects -type f | wc -l", { cwd: ground.path }).stdout.trim()).to.equal("0");
    expect(existsSync(ground.at("store/format"))).to.equal(true);
  });
});
