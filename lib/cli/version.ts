/** The version of the package that this file belongs to, bundled or not. */
import { readFileSync } from "node:fs";

/** Walks up from this module to its package.json. */
export function packageVersion(): string {
  for (let dir = new URL(".", import.meta.url); ; dir = new URL("..", dir)) {
    try {
      const found = JSON.parse(readFileSync(new URL("package.json", dir), "utf8")) as { name?: string; version?: string };
      if (found.name === "stratafs") return found.version ?? "unknown";
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    if (dir.pathname === "/") return "unknown";
  }
}
