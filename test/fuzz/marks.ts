/**
 * Fuzz target: what layers say to the overlay. The first byte chooses: "k" keys and values of extended attributes, "o" stat overrides, else a stack
 * of up to four layers whose directories and files carry marks as the bytes say, redirects in circles included, which is walked through.
 */
import { FsError } from "../../lib/base/errors.js";
import { S_IFDIR, S_IFMT, S_IFREG } from "../../lib/base/mode.js";
import { checkRedirect, hiddenBy, readMarks } from "../../lib/layer/dialect.js";
import { memoryLayer } from "../../lib/layer/description.js";
import { shownKey, storedKey } from "../../lib/layer/private-keys.js";
import { formatOverride, parseOverride } from "../../lib/layer/stat-override.js";
import { entry, type EntryDescription } from "../../lib/layer/tree-description.js";
import { overlay } from "../../lib/mount.js";
import { contentOf, now } from "../helpers/worlds.js";
import { expectThat, refusedBy, type Target } from "./fuzz.js";

const names = ["a", "b", "c", "d"];
const redirects = ["/a", "/b/a", "/a/b/c/d", "b", "/c", "/a/a/a/a/a/a/a/a", "..", "/../x", "", "/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d", "a", "/b/b/b/b"];
const MAX_NODES = 400;

export const marksTarget: Target = {
  name: "marks",
  words: ["trusted.overlay.redirect\n", "user.overlay.metacopy\n", "trusted.overlay.overlay.", "user.containers.override_stat", "user.containers.override_security.x", "security.capability", "0:0:0755", ":char-0-0", ":symlink", ".wh.", ".wh..wh..opq", "\0", "/", ".."],
  maxBytes: 600,
  run(input) {
    const text = input.toString("latin1", 1);
    if (input[0] === 0x6b) keys(text.split("\n"));
    else if (input[0] === 0x6f) override(text);
    else stack(input.subarray(1));
  },
  async samples() {
    return {
      keys: Buffer.from("ktrusted.overlay.redirect\n/a/b\nuser.overlay.opaque\ny\ntrusted.overlay.stratafs.origin\n12\nuser.mime\ntext"),
      override: Buffer.from("o1000:100:0104755:char-1-3"),
      stack: Buffer.from([0, 3, ...Array.from({ length: 120 }, (_, i) => (i * 37 + 11) & 255)]),
      circles: Buffer.from([0, 2, ...Array.from({ length: 90 }, (_, i) => [2, 0x81, 5][i % 3] as number)]),
    };
  },
};

function keys(parts: readonly string[]): void {
  const xattrs = new Map<string, string>();
  for (let i = 0; i < parts.length; i += 2) xattrs.set(parts[i] as string, parts[i + 1] ?? "");
  try {
    const marks = readMarks([...xattrs.keys()], (key) => xattrs.get(key));
    expectThat(marks.origin === undefined || Number.isSafeInteger(marks.origin), () => `origin ${marks.origin}`);
    if (marks.redirect !== undefined) {
      const path = checkRedirect(marks.redirect);
      expectThat(!path.split("/").some((part) => part === ".." || part === ".") && !path.includes("\0"), () => `accepts the redirect ${JSON.stringify(path)}`);
    }
  } catch (error) {
    refusedBy(error, FsError);
  }
  for (const key of xattrs.keys()) {
    hiddenBy(key);
    for (const inOverride of [false, true]) {
      const stored = storedKey(key, inOverride);
      expectThat(stored === undefined || shownKey(stored, inOverride) === key, () => `${JSON.stringify(key)} is stored as ${JSON.stringify(stored)}, which shows as ${JSON.stringify(shownKey(stored ?? "", inOverride))}`);
      if (stored !== undefined) {
        const marks = readMarks([stored], () => "y");
        expectThat(marks.opaque === "" && !marks.metacopy && marks.redirect === undefined, () => `${JSON.stringify(key)} reaches the mark ${JSON.stringify(stored)}`);
      }
    }
  }
}

function override(text: string): void {
  try {
    const { uid, gid, permissions, type, rdev } = parseOverride(text);
    expectThat((permissions & ~0o7777) === 0 && uid >= 0 && gid >= 0 && rdev >= 0, () => `${uid}:${gid} ${permissions} ${rdev}`);
    expectThat(uid < 2 ** 32 && gid < 2 ** 32, () => `ids ${uid}:${gid}`);
    const again = parseOverride(formatOverride(uid, gid, permissions | type, rdev, 0));
    expectThat(again.uid === uid && again.permissions === permissions && again.rdev === rdev, () => "does not read back");
  } catch (error) {
    refusedBy(error, FsError);
  }
}

/** Walks through a stack of layers made of the bytes. Nothing but FsError comes out, and it ends. */
function stack(input: Buffer): void {
  let at = 0;
  const next = (): number => input[at++] ?? 0;
  const layers = 1 + (next() & 3);
  const directory = (depth: number): EntryDescription => {
    const what = next();
    const entries: Record<string, EntryDescription> = {};
    for (const [i, name] of names.entries()) {
      if ((what & (1 << i)) === 0) continue;
      const kind = next();
      const redirect = (kind & 0x40) !== 0 ? { redirect: redirects[next() % redirects.length] as string } : {};
      if ((kind & 7) === 0) entries[name] = entry({ whiteout: true });
      else if ((kind & 7) < 4 || depth > 6) entries[name] = entry({ content: `${depth}`, metacopy: (kind & 0x20) !== 0, ...redirect });
      else entries[name] = directory(depth + 1);
    }
    return entry({ entries, opaque: (what & 0x10) !== 0, ...((what & 0x20) !== 0 ? { redirect: redirects[next() % redirects.length] as string } : {}) });
  };
  const lowers = Array.from({ length: layers }, () => {
    const root = directory(0) as { "/": { entries: Record<string, EntryDescription> } };
    return memoryLayer(root["/"].entries);
  });
  const tree = overlay({ lowers });
  let left = MAX_NODES;
  const open: object[] = [tree.root];
  for (let dir = open.pop(); dir !== undefined && left > 0; dir = open.pop()) {
    try {
      for (const { name } of tree.openDir(dir as typeof tree.root)) {
        left--;
        visit(dir as typeof tree.root, name);
      }
    } catch (error) {
      refusedBy(error, FsError);
    }
  }
  tree.close();

  function visit(dir: typeof tree.root, name: Parameters<typeof tree.lookup>[1]): void {
    try {
      const node = tree.lookup(dir, name);
      if (node === undefined) return;
      const type = tree.getAttr(node).mode & S_IFMT;
      tree.listXattr(node);
      if (type === S_IFDIR) open.push(node);
      if (type === S_IFREG) now(contentOf(tree, node));
    } catch (error) {
      refusedBy(error, FsError);
    }
  }
}
