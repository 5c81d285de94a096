import { expect } from "chai";
import { command } from "./command.js";

describe("the command line of stratafs", function () {
  this.timeout(30_000);

  it("prints its help, and that of every command", function () {
    this.timeout(180_000); // some forty processes
    expect(command(["--help"]).stdout).to.include("stratafs mount [-o OPTIONS]");
    const store = ["import", "export", "images", "tag", "inspect", "ls", "cat", "create", "ps", "rm", "commit", "squash", "bundle", "stats", "fsck", "sweep", "dedup"];
    for (const word of ["mount", "umount", "run", "diff", ...store]) {
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
    [["run", "ls", "x"], /^stratafs: run: put -- before the command: -- ls x\n$/],
    [["diff"], /^stratafs: diff: no upper directory, container or image given\n$/],
    [["diff", "--lower", "l", "a", "b"], /^stratafs: diff: expected one upper directory, found also "b"\n$/],
    [["diff", "a", "b", "c"], /^stratafs: diff: expected at most two names, found also "c"\n$/],
    [["import"], /^stratafs: import: no SOURCE given; it is stratafs import SOURCE\n$/],
    [["import", "a", "--absolute-names", "keep"], /^stratafs: import: --absolute-names is one of refuse, strip; found "keep"\n$/],
    [["import", "--nmae", "x", "a"], /^stratafs: import: unknown option --nmae, did you mean --name\?\n$/],
    [["export", "a"], /^stratafs: export: no TARGET given; it is stratafs export IMAGE TARGET\n$/],
    [["export", "a", "b", "--format", "zip"], /^stratafs: export: --format is one of oci, oci-tar, docker; found "zip"\n$/],
    [["export", "a", "-", "--json"], /^stratafs: export: --json and the image cannot both/],
    [["images", "x"], /^stratafs: images: expected no arguments, found also "x"\n$/],
    [["tag", "a"], /^stratafs: tag: no NAME given; it is stratafs tag IMAGE NAME\n$/],
    [["inspect"], /^stratafs: inspect: no IMAGE\|CONTAINER given/], [["ls"], /^stratafs: ls: no IMAGE\|CONTAINER given/], [["ls", "a", "b", "c"], /^stratafs: ls: expected IMAGE\|CONTAINER PATH, found also "c"\n$/],
    [["cat", "a"], /^stratafs: cat: no PATH given/], [["create"], /^stratafs: create: no IMAGE given/], [["ps", "x"], /^stratafs: ps: expected no arguments/],
    [["rm"], /^stratafs: rm: no image or container given\n$/], [["commit", "a"], /^stratafs: commit: no IMAGE given; it is stratafs commit CONTAINER IMAGE\n$/],
    [["commit", "a", "b", "--cmd", "[1]"], /^stratafs: commit: --cmd needs words, or a JSON list of strings, found "\[1\]"\n$/],
    [["squash", "a", "b", "--env", "x"], /^stratafs: squash: --env needs NAME=VALUE, found "x"\n$/], [["bundle", "a"], /^stratafs: bundle: no DIR given/],
    [["stats", "x"], /^stratafs: stats: expected no arguments/], [["fsck", "--repiar"], /^stratafs: fsck: unknown option --repiar, did you mean --repair\?\n$/],
    [["dedup"], /^stratafs: dedup: no DIRECTORY given; it is stratafs dedup DIRECTORY\.\.\.\n$/],
    [["sweep", "--grace", "x"], /^stratafs: sweep: --grace needs a time as 90s, 10m, 2h or 1d, found "x"\n$/],
  ];
  for (const [args, line] of refused) {
    it(`answers \`${args.join(" ")}\` with one line and status 2`, () => {
      const { status, stdout, stderr } = command(args);
      expect({ status, stdout }).to.deep.equal({ status: 2, stdout: "" });
      expect(stderr).to.match(line);
    });
  }
});
