import { expect } from "chai";
import { command } from "./command.js";

describe("the command line of stratafs", function () {
  this.timeout(30_000);

  it("prints its help, and that of every command", () => {
    expect(command(["--help"]).stdout).to.include("stratafs mount [-o OPTIONS]");
    for (const word of ["mount", "umount", "run", "diff"]) {
      for (const args of [[word, "--help"], ["help", word]]) expect(command(args)).to.deep.include({ status: 0, stderr: "" }).and.property("stdout").to.include(`stratafs ${word} `);
    }
  });

  it("prints its version, also for a mount program's caller", () => {
    for (const args of [["--version"], ["-V"], ["mount", "--version"]]) expect(command(args)).to.include({ status: 0 }).and.property("stdout").to.match(/^stratafs: version \d+\.\d+\.\d+\n$/);
  });

  const refused: [args: string[], line: RegExp][] = [
    [["monut"], /^stratafs: unknown command monut, did you mean mount\?\n$/],
    [["frobnicate"], /^stratafs: unknown command frobnicate; stratafs --help lists them\n$/],
    [["--wat"], /^stratafs: unknown option --wat/],
    [["help", "rum"], /^stratafs: unknown command rum, did you mean run\?\n$/],
    [["mount"], /^stratafs: mount: no mountpoint given\n$/],
    [["mount", "-o", "xino=3", "/tmp"], /^stratafs: option xino is one of auto, on, off; found "3"\n$/],
    [["mount", "-q", "/tmp"], /^stratafs: mount: unknown option -q\n$/],
    [["umount"], /^stratafs: umount: no mountpoint given\n$/],
    [["umount", "--lasy", "/x"], /^stratafs: umount: unknown option --lasy, did you mean --lazy\?\n$/],
    [["run", "ls"], /^stratafs: run: put -- before the command: -- ls\n$/],
    [["diff"], /^stratafs: diff: no upper directory given\n$/],
    [["diff", "a", "b"], /^stratafs: diff: expected one upper directory, found also "b"\n$/],
  ];
  for (const [args, line] of refused) {
    it(`answers \`${args.join(" ")}\` with one line and status 2`, () => {
      const { status, stdout, stderr } = command(args);
      expect({ status, stdout }).to.deep.equal({ status: 2, stdout: "" });
      expect(stderr).to.match(line);
    });
  }
});
