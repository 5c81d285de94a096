/** Plans with a name: what to measure on what, so that a table can be made again with one short command. */
export interface Preset {
  readonly name: string;
  readonly about: string;
  /** Scenarios in full, each with the numbers of lowers to measure it over where that means something. */
  readonly scenarios: Readonly<Record<string, readonly number[]>>;
  readonly subjects: readonly string[];
  readonly runs: number;
  /** Where results go, below bench/results. */
  readonly results: string;
}

const TEN = [10];
const TEN_AND_HUNDRED = [10, 100];

/** Made to fit into some twenty minutes on two CPUs: what issues and users ask for first, over ten lowers, and over a hundred where layers could show. */
const readme: Preset = {
  name: "readme",
  about: "the table of the project's README, in about twenty minutes",
  scenarios: {
    "walk-cold": TEN_AND_HUNDRED,
    "walk-warm": TEN_AND_HUNDRED,
    "missing-names-again": TEN_AND_HUNDRED,
    "small-files-cold": TEN,
    "small-files-warm": TEN,
    "open-read-close": TEN,
    "read-warm": TEN,
    "map-warm": TEN,
    "write-sequential": TEN,
    "write-random": TEN,
    append: TEN,
    "copy-up-large": TEN,
    create: TEN,
    "unlink-new": TEN,
    "unlink-lower": TEN,
    "chmod-tree": TEN,
    "parallel-open-2": TEN,
    untar: TEN,
    "git-clone-status": TEN,
    "npm-ci": TEN,
    "python-warm": TEN,
    "c-build": TEN,
    "apt-install": TEN,
    mount: TEN,
    "container-start": TEN,
    "image-import": TEN,
    "image-commit": TEN,
    "store-size": TEN,
    "memory-per-mount-ten": TEN,
    "page-cache-two-mounts": TEN,
  },
  subjects: ["kernel-overlayfs", "fuse-overlayfs", "stratafs-passthrough", "stratafs-cached", "stratafs-store-passthrough", "stratafs-images", "umoci", "podman"],
  runs: 5,
  results: "published-readme.json",
};

export const PRESETS: readonly Preset[] = [readme];
