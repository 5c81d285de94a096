/** config.json of an OCI runtime bundle. Pure. Source: OCI runtime-spec 1.0, config.md and config-linux.md. */
import type { ImageProcess } from "./run-image.js";

/** What root in a container may do: enough for package managers and services, nothing that is the machine's. */
const capabilities = [
  "CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP",
  "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
] as const;

const maskedPaths = [
  "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
] as const;
const readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] as const;

export interface RuntimeChoices {
  readonly hostname: string;
  readonly terminal: boolean;
}

/** The document, for JSON.stringify. */
export function runtimeConfig(what: ImageProcess, { hostname, terminal }: RuntimeChoices): object {
  const isRoot = what.uid === 0;
  return {
    ociVersion: "1.0.2",
    process: {
      terminal,
      user: { uid: what.uid, gid: what.gid, ...(what.groups.length > 0 ? { additionalGids: what.groups } : {}) },
      args: what.command,
      env: what.env,
      cwd: what.cwd,
      // Another user gets none by execve(2), and may still get them from files.
      capabilities: { bounding: capabilities, ...(isRoot ? { effective: capabilities, permitted: capabilities } : {}) },
      noNewPrivileges: false,
    },
    root: { path: "rootfs", readonly: false },
    hostname,
    mounts: [
      { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
      { destination: "/dev/pts", type: "devpts", source: "devpts", options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
      { destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
      { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
      { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
      { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "relatime", "ro"] },
    ],
    linux: {
      namespaces: ["pid", "network", "ipc", "uts", "mount", "cgroup"].map((type) => ({ type })),
      resources: { devices: [{ allow: false, access: "rwm" }] },
      maskedPaths,
      readonlyPaths,
    },
  };
}
