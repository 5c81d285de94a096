/**
 * What the command says. Results go to stdout, one line each; everything about the command itself goes to stderr as `stratafs: …`.
 * Written with one write(2) per call and no stream, so that a line is out before the process ends or changes its descriptors.
 */
import { writeSync } from "node:fs";
import { withoutControls } from "./shown-path.js";

/** A result line. */
export function print(line: string): void {
  write(1, `${line}\n`);
}

/** A line for people: a warning, or why the command failed. */
export function complain(line: string): void {
  write(2, `stratafs: ${withoutControls(line.replaceAll("\n", " "))}\n`);
}

/** A result line of a command whose stdout belongs to somebody else. */
export function printAside(line: string): void {
  write(2, `${line}\n`);
}

/** One line about any thrown value, the message without a stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error && error.message !== "" ? error.message : String(error);
}

function write(fd: number, text: string): void {
  const bytes = Buffer.from(text, "utf8");
  let done = 0;
  while (done < bytes.length) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      // A pipe that its reader made non-blocking: wait for it to drain. Nobody reading is no reason to fail.
      if (code === "EAGAIN") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      else return;
    }
  }
}
