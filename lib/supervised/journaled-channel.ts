/** The channel on a /dev/fuse descriptor that is handed on: requests are read to where the next process finds them. */
import { DeviceChannel } from "../fuse/device-channel.js";
import { native } from "../sys/binding.js";
import type { Journal } from "./journal.js";

export class JournaledChannel extends DeviceChannel {
  readonly #fd: number;
  readonly #journal: Journal;

  /** As DeviceChannel. */
  constructor(fd: number, journal: Journal) {
    super(fd, native, journal.request, () => journal.beforeRead());
    this.#fd = fd;
    this.#journal = journal;
  }

  override backingOpen(fd: number): number {
    const id = super.backingOpen(fd);
    if (id > 0) this.#journal.backing = id;
    return id;
  }

  /** First nobody is to go on with it: the number may stand for another file soon. */
  override stop(): void {
    this.#journal.drop(this.#fd);
    super.stop();
  }
}
