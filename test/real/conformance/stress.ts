/**
 * Stressors that check what they read: fsx and fsstress of xfstests, stress-ng, fio, and two of our own. After each group everything is listed, mounted
 * again, and mounted by kernel overlayfs: all three must show the same.
 */
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isInstalled } from "../suite.js";
import { onSubject, outcomeOf, type ConformanceSuite, type Ground } from "./ground.js";

const crowd = fileURLToPath(new URL("./crowd.js", import.meta.url));
/** Not compiled. */
const mixed = fileURLToPath(new URL("../../../../test/real/conformance/mixed.py", import.meta.url));

/** A lower with something of everything that stressors meet; then `checks` in a directory of it, then the comparison. */
const around = (checks: string): string => `
mkdir "$LOWER/dir"; chmod 777 "$LOWER/dir"
dd if=/dev/urandom of="$LOWER/dir/file" bs=64k count=16 2> /dev/null
for i in 1 2 3 4 5 6 7 8; do mkdir "$LOWER/dir/sub$i"; for f in 1 2 3 4 5 6 7 8; do echo $i $f > "$LOWER/dir/sub$i/$f"; done; done
# Without times of files that several processes append to: cached, they may differ (lib/fuse/README.md).
listing() { (cd "$MNT"; find . -type d -printf '%P %y %m %U:%G %T@\\n' -o -name 'log-*' -printf '%P %y %m %U:%G %s\\n' -o -printf '%P %y %m %U:%G %s %n %T@ %l\\n' | sort; find . -type f -print0 | sort -z | xargs -0r cksum; find . -print0 | sort -z | xargs -0r getfattr -h -d -m '^user\\.[^o]' 2> /dev/null); }
mount_it
cd "$MNT/dir"
SECONDS_MORE=$((SECONDS_EACH + 120)); CHECK_SECONDS=$SECONDS_MORE
${checks}
cd "$HERE"
listing > before
unmount_it
mount_it; listing > after; unmount_it
CHECK_LINES=40
check "a new mount shows the same" diff before after
if [ -d /sys/module/overlay ] && [ $TYPE != overlay ]; then
  mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK$KERNEL_OPTIONS" "$MNT"
  listing > kernel
  umount "$MNT"
  check "kernel overlayfs shows the same" diff before kernel
fi
check "the work directory is empty" sh -c '[ -z "$(find "$WORK/work" -mindepth 1 -maxdepth 1 ! -name incompat)" ]'
if [ -s log ]; then echo "FAILED the server has nothing to say"; sed 's/^/  /' log | head -n 20; fi
`;

interface Stress {
  readonly title: string;
  readonly as?: readonly ("root" | "user")[];
  readonly checks: string;
  missing(ground: Ground): string | undefined;
}

const stress = ({ title, as = ["root", "user"], checks, missing }: Stress): ConformanceSuite => ({
  title,
  as,
  missing: (ground) => missing(ground) ?? (isInstalled("getfattr") ? undefined : "getfattr not installed"),
  run: (ground, subject) => outcomeOf(onSubject(ground, subject, around(checks), {
    KERNEL_OPTIONS: subject.as === "user" ? ",userxattr" : "", LTP: join(ground.suites.xfstests ?? "", "ltp"), MIXED: mixed, CROWD: crowd, NODE: process.execPath,
  })),
});

const needsLtp = (program: string) => ({ suites }: Ground): string | undefined => {
  if (suites.xfstests === undefined) return "needs --xfstests DIR";
  const file = join(suites.xfstests, "ltp", program);
  try {
    accessSync(file, constants.X_OK);
    return undefined;
  } catch {
    return `${file} is not built`;
  }
};
const needs = (...programs: readonly string[]) => (): string | undefined => {
  const absent = programs.filter((program) => !isInstalled(program));
  return absent.length === 0 ? undefined : `${absent.join(", ")} not installed`;
};

/** Ways to read and write one file, in fsx's options; mapped reads and writes are in all of them. */
const fsxWays: readonly (readonly [title: string, options: string])[] = [
  ["buffered and mapped", ""],
  ["closed and opened", "-c 20"],
  ["flushed and dropped after each", "-f"],
  ["read whole after each", "-X -l 65536"],
  ["asynchronous", "-A"],
  ["io_uring", "-U"],
  ["direct and mapped", "-Z -r 4096 -w 4096 -t 4096"],
  ["direct, asynchronous and mapped", "-Z -A -r 4096 -w 4096 -t 4096"],
  ["direct, io_uring and mapped", "-Z -U -r 4096 -w 4096 -t 4096"],
  ["direct", "-Z -R -W -r 512 -w 512 -t 512"],
  ["bytes behind the end are not zero", "-e 1"],
];

const fsx = stress({
  title: "fsx",
  missing: needsLtp("fsx"),
  checks: fsxWays.map(([title, options]) => `check "${title}" "$LTP/fsx" -q -S $SEED --duration=$SECONDS_EACH -P "$HERE" ${options} file; rm -f file.fsx*`).join("\n"),
});

