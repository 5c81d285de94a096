/** Plans with a name: what to measure on what, so that a table can be made again with one short command. */
export interface Preset {
  readonly name: string;
  readonly about: string;
  /** Scenarios in full, each with the numbers of lowers to measure it over where that means something. */
  readonly scenarios: Readonly<Record<string, readonly number[]>>;
  readonly subjects: readonly string[];
  /** Subjects of it that take part in these scenarios alone. */
  readonly narrowed: Readonly<Record<string, readonly string[]>>;
  readonly runs: number;
  /** Everybody as an ordinary user, in a user namespace. */
  readonly unprivileged?: true;
  /** Where results go, below bench/results. */
  readonly results: string;
}

const TEN = [10];
const TEN_AND_HUNDRED = [10, 100];

/**
 * What issues and users ask for first, over ten lowers, and over a hundred where layers could show. About a thousand runs, of a good second
 * each on two quiet CPUs: some twenty minutes.
 */
const readme: Preset = {
  name: "readme",
  about: "the tables of the project's README, in some twenty minutes",
  scenarios: {
    "walk-cold": TEN_AND_HUNDRED,
    "walk-warm": TEN_AND_HUNDRED,
    "missing-names-again": TEN_AND_HUNDRED,
    "small-files-warm": TEN,
    "open-read-close": TEN,
    "read-warm": TEN,
    "map-warm": TEN,
    "write-sequential": TEN,
    "write-random": TEN,
    append: TEN,
    create: TEN,
    "unlink-lower": TEN,
    "chmod-tree": TEN,
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
  // Where an index could make a difference; file data takes the same way as from directories.
  narrowed: { "stratafs-store-passthrough": ["walk-cold", "walk-warm", "missing-names-again", "small-files-warm", "unlink-lower", "mount", "memory-per-mount-ten"] },
  runs: 5,
  results: "published-readme.json",
};

/** What an ordinary user gets: without passthrough, and with overlayfs's marks in user.* attributes. */
const unprivileged: Preset = {
  name: "unprivileged",
  about: "the same for ordinary users, in some five minutes",
  scenarios: { "walk-warm": TEN, "missing-names-again": TEN, "small-files-warm": TEN, "open-read-close": TEN, create: TEN, "chmod-tree": TEN, untar: TEN, "container-start": TEN },
  subjects: ["kernel-overlayfs", "fuse-overlayfs", "stratafs-cached"],
  narrowed: {},
  runs: 5,
  unprivileged: true,
  results: "published-unprivileged.json",
};

export const PRESETS: readonly Preset[] = [readme, unprivileged];
