/**
 * Plans: what a child process does between fork and exec, written down beforehand, because a forked child of a program with threads
 * may do nothing but system calls. native/src/plan.cc carries them out.
 *
 * Bytes, little-endian, unaligned:
 *
 *   step:      0 operation u8 | 1 may fail u8 | 2 zero u16 | 4 size of the operands u32 | 8 operands
 *   operands:  i32 | i64 | text = length u32, latin1 bytes, NUL | list = count u32, texts (or u32s for setgroups)
 *
 * Steps run in order. One that fails, unless allowed to, makes the child report {step u32, errno u32} and exit with 125.
 * A plan that ends without exec makes the child exit with 0. The child starts with default handlers and the parent's signal mask.
 */

/** The order is the numbering. */
const operations = [
  "unshare", "setns", "writeFile", "readByte", "writeByte", "fork", "mount", "moveMount", "umount", "pivotRoot", "chroot", "chdir", "mkdir",
  "mknod", "symlink", "createFile", "sethostname", "setgroups", "setresgid", "setresuid", "umask", "setsid", "setctty", "dup2", "closeFrom",
  "setPdeathsig", "noNewPrivs", "capDrop", "resetSignals", "loopbackUp", "exec", "execPath",
] as const;
type Operation = (typeof operations)[number];
const numberOf = new Map<Operation, number>(operations.map((operation, number) => [operation, number]));

type Operand = { readonly i32: number } | { readonly i64: number } | { readonly text: string } | { readonly texts: readonly string[] };
interface Step {
  readonly operation: Operation;
  readonly operands: readonly Operand[];
  mayFail: boolean;
}

const int = (i32: number): Operand => ({ i32 });
const text = (latin1: string): Operand => ({ text: latin1 });
const flag = (on: boolean): Operand => ({ i32: on ? 1 : 0 });

/** Builds a plan step by step; every method adds one step and returns the plan. Texts are latin1. */
export class Plan {
  readonly #steps: Step[] = [];

  /** Lets the step added last fail: the next one runs all the same. */
  orIgnore(): this {
    const last = this.#steps.at(-1);
    if (last !== undefined) last.mayFail = true;
    return this;
  }

  // ── namespaces and handshakes ──
  unshare(cloneFlags: number): this {
    return this.#add("unshare", int(cloneFlags));
  }
  setns(fd: number, cloneFlags: number): this {
    return this.#add("setns", int(fd), int(cloneFlags));
  }
  /** Opens an existing file and writes all of `data` with one call, as /proc/self/uid_map wants it. */
  writeFile(path: string, data: string): this {
    return this.#add("writeFile", text(path), text(data));
  }
  /** Waits for a byte, the go-ahead of another process; EPIPE at end of file. */
  readByte(fd: number): this {
    return this.#add("readByte", int(fd));
  }
  writeByte(fd: number): this {
    return this.#add("writeByte", int(fd));
  }
  /**
   * The child continues, as pid 1 when a pid namespace was unshared. The parent only waits: it closes all descriptors above 2, passes
   * on SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 and SIGWINCH (but for what a terminal has sent to both), reaps orphans, and ends
   * as the child did: same exit status, same signal. Twice in a plan, with a pid namespace between, gives the command an init that is
   * not itself; the signal that killed the command still comes through.
   */
  fork(): this {
    return this.#add("fork");
  }

  // ── the tree ──
  /** Empty source, type or data are NULL. */
  mount(source: string, target: string, type: string, flags: number, data = ""): this {
    return this.#add("mount", text(source), text(target), text(type), { i64: flags }, text(data));
  }
  /** Attaches a detached mount (fsmount, openTree) at `path`. */
  moveMount(fd: number, path: string): this {
    return this.#add("moveMount", int(fd), text(path));
  }
  umount(path: string, flags: number): this {
    return this.#add("umount", text(path), int(flags));
  }
  pivotRoot(newRoot: string, putOld: string): this {
    return this.#add("pivotRoot", text(newRoot), text(putOld));
  }
  chroot(path: string): this {
    return this.#add("chroot", text(path));
  }
  chdir(path: string): this {
    return this.#add("chdir", text(path));
  }
  mkdir(path: string, mode: number, ignoreExisting = false): this {
    return this.#add("mkdir", text(path), int(mode), flag(ignoreExisting));
  }
  /** `rdev` as base/mode.ts packs it; type bits in `mode`. */
  mknod(path: string, mode: number, rdev: number, ignoreExisting = false): this {
    return this.#add("mknod", text(path), int(mode), int(rdev), flag(ignoreExisting));
  }
  symlink(target: string, path: string, ignoreExisting = false): this {
    return this.#add("symlink", text(target), text(path), flag(ignoreExisting));
  }
  /** An empty file, or the one that is there. */
  createFile(path: string, mode: number): this {
    return this.#add("createFile", text(path), int(mode));
  }

