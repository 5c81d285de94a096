/** A root filesystem of a few programs of this machine: small enough to import and unpack in no time, with something of every kind in it. */
import { execFileSync } from "node:child_process";

const programs = "sh ls cat mkdir rmdir rm mv cp ln chmod chown stat id touch mknod mkfifo sync head tail grep find sed sleep true env sort seq cksum getfattr setfattr";

/** Makes `folder` and `${folder}.tar`; all belongs to root. */
export function makeSmallRoot(folder: string): void {
  execFileSync("sh", ["-c", script, "sh", folder, programs], { stdio: ["ignore", "ignore", "inherit"] });
}

const script = `
set -eu
root=$1
for name in $2; do
  file=$(PATH=/usr/bin:/bin command -v $name) || continue
  [ -x "$file" ] || file=/usr/bin/$name
  mkdir -p $root/bin
  cp -L $file $root/bin/$name
  for library in $(ldd $file | grep -o '/[^ ]*'); do
    [ -e $root$library ] || { mkdir -p $root$(dirname $library); cp -L $library $root$library; }
  done
done
cd $root
mkdir -p proc sys dev tmp etc root run data/dir
chmod 1777 tmp
printf 'root:x:0:0::/root:/bin/sh\\nuser:x:1000:1000::/:/bin/sh\\n' > etc/passwd
printf 'root:x:0:\\nuser:x:1000:\\n' > etc/group
echo one > data/one; echo two > data/two; echo deep > data/dir/deep
ln data/one data/one.link; ln -s one data/sym
tar -cf $root.tar .
`;
