/**
 * Inode numbers of the merged view: a layer's own number, with the number of its inode space above bit 48.
 * Always true: one object has one number for the life of the mount, and the same one in the next mount of the same layers.
 * A number too large for that gets one from a table, which the next mount may give differently.
 */
const SPACE = 2 ** 48;
const MAX_SPACES = 31;

export class Inodes {
  private readonly spaces = new Map<string, number>();
  private readonly odd = new Map<string, number>();
  private nextOdd = MAX_SPACES * SPACE;
  /** Numbers of at most 32 bits, given in the order of asking: for programs built without large-file support. */
  private readonly narrow: boolean;
  private nextNarrow = 1;
  /** Numbers of lower objects that an upper one has, and that one's own number. Kept to the end of the mount: no number changes. */
  private readonly inherited = new Map<number, number>();

  /** `spaces` in the order of the stack. */
  constructor(spaces: readonly string[], narrow: boolean) {
    for (const space of spaces) if (!this.spaces.has(space)) this.spaces.set(space, this.spaces.size);
    this.narrow = narrow;
  }

  /**
   * The number of an upper object that is to keep a lower's: that, or its own when another has it already. Two have the same lower when
   * somebody copied one in the upper directory, marks and all; with one number, diff and cp would take them for one file.
   */
  inherit(lower: number, own: number): number {
    const first = this.inherited.get(lower);
    if (first === undefined) this.inherited.set(lower, own);
    return first === undefined || first === own ? lower : own;
  }

  /** A number given by the process before: not to be given again. */
  taken(number: number): void {
    if (number >= this.nextOdd) this.nextOdd = number + 1;
  }

  of(space: string, ino: number): number {
    const index = this.spaces.get(space)!;
    if (!this.narrow && ino < SPACE && index < MAX_SPACES) return index * SPACE + ino;
    const key = `${space} ${ino}`;
    let number = this.odd.get(key);
    if (number === undefined) {
      number = this.narrow ? this.nextNarrow++ : this.nextOdd++;
      this.odd.set(key, number);
    }
    return number;
  }
}