  // ── the process ──
  sethostname(name: string): this {
    return this.#add("sethostname", text(name));
  }
  /** At most 1024. */
  setgroups(gids: readonly number[]): this {
    return this.#add("setgroups", int(gids.length), ...gids.map(int));
  }
  /** -1 leaves an id. */
  setresgid(real: number, effective: number, saved: number): this {
    return this.#add("setresgid", int(real), int(effective), int(saved));
  }
  setresuid(real: number, effective: number, saved: number): this {
    return this.#add("setresuid", int(real), int(effective), int(saved));
  }
  umask(mask: number): this {
    return this.#add("umask", int(mask));
  }
  setsid(): this {
    return this.#add("setsid");
  }
  /** Makes descriptor 0 the controlling terminal. */
  setctty(): this {
    return this.#add("setctty");
  }
  /** `to` is open after exec, also when it is `from` itself. */
  dup2(from: number, to: number): this {
    return this.#add("dup2", int(from), int(to));
  }
  /** Descriptors 0, 1 and 2 are open after exec: Node marks its own close-on-exec. */
  inheritStdio(): this {
    return this.dup2(0, 0).dup2(1, 1).dup2(2, 2);
  }
  /** Descriptors from `fd` on close at exec, and not before: an exec that fails can still be reported. */
  closeFrom(fd: number): this {
    return this.#add("closeFrom", int(fd));
  }
  /** Sent when the parent's thread ends. Does not survive fork; put it after. */
  setPdeathsig(signal: number): this {
    return this.#add("setPdeathsig", int(signal));
  }
  noNewPrivs(): this {
    return this.#add("noNewPrivs");
  }
  /** Drops a capability, by number, from the bounding set. */
  capDrop(capability: number): this {
    return this.#add("capDrop", int(capability));
  }
  /** Every signal to its default, ignored ones too, and none blocked. */
  resetSignals(): this {
    return this.#add("resetSignals");
  }
  /** The loopback device of this network namespace goes up. */
  loopbackUp(): this {
    return this.#add("loopbackUp");
  }
  /** execve(2). `argv` with argv[0]; `envp` as "KEY=value". */
  exec(path: string, argv: readonly string[], envp: readonly string[]): this {
    return this.#add("exec", text(path), { texts: argv }, { texts: envp });
  }
  /** As exec, but `program` is looked for in the colon-separated `dirs`, as they are when the step runs. */
  execPath(dirs: string, program: string, argv: readonly string[], envp: readonly string[]): this {
    return this.#add("execPath", text(dirs), text(program), { texts: argv }, { texts: envp });
  }

  /** A step for people: "mount proc /proc proc". */
  describe(index: number): string {
    const step = this.#steps[index];
    if (step === undefined) return `step ${index}`;
    const words = step.operands.map((operand) => ("text" in operand ? operand.text : "i32" in operand ? `${operand.i32}` : ""));
    return [step.operation, ...words].filter((word) => word !== "").join(" ");
  }

  encode(): Uint8Array {
    return Buffer.concat(this.#steps.map(encodeStep));
  }

  #add(operation: Operation, ...operands: Operand[]): this {
    for (const operand of operands) checkOperand(operation, operand);
    this.#steps.push({ operation, operands, mayFail: false });
    return this;
  }
}

function checkOperand(operation: string, operand: Operand): void {
  const texts = "text" in operand ? [operand.text] : "texts" in operand ? operand.texts : [];
  for (const each of texts) {
    if (/[^\x01-\xff]/.test(each)) throw new TypeError(`${operation}: ${JSON.stringify(each)} has a NUL or is not latin1`);
  }
}

function encodeStep(step: Step): Buffer {
  const operands = Buffer.concat(step.operands.map(encodeOperand));
  const head = Buffer.alloc(8);
  head.writeUInt8(numberOf.get(step.operation)!, 0);
  head.writeUInt8(step.mayFail ? 1 : 0, 1);
  head.writeUInt32LE(operands.length, 4);
  return Buffer.concat([head, operands]);
}

function encodeOperand(operand: Operand): Buffer {
  if ("i32" in operand) return number32(operand.i32);
  if ("i64" in operand) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(operand.i64));
    return bytes;
  }
  if ("text" in operand) return encodeText(operand.text);
  return Buffer.concat([number32(operand.texts.length), ...operand.texts.map(encodeText)]);
}

function number32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value | 0);
  return bytes;
}

function encodeText(latin1: string): Buffer {
  return Buffer.concat([number32(latin1.length), Buffer.from(latin1, "latin1"), Buffer.alloc(1)]);
}
