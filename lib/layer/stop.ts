/** Says to a copy that nobody wants it any more. Made by who wants it, and asked by him at most once. */
export class Stop {
  /** Whoever copies looks here between two pieces, and rejects ECANCELED. */
  asked = false;
  /** Set by whoever copies, while he has something that ends sooner when it is called. */
  hurry: (() => void) | undefined;

  ask(): void {
    this.asked = true;
    this.hurry?.();
  }
}
