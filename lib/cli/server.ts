/**
 * The serving process of a mount that launch.sh starts. A mount is there when this has started, so it is bundled alone, without what
 * other commands need: a third of a start was reading that. STRATAFS_NAME is what the command was called as.
 */
import { basename } from "node:path";
import { endWith } from "./ending.js";
import { mountForm } from "./mount-arguments.js";
import { mountCommand } from "./mount.js";

async function main(): Promise<number> {
  const args = process.argv.slice(2);
  const name = basename(process.env["STRATAFS_NAME"] ?? "");
  delete process.env["STRATAFS_NAME"];
  const form = mountForm(name, args, ["mount"]);
  return form === undefined ? await mountCommand(args.slice(1)) : await mountCommand(args, form);
}

endWith(main());
