/** Tables that grow at their end while an index is written. `bytes` is a view, good until the next push. Numbers are little-endian. */

export class GrowingWords {
  #words = new Uint32Array(1024);
  length = 0;

  push(word: number): void {
    if (this.length === this.#words.length) {
      const larger = new Uint32Array(this.length * 2);
      larger.set(this.#words);
      this.#words = larger;
    }
    this.#words[this.length++] = word;
  }

  /** An integer as two words, low first, two's complement: 64 bits, of which 54 are used. */
  pushNumber(value: number): void {
    const low = value - Math.floor(value / 0x100000000) * 0x100000000;
    this.push(low);
    this.push(Math.floor(value / 0x100000000));
  }

  get(at: number): number {
    return this.#words[at] as number;
  }

  set(at: number, word: number): void {
    this.#words[at] = word;
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.#words.buffer, 0, this.length * 4);
  }
}

export class GrowingBytes {
  #bytes = Buffer.allocUnsafeSlow(4096);
  length = 0;

  push(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  pushLatin1(text: string): void {
    this.#reserve(text.length);
    this.#bytes.write(text, this.length, "latin1");
    this.length += text.length;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  #reserve(more: number): void {
    if (this.length + more <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.length + more));
    larger.set(this.#bytes.subarray(0, this.length));
    this.#bytes = larger;
  }
}
