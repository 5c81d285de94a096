/** Imports point down: the table in README.md, read here and checked against every import under lib/. */
import { expect } from "chai";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "../..");
const lib = join(top, "lib");

/** "fuse/" or "mount.ts" -> what it may import; "*" for everything above it in the table. */
function table(): Map<string, string[]> {
  const rows = new Map<string, string[]>();
  const readme = readFileSync(join(top, "README.md"), "utf8");
  for (const [, area, imports] of readme.matchAll(/^\| `([\w./-]+)` \| [^|]+ \| ([^|]*) \|$/gm)) {
    rows.set(area!.replace(/\/$/, ""), imports!.trim() === "" ? [] : imports!.trim().split(/, */));
  }
  return rows;
}

function areaOf(file: string): string {
  const path = relative(lib, file);
  return path.includes("/") ? path.slice(0, path.indexOf("/")) : path;
}

describe("the imports of lib/", () => {
  const rows = table();
  const areas = [...rows.keys()];
  for (const entry of readdirSync(lib, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith(".ts")) continue;
    const file = join(entry.parentPath, entry.name);
    it(`point down the README's table in ${relative(lib, file)}`, () => {
      const area = areaOf(file);
      expect(areas, "the README's table has a row for it").to.include(area);
      const allowed = rows.get(area)!.flatMap((name) => (name === "*" ? areas.slice(0, areas.indexOf(area)) : [name.replace(/\/$/, "")]));
      const source = readFileSync(file, "utf8");
      for (const [, target] of source.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)) {
        const to = areaOf(join(dirname(file), target!.replace(/\.js$/, ".ts")));
        if (to === area || to.startsWith("..")) continue;
        expect(allowed, `${area} imports ${to}`).to.include(to);
      }
    });
  }
});
