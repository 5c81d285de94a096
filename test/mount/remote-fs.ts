/** node:fs in another process, and some calls that it lacks, one at a time: who uses a mount can wait for ever, and the test must not. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import type * as fs from "node:fs";
import { fileURLToPath } from "node:url";

/** What node:fs lacks: `exchange` takes two paths, the others path and key; `createXattr` fails where there is one, `getXattr` gives text or undefined. */
export type OtherCall = "exchange" | "createXattr" | "removeXattr" | "getXattr";
/** Names of the calls that a client makes: those of node:fs that do not wait, and others. */
export type Call = Extract<keyof typeof fs, `${string}Sync`> | OtherCall;
export type Answer = { readonly value: unknown } | { readonly code: string; readonly message: string };
const CALL_MS = 60_000;

export class RemoteFs {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(): Promise<RemoteFs> {
    const child = fork(fileURLToPath(new URL("remote-fs-child.js", import.meta.url)), { serialization: "advanced" });
    await once(child, "message");
    return new RemoteFs(child);
  }

  /**
   * Calls one function there; objects come back as plain data, without methods. Throws an Error with the call's code; a process that
   * does not answer is killed.
   */
  async do<T = unknown>(call: Call, ...args: unknown[]): Promise<T> {
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), CALL_MS);
    const over = new AbortController();
    const { signal } = over;
    const answered = once(this.#child, "message", { signal });
    const ended = once(this.#child, "exit", { signal }).then(() => [undefined]);
    // The one that loses the race is called off.
    for (const waiting of [answered, ended]) waiting.catch(() => {});
    try {
      this.#child.send({ call, args });
      const [answer] = (await Promise.race([answered, ended])) as [Answer | undefined];
      if (answer === undefined) throw new Error(`${call} ${String(args[0])} was not answered`);
      if ("code" in answer) throw Object.assign(new Error(answer.message), { code: answer.code });
      return answer.value as T;
    } finally {
      clearTimeout(timer);
      over.abort();
    }
  }

  /** The whole of a file that is open there. */
  async contentOf(fd: number): Promise<string> {
    const bytes = Buffer.alloc(1 << 16);
    // A buffer that is sent is a copy: the call that fills it must make it there.
    return this.do<string>("readSync", fd, bytes, 0, bytes.length, 0);
  }

  close(): void {
    this.#child.kill("SIGKILL");
  }
}
