/** The process behind remote-fs.ts: answers each message with what the call gave. What readSync read comes back as text of one character a byte. */
import * as fs from "node:fs";
import { check } from "../../lib/base/errors.js";
import { native } from "../../lib/sys/binding.js";
import { AT_FDCWD, RENAME_EXCHANGE, XATTR_CREATE } from "../../lib/sys/flags.js";
import type { Answer, Call, OtherCall } from "./remote-fs.js";

const others: Readonly<Record<OtherCall, (path: string, second: string, value: string) => unknown>> = {
  exchange: (path, other) => check(native.rename(AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE), "renameat2"),
  createXattr: (path, key, value) => check(native.setxattr(AT_FDCWD, path, key, Buffer.from(value), XATTR_CREATE), "setxattr"),
  removeXattr: (path, key) => check(native.removexattr(AT_FDCWD, path, key), "removexattr"),
  getXattr: (path, key) => {
    const into = Buffer.alloc(256);
    const length = native.getxattr(AT_FDCWD, path, key, into);
    return length < 0 ? undefined : into.toString("utf8", 0, length);
  },
};

process.umask(0o022);
process.on("message", ({ call, args }: { call: Call; args: unknown[] }) => {
  process.send!(answer(call, args));
});
process.send!({ value: "ready" } satisfies Answer);

function answer(call: Call, args: unknown[]): Answer {
  try {
    if (call === "readSync") {
      const [fd, into, offset, length, position] = args as [number, Uint8Array, number, number, number];
      const count = fs.readSync(fd, into, offset, length, position);
      return { value: Buffer.from(into.buffer, into.byteOffset, count).toString("latin1") };
    }
    if (Object.hasOwn(others, call)) return { value: others[call as OtherCall](...(args as [string, string, string])) };
    const value = (fs[call as Exclude<Call, OtherCall>] as (...given: unknown[]) => unknown)(...args);
    return { value: value !== null && typeof value === "object" && !(value instanceof Uint8Array) ? structuredClone(Array.isArray(value) ? value : { ...value }) : value };
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return { code: code ?? "none", message };
  }
}
