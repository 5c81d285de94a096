/** apt-get install into a Debian root that came from the layers, from packages that lie beside it: no network. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { debContent, debFile, debName, FILES_OF_A_DEB } from "../fixtures/debs.js";
import { inBoth } from "./goals.js";
import { expect, type Cell, type Scenario } from "./scenario.js";

/** The machine's own settings are not read: only the programs are its. */
function settings(cell: Cell): Record<string, string> {
  const file = join(cell.outside, "apt.conf");
  const sources = join(cell.outside, "sources.list");
  writeFileSync(sources, `deb [trusted=yes] file:${join(cell.input("debs"), "pool")} ./\n`);
  writeFileSync(
    file,
    `Dir "${cell.root}";
Dir::Bin::dpkg "/usr/bin/dpkg"; Dir::Bin::methods "/usr/lib/apt/methods"; Dir::Bin::solvers:: ""; Dir::Bin::planners:: "";
Dir::Etc::main "/dev/null"; Dir::Etc::parts "/dev/null"; Dir::Etc::sourcelist "${sources}"; Dir::Etc::sourceparts "/dev/null";
Dir::Etc::trusted "/dev/null"; Dir::Etc::trustedparts "/dev/null"; Dir::Etc::preferences "/dev/null"; Dir::Etc::preferencesparts "/dev/null";
Dir::State "var/lib/apt"; Dir::State::status "${join(cell.root, "var/lib/dpkg/status")}"; Dir::Cache "var/cache/apt"; Dir::Log "var/log/apt";
APT::Sandbox::User "root"; APT::Get::Assume-Yes "true"; APT::Architecture "${cell.command(["dpkg", "--print-architecture"]).output.trim()}";
DPkg::Options:: "--root=${cell.root}"; Dpkg::Use-Pty "false"; Acquire::Languages "none";
`,
  );
  return { APT_CONFIG: file, DEBIAN_FRONTEND: "noninteractive" };
}

const names = (cell: Cell): string[] => Array.from({ length: cell.sizes.debs }, (_, i) => debName(i));

export const aptInstall: Scenario = {
  name: "apt-install",
  group: "Real work",
  about: "apt-get install of 40 packages with 60 files each into a Debian root, from a local pool",
  unit: "ms",
  fixture: "system",
  layered: true,
  changesLowers: true,
  needs: ["apt-get", "dpkg", "dpkg-deb"],
  inputs: ["debs"],
  goals: inBoth(1.3),
  setup(cell) {
    cell.command(["mkdir", "-p", ...["lib/apt/lists/partial", "cache/apt/archives/partial", "log/apt"].map((path) => join(cell.root, "var", path))]);
    cell.command(["apt-get", "-q", "update"], { environment: settings(cell) });
  },
  run(cell) {
    const { ms } = cell.command(["apt-get", "-q", "install", ...names(cell)], { environment: settings(cell) });
    return { value: ms, operations: cell.sizes.debs };
  },
  check(cell) {
    const query = cell.command(["dpkg-query", `--admindir=${join(cell.root, "var/lib/dpkg")}`, "-W", "-f", "${Status}\n", ...names(cell)]);
    expect("installed packages", query.output, "install ok installed\n".repeat(cell.sizes.debs));
    for (let deb = 0; deb < cell.sizes.debs; deb++) {
      const last = FILES_OF_A_DEB - 1;
      expect("content", readFileSync(join(cell.root, debFile(deb, last)), "latin1"), debContent(deb, last));
    }
  },
};
