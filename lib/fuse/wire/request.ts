/**
 * Reads one request where it lies. Always true: nothing outside the message is read, and nothing is kept of it,
 * so whoever waits copies first. 64-bit fields come as numbers (exact below 2^53); `unique` stays two halves because it is echoed.
 */
import { FsError } from "../../base/errors.js";
import { checkName, type Name } from "../../base/name.js";
import type { Caller } from "../../vfs.js";
import { IN_HEADER } from "./abi.js";

const TWO_32 = 0x1_0000_0000;
const BODY = IN_HEADER.SIZE;

/** The ids of the current request; one object, overwritten by the next request. */
interface CurrentCaller extends Caller {
  uid: number;
  gid: number;
  pid: number;
  umask: number;
}

export class Request {
  opcode = 0;
  uniqueLo = 0;
  uniqueHi = 0;
  nodeid = 0;
  /** Bytes after the header, without the extensions at the end. */
  bodyLength = 0;
  /** Belongs to the request being served; a tree that waits copies it (lib/vfs.ts). */
  readonly caller: CurrentCaller = { uid: 0, gid: 0, pid: 0, umask: 0 };
  #bytes: Buffer = Buffer.alloc(0);
  #view = new DataView(this.#bytes.buffer);

  /**
   * Takes the message in bytes[0, length). False when it is no whole request: shorter than a header, or than it says.
   * Even then opcode and unique are set if their bytes are there (else 0), so that an error can be sent.
   */
  parse(bytes: Buffer, length: number): boolean {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    const view = this.#view;
    this.bodyLength = 0;
    this.nodeid = 0;
    this.caller.umask = 0;
    if (length < IN_HEADER.nodeid || length > bytes.length) {
      this.opcode = this.uniqueLo = this.uniqueHi = 0;
      return false;
    }
    this.opcode = view.getUint32(IN_HEADER.opcode, true);
    this.uniqueLo = view.getUint32(IN_HEADER.unique, true);
    this.uniqueHi = view.getUint32(IN_HEADER.unique + 4, true);
    if (length < BODY || view.getUint32(IN_HEADER.len, true) !== length) return false;
    const extensions = view.getUint16(IN_HEADER.totalExtlen, true) * 8;
    if (extensions > length - BODY) return false;
    this.bodyLength = length - BODY - extensions;
    this.nodeid = view.getUint32(IN_HEADER.nodeid, true) + view.getUint32(IN_HEADER.nodeid + 4, true) * TWO_32;
    this.caller.uid = view.getUint32(IN_HEADER.uid, true);
    this.caller.gid = view.getUint32(IN_HEADER.gid, true);
    this.caller.pid = view.getUint32(IN_HEADER.pid, true);
    return true;
  }

  u32(offset: number): number {
    if (offset + 4 > this.bodyLength) throw tooShort();
    return this.#view.getUint32(BODY + offset, true);
  }

  u64(offset: number): number {
    if (offset + 8 > this.bodyLength) throw tooShort();
    return this.#view.getUint32(BODY + offset, true) + this.#view.getUint32(BODY + offset + 4, true) * TWO_32;
  }

  /** A signed 64-bit field, as the seconds of a time are. */
  s64(offset: number): number {
    if (offset + 8 > this.bodyLength) throw tooShort();
    return this.#view.getUint32(BODY + offset, true) + this.#view.getInt32(BODY + offset + 4, true) * TWO_32;
  }

  /** A NUL-terminated latin1 string; throws EINVAL when the message ends first. */
  string(offset: number): string {
    return this.#bytes.toString("latin1", BODY + offset, this.#endOfString(offset));
  }

  /** string() as one path component; throws EINVAL, ENAMETOOLONG. */
  name(offset: number): Name {
    return checkName(this.string(offset));
  }

  /** Where the string at `offset` ends, past its NUL. */
  after(offset: number): number {
    return this.#endOfString(offset) + 1 - BODY;
  }

  /** A view of the body that is overwritten by the next request. Throws EINVAL when it is not all there. */
  bytes(offset: number, length: number): Uint8Array {
    if (offset + length > this.bodyLength) throw tooShort();
    return this.#bytes.subarray(BODY + offset, BODY + offset + length);
  }

  #endOfString(offset: number): number {
    const end = this.#bytes.indexOf(0, BODY + offset);
    if (offset >= this.bodyLength || end === -1 || end >= BODY + this.bodyLength) throw tooShort();
    return end;
  }
}

function tooShort(): FsError {
  return new FsError("EINVAL", "request", "is shorter than its kind must be");
}
