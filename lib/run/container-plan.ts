/**
 * The plan of a contained process: everything between fork and exec, as a list of steps. Pure: nothing here runs.
 *
 *   run (serves the mount) ─ waits ─ init, pid 1 of the namespace ─ the command
 *
 * Order: namespaces; the root attached at `scratch`; /dev, /proc and /sys in it, by paths that the host still resolves; pivot_root;
 * then what may lie behind the root's own symbolic links, by paths that the root resolves; ids last, exec.
 * Always true: no step writes into the root itself, so the upper's diff is the command's doing alone. When run dies, all die.
 */
import { pathBytes } from "../base/name.js";
import {
  CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, MNT_DETACH, MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY,
  MS_REC, MS_REMOUNT, MS_STRICTATIME,
} from "../sys/flags.js";
import { Plan } from "../sys/plan.js";

export interface Container {
  /** A detached mount of the root, or a directory where it is mounted. */
  readonly root: { readonly mountFd: number } | { readonly path: string };
  /** An empty directory of the host: where the root is attached, in the new mount namespace only. */
  readonly scratch: string;
  /** Root in the initial user namespace: sysfs and file capabilities are ours to give, and to keep back. */
  readonly privileged: boolean;
  /** A detached copy of the host's /sys, read-only throughout; where there is none the container has no /sys. Not used when privileged. */
  readonly sys: number | undefined;
  /** False for a network namespace with a loopback device alone. */
  readonly network: boolean;
  readonly hostname: string | undefined;
  /** Detached mounts to attach after the pivot. Targets are free of symbolic links and exist in the root. */
  readonly attach: readonly { readonly fd: number; readonly target: string }[];
  readonly uid: number;
  readonly gid: number;
  /** False where setgroups is denied: a user namespace with a single id. */
  readonly dropGroups: boolean;
  /** Supplementary groups to have instead, where groups may be set. */
  readonly groups?: readonly number[];
  /** The host's path of the terminal that the command talks to; it becomes /dev/console, so that ttyname(3) finds it. */
  readonly terminal: string | undefined;
  /** In the root. */
  readonly cwd: string;
  /** At least the program. */
  readonly command: readonly string[];
  /** NAME=VALUE. */
  readonly env: readonly string[];
  /** Directories to look for the program in, colon-separated. */
  readonly path: string;
}

const SIGKILL = 9;
const INERT = MS_NOSUID | MS_NODEV | MS_NOEXEC;

/** Character devices every program may count on. */
const devices = ["null", "zero", "full", "random", "urandom", "tty"] as const;
const links = [["/proc/self/fd", "fd"], ["/proc/self/fd/0", "stdin"], ["/proc/self/fd/1", "stdout"], ["/proc/self/fd/2", "stderr"], ["pts/ptmx", "ptmx"]] as const;
/** Kernel settings are shared with the host, whatever the namespaces: they stay readable. */
const readOnlyProc = ["sys", "sysrq-trigger", "irq", "bus"] as const;
/** CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_TIME: what they change belongs to the host. */
const hostCapabilities = [16, 17, 25] as const;

export function containerPlan(c: Container): Plan {
  const at = pathBytes(c.scratch);
  const plan = new Plan();
  plan.setPdeathsig(SIGKILL);
  plan.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | (c.network ? 0 : CLONE_NEWNET));
  plan.mount("", "/", "", MS_REC | MS_PRIVATE);
  if (!c.network) plan.loopbackUp();
  if (c.hostname !== undefined) plan.sethostname(c.hostname);
  plan.fork().setPdeathsig(SIGKILL);

  if ("mountFd" in c.root) plan.moveMount(c.root.mountFd, at);
  else plan.mount(pathBytes(c.root.path), at, "", MS_BIND);
  addDev(plan, `${at}/dev`, c);
  addProc(plan, `${at}/proc`, c.privileged);
  addSys(plan, `${at}/sys`, c);
  // Both halves of pivot_root on one place: the old root ends up on top of the new one, and goes.
  plan.chdir(at).pivotRoot(".", ".").umount(".", MNT_DETACH).chdir("/");
  for (const { fd, target } of c.attach) plan.moveMount(fd, pathBytes(target));

  plan.fork();
  if (c.privileged) for (const capability of hostCapabilities) plan.capDrop(capability);
  if (c.dropGroups) plan.setgroups([...(c.groups ?? [])]);
  plan.setresgid(c.gid, c.gid, c.gid).setresuid(c.uid, c.uid, c.uid);
  // Node marks its own standard streams close-on-exec.
  for (const fd of [0, 1, 2]) plan.dup2(fd, fd).orIgnore();
  plan.umask(0o022).chdir(pathBytes(c.cwd)).closeFrom(3).resetSignals();
  return addExec(plan, c);
}

function addDev(plan: Plan, dev: string, { privileged, terminal }: Container): void {
  plan.mount("tmpfs", dev, "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=1m");
  for (const name of devices) {
    // Bound, not made: a user namespace may not mknod, and the device keeps the host's permissions. A host may lack one.
    plan.createFile(`${dev}/${name}`, 0o666).mount(`/dev/${name}`, `${dev}/${name}`, "", MS_BIND).orIgnore();
  }
  if (terminal !== undefined) plan.createFile(`${dev}/console`, 0o600).mount(pathBytes(terminal), `${dev}/console`, "", MS_BIND).orIgnore();
  for (const [target, name] of links) plan.symlink(target, `${dev}/${name}`);
  plan.mkdir(`${dev}/pts`, 0o755).mkdir(`${dev}/shm`, 0o1777).mkdir(`${dev}/mqueue`, 0o1777);
  // Group 5 is tty; a user namespace may not have it.
  plan.mount("devpts", `${dev}/pts`, "devpts", MS_NOSUID | MS_NOEXEC, `newinstance,ptmxmode=0666,mode=0620${privileged ? ",gid=5" : ""}`);
  plan.mount("tmpfs", `${dev}/shm`, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  plan.mount("mqueue", `${dev}/mqueue`, "mqueue", INERT).orIgnore();
}

function addProc(plan: Plan, proc: string, privileged: boolean): void {
  plan.mount("proc", proc, "proc", INERT);
  // In a user namespace the kernel itself refuses the writes.
  if (!privileged) return;
  for (const name of readOnlyProc) {
    plan.mount(`${proc}/${name}`, `${proc}/${name}`, "", MS_BIND | MS_REC).orIgnore();
    plan.mount("", `${proc}/${name}`, "", MS_BIND | MS_REMOUNT | MS_RDONLY | INERT).orIgnore();
  }
}

function addSys(plan: Plan, at: string, { privileged, sys }: Container): void {
  if (privileged) plan.mount("sysfs", at, "sysfs", INERT | MS_RDONLY);
  // sysfs belongs to whoever owns the network namespace; a user namespace binds what the host shows, all of it or nothing.
  else if (sys !== undefined) plan.moveMount(sys, at).orIgnore();
}

function addExec(plan: Plan, c: Container): Plan {
  const argv = c.command.map(pathBytes);
  const program = argv[0];
  if (program === undefined) throw new TypeError("a container needs a command");
  return plan.execPath(pathBytes(c.path), program, argv, c.env.map(pathBytes));
}

/** True for the last step's failure: the command itself could not be executed. */
export function isExecFailure(syscall: string): boolean {
  return /^exec(Path)?\b/.test(syscall);
}
