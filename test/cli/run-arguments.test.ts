import { expect } from "chai";
import { parseRun } from "../../lib/cli/run-arguments.js";
import { UsageError } from "../../lib/cli/usage.js";

const parse = (...args: string[]) => parseRun(args, () => "/home/me");

function refusal(...args: string[]): string {
  try {
    parse(...args);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return "accepted";
}

describe("the arguments of stratafs run", () => {
  it("takes the host's root and a temporary upper unless told otherwise", () => {
    expect(parse("--", "true")).to.deep.equal({
      image: undefined, lowers: ["/"], upper: "temporary", keep: false, diff: false, root: undefined, data: "auto", cwd: "/", env: {}, uid: 0, gid: 0, volumes: [],
      hostname: undefined, network: true, command: ["true"],
    });
  });

  it("reads every option, resolving the host's paths against the cwd", () => {
    const request = parse(
      "--lower", "a", "--lower=/b/", "--upper", "u", "--work", "w", "--root", "r", "--data", "cached", "--workdir", "/srv/", "--env", "A=1=2", "--env", "B=",
      "--user", "1000:100", "--volume", "x:/y:ro", "--volume", "/z:/z", "--hostname", "box", "--no-network", "--keep", "--diff", "--", "sh", "-c", "x", "--",
    );
    expect(request).to.deep.equal({
      image: undefined, lowers: ["/home/me/a", "/b/"], upper: { path: "/home/me/u", work: "/home/me/w" }, keep: true, diff: true, root: "/home/me/r", data: "cached", cwd: "/srv",
      env: { A: "1=2", B: "" }, uid: 1000, gid: 100, hostname: "box", network: false, command: ["sh", "-c", "x", "--"],
      volumes: [{ source: "/home/me/x", target: "/y", readOnly: true }, { source: "/z", target: "/z", readOnly: false }],
    });
  });

  it("takes one word for an image or container, whose own command and user it leaves to it", () => {
    const { image, command, uid } = parse("alpine:3");
    expect({ image, command, uid }).to.deep.equal({
      image: { target: "alpine:3", store: undefined, name: undefined, entrypoint: undefined, user: undefined, cwd: undefined, verify: false }, command: [], uid: 0,
    });
    expect(parse("--store", "s", "--name", "n", "--entrypoint", "", "--user", "www-data:tty", "--workdir", "/srv", "--verify", "box", "--", "ls").image).to.deep.equal({
      target: "box", store: "/home/me/s", name: "n", entrypoint: "", user: "www-data:tty", cwd: "/srv", verify: true,
    });
  });

  it("has no upper with --read-only", () => expect(parse("--read-only", "--", "true").upper).to.equal("none"));

  const refused: [args: string[], message: RegExp][] = [
    [[], /no command given/], [["--"], /no command given/], [["ls", "-l"], /unknown option -l|put -- before/], [["ls", "x"], /put -- before the command: -- ls x/],
    [["--lower", "l", "ls"], /put -- before/], [["--name", "n", "--", "a"], /--name is of no use without an image/], [["", "--", "a"], /name is empty/],
    [["--read-only", "--name", "n", "i"], /contradict/], [["--verify", "--upper", "u", "--", "a"], /--verify is of no use/],
    [["--upr", "x", "--", "a"], /unknown option --upr, did you mean --upper\?/], [["--upper"], /^run: option '--upper <value>' argument missing$/],
    [["--work", "w", "--", "a"], /of no use without --upper/], [["--read-only", "--upper", "u", "--", "a"], /contradict/], [["--read-only", "--diff", "--", "a"], /nothing to list/],
    [["--data", "fast", "--", "a"], /one of auto, passthrough, cached/], [["--env", "=x", "--", "a"], /NAME=VALUE/], [["--env", "x", "--", "a"], /NAME=VALUE/],
    [["--user", "root", "--", "a"], /UID or UID:GID/], [["--user", "1:4294967295", "--", "a"], /UID or UID:GID/], [["--volume", "/a", "--", "a"], /SRC:DST/],
    [["--volume", "/a:b", "--", "a"], /absolute path in the root/], [["--volume", "/a:/b:exec", "--", "a"], /SRC:DST/], [["--workdir", "x", "--", "a"], /absolute path/],
    [["--hostname", "a b", "--", "a"], /--hostname needs/], [["--no-network=1", "--", "a"], /does not take an argument/], [["--lower", "", "--", "a"], /--lower is empty/],
  ];
  for (const [args, message] of refused) it(`refuses ${args.join(" ") || "nothing"} in one line`, () => expect(refusal(...args)).to.match(message).and.not.include("\n"));
});
