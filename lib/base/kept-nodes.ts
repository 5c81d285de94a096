/**
 * Which nodes of a tree its user still holds, for users that ask by path and keep no count of their own.
 * Invariant: a pinned node is never forgotten, and children are forgotten before the directories they were found in.
 * Nothing here runs by itself: trim() belongs between two requests, when no node is in a local variable.
 */

export class KeptNodes {
  readonly #forget: (node: object) => void;
  readonly #limit: number;
  /** In the order they were first seen, so that a directory comes before what is in it. */
  readonly #seen = new Set<object>();
  readonly #pins = new Map<object, number>();
  #trimAbove: number;

  /** `limit`: how many unpinned nodes may be remembered. With Infinity nothing is ever forgotten (a tree that others use as well). */
  constructor(forget: (node: object) => void, limit: number) {
    this.#forget = forget;
    this.#limit = limit;
    this.#trimAbove = limit;
  }

  get size(): number {
    return this.#seen.size;
  }

  saw(node: object): void {
    if (this.#limit !== Infinity) this.#seen.add(node);
  }

  pin(node: object): void {
    this.#pins.set(node, (this.#pins.get(node) ?? 0) + 1);
  }

  /** `gone`: the object has no name left, so its space is freed at once rather than at the next trim. */
  unpin(node: object, gone = false): void {
    const count = (this.#pins.get(node) ?? 1) - 1;
    if (count > 0) this.#pins.set(node, count);
    else this.#pins.delete(node);
    if (gone) this.drop(node);
  }

  /** Forgets a node now, unless it is pinned or was never seen. */
  drop(node: object): void {
    if (!this.#pins.has(node) && this.#seen.delete(node)) this.#forget(node);
  }

  /** Forgets every unpinned node, latest first, when there are too many; true when it did. */
  trim(): boolean {
    if (this.#seen.size <= this.#trimAbove) return false;
    for (const node of [...this.#seen].reverse()) this.drop(node);
    // What stays is pinned; without this a user with many open files would sort through them at every request.
    this.#trimAbove = this.#seen.size + this.#limit;
    return true;
  }
}
