/** Where a file's data lies on the disk, to see what is shared already. Only ever a reason to leave something as it is. */
import { native } from "../sys/binding.js";

const MOST = 64;
const slots = new Float64Array(4 * MOST);

// FIEMAP_EXTENT_*, linux/fiemap.h
const LAST = 0x1;
const UNKNOWN = 0x2;
const DELALLOC = 0x4;
const DATA_INLINE = 0x200;
const UNWRITTEN = 0x800;

/**
 * Equal for files that share all of their data; "" for one without blocks of its own: all hole, or kept in its inode. Undefined where that
 * cannot be told: data not written yet, more than 64 extents, a filesystem that does not say. Does not yield.
 */
export function placeOfData(fd: number): string | undefined {
  const count = native.extents(fd, slots);
  if (count < 0 || (count > 0 && (slots[4 * count - 1]! & LAST) === 0)) return undefined;
  const parts: string[] = [];
  for (let i = 0; i < count; ) {
    const [position, place, , flags] = slots.subarray(4 * i) as unknown as [number, number, number, number];
    if ((flags & (UNKNOWN | DELALLOC)) !== 0) return undefined;
    let length = 0;
    // What was shared in pieces may be told in pieces.
    do length += slots[4 * i + 2]!;
    while (++i < count && slots[4 * i] === position + length && slots[4 * i + 1] === place + length && ((slots[4 * i + 3]! ^ flags) & UNWRITTEN) === 0);
    if ((flags & DATA_INLINE) === 0) parts.push(`${position} ${place} ${length} ${flags & UNWRITTEN}`);
  }
  return parts.join();
}
