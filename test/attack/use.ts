/**
 * node use.js MS DIR: everything that a program does with DIR/file, DIR/dir/file and what is made in DIR/dir, again and again, following no link
 * at the end of a path. Prints, as JSON, every content it has read and how often each kind of call worked.
 */
import * as fs from "node:fs";
import { join } from "node:path";
import { native } from "../../lib/sys/binding.js";
import { AT_FDCWD } from "../../lib/sys/flags.js";

const [ms, top] = process.argv.slice(2) as [string, string];
const { O_NOFOLLOW, O_RDONLY, O_RDWR, O_APPEND } = fs.constants;
const seen = new Set<string>();
const worked: Record<string, number> = {};

function attempt(what: string, call: () => void): void {
  try {
    call();
    worked[what] = (worked[what] ?? 0) + 1;
  } catch (error) {
    if ((error as { code?: string }).code === undefined) throw error;
  }
}
function withFile(path: string, flags: number, use: (fd: number) => void): void {
  const fd = fs.openSync(path, flags | O_NOFOLLOW);
  try {
    use(fd);
  } finally {
    fs.closeSync(fd);
  }
}

for (let round = 0, end = Date.now() + Number(ms); Date.now() < end; round++) {
  for (const path of [join(top, "file"), join(top, "dir/file")]) {
    attempt("read", () => withFile(path, O_RDONLY, (fd) => void seen.add(fs.readFileSync(fd, "latin1"))));
    attempt("write", () => withFile(path, O_RDWR | O_APPEND, (fd) => void fs.writeSync(fd, "w")));
    attempt("truncate", () => withFile(path, O_RDWR, (fd) => fs.ftruncateSync(fd, 4)));
    attempt("chmod", () => withFile(path, O_RDONLY, (fd) => fs.fchmodSync(fd, 0o640)));
    attempt("chown", () => fs.lchownSync(path, 1, 1));
    attempt("utimes", () => fs.lutimesSync(path, 1, 1));
    attempt("setxattr", () => {
      if (native.setxattr(AT_FDCWD, path, "user.k", Buffer.from("v"), 0) < 0) throw Object.assign(new Error(), { code: "XATTR" });
    });
  }
  const made = join(top, "dir", `made${round % 3}`);
  attempt("list", () => void fs.readdirSync(join(top, "dir")));
  attempt("create", () => fs.writeFileSync(made, "made", { flag: "wx" }));
  attempt("link", () => fs.linkSync(join(top, "dir/file"), `${made}.link`));
  attempt("rename", () => fs.renameSync(made, `${made}.moved`));
  attempt("unlink", () => fs.unlinkSync(`${made}.moved`));
  attempt("unlink", () => fs.unlinkSync(`${made}.link`));
  attempt("mkdir", () => fs.mkdirSync(`${made}.d`));
  attempt("rmdir", () => fs.rmdirSync(`${made}.d`));
  attempt("symlink", () => fs.symlinkSync("x", `${made}.s`));
  attempt("unlink", () => fs.unlinkSync(`${made}.s`));
}
console.log(JSON.stringify({ seen: [...seen], worked }));
