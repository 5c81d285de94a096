/**
 * The images of the proof, in an OCI layout `lay` of the ground:
 *
 *   many   a debootstrapped root, a layer of each of 38 Debian packages, and a layer of changes that umoci writes: 40 layers
 *   odd    the same with two layers more whose entries no program writes today but the format allows: links to files of lower layers,
 *          whiteouts behind what they must not hide, names of any bytes, implied parents
 *   built  the root and a large node_modules, changed once more and committed by buildah: whiteouts and opaque directories of its own
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeTar, type NewTarEntry, type TarItem } from "../../../lib/tar/writer.js";
import { sh, step } from "./shell.js";

const packages = `python3.11-minimal libpython3.11-minimal libpython3.11-stdlib python3.11 python3-minimal python3 libexpat1 libsqlite3-0 ca-certificates openssl
git libcurl3-gnutls perl perl-modules-5.36 libperl5.36 gcc-12 cpp-12 libgcc-12-dev binutils-common binutils-x86-64-linux-gnu libbinutils libc6-dev linux-libc-dev
vim-common vim-runtime vim less curl libcurl4 rsync nano man-db manpages tzdata iproute2 strace gdb locales`;

const CAPABILITY = "0x0100000200200000000000000000000000000000";
const ACL = "0x0200000001000600ffffffff02000600e803000004000400ffffffff10000600ffffffff20000400ffffffff";

/** `base`: a debootstrapped root to copy, or undefined to make one. */
export async function makeImages(ground: string, base: string | undefined): Promise<void> {
  const run = (script: string, ...args: string[]): string => sh(script, args, ground);
  step("debian root and packages");
  mkdirSync(join(ground, "debs"));
  if (base !== undefined) run(`cp -a "$1" base`, base);
  else run(`debootstrap --variant=minbase "$(. /etc/os-release; echo $VERSION_CODENAME)" base "$(apt-get indextargets --format '$(SITE)' | grep -v security | sort -u | head -n 1)" >&2`);
  run(`cd debs; apt-get -qq download ${packages.replaceAll("\n", " ")} >&2`);

  step("image many");
  run(`
    umoci init --layout lay; umoci new --image lay:many
    tar -C base --xattrs --xattrs-include='*' --acls -cf l.tar .; umoci raw add-layer --image lay:many l.tar
    umoci tag --image lay:many base
    for deb in debs/*.deb; do dpkg-deb --fsys-tarfile $deb > l.tar; umoci raw add-layer --image lay:many l.tar; done; rm l.tar
    umoci unpack --image lay:many work
    cd work/rootfs
    rm etc/motd usr/bin/vim.basic; rm -r usr/share/man; mkdir -m 700 usr/share/man; echo new > usr/share/man/new
    rm -r usr/share/doc/git; echo a file now > usr/share/doc/git; rm usr/share/doc/perl/copyright; mkdir usr/share/doc/perl/copyright; echo deep > usr/share/doc/perl/copyright/deep
    rm -r usr/share/doc/gdb; mkfifo usr/share/doc/gdb
    ln usr/bin/openssl usr/bin/openssl.link; mkdir -p srv/kinds srv/'a b' "srv/$(printf 'new\\nline')"; cd srv/kinds
    mknod null c 1 3; mknod disk b 8 1; mkfifo fifo; chmod 620 disk; cp /bin/true suid; chmod 6755 suid; cp /bin/true cap; chown 7:8 cap; setfattr -n security.capability -v ${CAPABILITY} cap
    echo acl > acl; setfattr -n system.posix_acl_access -v ${ACL} acl; mkdir inherits; setfattr -n system.posix_acl_default -v ${ACL} inherits; setfattr -n user.note -v "some text" acl
    truncate -s 40M sparse; printf middle | dd of=sparse bs=1 seek=20000000 conv=notrunc 2>/dev/null; truncate -s 5M hole
    echo one > one; ln one two; ln one ../three; printf x > "$(printf '\\377\\376 \\303\\244')"; touch -d @-5.5 old; touch -d @1700000000.123456789 exact; mkdir -m 1777 sticky
    cd ../../../..
    umoci repack --image lay:many work >/dev/null; rm -rf work`);

  step("image odd");
  for (const [number, items] of (await oddLayers()).entries()) writeFileSync(join(ground, `odd${number}.tar`), items);
  run("umoci tag --image lay:many odd; for n in 0 1; do umoci raw add-layer --image lay:odd odd$n.tar; done; rm odd?.tar");

  step("image built");
  const modules = fileURLToPath(new URL("../../../../node_modules", import.meta.url));
  if (!existsSync(modules)) throw new Error(`expected node_modules at ${modules}`);
  run(`
    b() { buildah --root "$PWD/b" --runroot "$PWD/br" --storage-driver overlay "$@"; }
    c=$(b from oci:lay:base); m=$(b mount $c); mkdir -p $m/srv/app; cp -a "$1" $m/srv/app/node_modules; chown -R 1000:1000 $m/srv/app; b umount $c >/dev/null; b commit -q --rm $c one >/dev/null
    c=$(b from one); m=$(b mount $c); rm -r $m/srv/app/node_modules/typescript $m/etc/motd; rm -r $m/usr/share/doc; mkdir $m/usr/share/doc; echo n > $m/usr/share/doc/n
    rm -r $m/usr/share/common-licenses; echo f > $m/usr/share/common-licenses; chmod 4711 $m/usr/bin/env; mv $m/usr/share/zoneinfo $m/usr/share/zones 2>/dev/null || mv $m/usr/share/perl5 $m/usr/share/perl
    setfattr -n security.capability -v ${CAPABILITY} $m/usr/bin/tar; setfattr -n user.k -v v $m/etc/passwd; ln $m/usr/bin/sort $m/usr/bin/sort2; mknod $m/srv/null c 1 3; truncate -s 9M $m/srv/hole
    b umount $c >/dev/null; b commit -q --rm $c two >/dev/null; b push -q two oci:lay:built; b rmi -a -f >/dev/null; rm -rf b br`, modules);
}

async function oddLayers(): Promise<Buffer[]> {
  const entry = (name: string, more: Partial<NewTarEntry> = {}, body = ""): TarItem => ({
    entry: { kind: "file", name, mode: 0o644, uid: 3, gid: 4, mtime: { sec: 1_600_000_000, nsec: 5 }, size: body.length, ...more }, body: body === "" ? undefined : [Buffer.from(body, "latin1")],
  });
  const layers = [
    [
      entry("usr/bin/git.link", { kind: "hardlink", linkName: "usr/bin/git" }), entry("./srv/kinds/four", { kind: "hardlink", linkName: "./srv/kinds/one" }),
      entry("usr/share/doc/curl/kept", {}, "kept"), entry("usr/share/doc/curl/.wh..wh..opq"), entry("usr/share/doc/.wh.less"), entry("usr/share/doc/less/of/it", {}, "mine"),
      entry("etc/.wh.debian_version"), entry("twice", {}, "first"), entry("twice", { mode: 0o600 }, "second"), entry("\xff\xfe/\x01", {}, "bytes"),
    ],
    [entry("usr/bin/git.again", { kind: "hardlink", linkName: "usr/bin/git.link" }), entry("usr/bin/.wh.git.link"), entry("srv/.wh.kinds"), entry("srv/kinds/only", {}, "only")],
  ];
  return await Promise.all(layers.map(async (items) => {
    const parts: Uint8Array[] = [];
    for await (const part of writeTar(items)) parts.push(part);
    return Buffer.concat(parts);
  }));
}