const fsstress = stress({
  title: "fsstress",
  missing: needsLtp("fsstress"),
  checks: `
check "everything, mknod too" "$LTP/fsstress" -d "$MNT/dir/all" -p 4 -n 1000000 --duration=$SECONDS_EACH -s $SEED -f mknod=20 -f rename=20 -f rexchange=20
check "names" "$LTP/fsstress" -d "$MNT/dir/names" -p 4 -n 1000000 --duration=$SECONDS_EACH -s $SEED -z -f creat=10 -f mkdir=10 -f mknod=20 -f symlink=5 -f link=20 -f rename=40 -f rnoreplace=10 -f rexchange=20 -f unlink=20 -f rmdir=5 -f getdents=20 -f stat=10 -f setfattr=5 -f readlink=5
check "data in every way" "$LTP/fsstress" -d "$MNT/dir/data" -p 4 -n 1000000 --duration=$SECONDS_EACH -s $SEED -z -f creat=4 -f write=10 -f read=10 -f dwrite=10 -f dread=10 -f awrite=10 -f aread=10 -f uring_write=10 -f uring_read=10 -f mwrite=10 -f mread=10 -f writev=5 -f readv=5 -f splice=5 -f copyrange=5 -f truncate=10 -f fallocate=5 -f punch=5 -f zero=5 -f fsync=2 -f unlink=1
check "what it made can be removed" rm -r all/p0 names/p0
`,
});

/** Stressors of stress-ng's class that use no file of the mount, or change the machine. */
const elsewhere = ["bind-mount", "binderfs", "eventfd", "ioprio", "null", "procfs"];

const stressNg = stress({
  title: "stress-ng",
  missing: needs("stress-ng"),
  checks: `
mkdir stress; chmod 777 stress
export SECONDS_NG=$(( (SECONDS_EACH + 3) / 4 )); CHECK_SECONDS=300
for name in $(stress-ng --class 'filesystem?' 2>&1 | sed 's/^.*stressors: //'); do
  case " ${elsewhere.join(" ")} " in *" $name "*) continue ;; esac
  # Its status is 3 or 4 where a stressor cannot run, 2 when it failed.
  check $name sh -c 'status=0; stress-ng --$0 2 --verify --timeout $SECONDS_NG --temp-path "$MNT/dir/stress" --seed $SEED || status=$?; case $status in 3|4) exit 77 ;; *) exit $status ;; esac' $name
done
`,
});

const fioWays: readonly (readonly [title: string, options: string])[] = [
  ["sync", "--ioengine=psync --bsrange=1k-64k --bs_unaligned=1"],
  ["vectored sync", "--ioengine=pvsync2 --bsrange=4k-64k"],
  ["direct", "--ioengine=psync --direct=1 --bsrange=4k-64k"],
  ["libaio, buffered", "--ioengine=libaio --iodepth=16 --bsrange=4k-64k"],
  ["libaio, direct", "--ioengine=libaio --iodepth=16 --direct=1 --bsrange=4k-64k"],
  ["io_uring, buffered", "--ioengine=io_uring --iodepth=16 --bsrange=4k-64k"],
  ["io_uring, direct", "--ioengine=io_uring --iodepth=16 --direct=1 --bsrange=4k-64k"],
  ["mmap", "--ioengine=mmap --bsrange=4k-64k"],
  ["splice", "--ioengine=splice --bsrange=4k-64k"],
  ["posixaio", "--ioengine=posixaio --iodepth=8 --bsrange=4k-64k"],
];

/** Written by one way and verified by others, one after the other on the same file. */
const fioMixes: readonly (readonly [title: string, write: string, read: string])[] = [
  ["written direct, read buffered", "--ioengine=libaio --iodepth=16 --direct=1", "--ioengine=psync"],
  ["written buffered, read direct", "--ioengine=psync", "--ioengine=libaio --iodepth=16 --direct=1"],
  ["written mapped, read direct", "--ioengine=mmap", "--ioengine=psync --direct=1"],
  ["written direct, read mapped", "--ioengine=io_uring --iodepth=16 --direct=1", "--ioengine=mmap"],
  ["written buffered, read mapped", "--ioengine=io_uring --iodepth=16", "--ioengine=mmap"],
];

const fioBase = "--size=24m --randseed=$SEED --verify=crc32c --verify_fatal=1 --group_reporting --minimal --allow_file_create=1";
const fio = stress({
  title: "fio",
  missing: needs("fio"),
  checks: [
    ...fioWays.flatMap(([title, options], i) => [
      `check "${title}, random" fio --name=v --filename="$MNT/dir/fio${i}" ${fioBase} --rw=randwrite --do_verify=1 --loops=2 ${options}`,
      `check "${title}, mixed, verified on the way" fio --name=v --directory="$MNT/dir" --numjobs=2 ${fioBase} --rw=randrw --verify_backlog=64 ${options}; rm -f v.*`,
    ]),
    ...fioMixes.map(([title, write, read], i) =>
      `check "${title}" sh -c 'fio --name=w --filename="$MNT/dir/mix${i}" ${fioBase} --bs=4k --rw=randwrite --do_verify=0 --end_fsync=0 ${write} && fio --name=w --filename="$MNT/dir/mix${i}" ${fioBase} --bs=4k --rw=randwrite --verify_only=1 ${read}'`),
  ].join("\n"),
});

const ours = stress({
  title: "same files and directories",
  missing: needs("python3"),
  checks: `
check "buffered, direct and mapped on one file" python3 -B "$MIXED" "$MNT/dir/mixed" $SECONDS_EACH $SEED
check "the same on a lower file" python3 -B "$MIXED" "$MNT/dir/file" $SECONDS_EACH $SEED
check "readers, writers, renamers and listers" "$NODE" "$CROWD" "$MNT/dir" $SECONDS_EACH $SEED
`,
});

export const stressSuites: readonly ConformanceSuite[] = [fsx, fsstress, stressNg, fio, ours];
