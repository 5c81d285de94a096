/**
 * What a session asks of the kernel and promises it. Decided once, in INIT; after that the policy is constant.
 * The rule behind it: never be asked twice. All changes pass through the mount, so what the kernel has learnt stays true.
 */
import {
  FUSE_ASYNC_DIO, FUSE_ASYNC_READ, FUSE_ATOMIC_O_TRUNC, FUSE_BIG_WRITES, FUSE_CACHE_SYMLINKS, FUSE_DIRECT_IO_ALLOW_MMAP, FUSE_DO_READDIRPLUS,
  FUSE_DONT_MASK, FUSE_HANDLE_KILLPRIV_V2, FUSE_HAS_RESEND, FUSE_INIT_EXT, FUSE_KERNEL_MINOR_VERSION, FUSE_MAX_PAGES,
  FUSE_NO_EXPORT_SUPPORT, FUSE_NO_OPEN_SUPPORT, FUSE_NO_OPENDIR_SUPPORT, FUSE_PARALLEL_DIROPS, FUSE_PASSTHROUGH, FUSE_POSIX_ACL, FUSE_SETXATTR_EXT, FUSE_WRITEBACK_CACHE,
} from "./wire/abi.js";

/**
 * passthrough: the kernel reads and writes the backing file itself; every open is a request.
 * cached: opens are no requests and the kernel's page cache holds the data, also what is not written yet.
 */
export type DataMode = "passthrough" | "cached";

/** Stands for "for ever": the kernel takes whole seconds, and 68 years outlive any mount. */
export const FOREVER_SEC = 0x7fff_ffff;

export interface PolicyOptions {
  /** What to ask for; passthrough falls back to ordinary opens where the kernel does not offer it. */
  readonly dataMode: DataMode;
  /** Flags of the high word that the channel has a use for. */
  readonly channelWants2?: number;
  /** Positions in a directory must mean the same to the next process that serves it, and the kernel must be able to send requests again. */
  readonly lasting?: boolean;
  /** Default true. */
  readonly acl?: boolean;
  /** Lifetime of names and attributes in the kernel, seconds; default for ever. */
  readonly timeoutSec?: number;
  /** False: fsync of files and directories succeeds at once and syncs nothing; default true. syncfs and the end of the mount still sync. */
  readonly fsync?: boolean;
  /** 1 (default): backing files lie on an ordinary filesystem; 2: they may lie on an overlay. This mount then stacks one higher. */
  readonly maxStackDepth?: 1 | 2;
}

/** What the kernel offered. */
export interface Offer {
  readonly minor: number;
  readonly maxReadahead: number;
  readonly flags: number;
  readonly flags2: number;
}

export interface Policy {
  readonly minor: number;
  readonly maxReadahead: number;
  /** Flags to answer INIT with: what is both offered and wanted. */
  readonly flags: number;
  readonly flags2: number;
  /** 0 without passthrough. */
  readonly maxStackDepth: number;
  /** OPEN and CREATE are answered ENOSYS, so that the kernel opens files by itself. */
  readonly zeroOpen: boolean;
  readonly zeroOpendir: boolean;
  readonly passthrough: boolean;
  /** The kernel keeps written data and is the authority on size and mtime of what it caches. */
  readonly writeback: boolean;
  /** fuse_setxattr_in has its long form. */
  readonly setxattrExt: boolean;
  readonly entrySec: number;
  readonly attrSec: number;
}

/** Enough to keep the device busy; a request beyond it waits in the kernel. */
export const MAX_BACKGROUND = 64;
export const CONGESTION_THRESHOLD = 48;

const always =
  FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_DONT_MASK | FUSE_DO_READDIRPLUS | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS |
  FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_NO_OPENDIR_SUPPORT | FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT | FUSE_INIT_EXT;

/** Before INIT nothing is promised; requests that come too early meet this. */
export const nothingAgreed: Policy = {
  minor: 0, maxReadahead: 0, flags: 0, flags2: 0, maxStackDepth: 0, zeroOpen: false, zeroOpendir: false, passthrough: false,
  writeback: false, setxattrExt: false, entrySec: 0, attrSec: 0,
};

/** What to answer `offer` with. Pure. */
export function negotiate(offer: Offer, options: PolicyOptions): Policy {
  const wantsPassthrough = options.dataMode === "passthrough";
  const passthrough = wantsPassthrough && (offer.flags & FUSE_INIT_EXT) !== 0 && (offer.flags2 & FUSE_PASSTHROUGH) !== 0;
  // Zero-request opens leave truncation to SETATTR, so ATOMIC_O_TRUNC must not be agreed with them. Passthrough and
  // WRITEBACK_CACHE exclude each other: the kernel would silently drop passthrough.
  const cached = FUSE_WRITEBACK_CACHE | FUSE_NO_OPEN_SUPPORT;
  const wanted = always | (options.acl === false ? 0 : FUSE_POSIX_ACL) | (wantsPassthrough ? FUSE_ATOMIC_O_TRUNC : cached);
  const wanted2 = FUSE_DIRECT_IO_ALLOW_MMAP | FUSE_NO_EXPORT_SUPPORT | (passthrough ? FUSE_PASSTHROUGH : 0) | (options.channelWants2 ?? 0) | (options.lasting === true ? FUSE_HAS_RESEND : 0);
  const flags = offer.flags & wanted;
  const lifetime = options.timeoutSec ?? FOREVER_SEC;
  return {
    minor: Math.min(offer.minor, FUSE_KERNEL_MINOR_VERSION),
    maxReadahead: offer.maxReadahead,
    flags,
    flags2: (flags & FUSE_INIT_EXT) !== 0 ? offer.flags2 & wanted2 : 0,
    maxStackDepth: passthrough ? options.maxStackDepth ?? 1 : 0,
    zeroOpen: (flags & FUSE_NO_OPEN_SUPPORT) !== 0,
    zeroOpendir: (flags & FUSE_NO_OPENDIR_SUPPORT) !== 0,
    passthrough,
    writeback: (flags & FUSE_WRITEBACK_CACHE) !== 0,
    setxattrExt: (flags & FUSE_SETXATTR_EXT) !== 0,
    entrySec: lifetime,
    attrSec: lifetime,
  };
}
