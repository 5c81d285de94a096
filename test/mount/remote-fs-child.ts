/** The process behind remote-fs.ts: answers each message with what the call gave. What readSync read comes back as text of one character a byte. */
import * as fs from "node:fs";
import type { Answer, Call } from "./remote-fs.js";

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
    const value = (fs[call] as (...given: unknown[]) => unknown)(...args);
    return { value: value !== null && typeof value === "object" && !(value instanceof Uint8Array) ? structuredClone(Array.isArray(value) ? value : { ...value }) : value };
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return { code: code ?? "none", message };
  }
}
